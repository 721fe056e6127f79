//! Token and position embeddings of rows.

use std::sync::Arc;

use burn::tensor::Tensor;

use super::math::add_scaled;
use super::{Kernel, input, run};

#[derive(Clone, Debug)]
struct Embedding {
    shape: [usize; 2],
    tokens: usize,
    positions: usize,
    rows: Arc<[(u32, u32)]>,
}

/// The sum of a token's and a position's embedding for each of `rows`, `(token, position)`.
pub(crate) fn embedding(tokens: Tensor<2>, positions: Tensor<2>, rows: Arc<[(u32, u32)]>) -> Tensor<2> {
    let kernel = Embedding {
        shape: [rows.len(), tokens.dims()[1]],
        tokens: tokens.dims()[0],
        positions: positions.dims()[0],
        rows,
    };
    run(kernel, [input(tokens), input(positions)])
}

impl Kernel<2> for Embedding {
    type Kept = ();

    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn forward(&self, [tokens, positions]: [&[f32]; 2], _: bool) -> (Vec<f32>, Option<()>) {
        let width = self.shape[1];
        let mut out = vec![0.0; self.rows.len() * width];
        for (out, &(token, position)) in out.chunks_exact_mut(width).zip(&*self.rows) {
            out.copy_from_slice(&tokens[token as usize * width..][..width]);
            add_scaled(out, 1.0, &positions[position as usize * width..][..width]);
        }
        (out, Some(()))
    }

    fn backward(&self, _: [&[f32]; 2], (): &(), grad: &[f32]) -> [Vec<f32>; 2] {
        let width = self.shape[1];
        // The system zeroes pages at their first touch, so rows that are not touched cost nothing here.
        let mut dt = vec![0.0; self.tokens * width];
        let mut dp = vec![0.0; self.positions * width];
        for (grad, &(token, position)) in grad.chunks_exact(width).zip(&*self.rows) {
            add_scaled(&mut dt[token as usize * width..][..width], 1.0, grad);
            add_scaled(&mut dp[position as usize * width..][..width], 1.0, grad);
        }
        [dt, dp]
    }
}
