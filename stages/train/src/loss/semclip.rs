//! `loss = "semclip"`.

use burn::tensor::{Tensor, TensorData};
use items::Role;
use pipeline_engine::rng::Draw;
use pipeline_engine::{Part, options};
use rand::RngExt;

use super::primitives::{Rows, apart, both, clip, mean_over, normalised};
use super::texts::{FalseText, TrueText};
use super::{Loss, Needs, StepView, Term, TextNeed};
use crate::error::TrainError;

options! {
    /// The loss of SemCLIP (arXiv 2511.16527), of a caption t, a paraphrase p and a false text f: the mean of
    ///
    /// - `semclip`: CLIP's loss;
    /// - `paraphrase`: `1 - cos(E t, E p)`;
    /// - `opposite`: `relu(cos(E t, E f))`,
    ///
    /// where the rows of E are a few random directions, at right angles and of length 1, the same in the whole run.
    /// The release takes CLIP's loss from features that are not scaled to length 1; this loss scales them. The method
    /// lets a language model write p and f; here p is another caption of the same image.
    pub struct SemClip {
        /// Which texts are the false ones; of several per image, the first.
        wrong: FalseText = FalseText::Contradiction;
        /// How many directions E has.
        directions: usize = 2, 2..=64;
        /// Another number draws other directions.
        seed: u64 = 1;
        /// Cosines are divided by this, in CLIP's loss.
        temperature: f64 = 0.07, 0.001..=100.0;
    }
}

impl Part for SemClip {
    const NAME: &'static str = "semclip";
    const ABOUT: &'static str = "SemCLIP: along a few directions, paraphrases agree and false texts do not";
}

impl Loss for SemClip {
    fn needs(&self) -> Needs {
        let paraphrases = TextNeed {
            roles: vec![Role::Paraphrase(0)],
            what: "paraphrases of the captions",
            help: "list \"paraphrase\" in `writer` in the stage captions",
        };
        Needs { texts: vec![TrueText::Caption.need(), paraphrases, self.wrong.need()], start: false }
    }

    fn reads(&self, role: Role) -> bool {
        matches!(role, Role::Original | Role::Paraphrase(0)) || role == self.wrong.role()(0)
    }

    fn terms(&self, step: &StepView<'_>) -> Result<Vec<Term>, TrainError> {
        let images = Rows::whole(step.images.exact());
        let device = images.features.device();
        let masks = apart(step.same, &device);
        let captions = step.texts.rows(Role::Original)?;
        let width = images.features.dims()[1];
        let directions = directions(self.directions.min(width), width, self.seed);
        let directions = Tensor::from_data(TensorData::new(directions, [self.directions.min(width), width]), &device);
        let (paraphrase, opposite) = self.along(
            &directions,
            &captions,
            &step.texts.rows(Role::Paraphrase(0))?,
            &step.texts.rows(self.wrong.role()(0))?,
        );
        let clip = clip(&captions, &images, masks.as_ref(), self.temperature);
        let terms = [("semclip", clip), ("paraphrase", paraphrase), ("opposite", opposite)];
        Ok(terms.into_iter().map(|(name, value)| Term { name, weight: 1.0 / 3.0, value }).collect())
    }
}

impl SemClip {
    /// The terms `paraphrase` and `opposite` along `directions` `[n, D]`.
    fn along(&self, directions: &Tensor<2>, t: &Rows, p: &Rows, f: &Rows) -> (Tensor<1>, Tensor<1>) {
        let projected = |rows: &Rows| normalised(rows.features.clone().matmul(directions.clone().transpose()));
        let cosines = |other: &Rows| (projected(t) * projected(other)).sum_dim(1);
        (
            mean_over(&both(&t.exists, &p.exists), cosines(p).neg() + 1.0),
            mean_over(&both(&t.exists, &f.exists), cosines(f).clamp_min(0.0)),
        )
    }
}

/// `count` random rows of `width` numbers, of length 1 and at right angles to each other (Gram and Schmidt).
fn directions(count: usize, width: usize, seed: u64) -> Vec<f32> {
    let mut rng = Draw::new(seed, "semclip.directions").rng();
    let mut rows: Vec<Vec<f64>> = Vec::new();
    while rows.len() < count {
        // Uniform numbers, so that they are the same on every machine; twelve of them are nearly normal.
        let mut row: Vec<f64> = (0..width).map(|_| (0..12).map(|_| rng.random_range(-0.5..0.5)).sum::<f64>()).collect();
        for other in &rows {
            let along: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
            row.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
        }
        let length = row.iter().map(|value| value * value).sum::<f64>().sqrt();
        if length > 1e-6 {
            rows.push(row.into_iter().map(|value| value / length).collect());
        }
    }
    rows.concat().into_iter().map(|value| value as f32).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{agrees_with_finite_differences, golden_rows, golden_unscaled};
    use super::*;

    const SEMCLIP: SemClip = SemClip { wrong: FalseText::Contradiction, directions: 2, seed: 1, temperature: 0.07 };

    #[test]
    fn agrees_with_the_golden_numbers() {
        let rows = |seed| Rows::whole(golden_rows(seed));
        // e1 is a unit row; e2 a raw one, made orthogonal to it.
        let e1 = golden_rows(7).slice([0..1, 0..4]);
        let e2 = golden_unscaled(8).slice([0..1, 0..4]);
        let along: f32 = (e1.clone() * e2.clone()).sum().into_scalar();
        let e2 = normalised(e2 - e1.clone() * along);
        let (paraphrase, opposite) = SEMCLIP.along(&Tensor::cat(vec![e1, e2], 0), &rows(3), &rows(6), &rows(4));
        let clip = clip(&rows(3), &rows(1), None, 0.07);
        let near = |found: Tensor<1>, expected: f64| {
            let found = f64::from(found.into_scalar::<f32>());
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        };
        near(paraphrase.clone(), 1.994789449);
        near(opposite.clone(), 0.406066846);
        near((clip + paraphrase + opposite) / 3.0, 2.977869450);
    }

    #[test]
    fn directions_stay_and_are_orthonormal() {
        let found = directions(3, 8, 1);
        assert_eq!(found, directions(3, 8, 1));
        assert_ne!(found, directions(3, 8, 2));
        for (i, a) in found.chunks(8).enumerate() {
            for (j, b) in found.chunks(8).enumerate() {
                let cosine: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                assert!((cosine - f32::from(u8::from(i == j))).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        agrees_with_finite_differences("semclip", &SEMCLIP);
    }
}
