//! The visual guard: what an image looks like, so that it is not denied of it.
//!
//! Captions leave things out, and an image whose caption does not name the bench may still show
//! one. The frozen model of the start sees it: among all things that the captions of a batch name,
//! those that an image looks most like are not denied of it.
//!
//! How much an image looks like a thing is the cosine of its feature and that of "a photo of" the
//! thing, above or below what the images of the batch have on average with that thing: some
//! words are near to every image. The cosines of a batch are one product, B x D by D x T for T things.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use pipeline_engine::StageError;
use items::{Paired, TextEncoder};

use crate::tagger::Noun;
use crate::templates::with_article;

/// Features of things that are kept; beyond that, it starts over. At 512 numbers each: 64 MB.
const KEPT: usize = 1 << 15;

/// Looks at images with the model of the start.
pub struct Sight {
    encoder: Arc<dyn TextEncoder>,
    /// By the thing's phrase; L2-normalised.
    kept: Mutex<HashMap<Box<str>, Arc<[f32]>>>,
}

impl Sight {
    /// With this text encoder, which must not change any more.
    pub fn new(encoder: Arc<dyn TextEncoder>) -> Self {
        Self { encoder, kept: Mutex::default() }
    }

    /// What the images of a batch look like, among these things: for each image the share `most`
    /// of the things that it looks most like. It depends on the batch and the encoder alone.
    ///
    /// # Errors
    /// Features of another width than the images'; a device that fails.
    pub fn look<'a>(
        &self,
        paired: &Paired,
        things: impl IntoIterator<Item = &'a Noun>,
        most: f64,
    ) -> Result<Seen, StageError> {
        let (images, dim) = (paired.batch.items.len(), paired.batch.dim);
        if self.encoder.dim() != dim {
            return Err(StageError::msg(format!(
                "the image features have {dim} dimensions and the text features {}, so that nothing can be looked at; \
                 [model] weights must be a pair of towers that were trained together, or set captions.visual_guard = 0.0",
                self.encoder.dim()
            )));
        }
        // In an order of their own, so that sums do not depend on that of the batch's captions.
        let phrases: BTreeMap<String, usize> = things.into_iter().map(|noun| (phrase(noun), 0)).collect();
        let mut scores = Vec::with_capacity(images * phrases.len());
        for phrase in phrases.keys() {
            let feature = self.feature(phrase)?;
            let row = scores.len();
            scores.extend(paired.batch.features.chunks_exact(dim).map(|image| dot(image, &feature)));
            let mean = scores[row..].iter().sum::<f32>() / images.max(1) as f32;
            scores[row..].iter_mut().for_each(|score| *score -= mean);
        }
        let counted = (most * phrases.len() as f64).round() as usize;
        let bounds = (0..images).map(|image| {
            let mut of_image: Vec<f32> = scores.iter().skip(image).step_by(images).copied().collect();
            of_image.sort_unstable_by(|a, b| b.total_cmp(a));
            counted.checked_sub(1).map_or(f32::INFINITY, |last| of_image[last])
        });
        let bounds = bounds.collect();
        let rows = phrases.into_keys().zip(0..).collect();
        Ok(Seen { rows, scores, bounds })
    }

    /// The feature of a phrase.
    fn feature(&self, phrase: &str) -> Result<Arc<[f32]>, StageError> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept().get(phrase) {
            return Ok(found.clone());
        }
        // Each alone: together, rounding would depend on which things came first, and a
        // resumed run meets them in another order.
        let feature: Arc<[f32]> = self.encoder.embed(&[phrase.to_owned()])?.into();
        let mut kept = kept();
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(phrase.into(), feature.clone());
        Ok(feature)
    }
}

impl std::fmt::Debug for Sight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sight")
    }
}

/// What the images of a batch look like.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// The row of a thing's phrase.
    rows: HashMap<String, usize>,
    /// T x B, a row a thing.
    scores: Vec<f32>,
    /// For each image, the least score of a thing that it looks like.
    bounds: Vec<f32>,
}

impl Seen {
    /// Whether image `image` of the batch looks like this thing; no for a thing that was not asked about.
    pub fn looks_like(&self, image: usize, thing: &Noun) -> bool {
        let score = self.rows.get(&phrase(thing)).map(|row| self.scores[row * self.bounds.len() + image]);
        score.is_some_and(|score| score >= self.bounds[image])
    }
}

/// CLIP's words for a thing (arXiv 2103.00020, section 3.1.4).
fn phrase(thing: &Noun) -> String {
    format!("a photo of {}", with_article(thing))
}

