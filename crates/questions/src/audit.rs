//! How true are generated captions? Negations of real batches, with guards on and off, compared with
//! what is known of the images.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use benchmarks::score::Series;
use items::Paired;
use pipeline_engine::StageError;
use pipeline_engine::rng::Draw;
use stage_captions::cache::Analyser;
use stage_captions::counts::{Count, Counts};
use stage_captions::guard::{Distance, Guard, Guards, Implied, OtherCaptions, People, Visual};
use stage_captions::reading::Reader;
use stage_captions::start::StartTower;
use stage_captions::tagger::analyse;
use stage_captions::wordnet::{Concept, Relation, WordNet};
use stage_captions::writer::{Negations, TngWriter};

use crate::known::Known;

/// Guards against false captions, and their name as a set. A new guard belongs here too.
#[derive(Clone)]
pub struct Variant {
    /// Its name in the table.
    pub name: &'static str,
    /// The guards.
    pub guards: Guards,
}

/// What is compared: no guard (only the check of lemmas, synonyms and hypernyms), each guard alone,
/// all of them, and all of them with other distances and with other shares of the visual guard.
pub fn variants() -> Vec<Variant> {
    let variant = |name, guards| Variant { name, guards: Guards::new(guards) };
    let captions = || -> Arc<dyn Guard> { Arc::new(OtherCaptions {}) };
    let implied = || -> Arc<dyn Guard> { Arc::new(Implied {}) };
    let people = || -> Arc<dyn Guard> { Arc::new(People {}) };
    let distance = |min| -> Arc<dyn Guard> { Arc::new(Distance { min }) };
    let visual = |share| -> Arc<dyn Guard> { Arc::new(Visual { share }) };
    let words = || vec![captions(), implied(), people()];
    let all = |min| [words(), vec![distance(min)]].concat();
    let seeing = |share| [all(4), vec![visual(share)]].concat();
    vec![
        variant("no guard", Vec::new()),
        variant("known captions", vec![captions()]),
        variant("distance 4", vec![distance(4)]),
        variant("implied things", vec![implied()]),
        variant("people", vec![people()]),
        variant("visual", vec![visual(VISUAL)]),
        variant("all but known captions", vec![implied(), people(), distance(4)]),
        variant("all, no distance", words()),
        variant("all, distance 2", all(2)),
        variant("all, distance 4", all(4)),
        variant("all, distance 6", all(6)),
        variant("all, distance 8", all(8)),
        variant("all, visual 0.1", seeing(0.1)),
        variant("all, visual 0.2", seeing(0.2)),
        variant("all, visual 0.3", seeing(0.3)),
        variant("all, visual 0.5", seeing(0.5)),
    ]
}

/// The share of the visual guard where it is alone.
const VISUAL: f64 = 0.3;

/// What is known of images, ready to judge a noun.
pub struct Truth<'a> {
    known: &'a Known,
    /// Images by the end of their path, without what follows the first dot: a sample's key.
    images: HashMap<&'a str, usize>,
}

/// Whether an image shows what a noun names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It does: to deny it is false.
    There,
    /// It does not.
    Absent,
    /// What is known of the image does not tell.
    Untold,
}

impl<'a> Truth<'a> {
    /// What is known, by the keys of samples.
    pub fn new(known: &'a Known) -> Self {
        let images = known.pictures.iter().enumerate().map(|(i, picture)| (stem(&picture.image), i)).collect();
        Self { known, images }
    }

    /// The image of a sample, if something is known of it.
    pub fn image(&self, key: &str) -> Option<usize> {
        self.images.get(stem(key)).copied()
    }

    /// Judges a noun: the same name, a synonym or something more special that is there makes it
    /// there; something more general that is there does not tell ("poodle" where a dog is); a noun
    /// that has nothing to do with any known thing does not either.
    pub fn judge(&self, image: usize, name: &str, concept: Option<&Concept>) -> Verdict {
        let present = &self.known.pictures[image].present;
        let mut related = false;
        let mut untold = false;
        for (index, thing) in self.known.things.iter().enumerate() {
            let relation = match (concept, &thing.concept) {
                _ if thing.name == name => Relation::Synonym,
                (Some(noun), Some(thing)) => noun.relation(thing),
                _ => continue,
            };
            match (relation, present.binary_search(&index).is_ok()) {
                (Relation::Apart(_), _) => {}
                (Relation::Synonym | Relation::Hypernym, true) => return Verdict::There,
                (Relation::Hyponym, true) => untold = true,
                (_, false) => related = true,
            }
        }
        if related && !untold { Verdict::Absent } else { Verdict::Untold }
    }
}

