//! Attention over sequences whose rows lie anywhere in a tensor.

use std::ops::Range;

use rayon::prelude::*;

use super::math::{add_scaled, dot, exp, sum, wide};
use super::matmul::{Matrix, multiply_here};
use super::pool::Buffer;

/// Some queries and the keys that they see.
///
/// When attention is causal, the last query sees all keys, the one before it all but the last,
/// and so on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Number of query rows. The query rows of the spans follow one another and cover all rows.
    pub queries: usize,
    /// Key rows, in their order; at least as many as queries.
    pub keys: Vec<Range<usize>>,
}

impl Span {
    fn len(&self) -> usize {
        self.keys.iter().map(ExactSizeIterator::len).sum()
    }
}

/// Which queries see which keys.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    spans: Vec<Span>,
    heads: usize,
    causal: bool,
    /// Number of key rows.
    rows: usize,
    shared: Option<Shared>,
}

/// Where the gradient of each key row comes from if spans share rows: the places of the row in the
/// spans' keys laid end to end.
#[derive(Clone, Debug)]
struct Shared {
    /// Where each row's places start in `places`, and the end.
    starts: Vec<usize>,
    places: Vec<u32>,
}

/// Query, key and value before their biases are added, each `[rows, width]` with the heads side by
/// side in the columns.
#[derive(Clone, Copy)]
pub(super) struct Projected<'a> {
    pub(super) rows: [&'a [f32]; 3],
    pub(super) biases: [&'a [f32]; 3],
}

/// Products at least this long go through the blocked matrix product.
const LONG: usize = 64;

impl Plan {
    /// `rows` is the number of key rows.
    pub(crate) fn new(spans: Vec<Span>, heads: usize, causal: bool, rows: usize) -> Self {
        let ranges = || spans.iter().flat_map(|span| span.keys.iter().cloned());
        let apart = spans.iter().all(|span| span.keys.len() == 1)
            && ranges().zip(ranges().skip(1)).all(|(one, next)| one.end <= next.start);
        let shared = (!apart).then(|| Shared::new(ranges().flatten(), rows));
        Self { spans, heads, causal, rows, shared }
    }

    #[cfg(test)]
    pub(super) fn causal(&self) -> bool {
        self.causal
    }

    /// The attended values, `[query rows, width]`.
    pub(super) fn forward(&self, out: &mut [f32], input: Projected<'_>) {
        let width = input.biases[0].len();
        let queries = cut(input.rows[0], self.spans.iter().map(|span| span.queries * width));
        let outs = cut_mut(out, self.spans.iter().map(|span| span.queries * width));
        let tasks = outs.into_par_iter().zip(queries).zip(&self.spans);
        tasks.for_each_init(Scratch::default, |scratch, ((out, query), span)| {
            let shape = self.shape(span, width);
            scratch.load(&shape, query, span, &input);
            wide(
                #[inline(always)]
                || scratch.forward(&shape),
            );
            shape.rows_of(out, &scratch.mixed);
        });
    }

    /// The gradients of query, key and value from that of the output.
    pub(super) fn backward(&self, input: Projected<'_>, grad: &[f32]) -> [Buffer; 3] {
        let width = input.biases[0].len();
        let mut dq = Buffer::dirty(input.rows[0].len());
        // Spans that share rows first write to separate places, which are then summed in a fixed order.
        let lens: Vec<usize> = self.spans.iter().map(|span| span.len() * width).collect();
        let rows = if self.shared.is_some() { lens.iter().sum() } else { self.rows * width };
        let [mut dk, mut dv] = [(); 2].map(|()| match self.shared {
            Some(_) => Buffer::dirty(rows),
            None => Buffer::zeroed(rows),
        });
        let [dks, dvs] = [&mut dk, &mut dv].map(|rows| match self.shared {
            Some(_) => cut_mut(rows, lens.iter().copied()),
            None => self.cut_own(rows, width),
        });
        let by_query = || self.spans.iter().map(|span| span.queries * width);
        let inputs = cut(input.rows[0], by_query()).into_par_iter().zip(cut(grad, by_query()));
        let outputs = cut_mut(&mut dq, by_query()).into_par_iter().zip(dks).zip(dvs);
        outputs.zip(inputs).zip(&self.spans).for_each_init(
            Scratch::default,
            |scratch, ((((dq, dk), dv), (query, grad)), span)| {
                let shape = self.shape(span, width);
                scratch.load(&shape, query, span, &input);
                scratch.load_gradient(&shape, grad);
                wide(
                    #[inline(always)]
                    || scratch.backward(&shape),
                );
                shape.rows_of(dq, &scratch.dq);
                shape.rows_of(dk, &scratch.dk);
                shape.rows_of(dv, &scratch.dv);
            },
        );
        match &self.shared {
            Some(shared) => [dq, shared.gather(&dk, width), shared.gather(&dv, width)],
            None => [dq, dk, dv],
        }
    }

    fn shape(&self, span: &Span, width: usize) -> Shape {
        let depth = width / self.heads;
        Shape { queries: span.queries, keys: span.len(), heads: self.heads, depth, causal: self.causal }
    }

    /// Cuts out each span's key rows, if no two spans share any.
    fn cut_own<'a>(&self, mut rows: &'a mut [f32], width: usize) -> Vec<&'a mut [f32]> {
        let mut at = 0;
        let take = |range: &Range<usize>| {
            let (_, later) = std::mem::take(&mut rows).split_at_mut((range.start - at) * width);
            let (now, later) = later.split_at_mut(range.len() * width);
            (rows, at) = (later, range.end);
            now
        };
        self.spans.iter().flat_map(|span| &span.keys).map(take).collect()
    }
}

