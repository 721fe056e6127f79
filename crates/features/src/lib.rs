//! The feature cache: image features on disk, one Arrow IPC file per shard.
//!
//! The stage `encode` writes it and replays epochs from it. It is a crate of its own because
//! reading and checking its files needs neither an encoder nor burn.

mod cache;
mod entry;

#[cfg(test)]
mod tests;

pub use cache::{CacheError, FeatureCache};
pub use entry::{Entry, EntryFault, EntryInfo, EntryKey, sample_bytes, sealed};
