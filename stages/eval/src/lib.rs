//! Probes: what a text encoder is measured on before, between and after training.
//!
//! * [`mcq`]: four captions, one true of the photo, as NegBench asks
//!   (arXiv 2501.09425).
//! * [`retrieval`]: plain text-to-image and image-to-text retrieval, to see that
//!   nothing else was lost.
//!
//! Image features come through the pipeline's own stages (shards, decode,
//! encode), so that a probe sees what training sees, and from its cache.

pub mod files;
pub mod mcq;
pub mod negbench;
pub mod pictures;
pub mod retrieval;
pub mod score;

pub use mcq::McqKind;
pub use retrieval::RetrievalKind;
