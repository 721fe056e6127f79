//! A whole pre-norm transformer block as one operation.
//!
//! The backward pass computes again what costs only a few operations per value (the outputs of the
//! norms and of the activation, the attention weights). So the forward pass keeps 10 values per element
//! of a row instead of 16, and saves the passes over memory that make a tensor of each intermediate
//! value.

use std::sync::Arc;

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::activation;
use super::attention::{Plan, Projected};
use super::math::{ROWS, add_scaled, wide};
use super::matmul::{Matrix, column_sums, multiply};
use super::norm::Norm;
use super::pool::Buffer;
use super::{Input, Kernel, input, run};
use crate::config::Activation;

/// Weight and bias of the six layers of a block, in the order of [`Weights`].
pub(crate) type Layers = ([(Tensor<1>, Tensor<1>); 2], [(Tensor<2>, Tensor<1>); 6]);

/// What a block needs besides its weights.
#[derive(Clone, Debug)]
pub(crate) struct BlockPlan {
    pub activation: Activation,
    pub eps: f64,
    pub attention: Arc<Plan>,
    /// The rows whose output is wanted; absent: all.
    pub read: Option<Arc<[u32]>>,
}

/// The block's output, for all rows of `x` `[rows, width]` or for those that are read.
///
/// `norms` are the first and second norm, `layers` query, key, value, out, up and down.
pub(crate) fn block(x: Tensor<2>, (norms, layers): Layers, plan: BlockPlan) -> Tensor<2> {
    let [rows, width] = x.dims();
    let rows = plan.read.as_ref().map_or(rows, |read| read.len());
    let kernel = Block { shape: [rows, width], plan };
    let [n1, n2] = norms.map(|(w, b)| [input(w), input(b)]);
    let [q, k, v, o, u, d] = layers.map(|(w, b)| [input(w), input(b)]);
    let [[n1w, n1b], [n2w, n2b]] = [n1, n2];
    let [[qw, qb], [kw, kb], [vw, vb]] = [q, k, v];
    let [[ow, ob], [uw, ub], [dw, db]] = [o, u, d];
    let inputs: [Input; INPUTS] = [input(x), n1w, n1b, qw, qb, kw, kb, vw, vb, ow, ob, n2w, n2b, uw, ub, dw, db];
    run(kernel, inputs)
}

const INPUTS: usize = 17;

#[derive(Clone, Debug)]
struct Block {
    /// Shape of the output.
    shape: [usize; 2],
    plan: BlockPlan,
}

/// A linear layer's weight `[output, input]` and bias `[output]`.
#[derive(Clone, Copy)]
struct Layer<'a> {
    weight: &'a [f32],
    bias: &'a [f32],
}

impl Layer<'_> {
    fn input(&self) -> usize {
        self.weight.len() / self.bias.len()
    }

    /// `x W^T`, without the bias.
    fn forward(&self, x: &[f32]) -> Buffer {
        let mut out = Buffer::dirty(x.len() / self.input() * self.bias.len());
        self.forward_into(&mut out, false, x);
        out
    }

    fn forward_into(&self, out: &mut [f32], add: bool, x: &[f32]) {
        multiply(out, add, Matrix::new(x, self.input()), Matrix::new(self.weight, self.input()).transposed());
    }

    /// The gradient of the layer's input.
    fn backward(&self, grad: &[f32]) -> Buffer {
        let mut dx = Buffer::dirty(grad.len() / self.bias.len() * self.input());
        self.backward_into(&mut dx, false, grad);
        dx
    }

    fn backward_into(&self, dx: &mut [f32], add: bool, grad: &[f32]) {
        multiply(dx, add, Matrix::new(grad, self.bias.len()), Matrix::new(self.weight, self.input()));
    }

    /// The gradient of the weight.
    fn gradient(&self, grad: &[f32], x: &[f32]) -> Vec<f32> {
        let mut dw = vec![0.0; self.weight.len()];
        multiply(&mut dw, false, Matrix::new(grad, self.bias.len()).transposed(), Matrix::new(x, self.input()));
        dw
    }
}

