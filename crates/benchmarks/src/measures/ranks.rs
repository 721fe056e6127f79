//! Retrieval both ways, with several texts per image: plain, or with negation.

use items::TextEncoder;
use pipeline_engine::{Build, StageError};

use super::Baselines;
use crate::benchmark::{Benchmark, Coverage};
use crate::negation::{TrainingFree, has_negation};
use crate::pictures::{Pictures, cosines, gather};
use crate::score::Series;
use crate::texts::Texts;

/// The ranks that are reported.
const RANKS: [usize; 3] = [1, 5, 10];
/// Texts whose similarities to all images are in memory at once.
const CHUNK: usize = 1024;

/// Images, and texts that each belong to one of them.
#[derive(Debug)]
pub struct Ranks {
    coverage: Coverage,
    dim: usize,
    /// N x D.
    features: Vec<f32>,
    /// Each text once; `queries` are places in it.
    texts: Texts,
    queries: Vec<usize>,
    /// The image of each query.
    owners: Vec<usize>,
    baselines: Option<Baselines>,
}

impl Ranks {
    /// The images and captions of shards, for the benchmark `name`.
    ///
    /// # Errors
    /// A shard that cannot be read, or no usable image.
    pub fn of_shards(name: &str, shards: &[String], build: &Build<'_>) -> Result<Self, StageError> {
        let pictures = Pictures::collect(name, shards, build)?;
        let captions = pictures.captions.iter().map(|captions| captions.to_vec()).collect();
        let count = pictures.len();
        let coverage = Coverage { rows: count, used: count, ..Coverage::default() };
        Ok(Self::new(coverage, pictures.dim, pictures.features, captions, None))
    }

    /// Rows of an image and its texts; the images are those that the rows name, each once.
    ///
    /// # Errors
    /// When none of the images is found, or encoding fails.
    pub fn open(
        name: &str,
        rows: Vec<(String, Vec<String>)>,
        images: &[String],
        baselines: Option<Baselines>,
        build: &Build<'_>,
    ) -> Result<Self, StageError> {
        let wanted: Vec<&str> = rows.iter().map(|(image, _)| image.as_str()).collect();
        let found = gather(name, images, &wanted, build)?;
        let mut coverage = Coverage { rows: rows.len(), missing: found.missing, ..Coverage::default() };
        let mut order: Vec<Option<usize>> = vec![None; found.pictures.len()];
        let (mut features, mut captions) = (Vec::new(), Vec::<Vec<String>>::new());
        for ((_, texts), place) in rows.into_iter().zip(found.places) {
            let Some(place) = place else { continue };
            coverage.used += 1;
            let image = *order[place].get_or_insert_with(|| {
                features.extend_from_slice(found.pictures.feature(place));
                captions.push(Vec::new());
                captions.len() - 1
            });
            captions[image].extend(texts);
        }
        Ok(Self::new(coverage, found.pictures.dim, features, captions, baselines))
    }

    fn new(
        coverage: Coverage,
        dim: usize,
        features: Vec<f32>,
        captions: Vec<Vec<String>>,
        baselines: Option<Baselines>,
    ) -> Self {
        let mut texts = Texts::default();
        let (mut queries, mut owners) = (Vec::new(), Vec::new());
        for (image, captions) in captions.iter().enumerate() {
            for caption in captions {
                queries.push(texts.place(caption));
                owners.push(image);
            }
        }
        Self { coverage, dim, features, texts, queries, owners, baselines }
    }

    /// R@k both ways, from the similarities of a chunk of queries with all images.
    fn recall(&self, prefix: &str, similar: impl Fn(&[usize]) -> Vec<f32>, into: &mut Vec<Series>) {
        let ranks = ranks(&self.queries, &self.owners, self.features.len() / self.dim.max(1), similar);
        let owners = &self.owners;
        for k in RANKS {
            let hits = ranks.text_to_image.iter().zip(owners).map(|(&before, &owner)| (before < k, owner));
            into.push(Series::hits(&format!("{prefix}text_to_image_r@{k}"), "all", hits));
        }
        for k in RANKS {
            let hits = ranks.image_to_text.iter().enumerate().map(|(image, &before)| (before < k, image));
            into.push(Series::hits(&format!("{prefix}image_to_text_r@{k}"), "all", hits));
        }
    }
}

impl Benchmark for Ranks {
    fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    fn series(&self, encoder: &dyn TextEncoder) -> Result<Vec<Series>, StageError> {
        let rows = self.texts.embed(encoder, self.dim)?;
        let mut series = Vec::new();
        let similar = |queries: &[usize]| {
            let texts: Vec<f32> = queries.iter().flat_map(|&text| rows.row(text)).copied().collect();
            cosines(&texts, &self.features, self.dim)
        };
        self.recall("", similar, &mut series);
        let negated = || self.texts.list().iter().any(|text| has_negation(text));
        if let Some(Baselines { lambda }) = self.baselines.filter(|_| negated()) {
            let free = TrainingFree::new(self.texts.list(), encoder, self.dim, lambda)?;
            let similar = |queries: &[usize]| {
                let images = || self.features.chunks_exact(self.dim);
                queries
                    .iter()
                    .flat_map(|&text| images().map(|image| free.score(text, image)).collect::<Vec<_>>())
                    .collect()
            };
            self.recall("training_free_", similar, &mut series);
        }
        Ok(series)
    }
}

/// How many wrong answers rank before the first correct one.
struct Before {
    /// For each query: images before its own.
    text_to_image: Vec<usize>,
    /// For each image: other images' texts before the best of its own.
    image_to_text: Vec<usize>,
}

/// `similar` gives the similarities of a chunk of queries with all images, row by row. A wrong
/// answer that is as similar as the correct one ranks before it: ties do not help.
fn ranks(queries: &[usize], owners: &[usize], images: usize, similar: impl Fn(&[usize]) -> Vec<f32>) -> Before {
    let mut text_to_image = Vec::with_capacity(queries.len());
    let mut best = vec![f32::NEG_INFINITY; images];
    for (queries, owners) in queries.chunks(CHUNK).zip(owners.chunks(CHUNK)) {
        for (row, &own) in similar(queries).chunks_exact(images).zip(owners) {
            text_to_image.push(row.iter().enumerate().filter(|(image, s)| *image != own && **s >= row[own]).count());
            best[own] = best[own].max(row[own]);
        }
    }
    let mut image_to_text = vec![0; images];
    for (queries, owners) in queries.chunks(CHUNK).zip(owners.chunks(CHUNK)) {
        for (row, &own) in similar(queries).chunks_exact(images).zip(owners) {
            for (image, s) in row.iter().enumerate() {
                image_to_text[image] += usize::from(image != own && *s >= best[image]);
            }
        }
    }
    Before { text_to_image, image_to_text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_by_hand() {
        // Two images; texts 0 and 1 belong to the first, text 2 to the second.
        let similarity = [0.9, 0.1, 0.2, 0.8, 0.5, 0.5];
        let similar = |queries: &[usize]| queries.iter().flat_map(|q| similarity[q * 2..q * 2 + 2].to_vec()).collect();
        let ranks = ranks(&[0, 1, 2], &[0, 0, 1], 2, similar);
        assert_eq!(ranks.text_to_image, [0, 1, 1]); // the tie of text 2 counts against it
        assert_eq!(ranks.image_to_text, [0, 1]);
    }
}