/// The end of a path without what follows the first dot.
fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.split('.').next().unwrap_or(name)
}

/// What became of a variant.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its name.
    pub variant: &'static str,
    /// Captions that deny a thing the image shows, of those that can be judged; an image a cluster.
    pub false_absence: Series,
    /// Full negations of captions all of whose things that can be judged are there.
    pub false_full: Series,
    /// Images that got an object, of all.
    pub with_object: (u64, u64),
    /// Objects that are no things ("front", "group").
    pub not_things: u64,
    /// Distinct objects, templates.
    pub distinct: (usize, usize),
    /// Distinct bigrams of the compositional captions, of all.
    pub bigrams: (usize, usize),
    /// Nouns that were turned down, by reason.
    pub counts: Counts,
    /// False ones to look at: key, caption, object.
    pub examples: Vec<(String, String, String)>,
}

/// False captions that are kept to look at.
const EXAMPLES: usize = 5;
/// Distinct captions whose reading is remembered.
const REMEMBERED: usize = 200_000;

/// Writes negations for batches with the guards of a variant, and judges them. `start` is the text
/// tower that the visual guard asks.
///
/// # Errors
/// When WordNet or the templates cannot be read; when `start` fails.
pub fn audit(
    variant: Variant,
    batches: &[Paired],
    truth: &Truth<'_>,
    start: &StartTower,
    seed: u64,
) -> Result<Report, StageError> {
    let wordnet = WordNet::embedded().map_err(|e| StageError::msg(e.to_string()))?;
    let writer = TngWriter::usual()?;
    let reader = Reader::new(Analyser::new(wordnet, REMEMBERED), variant.guards);
    let mut counts = Counts::default();
    // Whether it is there, and the image.
    let mut judged: Vec<(bool, usize)> = Vec::new();
    let mut judged_full: Vec<(bool, usize)> = Vec::new();
    let (mut objects, mut templates) = (BTreeSet::new(), BTreeSet::new());
    let mut bigrams: BTreeMap<(String, String), usize> = BTreeMap::new();
    let (mut not_things, mut images, mut examples) = (0, 0, Vec::new());
    for paired in batches {
        let items = &paired.batch.items;
        let draw = |i: usize| Draw::new(seed, "audit").text(&items[i].key).number(paired.batch.step);
        let made = writer.negations(&reader.read(paired, Some(start))?, draw, &mut counts);
        for (item, made) in items.iter().zip(&made) {
            images += 1;
            let image = truth.image(&item.key);
            if let Some(object) = &made.object {
                let noun = &object.noun;
                objects.insert(noun.lemma.clone());
                templates.insert(made.compositional_template);
                not_things += u64::from(!noun.is_thing());
                let words: Vec<String> =
                    made.compositional.to_lowercase().split_whitespace().map(str::to_owned).collect();
                for pair in words.windows(2) {
                    *bigrams.entry((pair[0].clone(), pair[1].clone())).or_default() += 1;
                }
                if let Some(image) = image {
                    let verdict = truth.judge(image, &noun.lemma, noun.concept.as_ref());
                    if verdict != Verdict::Untold {
                        judged.push((verdict == Verdict::There, image));
                    }
                    if verdict == Verdict::There && examples.len() < EXAMPLES {
                        examples.push((item.key.to_string(), made.compositional.clone(), noun.text.clone()));
                    }
                }
            }
            if let (Some(image), Some(verdict)) =
                (image, image.and_then(|i| full_verdict(wordnet, truth, i, items, made)))
            {
                judged_full.push((verdict == Verdict::There, image));
            }
        }
    }
    Ok(Report {
        variant: variant.name,
        false_absence: Series::hits("false_absence", variant.name, judged),
        false_full: Series::hits("false_full_negation", variant.name, judged_full),
        with_object: (images - counts[Count::NoObject], images),
        not_things,
        distinct: (objects.len(), templates.len()),
        bigrams: (bigrams.len(), bigrams.values().sum()),
        counts,
        examples,
    })
}

/// "Not A" is false of an image that shows all of A: all its things that can be judged.
fn full_verdict(
    wordnet: &WordNet,
    truth: &Truth<'_>,
    image: usize,
    items: &[items::BatchItem],
    made: &Negations,
) -> Option<Verdict> {
    let denied = analyse(wordnet, items[made.full_item?].caption());
    let verdicts: Vec<Verdict> = denied
        .nouns
        .iter()
        .map(|noun| truth.judge(image, &noun.lemma, noun.concept.as_ref()))
        .filter(|verdict| *verdict != Verdict::Untold)
        .collect();
    let all = verdicts.iter().all(|verdict| *verdict == Verdict::There);
    (!verdicts.is_empty()).then_some(if all { Verdict::There } else { Verdict::Absent })
}

