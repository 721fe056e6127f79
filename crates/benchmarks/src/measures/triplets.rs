//! Two true captions and a false one: do both beat it, with the image and without?

use items::TextEncoder;
use pipeline_engine::{Build, StageError};

use crate::benchmark::{Benchmark, Coverage, Outcomes};
use crate::pictures::{Pictures, gather};
use crate::score::Series;
use crate::texts::{Texts, cosine};

/// An image with two captions that mean the same and one that does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Triplet {
    /// Path of the image.
    pub image: String,
    /// Two true captions.
    pub captions: [String; 2],
    /// The false one.
    pub negative: String,
}

/// Triplets of captions.
#[derive(Debug)]
pub struct Triplets {
    coverage: Coverage,
    pictures: Pictures,
    texts: Texts,
    /// Image; both true captions and the false one.
    asked: Vec<(usize, [usize; 3])>,
}

impl Triplets {
    /// Encodes the images, for the benchmark `name`.
    ///
    /// # Errors
    /// When none of them is found, or encoding fails.
    pub fn open(name: &str, triplets: &[Triplet], images: &[String], build: &Build<'_>) -> Result<Self, StageError> {
        let wanted: Vec<&str> = triplets.iter().map(|triplet| triplet.image.as_str()).collect();
        let found = gather(name, images, &wanted, build)?;
        let mut coverage = Coverage { rows: triplets.len(), missing: found.missing, ..Coverage::default() };
        let mut texts = Texts::default();
        let asked: Vec<_> = triplets
            .iter()
            .zip(found.places)
            .filter_map(|(triplet, place)| {
                let [one, two] = triplet.captions.each_ref().map(|text| texts.place(text));
                Some((place?, [one, two, texts.place(&triplet.negative)]))
            })
            .collect();
        coverage.used = asked.len();
        Ok(Self { coverage, pictures: found.pictures, texts, asked })
    }
}

impl Benchmark for Triplets {
    fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// `image_to_text_accuracy` and `text_only_accuracy` (ITT and TOT of arXiv 2406.11171).
    fn outcomes(&self, encoder: &dyn TextEncoder) -> Result<Outcomes, StageError> {
        let rows = self.texts.embed(encoder, self.pictures.dim)?;
        let image = self.asked.iter().map(|(image, [one, two, negative])| {
            let score = |text: usize| cosine(rows.row(text), self.pictures.feature(*image));
            (score(*one).min(score(*two)) > score(*negative), *image)
        });
        let text = self.asked.iter().map(|(image, [one, two, negative])| {
            let alike = |a: usize, b: usize| cosine(rows.row(a), rows.row(b));
            (alike(*one, *two) > alike(*one, *negative).max(alike(*two, *negative)), *image)
        });
        Ok(vec![Series::hits("image_to_text_accuracy", "all", image), Series::hits("text_only_accuracy", "all", text)]
            .into())
    }
}
