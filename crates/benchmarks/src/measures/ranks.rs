//! Retrieval both ways, with several texts per image: plain, or with negation.

use items::{TextEncoder, metric};
use pipeline_engine::{Build, StageError};

use super::Baselines;
use crate::benchmark::{Benchmark, Coverage, Outcomes};
use crate::compose::{self, Composer};
use crate::pictures::{Pictures, cosines, gather};
use crate::score::Series;
use crate::texts::{Rows, Texts};

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
    pub fn of_shards(
        name: &str,
        shards: &[String],
        baselines: Option<Baselines>,
        build: &Build<'_>,
    ) -> Result<Self, StageError> {
        let pictures = Pictures::collect(name, shards, build)?;
        let captions = pictures.captions.iter().map(|captions| captions.to_vec()).collect();
        let count = pictures.len();
        let coverage = Coverage { rows: count, used: count, ..Coverage::default() };
        Ok(Self::new(coverage, pictures.dim, pictures.features, captions, baselines))
    }

    /// Images of `pictures` by their places, each once, with the texts that belong to them.
    pub fn of_pictures(
        coverage: Coverage,
        pictures: &Pictures,
        texts: Vec<(usize, Vec<String>)>,
        baselines: Option<Baselines>,
    ) -> Self {
        let features = texts.iter().flat_map(|(place, _)| pictures.feature(*place)).copied().collect();
        let captions = texts.into_iter().map(|(_, texts)| texts).collect();
        Self::new(coverage, pictures.dim, features, captions, baselines)
    }

    /// Rows of an image and its texts; the images are those that the rows name, each once. An empty text
    /// asks nothing: it is counted, not measured, and its image stays among the images to choose from.
    ///
    /// # Errors
    /// When none of the images is found or has a text, or encoding fails.
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
            let (texts, empty): (Vec<_>, Vec<_>) = texts.into_iter().partition(|text| !text.trim().is_empty());
            coverage.empty += empty.len();
            let image = *order[place].get_or_insert_with(|| {
                features.extend_from_slice(found.pictures.feature(place));
                captions.push(Vec::new());
                captions.len() - 1
            });
            captions[image].extend(texts);
        }
        if captions.iter().all(Vec::is_empty) {
            return Err(StageError::msg(format!("{name}: every caption of a found image is empty")));
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

    /// R@k both ways, from the similarities of a chunk of queries with all images; of the text tower,
    /// or of a training-free answer.
    fn recall(&self, baseline: Option<&str>, similar: impl Fn(&[usize]) -> Vec<f32>, into: &mut Vec<Series>) {
        let ranks = ranks(&self.queries, &self.owners, self.features.len() / self.dim.max(1), similar);
        let owners = &self.owners;
        let named = |direction: &str, k: usize| {
            let metric = metric::recall(direction, k);
            baseline.map_or_else(|| metric.clone(), |name| metric::of_baseline(name, &metric))
        };
        for k in RANKS {
            let hits = ranks.text_to_image.iter().zip(owners).map(|(&before, &owner)| (before < k, owner));
            into.push(Series::hits(&named(metric::TEXT_TO_IMAGE, k), metric::ALL, hits));
        }
        for k in RANKS {
            let asked = ranks.image_to_text.iter().enumerate().filter_map(|(image, before)| Some((image, (*before)?)));
            let hits = asked.map(|(image, before)| (before < k, image));
            into.push(Series::hits(&named(metric::IMAGE_TO_TEXT, k), metric::ALL, hits));
        }
    }

    /// The cosines of a chunk of queries, whose texts have these features, with all images.
    fn similar(&self, rows: &Rows, queries: &[usize]) -> Vec<f32> {
        let texts: Vec<f32> = queries.iter().flat_map(|&text| rows.row(text)).copied().collect();
        cosines(&texts, &self.features, self.dim)
    }
}

impl Benchmark for Ranks {
    fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    fn outcomes(&self, encoder: &dyn TextEncoder) -> Result<Outcomes, StageError> {
        let rows = self.texts.embed(encoder, self.dim)?;
        let mut series = Vec::new();
        self.recall(None, |queries| self.similar(&rows, queries), &mut series);
        if let Some(Baselines { lambda }) = self.baselines {
            let composer = Composer::new(self.texts.list(), &rows, encoder, self.dim)?;
            let scores = |queries: &[usize]| {
                let images = || self.features.chunks_exact(self.dim);
                let row = |&text: &usize| images().map(|image| composer.score(text, image, lambda)).collect::<Vec<_>>();
                queries.iter().flat_map(row).collect()
            };
            self.recall(Some(metric::TRAINING_FREE), scores, &mut series);
            for (name, compose) in compose::ALL {
                let rows = composer.composed(compose, lambda);
                self.recall(Some(name), |queries| self.similar(&rows, queries), &mut series);
            }
        }
        series.retain(|series| !series.is_empty());
        Ok(series.into())
    }
}

/// How many wrong answers rank before the first correct one.
struct Before {
    /// For each query: images before its own.
    text_to_image: Vec<usize>,
    /// For each image: other images' texts before the best of its own; none if it has no text.
    image_to_text: Vec<Option<usize>>,
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
    let mut image_to_text = vec![None; images];
    owners.iter().for_each(|&own| image_to_text[own] = Some(0));
    for (queries, owners) in queries.chunks(CHUNK).zip(owners.chunks(CHUNK)) {
        for (row, &own) in similar(queries).chunks_exact(images).zip(owners) {
            for (image, s) in row.iter().enumerate() {
                if let Some(before) = &mut image_to_text[image] {
                    *before += usize::from(image != own && *s >= best[image]);
                }
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
        assert_eq!(ranks.image_to_text, [Some(0), Some(1)]);
    }

    #[test]
    fn an_image_without_texts_is_only_a_wrong_answer() {
        let similar = |queries: &[usize]| queries.iter().flat_map(|_| [0.1, 0.9]).collect();
        let ranks = ranks(&[0], &[0], 2, similar);
        assert_eq!((ranks.text_to_image, ranks.image_to_text), (vec![1], vec![Some(0), None]));
    }
}
