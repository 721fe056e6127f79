//! CLIP in burn: both towers, checkpoints in and out, devices.
//!
//! Weights come from Hugging Face or open_clip folders ([`Checkpoint::open`]), towers are plain structs whose
//! parameters carry the checkpoint's tensor names ([`Params`]), and an export writes the folder
//! back with nothing but the changed tensors changed ([`Checkpoint::export`]).

pub mod checkpoint;
pub mod config;
pub mod device;
pub mod init;
pub mod layers;
pub mod params;
pub mod preprocess;
pub mod text;
pub mod tokenizer;
pub mod vision;

mod attention;
mod error;
mod fused;
mod open_clip;

pub use checkpoint::{Checkpoint, Exported, Precision, Target, Tensors};
pub use config::{ClipConfig, TextConfig, VisionConfig};
pub use error::Error;
pub use params::{Mapper, Params, in_products};
pub use preprocess::{DecodeError, Limits, Pixels, Preprocess};
pub use text::{Layout, TextTower, TokenRows};
pub use tokenizer::Tokenizer;
pub use vision::VisionTower;
