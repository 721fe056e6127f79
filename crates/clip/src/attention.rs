//! Attention over sequences that lie end to end in the rows of a tensor.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::fused::{self, Plan, Span};

/// One sequence among the rows of a `[rows, width]` tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    /// Its rows, in the order of positions. Sequences may share the rows of a common beginning.
    pub(crate) path: Vec<Range<usize>>,
    /// The last `own` rows of the path belong to no earlier sequence (earlier in the order of rows).
    pub(crate) own: usize,
    /// Number of positions that count; padding may follow them.
    pub(crate) len: usize,
    /// The row whose last hidden state stands for the whole sequence.
    pub(crate) read: usize,
}

/// How rows form sequences.
pub(crate) struct Sequences {
    sequences: Vec<Sequence>,
    heads: usize,
    /// The row that is read of each sequence.
    read: Arc<[u32]>,
    form: Form,
}

/// What the block kernel needs: which rows see which, and the rows that are read, if not all.
pub(crate) type Planned = (Arc<Plan>, Option<Arc<[u32]>>);

/// How attention is computed.
enum Form {
    /// By kernels for sequences of any lengths: a plan for all rows, and one for the rows that are read.
    Kernels { all: Arc<Plan>, read: Arc<Plan> },
    /// Composed of burn's operations.
    Composed(Box<Block>),
}

/// What the composed form of attention needs: it works on a block `[sequences, longest]`.
struct Block {
    read: Tensor<1, Int>,
    /// Added to the scores of all positions, `[1, 1, longest, longest]`.
    mask: Option<Tensor<4>>,
    /// Added to the scores of the rows that are read, `[sequences, 1, 1, longest]`.
    read_mask: Option<Tensor<4>>,
    /// A row for each position of the block, and a position for each row. Absent when the rows
    /// are a block already.
    moves: Option<(Tensor<1, Int>, Tensor<1, Int>)>,
}

/// Far below any score, but finite: a row of nothing but minus infinity would become NaN.
const HIDDEN: f32 = -1e30;

impl Sequence {
    fn rows(&self) -> impl DoubleEndedIterator<Item = usize> {
        self.path.iter().cloned().flatten()
    }

    /// Its rows `start..start + run`, of which the first `len` count.
    pub(crate) fn run(start: usize, run: usize, len: usize) -> Self {
        Self { path: std::iter::once(start..start + run).collect(), own: run, len, read: start + len - 1 }
    }
}

impl Sequences {
    /// Texts: each token sees itself and the tokens before it.
    pub(crate) fn causal(sequences: Vec<Sequence>, heads: usize, device: &Device) -> Self {
        Self::new(sequences, true, heads, device)
    }

    /// Images: each position sees all, and the first one is read.
    pub(crate) fn full(count: usize, len: usize, heads: usize, device: &Device) -> Self {
        let image = |i| Sequence { read: i * len, ..Sequence::run(i * len, len, len) };
        Self::new((0..count).map(image).collect(), false, heads, device)
    }

    fn new(sequences: Vec<Sequence>, causal: bool, heads: usize, device: &Device) -> Self {
        let read = sequences.iter().map(|sequence| sequence.read as u32).collect();
        let form = if fused::available(device) {
            let [all, read] = plans(&sequences, causal, heads).map(Arc::new);
            Form::Kernels { all, read }
        } else {
            Form::Composed(Box::new(Block::new(&sequences, causal, device)))
        };
        Self { sequences, heads, read, form }
    }

    /// The block kernel's plan for all rows, or with `read` for the rows that are read, together with their
    /// numbers. None if attention is composed.
    pub(crate) fn plan(&self, read: bool) -> Option<Planned> {
        match &self.form {
            Form::Kernels { all, .. } if !read => Some((all.clone(), None)),
            Form::Kernels { read, .. } => Some((read.clone(), Some(self.read.clone()))),
            Form::Composed(_) => None,
        }
    }

    /// The row that is read of each sequence, `[sequences, width]`.
    pub(crate) fn read(&self, x: Tensor<2>) -> Tensor<2> {
        let rows = match &self.form {
            Form::Composed(block) => block.read.clone(),
            Form::Kernels { .. } => indices(self.read.iter().map(|row| *row as usize), &x.device()),
        };
        x.select(0, rows)
    }

    /// Composed multi-head attention of all rows: `[rows, width]` each, heads side by side.
    pub(crate) fn attend(&self, query: Tensor<2>, key: Tensor<2>, value: Tensor<2>) -> Tensor<2> {
        self.composed(|block| {
            let [query, key, value] = [query, key, value].map(|x| self.split(block.pack(x)));
            block.unpack(self.join(weigh(query, key, value, block.mask.as_ref())))
        })
    }

