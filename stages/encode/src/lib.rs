//! The stage `encode`: pictures to image features, and the cache that keeps them.
//!
//! The image encoder is frozen (TNG-CLIP, arXiv 2505.18434, section 4), so a
//! picture has one feature for good. In the first epoch the stage runs an encoder
//! ([`onnx`](EncoderKind::Onnx) with tract, or [`clip`](EncoderKind::Clip), the
//! ViT in burn) and writes one Arrow IPC file a shard ([`features`]); once every shard has its
//! file the stage starts the epochs by itself, in the order that reading the tars
//! would have had, and tar, decode and encoder rest.

mod encoder;
mod gather;
mod onnx;
mod ordered;
mod stage;
mod vit;

#[cfg(test)]
mod tests;

pub use encoder::{EncodeError, Encoder};
pub use onnx::OnnxEncoder;
pub use stage::{Encode, EncodeOptions, EncoderKind, open_encoder};
pub use vit::VitEncoder;
