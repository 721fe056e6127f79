//! What the tests of losses share: cases, plain references, finite differences.
#![allow(clippy::unwrap_used)]

use burn::tensor::{Device, Tensor, TensorData};
use items::Role;
use pipeline_engine::rng::{ChaCha8Rng, Draw};
use rand::RngExt;

use super::{Images, Loss, Phrases, RoleTexts, StartTower, StepView, Term, total};
use crate::error::TrainError;

/// A generator for tests.
pub fn rng(seed: u64) -> ChaCha8Rng {
    Draw::new(seed, "test").rng()
}

/// Random numbers from -1 to 1.
pub fn random(rows: usize, width: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    (0..rows * width).map(|_| rng.random_range(-1.0..1.0f32)).collect()
}

/// Rows of `width` numbers on the CPU.
pub fn tensor(values: &[f32], width: usize) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len() / width, width]), &Device::flex())
}

/// Plain f64 rows of length 1.
pub fn unit(values: &[f32], width: usize) -> Vec<Vec<f64>> {
    let row = |row: &[f32]| {
        let length = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        row.iter().map(|&v| f64::from(v) / length).collect()
    };
    values.chunks(width).map(row).collect()
}

/// The same in f32, end to end.
fn unit_f32(values: &[f32], width: usize) -> Vec<f32> {
    unit(values, width).concat().into_iter().map(|value| value as f32).collect()
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// `-log softmax(scores / temperature)[target]`.
pub fn surprise(scores: &[f64], target: usize, temperature: f64) -> f64 {
    scores.iter().map(|s| ((s - scores[target]) / temperature).exp()).sum::<f64>().ln()
}

/// A step with random features.
pub struct Case {
    roles: Vec<Role>,
    width: usize,
    /// `[B R, D]`, not normalised.
    pub texts: Vec<f32>,
    /// `[B, D]`, of length 1.
    pub images: Vec<f32>,
    pub same: Vec<u32>,
    pub start: FixedStart,
}

impl Case {
    pub fn new(roles: &[Role], count: usize, width: usize, seed: u64) -> Self {
        let mut rng = rng(seed);
        Self {
            roles: roles.to_vec(),
            width,
            texts: random(count * roles.len(), width, &mut rng),
            images: unit_f32(&random(count, width, &mut rng), width),
            same: (0..count as u32).collect(),
            start: FixedStart { count, width },
        }
    }

    /// The draw that the loss gets.
    pub fn draw(&self) -> Draw {
        Draw::new(9, "test")
    }

    pub fn terms(&self, loss: &dyn Loss) -> Vec<Term> {
        self.try_terms(loss).unwrap()
    }

    pub fn try_terms(&self, loss: &dyn Loss) -> Result<Vec<Term>, TrainError> {
        self.terms_of(loss, tensor(&self.texts, self.width))
    }

    fn terms_of(&self, loss: &dyn Loss, texts: Tensor<2>) -> Result<Vec<Term>, TrainError> {
        let device = Device::flex();
        let images = Images::new(&self.images, self.width, &device);
        let texts = RoleTexts::new(self.roles.clone(), texts);
        loss.terms(&StepView::new(texts, images, &self.same, self.draw()).with_start(Some(&self.start)))
    }

    /// The loss and its gradient at the texts.
    pub fn gradient(&self, loss: &dyn Loss) -> (f32, Vec<f32>) {
        let texts = tensor(&self.texts, self.width).autodiff().require_grad();
        let total = total(&self.terms_of(loss, texts.clone()).unwrap()).unwrap();
        let gradients = total.backward();
        (total.into_scalar(), texts.grad(&gradients).unwrap().into_data().try_to_vec().unwrap())
    }

    fn value(&self, loss: &dyn Loss) -> f64 {
        f64::from(total(&self.terms(loss)).unwrap().into_scalar::<f32>())
    }
}

/// Stands for the tower before training: random features that depend only on the role.
pub struct FixedStart {
    count: usize,
    width: usize,
}

impl FixedStart {
    /// `[B, D]`, of length 1.
    pub fn rows(&self, role: Role) -> Vec<f32> {
        let mut rng = Draw::new(1, "start").text(&format!("{role:?}")).rng();
        unit_f32(&random(self.count, self.width, &mut rng), self.width)
    }
}

impl StartTower for FixedStart {
    fn of(&self, role: Role) -> Result<Tensor<2>, TrainError> {
        Ok(tensor(&self.rows(role), self.width))
    }

    fn phrases(&self, roles: &[Role]) -> Result<Phrases, TrainError> {
        let columns: Vec<Vec<f32>> = roles.iter().map(|&role| self.rows(role)).collect();
        let image = |i: usize| columns.iter().flat_map(move |rows| rows[i * self.width..][..self.width].to_vec());
        let features = (0..self.count).flat_map(image).collect();
        Ok(Phrases::new(self.width, features, (0..self.count * roles.len()).map(Some).collect()))
    }
}

/// Compares the gradient of a loss with central differences, at every number of every text of a small
/// case with the texts that the loss needs.
pub fn agrees_with_finite_differences(name: &str, loss: &dyn Loss) {
    let mut roles: Vec<Role> = Vec::new();
    for role in loss.needs().texts.into_iter().flat_map(|need| need.roles) {
        if loss.reads(role) && !roles.contains(&role) {
            roles.push(role);
        }
    }
    let mut case = Case::new(&roles, 4, 6, 3);
    case.same = vec![0, 1, 2, 0];
    let (_, gradient) = case.gradient(loss);
    let largest = gradient.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    assert!(largest > 1e-3, "{name} does not depend on its texts");
    // Small enough for the third derivative at low temperatures, large enough for f32.
    let step = 2e-3;
    for (i, gradient) in gradient.iter().enumerate() {
        let at = case.texts[i];
        let mut value = |shift: f32| {
            case.texts[i] = at + shift;
            let value = case.value(loss);
            (case.texts[i], value)
        };
        let ((above, high), (below, low)) = (value(step), value(-step));
        case.texts[i] = at;
        let found = (high - low) / f64::from(above - below);
        let off = (found - f64::from(*gradient)).abs();
        assert!(off < 5e-3 * f64::from(largest), "{name}: number {i} has {gradient}, differences say {found}");
    }
}

/// Row i, column j of the golden inputs: `sin(seed + 2 i + 3 j + i j)`; 3 rows of 4 numbers.
fn golden_values(seed: u64) -> Vec<f32> {
    let value = |i: usize, j: usize| (seed as f64 + (2 * i + 3 * j + i * j) as f64).sin() as f32;
    (0..3).flat_map(|i| (0..4).map(move |j| value(i, j))).collect()
}

/// The golden input of this seed, `[3, 4]`, as it is.
pub fn golden_unscaled(seed: u64) -> Tensor<2> {
    tensor(&golden_values(seed), 4)
}

/// The same with rows of length 1.
pub fn golden_rows(seed: u64) -> Tensor<2> {
    tensor(&unit_f32(&golden_values(seed), 4), 4)
}

/// The terms of a loss at the golden inputs: name and value, not weighted. The images are those of seed 1; `texts` are
/// the seeds of the texts, by role.
pub fn golden_terms(loss: &dyn Loss, texts: &[(Role, u64)]) -> Vec<(&'static str, f64)> {
    let terms = golden_case(texts).terms(loss);
    terms.into_iter().map(|term| (term.name, f64::from(term.value.into_scalar::<f32>()))).collect()
}

/// Compares a loss at the golden inputs with a number that was computed without any library.
pub fn golden(loss: &dyn Loss, texts: &[(Role, u64)], expected: f64) {
    let found: f32 = total(&golden_case(texts).terms(loss)).unwrap().into_scalar();
    assert!((f64::from(found) / expected - 1.0).abs() < 1e-5, "{found} {expected}");
}

fn golden_case(texts: &[(Role, u64)]) -> Case {
    let roles: Vec<Role> = texts.iter().map(|(role, _)| *role).collect();
    let columns: Vec<Vec<f32>> = texts.iter().map(|(_, seed)| golden_values(*seed)).collect();
    let mut case = Case::new(&roles, 3, 4, 1);
    case.images = unit_f32(&golden_values(1), 4);
    case.texts = (0..3).flat_map(|i| columns.iter().flat_map(move |rows| rows[4 * i..4 * i + 4].to_vec())).collect();
    case
}
