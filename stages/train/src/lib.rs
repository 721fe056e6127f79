//! The stage `train`: fits the text tower to image features that do not change.
//!
//! - [`loss`] turns text features and image features into one number: `tng`
//!   (TNG-CLIP, arXiv 2505.18434) and `contrast`, our own.
//! - [`optimizer`] is AdamW on the host; [`schedule`] says the learning rate.
//! - [`trainer`] makes one step of all that; it knows nothing of pipelines.
//! - [`checkpoint`] keeps what a resumed run needs, [`export`] writes what people use.
//! - [`encoder`] is the tower as probes see it.
//! - [`stage`] is the stage itself.

pub mod checkpoint;
pub mod encoder;
mod error;
pub mod export;
pub mod loss;
pub mod optimizer;
pub mod schedule;
pub mod stage;
pub mod trainer;

pub use error::TrainError;
pub use stage::{TrainKind, TrainOptions};
