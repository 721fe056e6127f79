//! AdamW (Loshchilov and Hutter, arXiv 1711.05101) on the host.
//!
//! Weights and moments are plain `Vec<f32>`: a step is one pass over memory, the numbers are the
//! same on every device, and a checkpoint is a copy. Matrices decay, vectors (norms, biases) do
//! not, as in open_clip. The token embedding does not decay either, so a token that was in no
//! batch keeps its row as it was, and a step costs the rows that were ever seen, not the whole
//! vocabulary.

use std::collections::BTreeMap;

use clip::{Tensors, text::TOKEN_EMBEDDING};
use rayon::prelude::*;

use super::{Gradient, Gradients, Misfit, NotFinite, Settings};

/// Numbers that a thread updates at a time. Also the blocks in which the norm is summed, which
/// must not depend on the number of threads.
const BLOCK: usize = 1 << 14;

/// A weight with its moments.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Shape, as in the checkpoint.
    pub shape: Vec<usize>,
    /// The weight.
    pub values: Vec<f32>,
    /// Mean gradient.
    pub exp_avg: Vec<f32>,
    /// Mean squared gradient.
    pub exp_avg_sq: Vec<f32>,
    decays: bool,
    /// For each row, whether it has moments.
    moving: Vec<bool>,
}

/// The optimizer with its weights and moments.
#[derive(Debug, Clone)]
pub struct AdamW {
    settings: Settings,
    steps: u64,
    parameters: BTreeMap<String, Parameter>,
}

/// What is the same for every number in a step.
struct Rule {
    beta1: f32,
    beta2: f32,
    /// Step size, with the bias of the mean gradient undone.
    size: f32,
    /// `1 / sqrt(1 - beta2^t)`.
    unbias: f32,
    eps: f32,
    /// A weight that decays is multiplied by this.
    left: f32,
    /// Gradients are multiplied by this.
    clip: f32,
}

impl Rule {
    fn update(&self, decays: bool, values: &mut [f32], mean: &mut [f32], square: &mut [f32], gradient: &[f32]) {
        let left = if decays { self.left } else { 1.0 };
        for (((value, m), v), g) in values.iter_mut().zip(mean).zip(square).zip(gradient) {
            let g = g * self.clip;
            *m += (1.0 - self.beta1) * (g - *m);
            *v = self.beta2 * *v + (1.0 - self.beta2) * g * g;
            *value = left * *value - self.size * *m / (v.sqrt() * self.unbias + self.eps);
        }
    }
}

impl AdamW {
    /// Starts from these weights, with moments of 0.
    pub fn new(settings: Settings, weights: Tensors) -> Self {
        let parameter = |(name, (shape, values)): (String, (Vec<usize>, Vec<f32>))| {
            // Fresh zeros from the system take no memory until they are written to, and those of tokens
            // that are in no batch never are. A clone of other zeros would take it at once.
            let zeros = || vec![0.0; values.len()];
            let (mean, square) = (zeros(), zeros());
            let mut parameter = Parameter::restored(shape, values, mean, square);
            parameter.decays = parameter.shape.len() > 1 && name != TOKEN_EMBEDDING;
            (name, parameter)
        };
        Self { settings, steps: 0, parameters: weights.into_iter().map(parameter).collect() }
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Weights and moments by name.
    pub fn parameters(&self) -> &BTreeMap<String, Parameter> {
        &self.parameters
    }

    /// Takes over weights and moments, those of a checkpoint for instance.
    ///
    /// # Errors
    /// The first tensor that is missing or of another shape; nothing is changed then.
    pub fn restore(&mut self, steps: u64, restored: BTreeMap<String, Parameter>) -> Result<(), Misfit> {
        for (name, parameter) in &self.parameters {
            if restored.get(name).map(|p| &p.shape) != Some(&parameter.shape) {
                return Err(Misfit { name: name.clone(), shape: parameter.shape.clone() });
            }
        }
        for (name, parameter) in restored {
            if let Some(own) = self.parameters.get_mut(&name) {
                *own = Parameter { decays: own.decays, ..parameter };
            }
        }
        self.steps = steps;
        Ok(())
    }

    /// Rows `rows` of a matrix, end to end.
    pub fn rows(&self, name: &str, rows: &[u32]) -> Vec<f32> {
        let Some(parameter) = self.parameters.get(name) else { return Vec::new() };
        let width = parameter.width();
        rows.iter().flat_map(|&row| &parameter.values[row as usize * width..][..width]).copied().collect()
    }

    /// One step down the gradient; parameters that have none stay as they are. Returns the norm of the
    /// whole gradient before it was clipped.
    ///
    /// # Errors
    /// [`NotFinite`] when that norm is; nothing is changed then.
    pub fn step(&mut self, lr: f64, gradients: &Gradients) -> Result<f64, NotFinite> {
        let squares = gradients.values().map(|gradient| sum_of_squares(gradient.values())).sum::<f64>();
        let norm = squares.sqrt();
        if !norm.is_finite() {
            return Err(NotFinite(norm));
        }
        self.steps += 1;
        let Settings { beta1, beta2, eps, weight_decay, clip_norm } = self.settings;
        let power = |beta: f64| 1.0 - beta.powf(self.steps as f64);
        let clip = if clip_norm > 0.0 { (clip_norm / (norm + 1e-6)).min(1.0) } else { 1.0 };
        let rule = Rule {
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            size: (lr / power(beta1)) as f32,
            unbias: (1.0 / power(beta2).sqrt()) as f32,
            eps: eps as f32,
            left: (1.0 - lr * weight_decay) as f32,
            clip: clip as f32,
        };
        for (name, gradient) in gradients {
            if let Some(parameter) = self.parameters.get_mut(name) {
                match gradient {
                    Gradient::Dense(values) => parameter.update(&rule, values),
                    Gradient::Rows { rows, values } => parameter.update_rows(&rule, rows, values),
                }
            }
        }
        Ok(norm)
    }
}

impl Parameter {
    /// Numbers per row.
    pub fn width(&self) -> usize {
        self.shape.iter().skip(1).product::<usize>().max(1)
    }

