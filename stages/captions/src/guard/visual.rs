//! `"visual"`: what an image probably shows is not said to be absent from it.
//!
//! Captions leave things out: an image whose caption does not name the bench may still show one. The
//! text tower as it was before training recognises it. Among all things that the captions of a batch
//! name, the guard turns down those that an image resembles most.
//!
//! How much an image resembles a thing is the cosine of its feature and the feature of "a photo of"
//! the thing, minus the mean of that cosine over the images of the batch: some texts are near to every
//! image. The cosines of a batch are one product, `[B, D]` by `[D, T]` for T things.

use std::collections::{BTreeMap, HashMap};

use items::Paired;
use items::contract::START_TOWER;
use pipeline_engine::{Fact, Part, StageError, options};

use super::{Guard, Images, Shown};
use crate::start::StartTower;
use crate::tagger::Noun;
use crate::templates::with_article;

options! {
    /// Turns down what the image resembles, by the model as it was before training.
    pub struct Visual {
        /// Of the things that the captions of a batch name, the share that each image counts as
        /// showing: those that it resembles most. 0: the model is not asked.
        share: f64 = 0.2, 0.0..=0.9;
    }
}

impl Part for Visual {
    const NAME: &'static str = "visual";
    const ABOUT: &'static str = "turns down what the image resembles, by the model as it was before training";
}

impl Guard for Visual {
    fn look(&self, images: &Images<'_>) -> Result<Option<Box<dyn Shown>>, StageError> {
        if self.share == 0.0 {
            return Ok(None);
        }
        let start = images.start.ok_or_else(|| {
            StageError::msg(
                "the guard `visual` asks the text tower before training, and no stage of this pipeline has one",
            )
        })?;
        Ok(Some(Box::new(resemblance(images.paired, images.drawn.things(), start, self.share)?)))
    }

    fn needs(&self) -> Vec<Fact> {
        if self.share == 0.0 { Vec::new() } else { vec![START_TOWER] }
    }
}

/// For each image of the batch, the share of these things that it resembles most. It depends on the
/// batch and the tower alone.
fn resemblance<'a>(
    paired: &Paired,
    things: impl IntoIterator<Item = &'a Noun>,
    start: &StartTower,
    share: f64,
) -> Result<Resemblance, StageError> {
    let (images, dim) = (paired.batch.items.len(), paired.batch.dim);
    if start.dim() != dim {
        return Err(StageError::msg(format!(
            "the image features have {dim} dimensions and the text features {}, so that the guard `visual` cannot \
             compare them; [model] weights must be two towers that were trained together, or remove \"visual\" from \
             captions.guards",
            start.dim()
        )));
    }
    // Sorted, so that sums do not depend on the order of the batch's captions.
    let phrases: BTreeMap<String, usize> = things.into_iter().map(|noun| (phrase(noun), 0)).collect();
    let mut scores = Vec::with_capacity(images * phrases.len());
    for phrase in phrases.keys() {
        let feature = start.feature(phrase)?;
        let row = scores.len();
        scores.extend(paired.batch.features.chunks_exact(dim).map(|image| dot(image, &feature)));
        let mean = scores[row..].iter().sum::<f32>() / images.max(1) as f32;
        scores[row..].iter_mut().for_each(|score| *score -= mean);
    }
    let counted = (share * phrases.len() as f64).round() as usize;
    let bounds = (0..images).map(|image| {
        let mut of_image: Vec<f32> = scores.iter().skip(image).step_by(images).copied().collect();
        of_image.sort_unstable_by(|a, b| b.total_cmp(a));
        counted.checked_sub(1).map_or(f32::INFINITY, |last| of_image[last])
    });
    let bounds = bounds.collect();
    let rows = phrases.into_keys().zip(0..).collect();
    Ok(Resemblance { rows, scores, bounds })
}

/// How much the images of a batch resemble things.
#[derive(Debug, Clone, Default)]
struct Resemblance {
    /// The row of a thing's phrase.
    rows: HashMap<String, usize>,
    /// `[T, B]`, one row per thing.
    scores: Vec<f32>,
    /// For each image, the least score of a thing that it counts as showing.
    bounds: Vec<f32>,
}

impl Shown for Resemblance {
    fn shows(&self, image: usize, thing: &Noun) -> bool {
        let score = self.rows.get(&phrase(thing)).map(|row| self.scores[row * self.bounds.len() + image]);
        score.is_some_and(|score| score >= self.bounds[image])
    }
}

