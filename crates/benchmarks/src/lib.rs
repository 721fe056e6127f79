//! Benchmarks: what a text encoder is measured on before, between and after training,
//! or by itself (`pipeline eval`).
//!
//! * [`choice`]: which of some texts is true of the photo: NegBench (arXiv 2501.09425), and
//!   captions against foils (VALSE, SugarCrepe, CC-Neg, read in [`pairs`]).
//! * [`retrieval`]: text to image and image to text, plain (to see that nothing else was lost)
//!   or with negation.
//! * [`tasks`]: parts of an image, triplets of captions, hypotheses, classes.
//! * [`negation`]: the training-free answer.
//! * [`kinds`]: all of them by name.
//!
//! Image features come through the pipeline's own stages (shards or files, decode,
//! encode), so that a probe sees what training sees, and from its cache.

pub mod benchmark;
pub mod choice;
pub mod files;
pub mod kinds;
pub mod mcq;
pub mod negation;
pub mod negbench;
pub mod pairs;
pub mod pictures;
pub mod retrieval;
pub mod score;
pub mod tasks;
pub mod texts;

pub use mcq::McqKind;
pub use retrieval::RetrievalKind;