    /// A parameter as a checkpoint has it; all three vectors are of the size that `shape` says.
    pub fn restored(shape: Vec<usize>, values: Vec<f32>, exp_avg: Vec<f32>, exp_avg_sq: Vec<f32>) -> Self {
        let width = shape.iter().skip(1).product::<usize>().max(1);
        let zero = |row: &[f32]| row.iter().all(|&v| v == 0.0);
        let rows = exp_avg.chunks(width).zip(exp_avg_sq.chunks(width));
        let moving = rows.map(|(mean, square)| !(zero(mean) && zero(square))).collect();
        Self { shape, values, exp_avg, exp_avg_sq, decays: false, moving }
    }

    /// Rows that have moments: those that a gradient has reached.
    pub fn moving_rows(&self) -> Vec<u32> {
        (0u32..).zip(&self.moving).filter(|(_, moving)| **moving).map(|(row, _)| row).collect()
    }

    fn update(&mut self, rule: &Rule, gradient: &[f32]) {
        self.moving.fill(true);
        let values = self.values.par_chunks_mut(BLOCK);
        let mean = self.exp_avg.par_chunks_mut(BLOCK);
        let square = self.exp_avg_sq.par_chunks_mut(BLOCK);
        let decays = self.decays;
        values
            .zip(mean)
            .zip(square)
            .zip(gradient.par_chunks(BLOCK))
            .for_each(|(((values, mean), square), gradient)| rule.update(decays, values, mean, square, gradient));
    }

