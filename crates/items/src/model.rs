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

/// The text encoder as it was before any training, also in a resumed run. The training stage
/// publishes it if another stage needs [`START_TOWER`](crate::contract::START_TOWER).
#[derive(Clone)]
pub struct StartEncoder(pub Arc<dyn TextEncoder>);
