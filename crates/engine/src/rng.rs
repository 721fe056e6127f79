//! Random draws that depend on what is drawn for, never on when.
//!
//! Every draw in a pipeline comes from a generator keyed by the run's seed, the
//! purpose of the draw, and the epoch, step or sample it is for. So a result does
//! not change with worker counts, channel sizes or timing, and a resumed run
//! draws what the run that was killed would have drawn.

use rand::{Rng, SeedableRng};
pub use rand_chacha::ChaCha8Rng;

/// The address of a stream of random numbers.
///
/// ```
/// use pipeline_engine::rng::Draw;
/// use rand::Rng;
/// let draw = || Draw::new(7, "shards.shuffle").number(3).rng().next_u64();
/// assert_eq!(draw(), draw());
/// assert_ne!(draw(), Draw::new(7, "shards.shuffle").number(4).rng().next_u64());
/// ```
#[derive(Clone)]
pub struct Draw(blake3::Hasher);

impl Draw {
    /// Draws for `purpose` (`"stage.what"`) in a run with this seed.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        Self(hasher).text(purpose)
    }

    /// Narrows the address by a number: an epoch, a step, an index.
    pub fn number(mut self, number: u64) -> Self {
        self.0.update(&[0]).update(&number.to_le_bytes());
        self
    }

    /// Narrows the address by a text: a sample's key, a shard's url.
    pub fn text(mut self, text: &str) -> Self {
        self.0.update(&[1]).update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        self
    }

    /// The generator at this address: ChaCha with 8 rounds, itself counter-based.
    pub fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::from_seed(*self.0.finalize().as_bytes())
    }
}

/// A uniform draw from `0..n`; `n` is not 0. It multiplies instead of rejecting, so that each draw
/// takes exactly one number of the stream; the bias is below n / 2^64.
pub fn below(rng: &mut impl Rng, n: usize) -> usize {
    ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize
}
