//! DEO (arXiv 2603.09185): the query's own vector, moved by gradient descent towards what it affirms and
//! away from what it denies.
//!
//! It minimises |q - e_a| + 0.2 |q - q0| - |q - e_n| (norms, not their squares), with q0 the vector of the
//! text as it is written. A language model gives the paper several affirmed and denied queries; here there
//! is one of each, and the term of a part that does not exist is dropped. The gradient of |q - x| is
//! (q - x) / |q - x|, and 0 at x itself, as PyTorch has it.

use super::Text;

/// The learning rate and the number of steps of the release's command line.
const LR: f32 = 1e-3;
const STEPS: i32 = 20;
/// How firmly q stays at q0.
const STAY: f32 = 0.2;
/// Adam's usual numbers (arXiv 1412.6980).
const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// The optimised vector; the option `lambda` does not count.
pub fn compose(text: &Text<'_>, _: f32) -> Vec<f32> {
    let mut q = text.whole.to_vec();
    let (mut mean, mut square) = (vec![0.0f32; q.len()], vec![0.0f32; q.len()]);
    for step in 1..=STEPS {
        let gradient = gradient(&q, text);
        let (bias1, bias2) = (1.0 - BETA1.powi(step), 1.0 - BETA2.powi(step));
        for (i, g) in gradient.into_iter().enumerate() {
            mean[i] = BETA1 * mean[i] + (1.0 - BETA1) * g;
            square[i] = BETA2 * square[i] + (1.0 - BETA2) * g * g;
            q[i] -= LR * (mean[i] / bias1) / ((square[i] / bias2).sqrt() + EPSILON);
        }
        let length = q.iter().map(|x| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
        q.iter_mut().for_each(|x| *x /= length);
    }
    q
}

fn gradient(q: &[f32], text: &Text<'_>) -> Vec<f32> {
    let mut gradient = vec![0.0; q.len()];
    let mut add = |weight: f32, to: &[f32]| {
        let distance = q.iter().zip(to).map(|(q, x)| (q - x).powi(2)).sum::<f32>().sqrt();
        if distance > 0.0 {
            let each = gradient.iter_mut().zip(q).zip(to);
            each.for_each(|((gradient, q), x)| *gradient += weight * (q - x) / distance);
        }
    };
    text.affirmed.iter().for_each(|affirmed| add(1.0, affirmed));
    add(STAY, text.whole);
    add(-1.0, text.denied);
    gradient
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::testing::{length, text};
    use crate::texts::cosine;

    /// The same in f64, term by term, with the gradient by central differences of the loss.
    fn plain(q0: &[f64], affirmed: Option<&[f64]>, denied: &[f64]) -> Vec<f64> {
        let norm = |q: &[f64], x: &[f64]| q.iter().zip(x).map(|(q, x)| (q - x) * (q - x)).sum::<f64>().sqrt();
        let loss = |q: &[f64]| affirmed.map_or(0.0, |a| norm(q, a)) + 0.2 * norm(q, q0) - norm(q, denied);
        let mut q = q0.to_vec();
        let (mut m, mut v) = (vec![0.0; q.len()], vec![0.0; q.len()]);
        for step in 1..=20 {
            let slope = |i: usize| {
                let at = |h: f64| {
                    let mut moved = q.clone();
                    moved[i] += h;
                    loss(&moved)
                };
                (at(1e-6) - at(-1e-6)) / 2e-6
            };
            let slopes: Vec<f64> = (0..q.len()).map(slope).collect();
            for (i, g) in slopes.into_iter().enumerate() {
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                let (m, v) = (m[i] / (1.0 - 0.9f64.powi(step)), v[i] / (1.0 - 0.999f64.powi(step)));
                q[i] -= 1e-3 * m / (v.sqrt() + 1e-8);
            }
            let length = q.iter().map(|x| x * x).sum::<f64>().sqrt();
            q.iter_mut().for_each(|x| *x /= length);
        }
        q
    }

    fn narrow(x: &[f64; 4]) -> [f32; 4] {
        x.map(|x| x as f32)
    }

    #[test]
    fn it_is_the_plain_loop() {
        let (q0, affirmed, denied) = ([0.5, 0.5, -0.5, 0.5], [0.1, 0.7, -0.1, 0.7], [0.9, 0.1, -0.3, 0.3]);
        for affirmed in [Some(affirmed), None] {
            let want = plain(&q0, affirmed.as_ref().map(|a| a.as_slice()), &denied);
            let (whole, denied) = (narrow(&q0), narrow(&denied));
            let affirmed = affirmed.as_ref().map(narrow);
            let found = compose(&text(&whole, affirmed.as_ref().map(|a| a.as_slice()), &denied, 0), 0.5);
            let far = found.iter().zip(&want).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(far < 1e-5, "{found:?} {want:?}");
            assert!((length(&found) - 1.0).abs() < 1e-6);
            assert!(cosine(&found, &denied) < cosine(&whole, &denied));
        }
    }

    #[test]
    fn a_part_that_is_the_query_itself_gives_no_gradient_that_is_not_finite() {
        let whole = [0.0, 1.0, 0.0, 0.0];
        assert!(compose(&text(&whole, Some(&whole), &whole, 0), 0.5).iter().all(|x| x.is_finite()));
    }
}