    /// The same for only the rows that are read: `query` is `[sequences, width]`.
    pub(crate) fn attend_read(&self, query: Tensor<2>, key: Tensor<2>, value: Tensor<2>) -> Tensor<2> {
        self.composed(|block| {
            let [key, value] = [key, value].map(|x| self.split(block.pack(x)));
            self.join(weigh(self.split(query), key, value, block.read_mask.as_ref()))
        })
    }

    fn composed(&self, f: impl FnOnce(&Block) -> Tensor<2>) -> Tensor<2> {
        match &self.form {
            Form::Composed(block) => f(block),
            Form::Kernels { .. } => unreachable!("a block with a plan is not composed"),
        }
    }

    /// `[sequences * length, width]` to `[sequences, heads, length, depth]`.
    fn split(&self, x: Tensor<2>) -> Tensor<4> {
        let [rows, width] = x.dims();
        let count = self.sequences.len();
        x.reshape([count, rows / count, self.heads, width / self.heads]).swap_dims(1, 2)
    }

    fn join(&self, x: Tensor<4>) -> Tensor<2> {
        let [count, heads, length, depth] = x.dims();
        x.swap_dims(1, 2).reshape([count * length, heads * depth])
    }
}

/// The kernels' plans for all rows and for the rows that are read.
fn plans(sequences: &[Sequence], causal: bool, heads: usize) -> [Plan; 2] {
    let count = sequences.iter().map(|sequence| sequence.own).sum();
    let mut owners: Vec<&Sequence> = sequences.iter().filter(|sequence| sequence.own > 0).collect();
    owners.sort_by_key(|sequence| sequence.path.last().map(|range| range.end));
    let all = owners.iter().map(|sequence| Span { queries: sequence.own, keys: sequence.path.clone() });
    let read = sequences.iter().map(|sequence| Span { queries: 1, keys: first(&sequence.path, sequence.len) });
    [Plan::new(all.collect(), heads, causal, count), Plan::new(read.collect(), heads, causal, count)]
}

/// The first `len` rows of a path.
pub(crate) fn first(path: &[Range<usize>], len: usize) -> Vec<Range<usize>> {
    let mut left = len;
    let cut = |range: &Range<usize>| {
        let len = range.len().min(left);
        left -= len;
        range.start..range.start + len
    };
    path.iter().map(cut).filter(|range| !range.is_empty()).collect()
}

impl Block {
    fn new(sequences: &[Sequence], causal: bool, device: &Device) -> Self {
        let paths: Vec<Vec<usize>> = sequences.iter().map(|sequence| sequence.rows().collect()).collect();
        let (count, longest) = (paths.len(), paths.iter().map(Vec::len).max().unwrap_or(0));
        let mask = causal.then(|| {
            let hide = |i: usize| i % longest > i / longest;
            additive(longest * longest, hide, [1, 1, longest, longest], device)
        });
        let read_mask = causal.then(|| {
            let hide = |i: usize| i % longest >= sequences[i / longest].len;
            additive(count * longest, hide, [count, 1, 1, longest], device)
        });
        // Padding repeats a sequence's last row. It is never seen, so its gradient is 0.
        let row = |i: usize| paths[i / longest][(i % longest).min(paths[i / longest].len() - 1)];
        let rows: Vec<usize> = (0..count * longest).map(row).collect();
        let moves = rows.iter().enumerate().any(|(i, row)| i != *row).then(|| {
            // A row that sequences share is computed in each of them, with the same result: any of them will do.
            let mut positions = vec![0; sequences.iter().map(|sequence| sequence.own).sum()];
            for (n, path) in paths.iter().enumerate() {
                for (i, row) in path.iter().enumerate() {
                    positions[*row] = n * longest + i;
                }
            }
            (indices(rows.into_iter(), device), indices(positions.into_iter(), device))
        });
        let read = indices(sequences.iter().map(|sequence| sequence.read), device);
        Self { read, mask, read_mask, moves }
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
    #![allow(clippy::single_range_in_vec_init)]
    use super::*;

    #[test]
    fn paths_are_cut_to_what_counts() {
        let path = [0..2, 5..9, 20..21];
        for (len, expected) in [(0, vec![]), (2, vec![0..2]), (3, vec![0..2, 5..6]), (7, path.to_vec())] {
            assert_eq!(first(&path, len), expected);
        }
    }
}