impl Shared {
    /// From the key row at each place.
    fn new(rows: impl Iterator<Item = usize> + Clone, count: usize) -> Self {
        let mut starts = vec![0; count + 1];
        for row in rows.clone() {
            starts[row + 1] += 1;
        }
        for row in 0..count {
            starts[row + 1] += starts[row];
        }
        let mut next = starts.clone();
        let mut places = vec![0; starts[count]];
        for (place, row) in rows.enumerate() {
            places[next[row]] = place as u32;
            next[row] += 1;
        }
        Self { starts, places }
    }

    /// The sum over each row's places, in their order.
    fn gather(&self, places: &[f32], width: usize) -> Buffer {
        let mut rows = Buffer::dirty((self.starts.len() - 1) * width);
        rows.par_chunks_mut(width).enumerate().with_min_len(16).for_each(|(row, out)| {
            out.fill(0.0);
            for place in &self.places[self.starts[row]..self.starts[row + 1]] {
                add_scaled(out, 1.0, &places[*place as usize * width..][..width]);
            }
        });
        rows
    }
}

fn cut(rows: &[f32], lens: impl Iterator<Item = usize>) -> Vec<&[f32]> {
    let mut rest = rows;
    let take = |len| {
        let (now, later) = rest.split_at(len);
        rest = later;
        now
    };
    lens.map(take).collect()
}

fn cut_mut(rows: &mut [f32], lens: impl Iterator<Item = usize>) -> Vec<&mut [f32]> {
    let mut rest = rows;
    let take = |len| {
        let (now, later) = std::mem::take(&mut rest).split_at_mut(len);
        rest = later;
        now
    };
    lens.map(take).collect()
}

/// The size of one span's work.
#[derive(Clone, Copy)]
struct Shape {
    queries: usize,
    keys: usize,
    heads: usize,
    depth: usize,
    causal: bool,
}

impl Shape {
    /// Keys that query `i` sees.
    #[inline(always)]
    fn seen(&self, i: usize) -> usize {
        if self.causal { self.keys - (self.queries - 1 - i) } else { self.keys }
    }

    fn long(&self) -> bool {
        self.queries.min(self.keys) >= LONG
    }

    /// Rearranges values from head by head to row by row.
    fn rows_of(&self, rows: &mut [f32], heads: &[f32]) {
        let (depth, width) = (self.depth, self.heads * self.depth);
        let count = rows.len() / width;
        for (head, values) in heads.chunks_exact(count * depth).enumerate() {
            for (row, values) in rows.chunks_exact_mut(width).zip(values.chunks_exact(depth)) {
                row[head * depth..][..depth].copy_from_slice(values);
            }
        }
    }
}

/// One span's values, head by head, each head row by row.
#[derive(Default)]
struct Scratch {
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    mixed: Vec<f32>,
    grad: Vec<f32>,
    dq: Vec<f32>,
    dk: Vec<f32>,
    dv: Vec<f32>,
    weights: Vec<f32>,
    slopes: Vec<f32>,
}

/// Copies rows to head by head, with a bias.
fn by_head<'a>(out: &mut Vec<f32>, shape: &Shape, count: usize, rows: impl Iterator<Item = &'a [f32]>, bias: &[f32]) {
    let depth = shape.depth;
    out.clear();
    out.resize(count * shape.heads * depth, 0.0);
    for (i, row) in rows.enumerate() {
        for (head, (values, bias)) in row.chunks_exact(depth).zip(bias.chunks_exact(depth)).enumerate() {
            let out = &mut out[(head * count + i) * depth..][..depth];
            for ((out, value), b) in out.iter_mut().zip(values).zip(bias) {
                *out = value + b;
            }
        }
    }
}

impl Scratch {
    fn load(&mut self, shape: &Shape, query: &[f32], span: &Span, input: &Projected<'_>) {
        let width = shape.heads * shape.depth;
        let [_, key, value] = input.rows;
        let rows = || span.keys.iter().cloned().flatten();
        let keys = rows().map(|row| &key[row * width..][..width]);
        by_head(&mut self.key, shape, shape.keys, keys, input.biases[1]);
        let values = rows().map(|row| &value[row * width..][..width]);
        by_head(&mut self.value, shape, shape.keys, values, input.biases[2]);
        by_head(&mut self.query, shape, shape.queries, query.chunks_exact(width), input.biases[0]);
        self.weights.resize(shape.queries * shape.keys, 0.0);
    }

