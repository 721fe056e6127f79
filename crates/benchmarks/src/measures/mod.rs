//! How a text encoder is measured: each file is one kind of question.

pub mod choice;
pub mod classes;
pub mod entailment;
pub mod ranks;
pub mod regions;
pub mod triplets;

/// What is measured beside the score itself: which wrong answers were chosen, and the training-free
/// answers ([`crate::compose`]).
#[derive(Debug, Clone, Copy)]
pub struct Baselines {
    /// The weight of what a text denies, in the answers `training_free` and `lambda`.
    pub lambda: f64,
}
