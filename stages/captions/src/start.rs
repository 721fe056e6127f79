//! The text tower as it was before training, and what it says about things.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use items::TextEncoder;
use parking_lot::Mutex;
use pipeline_engine::StageError;

/// Texts whose features are remembered; beyond that, it starts over. With 512 numbers each: 64 MB.
const REMEMBERED: usize = 1 << 15;

/// The text tower as it was before training. It remembers the features of short texts.
pub struct StartTower {
    encoder: Arc<dyn TextEncoder>,
    /// By text; L2-normalised.
    features: Mutex<HashMap<Box<str>, Arc<[f32]>>>,
}

impl StartTower {
    /// Uses this text encoder, which must not change any more.
    pub fn new(encoder: Arc<dyn TextEncoder>) -> Self {
        Self { encoder, features: Mutex::default() }
    }

    /// D, the width of the features.
    pub fn dim(&self) -> usize {
        self.encoder.dim()
    }

    /// The feature `[D]` of a text, L2-normalised.
    ///
    /// # Errors
    /// A device that fails.
    pub fn feature(&self, text: &str) -> Result<Arc<[f32]>, StageError> {
        if let Some(found) = self.features.lock().get(text) {
            return Ok(found.clone());
        }
        // Each text alone: in a batch, rounding would depend on which texts come together, and a
        // resumed run meets them in another order.
        let feature: Arc<[f32]> = self.encoder.embed(&[text.to_owned()])?.into();
        let mut features = self.features.lock();
        if features.len() >= REMEMBERED {
            features.clear();
        }
        features.insert(text.into(), feature.clone());
        Ok(feature)
    }
}

impl fmt::Debug for StartTower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StartTower")
    }
}
