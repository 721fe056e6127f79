//! CPU kernels for what burn composes of many passes over memory: linear layers, layer norm,
//! QuickGELU, attention over sequences of different lengths, embedding lookup.
//!
//! Each has its own backward pass. They replace the composed form on the flex backend only;
//! elsewhere, and in the tests that compare the two, the composed form is used.
//!
//! Results do not depend on the number of threads: rows are cut into chunks of a fixed size,
//! and what is summed across chunks is summed in their order.

use std::fmt::{self, Debug};
use std::marker::PhantomData;
use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Flex, TensorMetadata};
use burn::tensor::{DType, Device, Tensor, TensorData};
use rayon::prelude::*;

/// Whether tensors of this device can go through the kernels of this module.
pub(crate) fn available(device: &Device) -> bool {
    let plain = Device::flex().autodiff().gradient_checkpointing_strategy();
    let strategy = device.gradient_checkpointing_strategy();
    *device == Device::flex() && (strategy.is_none() || strategy == plain)
}

/// An operation on `N` tensors of f32, given as contiguous slices.
trait Kernel<const N: usize>: Clone + Debug + Send + 'static {
    /// Shape of the output.
    fn shape(&self) -> [usize; 2];
    fn forward(&self, inputs: [&[f32]; N]) -> Vec<f32>;
    /// The gradients of the inputs, from the gradient of the output.
    fn backward(&self, inputs: [&[f32]; N], grad: &[f32]) -> [Vec<f32>; N];
}

/// Runs a kernel; when one of the inputs is an autodiff tensor, records the backward pass.
fn run<K: Kernel<N>, const N: usize>(kernel: K, inputs: [Input; N]) -> Tensor<2> {
    if !inputs.iter().any(|input| matches!(input, Input::Autodiff(_))) {
        let inputs = inputs.map(Input::primitive);
        let output = kernel.forward(inputs.each_ref().map(slice));
        return Tensor::from_primitive::<Flex>(tensor(output, &kernel.shape()));
    }
    let inputs = inputs.map(Input::autodiff);
    let nodes = inputs.each_ref().map(|input| input.node());
    let inputs = inputs.map(|input| contiguous(input.into_primitive()));
    let output = tensor(kernel.forward(inputs.each_ref().map(slice)), &kernel.shape());
    let step = Step::<K, N>(PhantomData);
    let output = match step.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish((kernel, inputs), output),
        OpsKind::UnTracked(prep) => prep.finish(output),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(output)
}

/// A kernel's backward pass as burn's autodiff sees it.
struct Step<K, const N: usize>(PhantomData<fn() -> K>);

impl<K, const N: usize> Debug for Step<K, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::any::type_name::<K>())
    }
}

impl<K: Kernel<N>, const N: usize> Backward<Flex, N> for Step<K, N> {
    type State = (K, [FlexTensor; N]);

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = contiguous(grads.consume::<Flex>(&ops.node));
        let (kernel, inputs) = ops.state;
        let shapes = inputs.each_ref().map(|input| input.shape().to_vec());
        let found = kernel.backward(inputs.each_ref().map(slice), slice(&grad));
        for ((parent, shape), grad) in ops.parents.into_iter().zip(shapes).zip(found) {
            if let Some(parent) = parent {
                grads.register::<Flex>(parent.id, tensor(grad, &shape));
            }
        }
    }
}

type AutodiffTensor = FloatTensor<Autodiff<Flex>>;

/// A tensor of any rank on its way into a kernel.
enum Input {
    Plain(FlexTensor),
    Autodiff(AutodiffTensor),
}

fn input<const D: usize>(tensor: Tensor<D>) -> Input {
    const ASKED: &str = "`available` was asked about the device";
    if tensor.is_autodiff() {
        Input::Autodiff(tensor.try_into_primitive::<Autodiff<Flex>>().expect(ASKED))
    } else {
        Input::Plain(tensor.try_into_primitive::<Flex>().expect(ASKED))
    }
}

impl Input {
    fn primitive(self) -> FlexTensor {
        match self {
            Self::Plain(tensor) => contiguous(tensor),
            Self::Autodiff(tensor) => contiguous(tensor.into_primitive()),
        }
    }