    /// The same as [`Parameter::update`] with the gradient written out, zeros included: rows that are
    /// not in this batch still move by their moments. Rows without moments would not change, so they
    /// are skipped.
    fn update_rows(&mut self, rule: &Rule, rows: &[u32], gradient: &[f32]) {
        let width = self.width();
        let zeros = vec![0.0; width];
        let mut gradients = vec![zeros.as_slice(); self.moving.len()];
        for (row, gradient) in rows.iter().zip(gradient.chunks(width)) {
            gradients[*row as usize] = gradient;
            self.moving[*row as usize] = true;
        }
        let values = self.values.par_chunks_mut(width);
        let mean = self.exp_avg.par_chunks_mut(width);
        let square = self.exp_avg_sq.par_chunks_mut(width);
        let decays = self.decays;
        values.zip(mean).zip(square).zip(gradients).zip(&self.moving).with_min_len(64).for_each(
            |((((values, mean), square), gradient), moving)| {
                if *moving {
                    rule.update(decays, values, mean, square, gradient);
                }
            },
        );
    }
}

/// In f64, and in blocks whose order does not depend on threads.
fn sum_of_squares(values: &[f32]) -> f64 {
    let block = |block: &[f32]| block.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>();
    values.par_chunks(BLOCK).map(block).collect::<Vec<_>>().into_iter().sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SETTINGS: Settings = Settings { beta1: 0.9, beta2: 0.98, eps: 1e-6, weight_decay: 0.2, clip_norm: 0.0 };

    /// Numbers that look random.
    fn numbers(seed: usize, len: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * 37 + seed * 101) as f32 * 0.7).sin()).collect()
    }

    fn dense(gradients: &[(&str, Vec<f32>)]) -> Gradients {
        gradients.iter().map(|(name, values)| (name.to_string(), Gradient::Dense(values.clone()))).collect()
    }

    /// AdamW as in the paper (algorithm 2), in f64, for one parameter.
    fn reference(start: &[f32], gradients: &[Vec<f32>], lr: f64, decay: f64, clip: f64) -> Vec<f64> {
        let mut weights: Vec<f64> = start.iter().map(|&v| f64::from(v)).collect();
        let (mut m, mut v) = (vec![0.0; start.len()], vec![0.0; start.len()]);
        for (t, gradient) in gradients.iter().enumerate() {
            let norm = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
            let scale = if clip > 0.0 && norm > clip { clip / norm } else { 1.0 };
            let t = t as i32 + 1;
            for i in 0..weights.len() {
                let g = f64::from(gradient[i]) * scale;
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.98 * v[i] + 0.02 * g * g;
                let (mean, square) = (m[i] / (1.0 - 0.9f64.powi(t)), v[i] / (1.0 - 0.98f64.powi(t)));
                weights[i] -= lr * (mean / (square.sqrt() + 1e-6) + decay * weights[i]);
            }
        }
        weights
    }

    #[test]
    fn follows_the_paper() {
        for (clip_norm, shape, decay) in [(0.0, vec![4, 5], 0.2), (0.5, vec![4, 5], 0.2), (0.0, vec![20], 0.0)] {
            let start = numbers(0, 20);
            let gradients: Vec<Vec<f32>> = (1..=6).map(|seed| numbers(seed, 20)).collect();
            let weights = [("w".to_owned(), (shape, start.clone()))].into();
            let mut adam = AdamW::new(Settings { clip_norm, ..SETTINGS }, weights);
            for gradient in &gradients {
                adam.step(0.01, &dense(&[("w", gradient.clone())])).unwrap();
            }
            let expected = reference(&start, &gradients, 0.01, decay, clip_norm);
            for (found, expected) in adam.parameters()["w"].values.iter().zip(expected) {
                assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
            }
        }
    }

    #[test]
    fn rows_move_as_in_a_dense_step() {
        let (count, width) = (9, 4);
        let weights: Tensors = [(TOKEN_EMBEDDING.to_owned(), (vec![count, width], numbers(0, count * width)))].into();
        let mut whole = AdamW::new(SETTINGS, weights.clone());
        let mut sparse = AdamW::new(SETTINGS, weights.clone());
        for (step, rows) in [vec![1, 5], vec![0, 5, 8], vec![5], vec![1]].into_iter().enumerate() {
            let values = numbers(step + 1, rows.len() * width);
            let mut written = vec![0.0; count * width];
            for (row, values) in rows.iter().zip(values.chunks(width)) {
                written[*row as usize * width..][..width].copy_from_slice(values);
            }
            whole.step(0.01, &dense(&[(TOKEN_EMBEDDING, written)])).unwrap();
            let gradient = [(TOKEN_EMBEDDING.to_owned(), Gradient::Rows { rows, values })].into();
            sparse.step(0.01, &gradient).unwrap();
        }
        let (whole, sparse) = (&whole.parameters()[TOKEN_EMBEDDING], &sparse.parameters()[TOKEN_EMBEDDING]);
        assert_eq!(whole.values, sparse.values);
        assert_eq!(whole.exp_avg, sparse.exp_avg);
        assert_eq!(whole.exp_avg_sq, sparse.exp_avg_sq);
        assert_eq!(sparse.moving_rows(), [0, 1, 5, 8]);
        let start = &weights[TOKEN_EMBEDDING].1;
        assert_eq!(sparse.values[2 * width..5 * width], start[2 * width..5 * width]);
        assert_ne!(sparse.values[..width], start[..width]);
    }

    #[test]
    fn a_gradient_that_is_not_finite_changes_nothing() {
        let mut adam = AdamW::new(SETTINGS, [("w".to_owned(), (vec![3], numbers(0, 3)))].into());
        assert!(adam.step(0.01, &dense(&[("w", vec![0.0, f32::NAN, 0.0])])).unwrap_err().0.is_nan());
        assert_eq!((adam.steps(), &adam.parameters()["w"].values), (0, &numbers(0, 3)));
    }

    #[test]
    fn weights_that_do_not_fit_are_named() {
        let adam = |shape: Vec<usize>| AdamW::new(SETTINGS, [("w".to_owned(), (shape, numbers(0, 6)))].into());
        let mut whole = adam(vec![2, 3]);
        let error = whole.restore(7, adam(vec![3, 2]).parameters().clone()).unwrap_err();
        assert_eq!(error, Misfit { name: "w".into(), shape: vec![2, 3] });
        assert_eq!(whole.steps(), 0);
        whole.restore(7, adam(vec![2, 3]).parameters().clone()).unwrap();
        assert_eq!(whole.steps(), 7);
    }

    #[test]
    fn large_parameters_are_updated_to_the_end() {
        let len = 2 * BLOCK + 7;
        let mut adam = AdamW::new(SETTINGS, [("w".to_owned(), (vec![len], vec![1.0; len]))].into());
        let norm = adam.step(0.01, &dense(&[("w", vec![1.0; len])])).unwrap();
        assert!((norm - (len as f64).sqrt()).abs() < 1e-9);
        let values = &adam.parameters()["w"].values;
        assert!(values.iter().all(|v| *v == values[0] && (v - 0.99).abs() < 1e-5), "{:?}", &values[..3]);
    }
}
