//! Attention over sequences that lie end to end in the rows of a tensor.

use std::sync::Arc;

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::fused::{self, Span, Spans};

/// How the rows of a `[rows, width]` tensor form sequences.
pub(crate) struct Sequences {
    /// Rows of each sequence that count; filling may follow them.
    lens: Vec<usize>,
    /// Rows that each sequence takes up.
    runs: Vec<usize>,
    causal: bool,
    heads: usize,
    /// The row at which each sequence is read in the end.
    read: Tensor<1, Int>,
    /// Absent where kernels take sequences as they are.
    block: Option<Block>,
}

/// What the composed form of attention needs: it works on a block `[sequences, longest]`.
struct Block {
    /// Added to the scores of all positions, `[1, 1, longest, longest]`.
    mask: Option<Tensor<4>>,
    /// Added to the scores of the row that is read, `[sequences, 1, 1, longest]`.
    read_mask: Option<Tensor<4>>,
    /// A row for each position of the block, and a position for each row. Absent when the rows
    /// are a block already.
    moves: Option<(Tensor<1, Int>, Tensor<1, Int>)>,
}

/// Up to this length a sequence's attention is too small for matrix products, and the kernel is
/// faster than they are: equal at 50, half as fast at 257.
const LONGEST_FOR_KERNEL: usize = 96;

/// Far below any score, and finite: infinity would make NaN of a row of nothing else.
const HIDDEN: f32 = -1e30;

impl Sequences {
    /// Texts: each token sees those up to itself, and the last one of `lens` is read. With
    /// `longest`, every text takes up that many rows.
    pub(crate) fn causal(lens: Vec<usize>, longest: Option<usize>, heads: usize, device: &Device) -> Self {
        let runs = lens.iter().map(|len| longest.unwrap_or(*len)).collect();
        let read = |(start, len): (usize, &usize)| start + len - 1;
        Self::new(lens, runs, true, heads, read, device)
    }

    /// Images: each position sees all, and the first one is read.
    pub(crate) fn full(count: usize, len: usize, heads: usize, device: &Device) -> Self {
        Self::new(vec![len; count], vec![len; count], false, heads, |(start, _)| start, device)
    }

    fn new(
        lens: Vec<usize>,
        runs: Vec<usize>,
        causal: bool,
        heads: usize,
        read: impl FnMut((usize, &usize)) -> usize,
        device: &Device,
    ) -> Self {
        let starts = runs.iter().scan(0, |next, run| {
            let start = *next;
            *next += run;
            Some(start)
        });
        let starts: Vec<usize> = starts.collect();
        let read = indices(starts.iter().copied().zip(&lens).map(read), device);
        let longest = runs.iter().copied().max().unwrap_or(0);
        let kernel = fused::available(device) && longest <= LONGEST_FOR_KERNEL;
        let block = (!kernel).then(|| Block::new(&lens, &runs, &starts, causal, device));
        Self { lens, runs, causal, heads, read, block }
    }

    /// The rows at which the sequences are read, `[sequences, width]`.
    pub(crate) fn read(&self, x: Tensor<2>) -> Tensor<2> {
        x.select(0, self.read.clone())
    }

    /// Multi-head attention of all rows: `[rows, width]` each, heads side by side.
    pub(crate) fn attend(&self, query: Tensor<2>, key: Tensor<2>, value: Tensor<2>) -> Tensor<2> {
        let Some(block) = &self.block else {
            let span = |run: &usize| Span { queries: *run, keys: *run, run: *run };
            let spans = self.spans(self.runs.iter().map(span).collect());
            return fused::attention(query, key, value, spans);
        };
        let [query, key, value] = [query, key, value].map(|x| self.split(block.pack(x)));
        let mixed = weigh(query, key, value, block.mask.as_ref());
        block.unpack(self.join(mixed))
    }

    /// The same for the rows that are read alone: `query` is `[sequences, width]`.
    pub(crate) fn attend_read(&self, query: Tensor<2>, key: Tensor<2>, value: Tensor<2>) -> Tensor<2> {
        let Some(block) = &self.block else {
            let span = |(len, run): (&usize, &usize)| Span { queries: 1, keys: *len, run: *run };
            let spans = self.spans(self.lens.iter().zip(&self.runs).map(span).collect());
            return fused::attention(query, key, value, spans);
        };
        let [key, value] = [key, value].map(|x| self.split(block.pack(x)));
        self.join(weigh(self.split(query), key, value, block.read_mask.as_ref()))
    }

    fn spans(&self, spans: Arc<[Span]>) -> Spans {
        Spans { spans, heads: self.heads, causal: self.causal }
    }

    /// `[sequences * length, width]` to `[sequences, heads, length, depth]`.
    fn split(&self, x: Tensor<2>) -> Tensor<4> {
        let [rows, width] = x.dims();
        let count = self.lens.len();
        x.reshape([count, rows / count, self.heads, width / self.heads]).swap_dims(1, 2)
    }

    fn join(&self, x: Tensor<4>) -> Tensor<2> {
        let [count, heads, length, depth] = x.dims();
        x.swap_dims(1, 2).reshape([count * length, heads * depth])
    }
}

