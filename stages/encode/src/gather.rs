//! Gathers the samples of each shard, which the shuffle buffer mixes with those of others.

use std::collections::BTreeMap;
use std::sync::Arc;

use features::{Entry, FeatureCache, sample_bytes};
use items::{CachedSample, Encoded, Flow, Shard, ShardFault};

/// Bytes of samples that may wait for the rest of their shards.
pub(crate) const HELD_BYTES: usize = 1 << 30;

/// Writes the cache entry of each shard as soon as all its samples have come.
/// Shards that are unfinished when the epoch ends early are not written.
pub(crate) struct Gather<'a> {
    cache: &'a FeatureCache,
    /// By the shard's number.
    open: BTreeMap<u32, Open>,
    /// Bytes of samples in `open`.
    bytes: usize,
    limit: usize,
}

struct Open {
    shard: Arc<Shard>,
    /// By the sample's index in the shard.
    samples: BTreeMap<u32, CachedSample>,
    /// Bytes of `samples`.
    bytes: usize,
    /// It has more samples than there is room for, and will not be cached.
    given_up: bool,
    /// How many samples there are, and the shard's fault, once its end-of-shard marker has come.
    end: Option<(u32, Option<ShardFault>)>,
}

impl<'a> Gather<'a> {
    /// Holds at most about `limit` bytes.
    pub fn new(cache: &'a FeatureCache, limit: usize) -> Self {
        Self { cache, open: BTreeMap::new(), bytes: 0, limit }
    }

    /// Notes an item that passes.
    pub fn note(&mut self, flow: &Flow<Encoded>) {
        let shard = match flow {
            Flow::Sample(sample) => &sample.id.shard,
            Flow::ShardEnd { shard, .. } => shard,
        };
        let open = self.open.entry(shard.number).or_insert_with(|| Open {
            shard: shard.clone(),
            samples: BTreeMap::new(),
            bytes: 0,
            given_up: false,
            end: None,
        });
        match flow {
            Flow::Sample(_) if open.given_up => {}
            Flow::Sample(sample) => {
                let remembered = CachedSample::of(sample);
                let bytes = sample_bytes(&remembered);
                open.samples.insert(sample.id.index, remembered);
                open.bytes += bytes;
                self.bytes += bytes;
            }
            Flow::ShardEnd { samples, fault, .. } => open.end = Some((*samples, fault.clone())),
        }
        let whole = matches!(open.end, Some((samples, _)) if !open.given_up && open.samples.len() == samples as usize);
        if whole
            && let Some(Open { shard, samples, bytes, end: Some((_, fault)), .. }) = self.open.remove(&shard.number)
        {
            self.bytes -= bytes;
            if !self.cache.has(&shard) {
                self.cache.store(&shard, Entry { samples: samples.into_values().collect(), fault });
            }
        }
        if self.bytes > self.limit {
            self.give_up();
        }
    }

    /// Drops the samples of the largest shard: the run is correct without its entry, but its memory
    /// must not grow with the size of a shard.
    fn give_up(&mut self) {
        let Some(open) = self.open.values_mut().max_by_key(|open| open.bytes) else { return };
        tracing::warn!(
            shard = open.shard.url,
            "its features are not cached: with those of other shards they take more than {} MiB; pack smaller shards",
            self.limit >> 20
        );
        self.bytes -= open.bytes;
        (open.samples, open.bytes, open.given_up) = (BTreeMap::new(), 0, true);
    }
}
