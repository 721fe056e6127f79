//! Benchmarks: what a text encoder is measured on before, between and after training,
//! or by itself (`pipeline eval`).
//!
//! * [`kinds`]: all of them, one file each, by the names that `[[eval]]` and `pipeline eval` know.
//! * [`measures`]: the questions that they ask: which text is true, ranks of a retrieval, ...
//! * [`files`]: reading what they are published in.
//! * [`pictures`]: the features of their images, through the pipeline's own stages.
//! * [`negation`]: what a text affirms and what it denies; [`compose`]: training-free answers.
//! * [`score`]: outcomes, means and intervals.

pub mod benchmark;
pub mod compose;
pub mod files;
pub mod kinds;
pub mod measures;
pub mod negation;
pub mod pictures;
pub mod score;
#[cfg(test)]
mod tests;
pub mod texts;
pub mod verify;

pub use benchmark::{Answered, Benchmark, Coverage, Outcomes};
pub use kinds::Source;