    fn autodiff(self) -> AutodiffTensor {
        match self {
            Self::Plain(tensor) => Autodiff::<Flex>::from_inner(tensor),
            Self::Autodiff(tensor) => tensor,
        }
    }
}

fn contiguous(tensor: FlexTensor) -> FlexTensor {
    debug_assert_eq!(tensor.dtype(), DType::F32);
    if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
}

fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("contiguous f32")
}

fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.to_vec()))
}

/// Compiles `f` for the widest vectors that this processor has.
#[inline(always)]
fn wide<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Elements a task, for operations on single elements.
const ELEMENTS: usize = 1 << 14;
/// Rows a task, for operations on rows.
const ROWS: usize = 64;
/// Running sums of a reduction. More than the lanes of any vector, so that the order of
/// additions is the same on every processor.
const LANES: usize = 16;

#[inline(always)]
fn sum(n: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let whole = n - n % LANES;
    let mut at = 0;
    while at < whole {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(at + lane);
        }
        at += LANES;
    }
    let rest: f32 = (whole..n).map(&term).sum();
    lanes.iter().sum::<f32>() + rest
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let b = &b[..a.len()];
    sum(a.len(), |i| a[i] * b[i])
}

/// `y += scale * x`
#[inline(always)]
fn add_scaled(y: &mut [f32], scale: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += scale * x;
    }
}

/// `e^x` to about one unit in the last place, in a form that vectorises: `2^n e^r`, with a
/// polynomial for `e^r` on `|r| <= ln 2 / 2`.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding it leaves the nearest integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let mut p = 1.987_569_1e-4;
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.0e-1] {
        p = p * r + c;
    }
    let power = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    (p * r * r + r + 1.0) * f32::from_bits(power)
}

// ---------------------------------------------------------------------------- matrix products

/// A matrix inside a slice: element `(i, j)` is at `i * rows + j * columns`.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    values: &'a [f32],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// `[rows, columns]`, row-major.
    fn new(values: &'a [f32], columns: usize) -> Self {
        let shape = [values.len() / columns, columns];
        assert_eq!(shape[0] * shape[1], values.len());
        Self { values, shape, strides: [columns, 1] }
    }

    fn transposed(self) -> Self {
        let Self { values, shape: [m, n], strides: [rows, columns] } = self;
        Self { values, shape: [n, m], strides: [columns, rows] }
    }
}

/// `out = a b`, or `out += a b`; `out` is row-major.
fn multiply(out: &mut [f32], add: bool, a: Matrix, b: Matrix) {
    let ([m, k], [depth, n]) = (a.shape, b.shape);
    assert!(k == depth && out.len() == m * n);
    // As many threads as there are, once the product is worth waking them.
    let threads = if m * n * k < 1 << 22 { gemm::Parallelism::None } else { gemm::Parallelism::Rayon(0) };
    let [a_rows, a_columns] = a.strides.map(|stride| stride as isize);
    let [b_rows, b_columns] = b.strides.map(|stride| stride as isize);
    // SAFETY: a `Matrix` is made only from a slice that its shape and strides fill exactly, the
    // sizes of the three agree by the assertion above, and `out` is borrowed mutably, so it
    // overlaps neither of the others. All of `out` is initialised, so that reading it is sound.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            add,
            a.values.as_ptr(),
            a_columns,
            a_rows,
            b.values.as_ptr(),
            b_columns,
            b_rows,
            1.0,
            1.0,
            false,
            false,
            false,
            threads,
        );
    }
}

/// The sums of the columns of `[rows, width]`.
fn column_sums(values: &[f32], width: usize) -> Vec<f32> {
    let partial: Vec<Vec<f32>> = values
        .par_chunks(ROWS * width)
        .map(|rows| {
            let mut sums = vec![0.0; width];
            wide(
                #[inline(always)]
                || {
                    for row in rows.chunks_exact(width) {
                        add_scaled(&mut sums, 1.0, row);
                    }
                },
            );
            sums
        })
        .collect();
    let mut sums = vec![0.0; width];
    for part in &partial {
        add_scaled(&mut sums, 1.0, part);
    }
    sums
}

#[derive(Clone, Debug)]
struct Linear {
    shape: [usize; 2],
}