struct Weights<'a> {
    norm1: Norm<'a>,
    query: Layer<'a>,
    key: Layer<'a>,
    value: Layer<'a>,
    out: Layer<'a>,
    norm2: Norm<'a>,
    up: Layer<'a>,
    down: Layer<'a>,
}

/// What the forward pass keeps for the backward pass. Query, key, value and the input of the activation
/// are without their biases.
#[derive(Debug)]
struct Kept {
    query: Buffer,
    key: Buffer,
    value: Buffer,
    mixed: Buffer,
    /// The input of the second norm.
    middle: Buffer,
    up: Buffer,
}

impl Block {
    fn weights<'a>(&self, inputs: [&'a [f32]; INPUTS]) -> (&'a [f32], Weights<'a>) {
        let [x, n1w, n1b, qw, qb, kw, kb, vw, vb, ow, ob, n2w, n2b, uw, ub, dw, db] = inputs;
        let eps = self.plan.eps as f32;
        let layer = |weight, bias| Layer { weight, bias };
        let weights = Weights {
            norm1: Norm { weight: n1w, bias: n1b, eps },
            query: layer(qw, qb),
            key: layer(kw, kb),
            value: layer(vw, vb),
            out: layer(ow, ob),
            norm2: Norm { weight: n2w, bias: n2b, eps },
            up: layer(uw, ub),
            down: layer(dw, db),
        };
        (x, weights)
    }

    /// Selects the rows that are read, or all.
    fn select(&self, rows: Buffer) -> Rows {
        match &self.plan.read {
            None => Rows::All(rows),
            Some(read) => Rows::Some { read: self.gather(&rows, read), all: rows },
        }
    }

    fn gather(&self, rows: &[f32], read: &[u32]) -> Buffer {
        let width = self.shape[1];
        let mut out = Buffer::dirty(read.len() * width);
        for (out, row) in out.chunks_exact_mut(width).zip(read) {
            out.copy_from_slice(&rows[*row as usize * width..][..width]);
        }
        out
    }

    /// `rows[read] += values`
    fn scatter(&self, rows: &mut [f32], values: &[f32], read: &[u32]) {
        let width = self.shape[1];
        for (value, row) in values.chunks_exact(width).zip(read) {
            add_scaled(&mut rows[*row as usize * width..][..width], 1.0, value);
        }
    }
}

/// Rows for keys and values, and which of them are queries.
enum Rows {
    All(Buffer),
    Some { all: Buffer, read: Buffer },
}

impl Rows {
    fn all(&self) -> &[f32] {
        match self {
            Self::All(all) | Self::Some { all, .. } => all,
        }
    }

    fn read(&self) -> &[f32] {
        match self {
            Self::All(rows) | Self::Some { read: rows, .. } => rows,
        }
    }
}

impl Weights<'_> {
    fn biases(&self) -> [&[f32]; 3] {
        [self.query.bias, self.key.bias, self.value.bias]
    }
}

impl Kernel<INPUTS> for Block {
    type Kept = Arc<Kept>;

    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn forward(&self, inputs: [&[f32]; INPUTS], keep: bool) -> (Vec<f32>, Option<Arc<Kept>>) {
        let (x, w) = self.weights(inputs);
        let mut normal = Buffer::dirty(x.len());
        w.norm1.forward(&mut normal, x);
        let normal = self.select(normal);
        let query = w.query.forward(normal.read());
        let [key, value] = [w.key, w.value].map(|layer| layer.forward(normal.all()));
        drop(normal);

        let mut mixed = Buffer::dirty(query.len());
        let projected = Projected { rows: [&query, &key, &value], biases: w.biases() };
        self.plan.attention.forward(&mut mixed, projected);
        let mut middle = w.out.forward(&mixed);
        let mut normal = Buffer::dirty(middle.len());
        match &self.plan.read {
            None => w.norm2.forward_after(&mut normal, &mut middle, x, w.out.bias),
            Some(read) => w.norm2.forward_after(&mut normal, &mut middle, &self.gather(x, read), w.out.bias),
        }

        let up = w.up.forward(&normal);
        drop(normal);
        let mut active = Buffer::dirty(up.len());
        activation::forward(self.plan.activation, &mut active, &up, w.up.bias);
        let mut y = plus(&middle, w.down.bias);
        w.down.forward_into(&mut y, true, &active);
        let kept = keep.then(|| Arc::new(Kept { query, key, value, mixed, middle, up }));
        (y, kept)
    }