    fn load_gradient(&mut self, shape: &Shape, grad: &[f32]) {
        let width = shape.heads * shape.depth;
        by_head(&mut self.grad, shape, shape.queries, grad.chunks_exact(width), &vec![0.0; width]);
        self.slopes.resize(shape.queries * shape.keys, 0.0);
        for (out, count) in [(&mut self.dq, shape.queries), (&mut self.dk, shape.keys), (&mut self.dv, shape.keys)] {
            out.resize(count * width, 0.0);
        }
    }

    #[inline(always)]
    fn forward(&mut self, shape: &Shape) {
        let (n, m) = (shape.queries * shape.depth, shape.keys * shape.depth);
        self.mixed.resize(shape.heads * n, 0.0);
        for head in 0..shape.heads {
            let (query, key) = (&self.query[head * n..][..n], &self.key[head * m..][..m]);
            attend(shape, &mut self.weights, query, key);
            mix(shape, &mut self.mixed[head * n..][..n], &self.weights, &self.value[head * m..][..m]);
        }
    }

    #[inline(always)]
    fn backward(&mut self, shape: &Shape) {
        let (n, m) = (shape.queries * shape.depth, shape.keys * shape.depth);
        let scale = (shape.depth as f32).powf(-0.5);
        for head in 0..shape.heads {
            let (query, key) = (&self.query[head * n..][..n], &self.key[head * m..][..m]);
            let (grad, value) = (&self.grad[head * n..][..n], &self.value[head * m..][..m]);
            attend(shape, &mut self.weights, query, key);
            compare(shape, &mut self.slopes, grad, value);
            spread(shape, &mut self.dv[head * m..][..m], &self.weights, grad);
            for i in 0..shape.queries {
                let weights = &self.weights[i * shape.keys..][..shape.keys];
                let slopes = &mut self.slopes[i * shape.keys..][..shape.keys];
                let seen = shape.seen(i);
                let mean = dot(&weights[..seen], &slopes[..seen]);
                for (slope, weight) in slopes.iter_mut().zip(weights) {
                    *slope = scale * weight * (*slope - mean);
                }
            }
            mix(shape, &mut self.dq[head * n..][..n], &self.slopes, key);
            spread(shape, &mut self.dk[head * m..][..m], &self.slopes, query);
        }
    }
}

/// `scores = a b^T` where keys are seen, for `a` `[queries, depth]` and `b` `[keys, depth]`; zero
/// elsewhere.
#[inline(always)]
fn compare(shape: &Shape, scores: &mut [f32], a: &[f32], b: &[f32]) {
    let depth = shape.depth;
    if shape.long() {
        multiply_here(scores, false, Matrix::new(a, depth), Matrix::new(b, depth).transposed());
    }
    for (i, scores) in scores.chunks_exact_mut(shape.keys).enumerate() {
        let (seen, unseen) = scores.split_at_mut(shape.seen(i));
        unseen.fill(0.0);
        if !shape.long() {
            let a = &a[i * depth..][..depth];
            for (score, b) in seen.iter_mut().zip(b.chunks_exact(depth)) {
                *score = dot(a, b);
            }
        }
    }
}

/// The attention weights of all queries, zero where keys are not seen.
#[inline(always)]
fn attend(shape: &Shape, weights: &mut [f32], query: &[f32], key: &[f32]) {
    let scale = (shape.depth as f32).powf(-0.5);
    compare(shape, weights, query, key);
    for (i, weights) in weights.chunks_exact_mut(shape.keys).enumerate() {
        let weights = &mut weights[..shape.seen(i)];
        let largest = weights.iter().fold(f32::NEG_INFINITY, |largest, weight| largest.max(*weight));
        for weight in weights.iter_mut() {
            *weight = exp(scale * (*weight - largest));
        }
        let factor = 1.0 / sum(weights.len(), |j| weights[j]);
        for weight in weights.iter_mut() {
            *weight *= factor;
        }
    }
}

/// `out = weights values`: `[queries, depth]`.
#[inline(always)]
fn mix(shape: &Shape, out: &mut [f32], weights: &[f32], values: &[f32]) {
    let depth = shape.depth;
    if shape.long() {
        return multiply_here(out, false, Matrix::new(weights, shape.keys), Matrix::new(values, depth));
    }
    for (i, out) in out.chunks_exact_mut(depth).enumerate() {
        out.fill(0.0);
        let weights = &weights[i * shape.keys..][..shape.seen(i)];
        for (weight, value) in weights.iter().zip(values.chunks_exact(depth)) {
            add_scaled(out, *weight, value);
        }
    }
}

/// `out = weights^T rows`: `[keys, depth]`.
#[inline(always)]
fn spread(shape: &Shape, out: &mut [f32], weights: &[f32], rows: &[f32]) {
    let depth = shape.depth;
    if shape.long() {
        return multiply_here(out, false, Matrix::new(weights, shape.keys).transposed(), Matrix::new(rows, depth));
    }
    out.fill(0.0);
    for (i, row) in rows.chunks_exact(depth).enumerate() {
        let weights = &weights[i * shape.keys..][..shape.seen(i)];
        for (weight, out) in weights.iter().zip(out.chunks_exact_mut(depth)) {
            add_scaled(out, *weight, row);
        }
    }
}
