//! Texts that are embedded once, however many questions they are in.

use std::collections::HashMap;

use items::TextEncoder;
use pipeline_engine::StageError;

/// Distinct texts in the order they came.
#[derive(Debug, Default)]
pub struct Texts {
    list: Vec<String>,
    places: HashMap<String, usize>,
}

impl Texts {
    /// The place of a text.
    pub fn place(&mut self, text: &str) -> usize {
        if let Some(&place) = self.places.get(text) {
            return place;
        }
        let place = self.list.len();
        self.list.push(text.to_owned());
        self.places.insert(text.to_owned(), place);
        place
    }

    /// All of them.
    pub fn list(&self) -> &[String] {
        &self.list
    }

    /// Their features.
    ///
    /// # Errors
    /// When the encoder fails, or its features have another width than the images'.
    pub fn embed(&self, encoder: &dyn TextEncoder, dim: usize) -> Result<Rows, StageError> {
        if encoder.dim() != dim {
            return Err(StageError::msg(format!(
                "the text encoder gives {} numbers, the image encoder {dim}; both must come from one checkpoint",
                encoder.dim()
            )));
        }
        Ok(Rows::new(dim, encoder.embed(&self.list)?))
    }
}

/// N x D features, each row L2-normalised.
#[derive(Debug)]
pub struct Rows {
    dim: usize,
    numbers: Vec<f32>,
}

impl Rows {
    /// Rows of `dim` numbers each, end to end.
    pub fn new(dim: usize, numbers: Vec<f32>) -> Self {
        Self { dim, numbers }
    }

    /// One row.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.numbers[index * self.dim..][..self.dim]
    }
}

/// The cosine of two unit vectors.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
