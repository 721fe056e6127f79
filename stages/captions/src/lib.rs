//! The stage `captions`: writes texts with negation for every image of a batch while training runs
//! (TNG-CLIP, arXiv 2505.18434, section 3).
//!
//! From the data upwards, each module uses only those above it:
//!
//! - [`wordnet`] and [`tagger`] read captions: which things they name, and how those relate.
//!   [`usage`] and [`implied`] are small lists of our own on how captions use words. [`cache`] and
//!   [`drawn`] keep what was read.
//! - [`templates`] turn a caption and a thing into a sentence.
//! - [`guard`]: what a noun must pass before a text may say that the image does not show it. One file
//!   per guard; [`start`] is the model that the visual guard asks.
//! - [`reading`] is what is known of a batch, [`object`] finds a thing that an image does not show, and
//!   [`present`] one that it shows. [`counts`] are their counts.
//! - [`writer`]: which texts are written. One file per writer.
//! - [`stage`] is the stage itself.

pub mod cache;
pub mod counts;
pub mod drawn;
mod embedded;
mod examples;
mod fixed;
pub mod guard;
pub mod implied;
pub mod object;
pub mod present;
pub mod reading;
pub mod stage;
pub mod start;
pub mod tagger;
pub mod templates;
pub mod usage;
pub mod wordnet;
pub mod writer;

#[cfg(test)]
#[path = "../../../docs/extending/writer.rs"]
mod example;
#[cfg(test)]
mod testing;

pub use stage::{Captions, CaptionsOptions};
