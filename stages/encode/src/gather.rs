//! Gathers the samples of a shard, which the shuffle buffer mixes with others.

use std::collections::BTreeMap;
use std::sync::Arc;

use stage_items::{CachedSample, Encoded, Flow, Sample, Shard, ShardFault, Work};

use crate::cache::FeatureCache;
use crate::entry::Entry;

/// Writes the cache entry of each shard as soon as all its samples have come.
/// What is unfinished when the epoch ends early is not written.
pub(crate) struct Gather<'a> {
    cache: &'a FeatureCache,
    /// By the shard's number.
    open: BTreeMap<u32, Open>,
}

#[derive(Default)]
struct Open {
    /// By the sample's place in the shard.
    samples: BTreeMap<u32, CachedSample>,
    /// How many there are, and the shard's fault, once its end has come.
    end: Option<(Arc<Shard>, u32, Option<ShardFault>)>,
}

impl<'a> Gather<'a> {
    pub fn new(cache: &'a FeatureCache) -> Self {
        Self { cache, open: BTreeMap::new() }
    }

    /// Notes what passes.
    pub fn note(&mut self, flow: &Flow<Encoded>) {
        let number = match flow {
            Flow::Sample(sample) => {
                let number = sample.id.shard.number;
                self.open.entry(number).or_default().samples.insert(sample.id.index, remembered(sample));
                number
            }
            Flow::ShardEnd { shard, samples, fault } => {
                self.open.entry(shard.number).or_default().end = Some((shard.clone(), *samples, fault.clone()));
                shard.number
            }
        };
        let whole = |open: &Open| matches!(open.end, Some((_, samples, _)) if open.samples.len() == samples as usize);
        if self.open.get(&number).is_some_and(whole)
            && let Some(Open { samples, end: Some((shard, _, fault)) }) = self.open.remove(&number)
        {
            self.finish(&shard, samples, fault);
        }
    }

    fn finish(&self, shard: &Shard, samples: BTreeMap<u32, CachedSample>, fault: Option<ShardFault>) {
        // A fault that may be gone next time: the next epoch tries again.
        let passing = fault.as_ref().is_some_and(|fault| !fault.permanent);
        if !passing && !self.cache.has(shard) {
            self.cache.store(shard, Entry { samples: samples.into_values().collect(), fault });
        }
    }
}

fn remembered(sample: &Sample<Encoded>) -> CachedSample {
    let outcome = match &sample.work {
        Work::Done(feature) => Ok(feature.clone()),
        Work::Skipped { stage, reason } => Err((stage.clone(), reason.clone())),
        Work::Todo(encoded) => match *encoded {},
    };
    CachedSample { key: sample.id.key.clone(), captions: sample.captions.clone(), outcome }
}