/// `x W^T + b` for `x` `[rows, input]`, `weight` `[output, input]`, `bias` `[output]`.
pub(crate) fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    let kernel = Linear { shape: [x.dims()[0], weight.dims()[0]] };
    run(kernel, [input(x), input(weight), input(bias)])
}

/// `residual + x W^T + b`, with a residual of the output's shape.
pub(crate) fn add_linear(residual: Tensor<2>, x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    let kernel = Linear { shape: residual.dims() };
    run(kernel, [input(residual), input(x), input(weight), input(bias)])
}

impl Linear {
    /// The bias in each row, on top of the residual where there is one: what the product is added
    /// to.
    fn start(&self, residual: Option<&[f32]>, bias: &[f32]) -> Vec<f32> {
        let mut out = match residual {
            Some(residual) => residual.to_vec(),
            None => vec![0.0; self.shape[0] * self.shape[1]],
        };
        out.par_chunks_mut(ROWS * self.shape[1]).for_each(|rows| {
            wide(
                #[inline(always)]
                || {
                    for row in rows.chunks_exact_mut(self.shape[1]) {
                        add_scaled(row, 1.0, bias);
                    }
                },
            );
        });
        out
    }

    fn product(&self, out: &mut [f32], x: &[f32], weight: &[f32]) {
        let input = weight.len() / self.shape[1];
        multiply(out, true, Matrix::new(x, input), Matrix::new(weight, input).transposed());
    }

    fn gradients(&self, x: &[f32], weight: &[f32], grad: &[f32]) -> [Vec<f32>; 3] {
        let [_, output] = self.shape;
        let input = weight.len() / output;
        let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; weight.len()]);
        let grad_rows = Matrix::new(grad, output);
        multiply(&mut dx, false, grad_rows, Matrix::new(weight, input));
        multiply(&mut dw, false, grad_rows.transposed(), Matrix::new(x, input));
        [dx, dw, column_sums(grad, output)]
    }
}

impl Kernel<3> for Linear {
    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn forward(&self, [x, weight, bias]: [&[f32]; 3]) -> Vec<f32> {
        let mut out = self.start(None, bias);
        self.product(&mut out, x, weight);
        out
    }

    fn backward(&self, [x, weight, _]: [&[f32]; 3], grad: &[f32]) -> [Vec<f32>; 3] {
        self.gradients(x, weight, grad)
    }
}

impl Kernel<4> for Linear {
    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn forward(&self, [residual, x, weight, bias]: [&[f32]; 4]) -> Vec<f32> {
        let mut out = self.start(Some(residual), bias);
        self.product(&mut out, x, weight);
        out
    }

    fn backward(&self, [_, x, weight, _]: [&[f32]; 4], grad: &[f32]) -> [Vec<f32>; 4] {
        let [dx, dw, db] = self.gradients(x, weight, grad);
        [grad.to_vec(), dx, dw, db]
    }
}

// ---------------------------------------------------------------------------- QuickGELU

#[derive(Clone, Debug)]
struct QuickGelu {
    shape: [usize; 2],
}

const SLOPE: f32 = 1.702;

/// `x * sigmoid(1.702 x)`.
pub(crate) fn quick_gelu(x: Tensor<2>) -> Tensor<2> {
    run(QuickGelu { shape: x.dims() }, [input(x)])
}

impl Kernel<1> for QuickGelu {
    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn forward(&self, [x]: [&[f32]; 1]) -> Vec<f32> {
        let mut y = vec![0.0; x.len()];
        y.par_chunks_mut(ELEMENTS).zip(x.par_chunks(ELEMENTS)).for_each(|(y, x)| {
            wide(
                #[inline(always)]
                || {
                    for (y, x) in y.iter_mut().zip(x) {
                        *y = x / (1.0 + exp(-SLOPE * x));
                    }
                },
            );
        });
        y
    }

    fn backward(&self, [x]: [&[f32]; 1], grad: &[f32]) -> [Vec<f32>; 1] {
        let mut out = vec![0.0; x.len()];
        let inputs = x.par_chunks(ELEMENTS).zip(grad.par_chunks(ELEMENTS));
        out.par_chunks_mut(ELEMENTS).zip(inputs).for_each(|(out, (x, grad))| {
            wide(
                #[inline(always)]
                || {
                    for ((out, x), g) in out.iter_mut().zip(x).zip(grad) {
                        let s = 1.0 / (1.0 + exp(-SLOPE * x));
                        *out = g * (s + SLOPE * x * s * (1.0 - s));
                    }
                },
            );
        });
        [out]
    }
}