/// In eight sums side by side, which processors add at once; the order is always the same.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.0.iter().zip(b.0) {
        sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += a * b);
    }
    sums.iter().sum::<f32>() + a.1.iter().zip(b.1).map(|(a, b)| a * b).sum::<f32>()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use items::{Batch, BatchItem};

    use super::*;
    use crate::tagger::analyse;
    use crate::wordnet::WordNet;

    /// Each of these things has an axis of its own; every text leans to that of the last one.
    const THINGS: [&str; 4] = ["dog", "kite", "bench", "water"];

    #[derive(Default)]
    struct Axes(AtomicUsize);

    impl TextEncoder for Axes {
        fn dim(&self) -> usize {
            9
        }

        fn embed(&self, texts: &[String]) -> Result<Vec<f32>, StageError> {
            self.0.fetch_add(texts.len(), Relaxed);
            let axis = |text: &String, i: usize| match THINGS.get(i) {
                Some(thing) if text.ends_with(thing) => 0.6,
                _ if i == 8 => 0.8,
                _ => 0.0,
            };
            Ok(texts.iter().flat_map(|text| (0..9).map(move |i| axis(text, i))).collect())
        }
    }

    fn pictures(features: &[[f32; 9]]) -> Paired {
        let item = |i: usize| BatchItem {
            key: i.to_string().into(),
            shard: "a.tar".into(),
            captions: vec!["A picture".to_owned()].into(),
            drawn: 0,
            image: i as u32,
        };
        let features: Arc<[f32]> = features.iter().flatten().copied().collect();
        let items = (0..features.len() / 9).map(item).collect();
        Paired {
            batch: Batch { epoch: 1, step: 0, items, dim: 9, features },
            k: 0,
            neighbours: vec![],
            cosines: vec![],
        }
    }

    fn nouns() -> Vec<Noun> {
        let wordnet = WordNet::embedded().unwrap();
        analyse(wordnet, "A dog and a kite by a bench in water").nouns
    }

    /// The second image is like all things, the dog's too, and most like a bench.
    const IMAGES: [[f32; 9]; 2] =
        [[0.5, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.4, 0.3, 0.6, 0.1, 0.0, 0.0, 0.0, 0.0, 0.4]];

    #[test]
    fn an_image_looks_like_what_is_in_it_more_than_in_others() {
        let (sight, nouns) = (Sight::new(Arc::new(Axes::default())), nouns());
        assert_eq!(nouns.iter().map(|n| n.lemma.as_str()).collect::<Vec<_>>(), THINGS);
        let paired = pictures(&IMAGES);
        let seen = |most: f64, image: usize| {
            let seen = sight.look(&paired, &nouns, most).unwrap();
            nouns.iter().filter(|n| seen.looks_like(image, n)).map(|n| n.lemma.clone()).collect::<Vec<_>>()
        };
        assert_eq!(seen(0.0, 0), [""; 0]);
        assert_eq!(seen(0.25, 0), ["dog"]);
        assert_eq!(seen(0.25, 1), ["bench"]);
        // More than the dog, which the other image has even more of.
        assert_eq!(seen(0.5, 1), ["kite", "bench"]);
        assert_eq!(seen(1.0, 1), THINGS);
    }

    #[test]
    fn each_thing_is_read_once() {
        let axes = Arc::new(Axes::default());
        let (sight, nouns, paired) = (Sight::new(axes.clone()), nouns(), pictures(&IMAGES));
        let first = sight.look(&paired, &nouns, 0.5).unwrap();
        let backwards = sight.look(&paired, nouns.iter().rev().chain(&nouns), 0.5).unwrap();
        assert_eq!(axes.0.load(Relaxed), 4);
        assert_eq!(first.scores, backwards.scores, "the order of the captions has no say");
        let unasked = sight.look(&paired, &nouns[..2], 1.0).unwrap();
        assert!(!unasked.looks_like(1, &nouns[2]));
    }

    #[test]
    fn towers_of_two_models_are_told() {
        let mut paired = pictures(&IMAGES);
        paired.batch.dim = 3;
        let error = Sight::new(Arc::new(Axes::default())).look(&paired, &nouns(), 0.5).unwrap_err().to_string();
        assert!(error.contains("3 dimensions and the text features 9") && error.contains("visual_guard"), "{error}");
    }

    #[test]
    fn dot_takes_every_number() {
        let a: Vec<f32> = (0..21).map(|i| i as f32).collect();
        assert_eq!(dot(&a, &a), 2870.0);
        assert_eq!(dot(&a[..3], &a[..3]), 5.0);
    }
}
