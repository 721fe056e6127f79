//! The stage `captions`: texts with negation for every image of a batch, made
//! anew while training runs (TNG-CLIP, arXiv 2505.18434, section 3).
//!
//! - [`wordnet`] and [`tagger`] read captions: which things they name, and how
//!   those relate. [`usage`] and [`implied`] are small lists of our own on how
//!   captions speak.
//! - [`templates`] turn a caption and a thing into a sentence.
//! - [`generator`] chooses the thing: the negation object; [`sight`] keeps it from what the image looks like.
//! - [`stage`] is the stage itself.

pub mod cache;
mod fixed;
pub mod generator;
pub mod implied;
pub mod sight;
pub mod stage;
pub mod tagger;
pub mod templates;
pub mod usage;
pub mod wordnet;

pub use stage::{Captions, CaptionsOptions};