// ---------------------------------------------------------------------------- layer norm

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

impl LayerNorm {
    /// Mean and reciprocal deviation of a row.
    #[inline(always)]
    fn moments(&self, x: &[f32]) -> (f32, f32) {
        let n = x.len() as f32;
        let mean = sum(x.len(), |i| x[i]) / n;
        let variance = sum(x.len(), |i| (x[i] - mean) * (x[i] - mean)) / n;
        (mean, 1.0 / (variance + self.eps).sqrt())
    }
}

impl Kernel<3> for LayerNorm {
    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn forward(&self, [x, weight, bias]: [&[f32]; 3]) -> Vec<f32> {
        let width = self.shape[1];
        let mut y = vec![0.0; x.len()];
        let task = ROWS * width;
        y.par_chunks_mut(task).zip(x.par_chunks(task)).for_each(|(y, x)| {
            wide(
                #[inline(always)]
                || {
                    for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                        let (mean, scale) = self.moments(x);
                        for (((y, x), w), b) in y.iter_mut().zip(x).zip(weight).zip(bias) {
                            *y = (x - mean) * scale * w + b;
                        }
                    }
                },
            );
        });
        y
    }

    fn backward(&self, [x, weight, _]: [&[f32]; 3], grad: &[f32]) -> [Vec<f32>; 3] {
        let width = self.shape[1];
        let mut dx = vec![0.0; x.len()];
        let task = ROWS * width;
        let inputs = x.par_chunks(task).zip(grad.par_chunks(task));
        let partial: Vec<(Vec<f32>, Vec<f32>)> = dx
            .par_chunks_mut(task)
            .zip(inputs)
            .map(|(dx, (x, grad))| {
                let (mut dw, mut db) = (vec![0.0; width], vec![0.0; width]);
                wide(
                    #[inline(always)]
                    || {
                        let rows = x.chunks_exact(width).zip(grad.chunks_exact(width));
                        for (dx, (x, g)) in dx.chunks_exact_mut(width).zip(rows) {
                            let (mean, scale) = self.moments(x);
                            let n = width as f32;
                            let (x, g, w) = (&x[..width], &g[..width], &weight[..width]);
                            let mean_g = sum(width, |i| g[i] * w[i]) / n;
                            let mean_gx = sum(width, |i| g[i] * w[i] * ((x[i] - mean) * scale)) / n;
                            for i in 0..width {
                                let normal = (x[i] - mean) * scale;
                                dx[i] = scale * (g[i] * w[i] - mean_g - normal * mean_gx);
                                dw[i] += g[i] * normal;
                                db[i] += g[i];
                            }
                        }
                    },
                );
                (dw, db)
            })
            .collect();
        let (mut dw, mut db) = (vec![0.0; width], vec![0.0; width]);
        for (w, b) in &partial {
            add_scaled(&mut dw, 1.0, w);
            add_scaled(&mut db, 1.0, b);
        }
        [dx, dw, db]
    }
}

// ---------------------------------------------------------------------------- attention

/// One sequence for attention.
///
/// When attention is causal, the last query sees all `keys`, the one before it all but the last,
/// and so on.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    /// Query rows.
    pub queries: usize,
    /// Key rows that count; at least as many as queries.
    pub keys: usize,
    /// Key rows that the sequence takes up.
    pub run: usize,
}

/// Sequences laid end to end: the runs of the spans follow each other and cover all rows.
#[derive(Clone, Debug)]
pub(crate) struct Spans {
    pub spans: Arc<[Span]>,
    pub heads: usize,
    pub causal: bool,
}

#[derive(Clone, Debug)]
struct Attention {
    shape: [usize; 2],
    layout: Spans,
}

/// Multi-head attention. `query` `[query rows, width]`, `key` and `value` `[key rows, width]`,
/// heads side by side in the columns. Output as `query`.
pub(crate) fn attention(query: Tensor<2>, key: Tensor<2>, value: Tensor<2>, layout: Spans) -> Tensor<2> {
    let kernel = Attention { shape: query.dims(), layout };
    run(kernel, [input(query), input(key), input(value)])
}

