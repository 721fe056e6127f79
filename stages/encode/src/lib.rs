//! The stage `encode`: pictures to image features, and the cache that keeps them.
//!
//! The image encoder is frozen (TNG-CLIP, arXiv 2505.18434, section 4), so a
//! picture has the same feature in every epoch. In the first epoch the stage runs an encoder
//! ([`OnnxEncoder`] with tract, or [`VitEncoder`], the ViT in burn) and writes one Arrow IPC
//! file per shard ([`features`]); once every shard has its file, the stage starts the epochs by
//! itself, in the order that reading the tars would have given, and no tar is read, no picture
//! decoded or encoded.
//!
//! To add an encoder, write a file in `encoder/` with its options, an implementation of
//! [`EncoderKind`] and one of [`Encoder`], and add it to the list in `encoder/mod.rs`.

mod chunks;
mod encoder;
mod gather;
mod stage;

#[cfg(test)]
mod tests;

pub use encoder::clip::{Clip, VitEncoder};
pub use encoder::onnx::{Onnx, OnnxEncoder};
pub use encoder::{EncodeError, Encoder, EncoderKind, Insistence, open_encoder};
pub use stage::{Encode, EncodeOptions};

const KIND: &str = "encode";
