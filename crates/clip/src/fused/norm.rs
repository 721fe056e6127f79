//! Layer norm.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::math::{ROWS, add_scaled, sum, wide};
use super::{Kernel, input, run};

/// Weight and bias of a layer norm, and what is added to the variance.
#[derive(Clone, Copy)]
pub(super) struct Norm<'a> {
    pub(super) weight: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) eps: f32,
}

impl Norm<'_> {
    /// Mean and reciprocal deviation of a row.
    #[inline(always)]
    fn moments(&self, x: &[f32]) -> (f32, f32) {
        let n = x.len() as f32;
        let mean = sum(x.len(), |i| x[i]) / n;
        let variance = sum(x.len(), |i| (x[i] - mean) * (x[i] - mean)) / n;
        (mean, 1.0 / (variance + self.eps).sqrt())
    }

    #[inline(always)]
    fn row(&self, y: &mut [f32], x: &[f32]) {
        let (mean, scale) = self.moments(x);
        for (((y, x), w), b) in y.iter_mut().zip(x).zip(self.weight).zip(self.bias) {
            *y = (x - mean) * scale * w + b;
        }
    }

    /// Writes the normalised rows of `x` to `y`.
    pub(super) fn forward(&self, y: &mut [f32], x: &[f32]) {
        let width = self.weight.len();
        let task = ROWS * width;
        y.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(y, x)| {
            wide(
                #[inline(always)]
                || {
                    for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                        self.row(y, x);
                    }
                },
            );
        });
    }

    /// `x += residual + bias` in each row, then as [`Norm::forward`].
    pub(super) fn forward_after(&self, y: &mut [f32], x: &mut [f32], residual: &[f32], bias: &[f32]) {
        let width = self.weight.len();
        let task = ROWS * width;
        let rows = y.par_chunks_mut(task).zip(x.par_chunks_mut(task)).zip(residual.par_chunks(task));
        rows.for_each(|((y, x), residual)| {
            wide(
                #[inline(always)]
                || {
                    let rows = x.chunks_exact_mut(width).zip(residual.chunks_exact(width));
                    for (y, (x, residual)) in y.chunks_exact_mut(width).zip(rows) {
                        for ((x, r), b) in x.iter_mut().zip(residual).zip(bias) {
                            *x += r + b;
                        }
                        self.row(y, x);
                    }
                },
            );
        });
    }

    /// The gradient of `x` from that of the output, plus `residual` if there is one, goes to `dx`.
    /// Returns the gradients of weight and bias, and the sums of the columns of `dx`.
    pub(super) fn backward(&self, dx: &mut [f32], x: &[f32], grad: &[f32], residual: Option<&[f32]>) -> [Vec<f32>; 3] {
        let width = self.weight.len();
        let task = ROWS * width;
        let inputs = x.par_chunks(task).zip(grad.par_chunks(task)).enumerate();
        let partial: Vec<[Vec<f32>; 3]> = dx
            .par_chunks_mut(task)
            .zip(inputs)
            .map(|(dx, (i, (x, grad)))| {
                let residual = residual.map(|rows| &rows[i * task..][..dx.len()]);
                let mut sums = [(); 3].map(|()| vec![0.0; width]);
                wide(
                    #[inline(always)]
                    || {
                        let rows = x.chunks_exact(width).zip(grad.chunks_exact(width)).enumerate();
                        for (dx, (row, (x, g))) in dx.chunks_exact_mut(width).zip(rows) {
                            let residual = residual.map(|rows| &rows[row * width..][..width]);
                            self.backward_row(dx, x, g, residual, &mut sums);
                        }
                    },
                );
                sums
            })
            .collect();
        let sum = |which: usize| {
            let mut sums = vec![0.0; width];
            for part in &partial {
                add_scaled(&mut sums, 1.0, &part[which]);
            }
            sums
        };
        [sum(0), sum(1), sum(2)]
    }

    #[inline(always)]
    fn backward_row(&self, dx: &mut [f32], x: &[f32], g: &[f32], residual: Option<&[f32]>, sums: &mut [Vec<f32>; 3]) {
        let width = self.weight.len();
        let (mean, scale) = self.moments(x);
        let n = width as f32;
        let (dx, x, g, w) = (&mut dx[..width], &x[..width], &g[..width], &self.weight[..width]);
        let mean_g = sum(width, |i| g[i] * w[i]) / n;
        let mean_gx = sum(width, |i| g[i] * w[i] * ((x[i] - mean) * scale)) / n;
        let [dw, db, columns] = sums;
        let (dw, db) = (&mut dw[..width], &mut db[..width]);
        for i in 0..width {
            let normal = (x[i] - mean) * scale;
            dx[i] = scale * (g[i] * w[i] - mean_g - normal * mean_gx);
            dw[i] += g[i] * normal;
            db[i] += g[i];
        }
        if let Some(residual) = residual {
            add_scaled(dx, 1.0, residual);
        }
        add_scaled(columns, 1.0, dx);
    }
}

/// A layer norm that stands alone.
#[derive(Clone, Debug)]
struct LayerNorm {
    shape: [usize; 2],
    eps: f32,
}

/// Layer norm over the rows of `x` `[rows, width]`, with `weight` and `bias` `[width]`.
pub(crate) fn layer_norm(x: Tensor<2>, weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Tensor<2> {
    let kernel = LayerNorm { shape: x.dims(), eps: eps as f32 };
    run(kernel, [input(x), input(weight), input(bias)])
}

impl Kernel<3> for LayerNorm {
    type Kept = ();

    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn forward(&self, [x, weight, bias]: [&[f32]; 3], _: bool) -> (Vec<f32>, Option<()>) {
        let mut y = vec![0.0; x.len()];
        Norm { weight, bias, eps: self.eps }.forward(&mut y, x);
        (y, Some(()))
    }

    fn backward(&self, [x, weight, bias]: [&[f32]; 3], (): &(), grad: &[f32]) -> [Vec<f32>; 3] {
        let mut dx = vec![0.0; x.len()];
        let [dw, db, _] = Norm { weight, bias, eps: self.eps }.backward(&mut dx, x, grad, None);
        [dx, dw, db]
    }
}
