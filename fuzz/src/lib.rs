//! The sources that read checkpoints and cache entries, taken from where they are: their
//! crates hold burn too, which takes half an hour to build for a fuzzer and is not fuzzed.
#![allow(dead_code, missing_docs)]

#[path = "../../stages/encode/src/cache.rs"]
pub mod cache;
#[path = "../../models/src/checkpoint.rs"]
pub mod checkpoint;
#[path = "../../models/src/config.rs"]
pub mod config;
#[path = "../../stages/encode/src/entry.rs"]
pub mod entry;
#[path = "../../models/src/error.rs"]
pub mod error;
#[path = "../../models/src/open_clip.rs"]
pub mod open_clip;

pub use error::Error;
