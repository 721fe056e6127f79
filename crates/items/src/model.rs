//! The model that a pipeline is about.

use std::path::PathBuf;
use std::sync::Arc;

use pipeline_engine::{StageError, choice, options};

choice! {
    /// Which tower is trained.
    pub enum Train {
        /// The text tower and its projection (TNG-CLIP, section 4).
        Text = "text",
    }
}

choice! {
    /// What a tower's matrices are multiplied in.
    pub enum Products {
        /// 32 bits.
        F32 = "f32",
        /// 16 bits, on GPUs that have them; weights, sums, norms and softmax stay f32.
        F16 = "f16",
    }
}

options! {
    /// `[model]`: the checkpoint to start from.
    pub struct ModelOptions {
        /// A folder with config.json, weights, tokenizer and preprocessor config, one with open_clip_config.json, a file of weights with its config beside it, or hf:owner/name[@revision].
        weights: PathBuf => free;
        /// Which tower is trained; the image encoder stays frozen.
        train: Train = Train::Text;
    }
}

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
