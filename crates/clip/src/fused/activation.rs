//! The activation between the two layers of an MLP.

use rayon::prelude::*;

use super::math::{ROWS, add_scaled, erf, exp, wide};
use super::matmul::total;
use crate::config::Activation;

/// The slope of QuickGELU, `x * sigmoid(1.702 x)`.
const SLOPE: f32 = 1.702;

/// A function and its derivative.
#[inline(always)]
fn quick_gelu(x: f32) -> (f32, f32) {
    let s = 1.0 / (1.0 + exp(-SLOPE * x));
    (x * s, s + SLOPE * x * s * (1.0 - s))
}

#[inline(always)]
fn gelu(x: f32) -> (f32, f32) {
    const ROOT_HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
    const DENSITY: f32 = 0.398_942_3;
    let share = 0.5 + 0.5 * erf(x * ROOT_HALF);
    (x * share, share + x * DENSITY * exp(-0.5 * x * x))
}

/// `y = f(x + bias)` for the rows of `x`.
pub(super) fn forward(activation: Activation, y: &mut [f32], x: &[f32], bias: &[f32]) {
    let task = ROWS * bias.len();
    y.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(y, x)| match activation {
        Activation::QuickGelu => apply(y, x, bias, |x| quick_gelu(x).0),
        Activation::Gelu => apply(y, x, bias, |x| gelu(x).0),
    });
}

#[inline(always)]
fn apply(y: &mut [f32], x: &[f32], bias: &[f32], f: impl Fn(f32) -> f32) {
    wide(
        #[inline(always)]
        || {
            for (y, x) in y.chunks_exact_mut(bias.len()).zip(x.chunks_exact(bias.len())) {
                for ((y, x), b) in y.iter_mut().zip(x).zip(bias) {
                    *y = f(*x + b);
                }
            }
        },
    );
}

/// Writes `f(x + bias)` to `y`, multiplies `grad` by the derivative there, and returns the sum of the
/// product over the rows: the gradient of the bias.
pub(super) fn backward(activation: Activation, y: &mut [f32], grad: &mut [f32], x: &[f32], bias: &[f32]) -> Vec<f32> {
    let task = ROWS * bias.len();
    let partial: Vec<Vec<f32>> = y
        .par_chunks_mut(task)
        .zip(grad.par_chunks_mut(task))
        .zip(x.par_chunks(task))
        .map(|((y, grad), x)| match activation {
            Activation::QuickGelu => differentiate(y, grad, x, bias, quick_gelu),
            Activation::Gelu => differentiate(y, grad, x, bias, gelu),
        })
        .collect();
    total(&partial, bias.len())
}

#[inline(always)]
fn differentiate(y: &mut [f32], grad: &mut [f32], x: &[f32], bias: &[f32], f: impl Fn(f32) -> (f32, f32)) -> Vec<f32> {
    let width = bias.len();
    let mut sums = vec![0.0; width];
    wide(
        #[inline(always)]
        || {
            let rows = y.chunks_exact_mut(width).zip(grad.chunks_exact_mut(width)).zip(x.chunks_exact(width));
            for ((y, grad), x) in rows {
                for (((y, g), x), b) in y.iter_mut().zip(&mut *grad).zip(x).zip(bias) {
                    let (value, slope) = f(*x + b);
                    *y = value;
                    *g *= slope;
                }
                add_scaled(&mut sums, 1.0, grad);
            }
        },
    );
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_are_slopes() {
        for f in [quick_gelu, gelu] {
            for i in -60..60 {
                let x = i as f32 * 0.1;
                let slope = (f(x + 0.01).0 - f(x - 0.01).0) / 0.02;
                assert!((slope - f(x).1).abs() < 2e-4, "{x}: {slope} {}", f(x).1);
            }
        }
    }

    #[test]
    fn biases_are_added_and_their_gradients_summed() {
        let (width, rows) = (3, 2 * ROWS + 5);
        let bias = [0.5, -1.0, 2.0];
        let x: Vec<f32> = (0..rows * width).map(|i| (i as f32 * 0.37).sin()).collect();
        for activation in [Activation::QuickGelu, Activation::Gelu] {
            let mut values = vec![f32::NAN; x.len()];
            forward(activation, &mut values, &x, &bias);
            let (mut again, mut grad) = (vec![f32::NAN; x.len()], vec![2.0; x.len()]);
            let sums = backward(activation, &mut again, &mut grad, &x, &bias);
            assert_eq!(values, again);
            for (column, sum) in sums.iter().enumerate() {
                let expected: f32 = grad.iter().skip(column).step_by(width).sum();
                assert!((sum - expected).abs() < 1e-4 * (1.0 + expected.abs()));
            }
        }
    }
}
