//! How `shards` and `encode` agree on what is read and what is remembered.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use pipeline_engine::{Services, StageError};

use crate::sample::{Encoded, Sample, SampleId, Shard, ShardFault, Work};

/// Published by `shards`: what an epoch reads. A stage that starts an epoch from
/// a cache follows it with [`crate::order`], so that a cached epoch has the order
/// of one that reads the tars.
#[derive(Debug, Clone)]
pub struct ShardPlan {
    /// The shards of this rank, in the order of their numbers.
    pub shards: Vec<Arc<Shard>>,
    /// Whether their order is drawn anew in each epoch.
    pub shuffle: bool,
    /// Samples in the shuffle buffer; 0 or 1: no shuffling of samples.
    pub buffer: usize,
}

/// A sample as the cache remembers it.
#[derive(Debug, Clone)]
pub struct CachedSample {
    /// Its WebDataset key.
    pub key: Arc<str>,
    /// All captions of the image.
    pub captions: Arc<[String]>,
    /// What became of it: a feature, or the stage that skipped it and why.
    pub work: Work<Encoded>,
}

impl CachedSample {
    /// What there is to remember of a sample.
    pub fn of(sample: &Sample<Encoded>) -> Self {
        Self { key: sample.id.key.clone(), captions: sample.captions.clone(), work: sample.work.clone() }
    }

    /// The sample again, on any edge: the `index`-th of its shard.
    pub fn recalled<P>(self, shard: &Arc<Shard>, index: u32) -> Sample<P> {
        let id = SampleId { shard: shard.clone(), index, key: self.key };
        Sample { id, captions: self.captions, work: self.work.settled() }
    }
}

/// A cache of image features, one entry per shard.
pub trait FeatureMemory: Send + Sync {
    /// The samples of a shard in the order of the tar, with the shard's fault if
    /// it had one; `None` when the shard is not cached, or its entry was made from
    /// other weights, preprocessing or content.
    ///
    /// # Errors
    /// When the cache cannot be read. A damaged entry is not an error: it counts as absent.
    #[allow(clippy::type_complexity)]
    fn recall(&self, shard: &Shard) -> Result<Option<(Vec<CachedSample>, Option<ShardFault>)>, StageError>;
}

/// Published by `encode`.
#[derive(Clone)]
pub struct Memory(pub Arc<dyn FeatureMemory>);

/// The settings that, beside a shard's bytes and the checkpoint, decide what its
/// samples become: where captions are, how large a picture may be. Each stage before
/// `encode` notes its own while it is built; the cache keeps entries that were made
/// under other settings apart.
#[derive(Debug, Default)]
pub struct Recipe(Mutex<BTreeMap<&'static str, String>>);

impl Recipe {
    /// Notes the settings of `stage` that matter. Workers and orders do not.
    pub fn note(services: &Services, stage: &'static str, settings: String) {
        let recipe = services.get::<Self>().unwrap_or_else(|| {
            let new = Arc::new(Self::default());
            services.publish(new.clone());
            new
        });
        recipe.0.lock().insert(stage, settings);
    }

    /// All that was noted, as one text. It is part of the cache's key: its form must stay.
    pub fn of(services: &Services) -> String {
        let Some(recipe) = services.get::<Self>() else { return String::new() };
        format!("{:?}", *recipe.0.lock())
    }
}
