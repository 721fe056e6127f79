//! How `shards` and `encode` agree on what is read and what is remembered.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use pipeline_engine::{Services, StageError};

use crate::sample::{Feature, Shard, ShardFault};

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
    /// Its feature, or the stage that gave it up and why.
    pub outcome: Result<Feature, (Arc<str>, Arc<str>)>,
}

/// A cache of image features, one entry a shard.
pub trait FeatureMemory: Send + Sync {
    /// The samples of a shard in the order of the tar, with the shard's fault if
    /// it had one; `None` when it is not cached or was made from other weights,
    /// preprocessing or content.
    ///
    /// # Errors
    /// When the cache cannot be read. A damaged entry is not an error: it counts as absent.
    #[allow(clippy::type_complexity)]
    fn recall(&self, shard: &Shard) -> Result<Option<(Vec<CachedSample>, Option<ShardFault>)>, StageError>;
}

/// Published by `encode`.
#[derive(Clone)]
pub struct Memory(pub Arc<dyn FeatureMemory>);

/// What decides, beside a shard's bytes and the checkpoint, what its samples
/// become: where captions are, how large a picture may be. Each stage before
/// `encode` notes its part while it is built; the cache keeps what was made under
/// other settings apart.
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
        recipe.0.lock().unwrap_or_else(PoisonError::into_inner).insert(stage, settings);
    }

    /// All that was noted, in words.
    pub fn of(services: &Services) -> String {
        let Some(recipe) = services.get::<Self>() else { return String::new() };
        format!("{:?}", recipe.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
