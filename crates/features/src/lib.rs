//! The feature cache: image features on disk, one Arrow IPC file a shard.
//!
//! The stage `encode` writes it and replays epochs from it. A crate of its own, because
//! reading and checking files needs neither an encoder nor burn.

mod cache;
mod entry;

#[cfg(test)]
mod tests;

pub use cache::{CacheError, FeatureCache};
pub use entry::{Entry, EntryFault, EntryInfo, EntryKey, sample_bytes, sealed};