    fn backward(&self, inputs: [&[f32]; INPUTS], kept: &Arc<Kept>, grad: &[f32]) -> [Vec<f32>; INPUTS] {
        let (x, w) = self.weights(inputs);
        let width = self.shape[1];
        let Kept { query, key, value, mixed, middle, up } = &**kept;

        let mut active = Buffer::dirty(up.len());
        let mut d_up = w.down.backward(grad);
        let up_bias = activation::backward(self.plan.activation, &mut active, &mut d_up, up, w.up.bias);
        let down = w.down.gradient(grad, &active);
        drop(active);
        let mut normal = Buffer::dirty(middle.len());
        w.norm2.forward(&mut normal, middle);
        let up = w.up.gradient(&d_up, &normal);
        drop(normal);
        let d_normal = w.up.backward(&d_up);
        drop(d_up);
        let mut d_middle = Buffer::dirty(middle.len());
        let [norm2, norm2_bias, out_bias] = w.norm2.backward(&mut d_middle, middle, &d_normal, Some(grad));
        drop(d_normal);

        let out = w.out.gradient(&d_middle, mixed);
        let d_mixed = w.out.backward(&d_middle);
        let projected = Projected { rows: [query, key, value], biases: w.biases() };
        let [dq, dk, dv] = self.plan.attention.backward(projected, &d_mixed);
        drop(d_mixed);
        let mut normal = Buffer::dirty(x.len());
        w.norm1.forward(&mut normal, x);
        let normal = self.select(normal);
        let query = w.query.gradient(&dq, normal.read());
        let [key, value] = [(w.key, &dk), (w.value, &dv)].map(|(layer, grad)| layer.gradient(grad, normal.all()));
        drop(normal);
        let mut d_normal = w.key.backward(&dk);
        w.value.backward_into(&mut d_normal, true, &dv);
        match &self.plan.read {
            None => w.query.backward_into(&mut d_normal, true, &dq),
            Some(read) => self.scatter(&mut d_normal, &w.query.backward(&dq), read),
        }
        let [query_bias, key_bias, value_bias] = [&dq, &dk, &dv].map(|grad| column_sums(grad, width));
        let mut dx = vec![0.0; x.len()];
        let residual = self.plan.read.is_none().then_some(&*d_middle);
        let [norm1, norm1_bias, _] = w.norm1.backward(&mut dx, x, &d_normal, residual);
        if let Some(read) = &self.plan.read {
            self.scatter(&mut dx, &d_middle, read);
        }
        let down_bias = column_sums(grad, width);
        [
            dx, norm1, norm1_bias, query, query_bias, key, key_bias, value, value_bias, out, out_bias, norm2,
            norm2_bias, up, up_bias, down, down_bias,
        ]
    }
}

/// `rows + bias`
fn plus(rows: &[f32], bias: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; rows.len()];
    let task = ROWS * bias.len();
    out.par_chunks_mut(task).zip(rows.par_chunks(task)).for_each(|(out, rows)| {
        wide(
            #[inline(always)]
            || {
                for (out, row) in out.chunks_exact_mut(bias.len()).zip(rows.chunks_exact(bias.len())) {
                    for ((out, value), b) in out.iter_mut().zip(row).zip(bias) {
                        *out = value + b;
                    }
                }
            },
        );
    });
    out
}
