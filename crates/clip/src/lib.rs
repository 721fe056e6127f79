//! CLIP in burn: both towers, checkpoints in and out, devices.
//!
//! Weights come from Hugging Face or open_clip folders ([`Checkpoint::open`]). Towers are plain structs whose
//! parameters carry the checkpoint's tensor names ([`Params`]). An export writes the folder back, where only the
//! trained tensors differ ([`Checkpoint::export`]).
//!
//! Without the feature `towers` the crate does not depend on burn: it holds checkpoints, preprocessing and the
//! tokenizer, and builds in seconds. The fuzz targets use it that way.

pub mod checkpoint;
pub mod config;
#[cfg(feature = "towers")]
pub mod device;
pub mod init;
#[cfg(feature = "towers")]
pub mod layers;
#[cfg(feature = "towers")]
pub mod params;
pub mod preprocess;
#[cfg(feature = "towers")]
pub mod text;
pub mod tokenizer;
#[cfg(feature = "towers")]
pub mod vision;

#[cfg(feature = "towers")]
mod attention;
mod error;
mod files;
#[cfg(feature = "towers")]
mod fused;
mod open_clip;
mod wide;

pub use checkpoint::{Checkpoint, Exported, Precision, RoundingLoss, Stored, Target, Tensors};
pub use config::{ClipConfig, TextConfig, VisionConfig};
pub use error::Error;
#[cfg(feature = "towers")]
pub use params::{Mapper, Params, in_products};
pub use preprocess::{DecodeError, Limits, Pixels, Preprocess};
#[cfg(feature = "towers")]
pub use text::{Layout, TextTower, TokenRows};
pub use tokenizer::Tokenizer;
#[cfg(feature = "towers")]
pub use vision::VisionTower;