/// CLIP's prompt for a thing (arXiv 2103.00020, section 3.1.4).
fn phrase(thing: &Noun) -> String {
    format!("a photo of {}", with_article(thing))
}

/// Eight sums side by side, which a processor adds at once, always in the same order.
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use items::{Batch, BatchItem, TextEncoder};

    use super::*;
    use crate::cache::Analyser;
    use crate::drawn::Drawn;
    use crate::tagger::analyse;
    use crate::wordnet::WordNet;

    /// Each of these things has an axis for the texts that end with it; all texts share the last axis.
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

    /// The second image has a little of everything, also of the dog, and most of a bench.
    const IMAGES: [[f32; 9]; 2] =
        [[0.5, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.4, 0.3, 0.6, 0.1, 0.0, 0.0, 0.0, 0.0, 0.4]];

    #[test]
    fn an_image_shows_what_it_resembles_more_than_other_images_do() {
        let (start, nouns) = (StartTower::new(Arc::new(Axes::default())), nouns());
        assert_eq!(nouns.iter().map(|n| n.lemma.as_str()).collect::<Vec<_>>(), THINGS);
        let paired = pictures(&IMAGES);
        let shown = |share: f64, image: usize| {
            let shown = resemblance(&paired, &nouns, &start, share).unwrap();
            nouns.iter().filter(|n| shown.shows(image, n)).map(|n| n.lemma.clone()).collect::<Vec<_>>()
        };
        assert_eq!(shown(0.0, 0), [""; 0]);
        assert_eq!(shown(0.25, 0), ["dog"]);
        assert_eq!(shown(0.25, 1), ["bench"]);
        // Rather than the dog, which the other image has even more of.
        assert_eq!(shown(0.5, 1), ["kite", "bench"]);
        assert_eq!(shown(1.0, 1), THINGS);
    }

    #[test]
    fn each_thing_is_read_once() {
        let axes = Arc::new(Axes::default());
        let (start, nouns, paired) = (StartTower::new(axes.clone()), nouns(), pictures(&IMAGES));
        let first = resemblance(&paired, &nouns, &start, 0.5).unwrap();
        let backwards = resemblance(&paired, nouns.iter().rev().chain(&nouns), &start, 0.5).unwrap();
        assert_eq!(axes.0.load(Relaxed), 4);
        assert_eq!(first.scores, backwards.scores, "the order of the captions does not matter");
        let unasked = resemblance(&paired, &nouns[..2], &start, 1.0).unwrap();
        assert!(!unasked.shows(1, &nouns[2]));
    }

    #[test]
    fn towers_of_two_models_are_refused() {
        let mut paired = pictures(&IMAGES);
        paired.batch.dim = 3;
        let start = StartTower::new(Arc::new(Axes::default()));
        let error = resemblance(&paired, &nouns(), &start, 0.5).unwrap_err().to_string();
        assert!(error.contains("3 dimensions and the text features 9") && error.contains("captions.guards"), "{error}");
    }

    #[test]
    fn with_a_share_of_0_the_model_is_not_asked() {
        let mut paired = pictures(&IMAGES);
        let caption = ["A dog and a kite by a bench in water".to_owned()];
        paired.batch.items =
            paired.batch.items.iter().map(|i| BatchItem { captions: caption.clone().into(), ..i.clone() }).collect();
        let analyser = Analyser::new(WordNet::embedded().unwrap(), 10);
        let drawn = Drawn::new(&analyser, &paired);
        let mut images = Images { paired: &paired, drawn: &drawn, start: None };
        assert!(Visual { share: 0.0 }.needs().is_empty());
        assert!(Visual { share: 0.0 }.look(&images).unwrap().is_none());
        assert_eq!(Visual { share: 0.25 }.needs(), [START_TOWER]);
        assert!(Visual { share: 0.25 }.look(&images).is_err());
        let start = StartTower::new(Arc::new(Axes::default()));
        images.start = Some(&start);
        assert!(Visual { share: 0.25 }.look(&images).unwrap().unwrap().shows(0, &nouns()[0]));
    }

    #[test]
    fn dot_takes_every_number() {
        let a: Vec<f32> = (0..21).map(|i| i as f32).collect();
        assert_eq!(dot(&a, &a), 2870.0);
        assert_eq!(dot(&a[..3], &a[..3]), 5.0);
    }
}
