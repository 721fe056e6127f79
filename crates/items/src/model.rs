//! The text encoders that stages and probes ask: the one in training, and the one of the start.

use std::sync::Arc;

use pipeline_engine::StageError;

/// Turns texts into features: what probes measure.
pub trait TextEncoder: Send + Sync {
    /// Width of the features.
    fn dim(&self) -> usize;

    /// N x D features, each row L2-normalised.
    ///
    /// # Errors
    /// When the device fails.
    fn embed(&self, texts: &[String]) -> Result<Vec<f32>, StageError>;
}

/// The subject that the training stage gives to probes.
#[derive(Clone)]
pub struct TextEncoderHandle(pub Arc<dyn TextEncoder>);

/// Published, while it is built, by a stage that will ask for [`StartEncoder`] when it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantsStart;

/// The text encoder as it was before any training, also in a resumed run. Published by the
/// training stage if another one [wants](WantsStart) it.
#[derive(Clone)]
pub struct StartEncoder(pub Arc<dyn TextEncoder>);
