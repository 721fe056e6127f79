//! The stage `train`: fits the text tower to image features that do not change.
//!
//! - [`loss`] has the losses, one file each, and what a loss sees of a step. A new loss is a new
//!   file there and one word in its list.
//! - [`trainer`] makes one step with a loss and an [`optimizer`]; it knows nothing of pipelines.
//! - [`schedule`] computes the learning rate.
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
