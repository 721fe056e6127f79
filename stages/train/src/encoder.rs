//! The text tower as probes see it: texts in, unit features out.

use clip::{Layout, TextTower, Tokenizer};
use items::TextEncoder;
use pipeline_engine::StageError;
use std::sync::Arc;

use crate::error::TrainError;
use crate::loss::primitives::normalised;
use crate::trainer::read;

/// Texts that go through the tower at once.
const CHUNK: usize = 128;

/// A tower that does not change any more.
pub struct Encoder {
    tower: TextTower,
    tokenizer: Arc<Tokenizer>,
}

impl Encoder {
    /// `tower` must be outside autodiff.
    pub fn new(tower: TextTower, tokenizer: Arc<Tokenizer>) -> Self {
        Self { tower, tokenizer }
    }

    fn features(&self, texts: &[String]) -> Result<Vec<f32>, TrainError> {
        let ids: Vec<Vec<u32>> = texts.iter().map(|text| self.tokenizer.encode(text)).collect();
        // Texts that begin alike go through the tower together.
        let mut order: Vec<usize> = (0..ids.len()).collect();
        order.sort_by_key(|&text| &ids[text]);
        let dim = self.tower.config().projection_dim;
        let mut features = vec![0.0; texts.len() * dim];
        for chunk in order.chunks(CHUNK) {
            let tokens: Vec<u32> = chunk.iter().flat_map(|&text| &ids[text]).copied().collect();
            let lens: Vec<usize> = chunk.iter().map(|&text| ids[text].len()).collect();
            let found = read(normalised(self.tower.forward(&tokens, &lens, Layout::Tree)?))?;
            for (&text, feature) in chunk.iter().zip(found.chunks(dim)) {
                features[text * dim..][..dim].copy_from_slice(feature);
            }
        }
        Ok(features)
    }
}

impl TextEncoder for Encoder {
    fn dim(&self) -> usize {
        self.tower.config().projection_dim
    }

    fn embed(&self, texts: &[String]) -> Result<Vec<f32>, StageError> {
        Ok(self.features(texts)?)
    }
}