impl Attention {
    fn depth(&self) -> usize {
        self.shape[1] / self.layout.heads
    }

    fn scale(&self) -> f32 {
        (self.depth() as f32).powf(-0.5)
    }

    /// Keys that query `i` of a span sees.
    #[inline(always)]
    fn seen(&self, span: &Span, i: usize) -> usize {
        if self.layout.causal { span.keys - (span.queries - 1 - i) } else { span.keys }
    }

    /// Writes the attention weights of one query into `weights`.
    #[inline(always)]
    fn weights(&self, weights: &mut [f32], query: &[f32], key: &[f32], at: usize) {
        let (width, depth, scale) = (self.shape[1], self.depth(), self.scale());
        let mut largest = f32::NEG_INFINITY;
        for (j, weight) in weights.iter_mut().enumerate() {
            *weight = scale * dot(query, &key[j * width + at..][..depth]);
            largest = largest.max(*weight);
        }
        for weight in weights.iter_mut() {
            *weight = exp(*weight - largest);
        }
        let total = sum(weights.len(), |j| weights[j]);
        let factor = 1.0 / total;
        for weight in weights.iter_mut() {
            *weight *= factor;
        }
    }

    /// Cuts a tensor with a row per query, or per key, into the runs of the spans.
    fn cut<'a>(&self, rows: &'a [f32], run: impl Fn(&Span) -> usize) -> Vec<&'a [f32]> {
        let mut rest = rows;
        let take = |span: &Span| {
            let (now, later) = rest.split_at(run(span) * self.shape[1]);
            rest = later;
            now
        };
        self.layout.spans.iter().map(take).collect()
    }

    fn cut_mut<'a>(&self, rows: &'a mut [f32], run: impl Fn(&Span) -> usize) -> Vec<&'a mut [f32]> {
        let mut rest = rows;
        let take = |span: &Span| {
            let (now, later) = std::mem::take(&mut rest).split_at_mut(run(span) * self.shape[1]);
            rest = later;
            now
        };
        self.layout.spans.iter().map(take).collect()
    }
}

impl Kernel<3> for Attention {
    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn forward(&self, [query, key, value]: [&[f32]; 3]) -> Vec<f32> {
        let (width, depth) = (self.shape[1], self.depth());
        let mut out = vec![0.0; query.len()];
        let queries = self.cut(query, |span| span.queries);
        let keys = self.cut(key, |span| span.run);
        let values = self.cut(value, |span| span.run);
        let outs = self.cut_mut(&mut out, |span| span.queries);
        let inputs = queries.into_par_iter().zip(keys).zip(values);
        outs.into_par_iter().zip(inputs).zip(&*self.layout.spans).for_each(|((out, ((query, key), value)), span)| {
            let mut weights = vec![0.0; span.keys];
            wide(
                #[inline(always)]
                || {
                    for at in (0..width).step_by(depth) {
                        for i in 0..span.queries {
                            let weights = &mut weights[..self.seen(span, i)];
                            let row = i * width + at;
                            self.weights(weights, &query[row..][..depth], key, at);
                            let out = &mut out[row..][..depth];
                            for (j, weight) in weights.iter().enumerate() {
                                add_scaled(out, *weight, &value[j * width + at..][..depth]);
                            }
                        }
                    }
                },
            );
        });
        out
    }

