//! Pair search on the CPU: a blocked matrix product, a running top-k per row.

use linalg::{Matrix, Threads, multiply};
use rayon::prelude::*;

use crate::MAX_K;
use crate::rank::{Features, Neighbour, rank, rounding_bound, wide};

/// Columns of the block of scores that a thread holds at a time, and the most
/// rows: 512 KiB, which stays in the second-level cache until it is scanned.
const COLUMN_BLOCK: usize = 512;
const ROW_BLOCK: usize = 256;

/// This many scores of a row are skipped at a time when none of them is large enough.
const CHUNK: usize = 32;

/// The `k` neighbours of each of `rows`, `[rows.len(), k]`.
///
/// Threads share nothing but the input, and the product's rounding decides
/// nothing (see `rank`), so the result doesn't depend on their number.
pub(crate) fn search(features: Features<'_>, rows: &[u32], k: usize) -> Vec<Neighbour> {
    // Large blocks multiply faster, but every thread should get one.
    let block = rows.len().div_ceil(rayon::current_num_threads()).clamp(1, ROW_BLOCK);
    let mut found = vec![Neighbour::NONE; rows.len() * k];
    rows.par_chunks(block).zip(found.par_chunks_mut(block * k)).for_each_init(
        Scratch::default,
        |scratch, (rows, found)| {
            scratch.search(features, rows, k, found);
        },
    );
    found
}

/// What a thread reuses from block to block.
#[derive(Default)]
struct Scratch {
    /// `[rows of the block, dim]`
    block: Vec<f32>,
    /// `[rows of the block, COLUMN_BLOCK]`
    scores: Vec<f32>,
    /// One per row of the block.
    running: Vec<Running>,
}

impl Scratch {
    fn search(&mut self, features: Features<'_>, rows: &[u32], k: usize, found: &mut [Neighbour]) {
        let dim = features.dim;
        self.block.clear();
        for &row in rows {
            self.block.extend_from_slice(features.row(row as usize));
        }
        self.scores.resize(rows.len() * COLUMN_BLOCK.min(features.rows()), 0.0);
        self.running.resize_with(rows.len(), Running::default);
        for running in &mut self.running {
            running.start(k, dim);
        }
        for (block, columns) in features.values.chunks(COLUMN_BLOCK * dim).enumerate() {
            let width = columns.len() / dim;
            let scores = &mut self.scores[..rows.len() * width];
            let (rows_of_block, columns) = (Matrix::new(&self.block, dim), Matrix::new(columns, dim).transposed());
            multiply(scores, false, rows_of_block, columns, Threads::One);
            for ((&row, running), scores) in rows.iter().zip(&mut self.running).zip(scores.chunks_exact(width)) {
                wide(|| running.scan(scores, block * COLUMN_BLOCK, features.groups, row as usize));
            }
        }
        for ((&row, running), found) in rows.iter().zip(&mut self.running).zip(found.chunks_exact_mut(k)) {
            wide(|| running.score(features, row));
            rank(&mut running.candidates, found);
        }
    }
}

/// The rows that may still be among the k best of one row.
///
/// A column whose f32 score is more than two rounding bounds below the k-th
/// largest f32 score is, in exact score, below each of those k: it is dropped.
#[derive(Default)]
struct Running {
    k: usize,
    slack: f64,
    /// The k largest scores so far, largest first.
    top: [f32; MAX_K],
    /// Scores below this can't matter.
    floor: f32,
    /// Until [`Running::score`], `cosine` is the f32 score.
    candidates: Vec<Neighbour>,
}

impl Running {
    fn start(&mut self, k: usize, dim: usize) {
        self.k = k;
        self.slack = 2.0 * rounding_bound(dim);
        self.top = [f32::NEG_INFINITY; MAX_K];
        self.floor = f32::NEG_INFINITY;
        self.candidates.clear();
    }

    #[inline(always)]
    fn scan(&mut self, scores: &[f32], first_column: usize, groups: &[u32], row: usize) {
        for (chunk, scores) in scores.chunks(CHUNK).enumerate() {
            let floor = self.floor;
            // Without a branch inside, this is a few vector comparisons.
            if !scores.iter().fold(false, |any, &score| any | (score >= floor)) {
                continue;
            }
            for (n, &score) in scores.iter().enumerate() {
                let column = first_column + chunk * CHUNK + n;
                // A row's own group holds the row itself.
                if score >= self.floor && groups[column] != groups[row] {
                    self.push(score, column);
                }
            }
        }
    }

    fn push(&mut self, score: f32, column: usize) {
        self.candidates.push(Neighbour { index: column as u32, cosine: f64::from(score) });
        let top = &mut self.top[..self.k];
        let place = top.partition_point(|&held| held >= score);
        if place < top.len() {
            top[place..].rotate_right(1);
            top[place] = score;
            // Rounded down: a lower floor only keeps more.
            let kth = f64::from(top[top.len() - 1]);
            self.floor = ((kth - self.slack) as f32).next_down();
        }
    }

    /// Gives the remaining candidates the score that decides.
    #[inline(always)]
    fn score(&mut self, features: Features<'_>, row: u32) {
        let floor = f64::from(self.floor);
        self.candidates.retain(|candidate| candidate.cosine >= floor);
        for candidate in &mut self.candidates {
            *candidate = features.scored(row, candidate.index);
        }
    }
}