/// Keys of samples about which nothing is known.
pub fn unknown<'b>(batches: &'b [Paired], truth: &Truth<'_>) -> Vec<&'b str> {
    let keys: HashSet<&str> =
        batches.iter().flat_map(|paired| paired.batch.items.iter().map(|item| &*item.key)).collect();
    let mut unknown: Vec<&str> = keys.into_iter().filter(|key| truth.image(key).is_none()).collect();
    unknown.sort_unstable();
    unknown
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use items::{Batch, BatchItem, TextEncoder};

    use super::*;

    /// "A ball" lies along the first axis, everything else along the second.
    struct Axes;

    impl TextEncoder for Axes {
        fn dim(&self) -> usize {
            2
        }

        fn embed(&self, texts: &[String]) -> Result<Vec<f32>, StageError> {
            Ok(texts.iter().flat_map(|text| if text.ends_with("ball") { [1.0, 0.0] } else { [0.0, 1.0] }).collect())
        }
    }

    /// Image 0 shows a dog and a ball, of which its caption tells the dog; image 1 has all.
    fn known() -> Known {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.jsonl");
        let lines = [
            r#"{"image":"photos/0.jpg","present":["dog","ball"]}"#,
            r#"{"image":"photos/1.jpg","present":["dog","ball","bench","cat"]}"#,
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        Known::from_table(Path::new(&path), 1).unwrap()
    }

    fn batch(captions: [&[&str]; 2]) -> Paired {
        let items: Vec<BatchItem> = captions
            .iter()
            .enumerate()
            .map(|(i, captions)| BatchItem {
                key: format!("shard/{i}").into(),
                shard: "a.tar".into(),
                captions: captions.iter().map(|c| (*c).to_owned()).collect(),
                drawn: 0,
                image: i as u32,
            })
            .collect();
        Paired {
            batch: Batch { epoch: 1, step: 0, items: items.into(), dim: 2, features: [1.0, 0.0, 0.0, 1.0].into() },
            k: 1,
            neighbours: vec![1, 0],
            cosines: vec![0.0; 2],
        }
    }

    #[test]
    fn a_noun_is_judged_by_what_it_means() {
        let known = known();
        let truth = Truth::new(&known);
        let wordnet = WordNet::embedded().unwrap();
        let judge = |name: &str| truth.judge(0, name, wordnet.concept(name).as_ref());
        assert_eq!(judge("dog"), Verdict::There);
        assert_eq!(judge("animal"), Verdict::There);
        assert_eq!(judge("poodle"), Verdict::Untold);
        assert_eq!(judge("cat"), Verdict::Absent);
        assert_eq!(judge("guitar"), Verdict::Untold, "no table of animals tells of guitars");
        assert_eq!(truth.image("x/1.tar"), Some(1));
    }

    #[test]
    fn what_is_there_but_unsaid_makes_a_false_caption() {
        let known = known();
        let truth = Truth::new(&known);
        let start = StartTower::new(Arc::new(Axes));
        let report = |captions, variant| audit(variant, &[batch(captions)], &truth, &start, 1).unwrap();
        let named = |name: &str| variants().into_iter().find(|v| v.name == name).unwrap();
        let all = || named("all, distance 4");
        let blind = report([&["A dog runs"], &["A ball"]], all());
        assert_eq!((blind.false_absence.values[0], blind.examples.len()), (1.0, 2));
        assert_eq!(blind.examples[0].2, "ball");
        let bench = report([&["A dog runs"], &["A bench"]], all());
        assert_eq!(bench.false_absence.values[0], 0.0);
        // Another caption of the image tells of the ball: the guard sees it.
        let open = named("no guard");
        let captions: [&[&str]; 2] = [&["A dog runs", "A dog and its ball"], &["A ball"]];
        assert_eq!(report(captions, open).false_absence.values[0], 1.0);
        let guarded = report(captions, all());
        assert_eq!((guarded.counts[Count::NoObject], guarded.counts[Count::KnownCaption]), (1, 1));
        assert_eq!(guarded.not_things, 0);
        // Nothing tells of ball and dog but the pictures, which look like them.
        let seeing = report([&["A dog runs"], &["A ball"]], named("all, visual 0.5"));
        assert_eq!((seeing.counts[Count::NoObject], seeing.counts[Count::LooksPresent]), (2, 2));
        assert!(seeing.examples.is_empty(), "{:?}", seeing.examples);
        assert_eq!(unknown(&[batch([&["A dog"], &["A cat"]])], &truth), Vec::<&str>::new());
    }
}
