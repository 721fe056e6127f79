//! `[model]`: the checkpoint that a pipeline starts from, opened once per run.
//!
//! Stages that need it ask [`Model::of`] while they are built, and [`Model::seen`] when they verify
//! their options. Whoever asks first opens it; side runs share it.

mod checkpoint;
mod options;

pub use checkpoint::{Model, ModelError, report_device};
pub use options::{ModelOptions, Products, Train};
