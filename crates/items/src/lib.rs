//! What travels on the edges of a CLIP pipeline, and what its stages share: types of items, facts
//! that stages give and need ([`contract`]), names of what they measure ([`metric`]).
//!
//! ```text
//! shards ─Flow<ImageBytes>→ decode ─Flow<Pixels>→ encode ─Flow<Encoded>→ batch
//!        ─Batch→ pairs ─Paired→ captions ─Captioned→ tokenize ─Tokens→ train
//! ```

pub mod contract;
pub mod keys;
pub mod memory;
pub mod metric;
pub mod model;
pub mod order;
pub mod sample;
pub mod source;
pub mod texts;

pub use memory::{CachedSample, FeatureMemory, Memory, Recipe, ShardPlan};
pub use model::{StartEncoder, TextEncoder, TextEncoderHandle};
pub use sample::{Encoded, Feature, Flow, ImageBytes, Pixels, Sample, SampleId, Shard, ShardFault, Work, shard_name};
pub use texts::{Batch, BatchItem, Captioned, NO_NEIGHBOUR, Paired, Role, Statement, Tokens};
