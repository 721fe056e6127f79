//! Optimizers: gradients in, better weights out.
//!
//! [`AdamW`] works in the memory of the host, for every device. An optimizer on a GPU would be a
//! file beside it; what the trainer asks of one is in `trainer/weights.rs`.

use std::collections::BTreeMap;

mod host;

pub use host::{AdamW, Parameter};

/// Settings of AdamW.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Decay of the mean gradient.
    pub beta1: f64,
    /// Decay of the mean squared gradient.
    pub beta2: f64,
    /// Added to the root of the mean squared gradient.
    pub eps: f64,
    /// Share of a weight, times the learning rate, that each step subtracts.
    pub weight_decay: f64,
    /// The largest norm of the whole gradient; 0: no limit.
    pub clip_norm: f64,
}

/// A gradient on the host.
#[derive(Debug, Clone)]
pub enum Gradient {
    /// Of every number of the parameter.
    Dense(Vec<f32>),
    /// Of some rows of a matrix; 0 elsewhere.
    Rows {
        /// Which rows, ascending.
        rows: Vec<u32>,
        /// Their numbers, end to end.
        values: Vec<f32>,
    },
}

/// Gradients by the name of the parameter.
pub type Gradients = BTreeMap<String, Gradient>;

/// The norm of the whole gradient is NaN or infinite; nothing was changed.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the norm of the gradient is {0}")]
pub struct NotFinite(pub f64);

/// Weights that do not fit those of the optimizer; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} is missing or not of shape {shape:?}")]
pub struct Misfit {
    /// The tensor.
    pub name: String,
    /// The shape that it must have.
    pub shape: Vec<usize>,
}

impl Gradient {
    fn values(&self) -> &[f32] {
        match self {
            Self::Dense(values) | Self::Rows { values, .. } => values,
        }
    }
}
