//! Hypotheses about photos: does what is true score above what is false?

use std::collections::BTreeMap;

use items::TextEncoder;
use pipeline_engine::{Build, StageError};

use crate::benchmark::{Benchmark, Coverage, Outcomes};
use crate::negation::has_negation;
use crate::pictures::{Pictures, gather};
use crate::score::Series;
use crate::texts::{Texts, cosine};

/// A hypothesis about a photo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hypothesis {
    /// Path of the photo.
    pub image: String,
    /// What is said of it.
    pub text: String,
    /// Whether the photo entails it; else it contradicts it.
    pub is_true: bool,
}

/// A hypothesis whose photo can be used.
#[derive(Debug, Clone, Copy)]
struct Asked {
    image: usize,
    text: usize,
    is_true: bool,
}

/// Hypotheses, true (entailment) or false (contradiction).
#[derive(Debug)]
pub struct Entailment {
    coverage: Coverage,
    pictures: Pictures,
    texts: Texts,
    asked: Vec<Asked>,
}

impl Entailment {
    /// Encodes the photos, for the benchmark `name`; `neutral` is the number of rows that are
    /// neither true nor false.
    ///
    /// # Errors
    /// When none of the photos is found, or encoding fails.
    pub fn open(
        name: &str,
        hypotheses: &[Hypothesis],
        neutral: usize,
        images: &[String],
        build: &Build<'_>,
    ) -> Result<Self, StageError> {
        let wanted: Vec<&str> = hypotheses.iter().map(|row| row.image.as_str()).collect();
        let found = gather(name, images, &wanted, build)?;
        let mut texts = Texts::default();
        let asked: Vec<Asked> = hypotheses
            .iter()
            .zip(found.places)
            .filter_map(|(row, place)| {
                Some(Asked { image: place?, text: texts.place(&row.text), is_true: row.is_true })
            })
            .collect();
        let set_aside = (neutral > 0).then_some((neutral, "neutral"));
        let (rows, used) = (hypotheses.len(), asked.len());
        let coverage = Coverage { rows, used, missing: found.missing, set_aside, ..Coverage::default() };
        Ok(Self { coverage, pictures: found.pictures, texts, asked })
    }
}

impl Benchmark for Entailment {
    fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// `pair_accuracy`: within a photo, does each true hypothesis score above each false one?
    /// `auc`: the same over all rows. The part `negation` has the hypotheses with a word that
    /// denies (pairs of which at least one has such a word).
    fn outcomes(&self, encoder: &dyn TextEncoder) -> Result<Outcomes, StageError> {
        let rows = self.texts.embed(encoder, self.pictures.dim)?;
        let negated: Vec<bool> = self.texts.list().iter().map(|text| has_negation(text)).collect();
        let scored: Vec<(Asked, f32)> = self
            .asked
            .iter()
            .map(|&asked| (asked, cosine(rows.row(asked.text), self.pictures.feature(asked.image))))
            .collect();
        let mut photos: BTreeMap<usize, Vec<(Asked, f32)>> = BTreeMap::new();
        scored.iter().for_each(|row| photos.entry(row.0.image).or_default().push(*row));
        // Whether it is won, whether it is about negation, and the photo.
        let mut pairs: Vec<(bool, bool, usize)> = Vec::new();
        for (photo, rows) in &photos {
            for (holds, high) in rows.iter().filter(|(asked, _)| asked.is_true) {
                for (fails, low) in rows.iter().filter(|(asked, _)| !asked.is_true) {
                    pairs.push((high > low, negated[holds.text] || negated[fails.text], *photo));
                }
            }
        }
        let mut series = Vec::new();
        for (part, only) in [("all", false), ("negation", true)] {
            let pairs = pairs.iter().filter(|pair| !only || pair.1).map(|pair| (pair.0, pair.2));
            series.push(Series::hits("pair_accuracy", part, pairs));
            let rows = scored.iter().filter(|(asked, _)| !only || negated[asked.text]);
            series.push(Series::auc("auc", part, rows.map(|(asked, score)| (*score, asked.is_true, asked.image))));
        }
        series.retain(|series| match &series.positive {
            Some(positive) => positive.contains(&true) && positive.contains(&false),
            None => !series.is_empty(),
        });
        Ok(series.into())
    }
}