impl Block {
    fn new(lens: &[usize], runs: &[usize], starts: &[usize], causal: bool, device: &Device) -> Self {
        let (count, longest) = (lens.len(), runs.iter().copied().max().unwrap_or(0));
        let mask = causal.then(|| {
            let hide = |i: usize| i % longest > i / longest;
            additive(longest * longest, hide, [1, 1, longest, longest], device)
        });
        let read_mask = causal.then(|| {
            let hide = |i: usize| i % longest >= lens[i / longest];
            additive(count * longest, hide, [count, 1, 1, longest], device)
        });
        let moves = runs.iter().any(|run| *run != longest).then(|| {
            // Filling repeats a sequence's last row. It is never seen, so its gradient is 0.
            let row = |i: usize| starts[i / longest] + (i % longest).min(runs[i / longest] - 1);
            let position = |n: usize| (0..runs[n]).map(move |i| n * longest + i);
            (indices((0..count * longest).map(row), device), indices((0..count).flat_map(position), device))
        });
        Self { mask, read_mask, moves }
    }

    fn pack(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.moves {
            Some((rows, _)) => x.select(0, rows.clone()),
            None => x,
        }
    }

    fn unpack(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.moves {
            Some((_, positions)) => x.select(0, positions.clone()),
            None => x,
        }
    }
}

/// Attention of `[sequences, heads, queries, depth]` over `[sequences, heads, keys, depth]`.
fn weigh(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, mask: Option<&Tensor<4>>) -> Tensor<4> {
    let depth = query.dims()[3];
    let mut scores = query.matmul(key.transpose()).mul_scalar((depth as f32).powf(-0.5));
    if let Some(mask) = mask {
        scores = scores + mask.clone();
    }
    softmax(scores, 3).matmul(value)
}

/// Row numbers as a tensor.
pub(crate) fn indices(rows: impl Iterator<Item = usize>, device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i32> = rows.map(|row| row as i32).collect();
    let shape = [rows.len()];
    Tensor::from_data(TensorData::new(rows, shape), &device.clone().inner())
}

fn additive(len: usize, hide: impl Fn(usize) -> bool, shape: [usize; 4], device: &Device) -> Tensor<4> {
    let values: Vec<f32> = (0..len).map(|i| if hide(i) { HIDDEN } else { 0.0 }).collect();
    Tensor::from_data(TensorData::new(values, shape), &device.clone().inner())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use burn::tensor::Distribution;

    use super::*;

    const WIDTH: usize = 24;

    fn leaf(rows: usize) -> Tensor<2> {
        let device = Device::flex().autodiff();
        Tensor::random([rows, WIDTH], Distribution::Normal(0.0, 1.0), &device).require_grad()
    }

    fn values(tensor: Tensor<2>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    /// Output and the gradients of query, key and value.
    fn outcome(sequences: &Sequences, [query, key, value]: [&Tensor<2>; 3], read: bool) -> [Vec<f32>; 4] {
        let inputs = [query, key, value].map(Clone::clone);
        let [q, k, v] = inputs.clone();
        let output = if read { sequences.attend_read(sequences.read(q), k, v) } else { sequences.attend(q, k, v) };
        // A different gradient for each element.
        let weights = Tensor::<1, Int>::arange(0..output.shape().num_elements() as i64, &output.device());
        let weights = weights.float().mul_scalar(0.7).sin().reshape(output.dims());
        let grads = (output.clone() * weights).sum().backward();
        let [q, k, v] = inputs.map(|input| values(input.grad(&grads).unwrap()));
        [values(output.inner()), q, k, v]
    }

    #[test]
    fn kernel_and_composed_attention_agree() {
        let device = Device::flex();
        let lens = vec![3, 7, 1, 5];
        for heads in [1, 3] {
            let layouts = [
                Sequences::causal(lens.clone(), None, heads, &device),
                Sequences::causal(lens.clone(), Some(9), heads, &device),
                Sequences::full(4, 5, heads, &device),
            ];
            for mut sequences in layouts {
                assert!(sequences.block.is_none());
                let rows = sequences.runs.iter().sum();
                let [q, k, v] = [leaf(rows), leaf(rows), leaf(rows)];
                let inputs = [&q, &k, &v];
                let fused = [false, true].map(|read| outcome(&sequences, inputs, read));
                let starts: Vec<usize> = (0..4).map(|i| sequences.runs[..i].iter().sum()).collect();
                let (lens, runs) = (&sequences.lens, &sequences.runs);
                let block = Block::new(lens, runs, &starts, sequences.causal, &device);
                sequences.block = Some(block);
                let composed = [false, true].map(|read| outcome(&sequences, inputs, read));
                for (fused, composed) in fused.iter().flatten().zip(composed.iter().flatten()) {
                    let mut pairs = fused.iter().zip(composed);
                    assert!(pairs.all(|(a, b)| (a - b).abs() < 2e-6), "{fused:?} {composed:?}");
                    assert!(fused.iter().any(|value| value.abs() > 0.1));
                }
            }
        }
    }
}
