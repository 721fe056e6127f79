//! CLIP in burn: both towers, checkpoints in and out, devices.
//!
//! Weights come from Hugging Face or open_clip folders ([`Checkpoint::open`]), towers are plain structs whose
//! parameters carry the checkpoint's tensor names ([`Params`]), and an export writes the folder
//! back with nothing but the changed tensors changed ([`Checkpoint::export`]).
//!
//! Without the feature `towers` there is no burn in it: checkpoints, preprocessing and tokenizer are left,
//! which builds in seconds and is what the fuzz targets feed.

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