    fn backward(&self, [query, key, value]: [&[f32]; 3], grad: &[f32]) -> [Vec<f32>; 3] {
        let (width, depth, scale) = (self.shape[1], self.depth(), self.scale());
        let mut dq = vec![0.0; query.len()];
        let (mut dk, mut dv) = (vec![0.0; key.len()], vec![0.0; value.len()]);
        let queries = self.cut(query, |span| span.queries);
        let keys = self.cut(key, |span| span.run);
        let values = self.cut(value, |span| span.run);
        let grads = self.cut(grad, |span| span.queries);
        let dqs = self.cut_mut(&mut dq, |span| span.queries);
        let dks = self.cut_mut(&mut dk, |span| span.run);
        let dvs = self.cut_mut(&mut dv, |span| span.run);
        let inputs = queries.into_par_iter().zip(keys).zip(values).zip(grads);
        let outputs = dqs.into_par_iter().zip(dks).zip(dvs);
        outputs.zip(inputs).zip(&*self.layout.spans).for_each(
            |((((dq, dk), dv), (((query, key), value), grad)), span)| {
                let (mut weights, mut slopes) = (vec![0.0; span.keys], vec![0.0; span.keys]);
                wide(
                    #[inline(always)]
                    || {
                        for at in (0..width).step_by(depth) {
                            for i in 0..span.queries {
                                let seen = self.seen(span, i);
                                let weights = &mut weights[..seen];
                                let slopes = &mut slopes[..seen];
                                let row = i * width + at;
                                let (q, g) = (&query[row..][..depth], &grad[row..][..depth]);
                                self.weights(weights, q, key, at);
                                for (j, slope) in slopes.iter_mut().enumerate() {
                                    *slope = dot(g, &value[j * width + at..][..depth]);
                                }
                                let mean = dot(weights, slopes);
                                let dq = &mut dq[row..][..depth];
                                for j in 0..seen {
                                    let run = j * width + at..j * width + at + depth;
                                    let slope = scale * weights[j] * (slopes[j] - mean);
                                    add_scaled(dq, slope, &key[run.clone()]);
                                    add_scaled(&mut dk[run.clone()], slope, q);
                                    add_scaled(&mut dv[run], weights[j], g);
                                }
                            }
                        }
                    },
                );
            },
        );
        [dq, dk, dv]
    }
}

