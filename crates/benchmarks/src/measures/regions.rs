//! Parts of an image to choose from: which of them does the phrase mean?

use std::collections::BTreeMap;

use items::TextEncoder;
use pipeline_engine::{Build, StageError};

use crate::benchmark::{Benchmark, Coverage, Outcomes};
use crate::pictures::{Pictures, folder, gather};
use crate::score::Series;
use crate::texts::{Texts, cosine};
use crate::verify::needs_folder;

/// A phrase, and the parts of an image of which it means one.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// Path of the image.
    pub image: String,
    /// The referring expression.
    pub phrase: String,
    /// x, y, width and height of each part, in pixels.
    pub boxes: Vec<[f64; 4]>,
    /// Which one is meant.
    pub correct: usize,
}

/// A phrase, whose parts are all encoded.
#[derive(Debug)]
struct Asked {
    phrase: usize,
    parts: Vec<usize>,
    correct: usize,
    /// The number of the image, of which the parts were cut.
    image: usize,
}

/// Phrases about parts of images.
#[derive(Debug)]
pub struct Regions {
    coverage: Coverage,
    pictures: Pictures,
    texts: Texts,
    asked: Vec<Asked>,
}

impl Regions {
    /// Cuts out and encodes all parts, for the benchmark `name`.
    ///
    /// # Errors
    /// When the images are shards, or none of them is found.
    pub fn open(name: &str, regions: &[Region], images: &[String], build: &Build<'_>) -> Result<Self, StageError> {
        if folder(images, |path| build.path(path)).is_none() {
            return Err(StageError::msg(needs_folder(images)));
        }
        let part = |region: &Region, [x, y, w, h]: &[f64; 4]| format!("{}#{x},{y},{w},{h}", region.image);
        let all: Vec<String> =
            regions.iter().flat_map(|region| region.boxes.iter().map(move |b| part(region, b))).collect();
        let wanted: Vec<&str> = all.iter().map(String::as_str).collect();
        let found = gather(name, images, &wanted, build)?;
        let mut coverage = Coverage { rows: regions.len(), missing: found.missing, ..Coverage::default() };
        let mut texts = Texts::default();
        let mut places = found.places.into_iter();
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let mut asked = Vec::new();
        for region in regions {
            let parts: Vec<Option<usize>> = places.by_ref().take(region.boxes.len()).collect();
            let next = numbers.len();
            let image = *numbers.entry(&region.image).or_insert(next);
            if let Some(parts) = parts.into_iter().collect::<Option<Vec<usize>>>() {
                asked.push(Asked { phrase: texts.place(&region.phrase), parts, correct: region.correct, image });
            }
        }
        coverage.used = asked.len();
        Ok(Self { coverage, pictures: found.pictures, texts, asked })
    }
}

impl Benchmark for Regions {
    fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    fn outcomes(&self, encoder: &dyn TextEncoder) -> Result<Outcomes, StageError> {
        let rows = self.texts.embed(encoder, self.pictures.dim)?;
        let hits = self.asked.iter().map(|Asked { phrase, parts, correct, image }| {
            let score = |part: usize| cosine(rows.row(*phrase), self.pictures.feature(part));
            let own = score(parts[*correct]);
            let best = parts.iter().enumerate().all(|(i, part)| i == *correct || score(*part) < own);
            (best, *image)
        });
        Ok(vec![Series::hits("accuracy", "all", hits)].into())
    }
}
