//! Random draws that are a pure function of (seed, split, index, purpose).

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The use of a stream of draws. Streams never share a draw, so changing how one
/// of them is used does not change the others.
#[derive(Clone, Copy, Debug)]
pub enum Purpose {
    /// The theme, the objects, their places and colours.
    Layout = 1,
    /// The details of each drawing: stripes, tilt, how many petals.
    Drawing = 2,
    /// Background, clutter and grain.
    Background = 3,
    /// The captions.
    Captions = 4,
    /// Held-out questions.
    Questions = 5,
    /// The captions that a batch takes.
    Batches = 6,
}

/// A ChaCha8 stream keyed by its four numbers. Scenes share no state, so any scene
/// can be drawn alone, in any order, on any thread.
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of one purpose of one scene.
    pub fn new(seed: u64, split: u64, index: u64, purpose: Purpose) -> Self {
        let mut key = [0; 32];
        for (part, number) in key.chunks_exact_mut(8).zip([seed, split, index, purpose as u64]) {
            part.copy_from_slice(&number.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in [0, 1), on a grid of 2^-24 so that every value is an exact f32.
    pub fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / (1u32 << 24) as f32
    }

    /// Uniform in [low, high).
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f32) -> bool {
        self.unit() < p
    }

    /// Uniform in 0..n; `n` must be at least 1.
    pub fn below(&mut self, n: usize) -> usize {
        ((u64::from(self.0.next_u32()) * n as u64) >> 32) as usize
    }

    /// One of `items`, which must not be empty.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// An index drawn in proportion to `weights`, or None if all are zero.
    pub fn weighted(&mut self, weights: &[f32]) -> Option<usize> {
        let mut left = self.unit() * weights.iter().sum::<f32>();
        let mut last = None;
        for (i, &weight) in weights.iter().enumerate().filter(|(_, w)| **w > 0.0) {
            last = Some(i);
            if left < weight {
                return last;
            }
            left -= weight;
        }
        last
    }

    /// Fisher-Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i + 1);
            items.swap(i, j);
        }
    }
}