// ---------------------------------------------------------------------------- embedding

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
    fn shape(&self) -> [usize; 2] {
        self.shape
    }

    fn forward(&self, [tokens, positions]: [&[f32]; 2]) -> Vec<f32> {
        let width = self.shape[1];
        let mut out = vec![0.0; self.rows.len() * width];
        for (out, &(token, position)) in out.chunks_exact_mut(width).zip(&*self.rows) {
            out.copy_from_slice(&tokens[token as usize * width..][..width]);
            add_scaled(out, 1.0, &positions[position as usize * width..][..width]);
        }
        out
    }

    fn backward(&self, _: [&[f32]; 2], grad: &[f32]) -> [Vec<f32>; 2] {
        let width = self.shape[1];
        // Zeroed by the system page by page, so rows that are not touched cost nothing here.
        let mut dt = vec![0.0; self.tokens * width];
        let mut dp = vec![0.0; self.positions * width];
        for (grad, &(token, position)) in grad.chunks_exact(width).zip(&*self.rows) {
            add_scaled(&mut dt[token as usize * width..][..width], 1.0, grad);
            add_scaled(&mut dp[position as usize * width..][..width], 1.0, grad);
        }
        [dt, dp]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn::tensor::activation::sigmoid;
    use burn::tensor::{Distribution, Int, module};

    use super::*;

    fn leaf<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        let device = Device::flex().autodiff();
        Tensor::random(shape, Distribution::Normal(0.5, 2.0), &device).require_grad()
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    /// Backward from a loss in which each element weighs differently.
    fn backward(output: &Tensor<2>) -> burn::tensor::Gradients {
        let [rows, width] = output.dims();
        let weights = Tensor::<1, Int>::arange(0..(rows * width) as i64, &output.device());
        let weights = weights.float().mul_scalar(0.7).sin().reshape([rows, width]);
        (output.clone() * weights).sum().backward()
    }

    fn close(ours: &[f32], theirs: &[f32], bound: f32) {
        assert_eq!(ours.len(), theirs.len());
        let differ = |(a, b): (&f32, &f32)| (a - b).abs() / (1.0 + b.abs());
        let all = ours.iter().zip(theirs).map(differ);
        assert!(all.clone().all(|d| d < bound), "{}", all.fold(0.0, f32::max));
        assert!(theirs.iter().any(|value| value.abs() > 1e-2));
    }

    #[test]
    fn quick_gelu_agrees_with_its_composition() {
        let x = leaf([700, 33]);
        let composed = x.clone() * sigmoid(x.clone().mul_scalar(1.702));
        let fused = quick_gelu(x.clone());
        close(&values(fused.clone().inner()), &values(composed.clone().inner()), 1e-6);
        let [ours, theirs] = [fused, composed].map(|y| values(x.grad(&backward(&y)).unwrap()));
        close(&ours, &theirs, 1e-6);
        close(&values(quick_gelu(x.clone().inner())), &values(quick_gelu(x).inner()), 1e-12);
    }

    #[test]
    fn linear_agrees_with_its_composition() {
        // Large enough for several threads, and not a multiple of anything.
        let (rows, width, output) = (517, 67, 131);
        let (x, w, b) = (leaf([rows, width]), leaf([output, width]), leaf([output]));
        let residual = leaf([rows, output]);
        let product = || x.clone().matmul(w.clone().transpose()) + b.clone().unsqueeze();
        let pairs = [
            (linear(x.clone(), w.clone(), b.clone()), product()),
            (add_linear(residual.clone(), x.clone(), w.clone(), b.clone()), residual.clone() + product()),
        ];
        for (fused, composed) in pairs {
            close(&values(fused.clone().inner()), &values(composed.clone().inner()), 1e-5);
            let [ours, theirs] = [fused, composed].map(|y| {
                let grads = backward(&y);
                let [dx, dw] = [&x, &w].map(|leaf| values(leaf.grad(&grads).unwrap()));
                let db = values(b.grad(&grads).unwrap());
                [Some(dx), Some(dw), Some(db), residual.grad(&grads).map(values)]
            });
            for (ours, theirs) in ours.iter().zip(&theirs) {
                match (ours, theirs) {
                    (Some(ours), Some(theirs)) => close(ours, theirs, 2e-5),
                    (ours, theirs) => assert!(ours.is_none() && theirs.is_none()),
                }
            }
        }
    }

    #[test]
    fn layer_norm_agrees_with_its_composition() {
        for width in [5, 48] {
            let (x, w, b) = (leaf([150, width]), leaf([width]), leaf([width]));
            let fused = layer_norm(x.clone(), w.clone(), b.clone(), 1e-5);
            let composed = module::layer_norm(x.clone(), w.clone(), Some(b.clone()), 1e-5);
            close(&values(fused.clone().inner()), &values(composed.clone().inner()), 1e-5);
            let [ours, theirs] = [fused, composed].map(|y| {
                let grads = backward(&y);
                let dx = values(x.grad(&grads).unwrap());
                [dx, values(w.grad(&grads).unwrap()), values(b.grad(&grads).unwrap())]
            });
            for (ours, theirs) in ours.iter().zip(&theirs) {
                close(ours, theirs, 2e-5);
            }
        }
    }

    #[test]
    fn embedding_agrees_with_its_composition() {
        let (table, positions) = (leaf([11, 6]), leaf([4, 6]));
        let places: Arc<[(u32, u32)]> = [(3, 0), (10, 1), (3, 2), (0, 0), (3, 1)].into();
        let fused = embedding(table.clone(), positions.clone(), places.clone());
        let column = |f: fn(&(u32, u32)) -> u32| {
            let rows: Vec<i32> = places.iter().map(|place| f(place) as i32).collect();
            Tensor::<1, Int>::from_data(rows.as_slice(), &Device::flex())
        };
        let composed =
            table.clone().select(0, column(|place| place.0)) + positions.clone().select(0, column(|place| place.1));
        close(&values(fused.clone().inner()), &values(composed.clone().inner()), 1e-12);
        let [ours, theirs] = [fused, composed].map(|y| {
            let grads = backward(&y);
            [values(table.grad(&grads).unwrap()), values(positions.grad(&grads).unwrap())]
        });
        for (ours, theirs) in ours.iter().zip(&theirs) {
            close(ours, theirs, 1e-6);
        }
    }

    #[test]
    fn frozen_inputs_get_no_gradient() {
        let x = leaf([3, 4]);
        let [w, b] = [leaf([4]), leaf([4])].map(|t| t.inner());
        let grads = backward(&layer_norm(x.clone(), w.clone(), b, 1e-5));
        assert!(x.grad(&grads).is_some() && w.grad(&grads).is_none());
    }

    #[test]
    fn exp_is_exact_to_two_units() {
        for i in -870_000..880_000 {
            let x = i as f32 * 1e-4;
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((ours / exact - 1.0).abs() < 2.4e-7, "{x}: {ours} {exact}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(-1e30) < 1e-37 && exp(1e30) > 1e38 && exp(0.0) == 1.0);
    }
}
