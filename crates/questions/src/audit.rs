//! How true are generated captions? The writer `tng` on real batches, with different guards, against
//! what is known of the images.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use benchmarks::score::Series;
use items::keys::Keys;
use items::{BatchItem, Paired};
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

/// Guards against false captions, and what they are called together. A new guard belongs in
/// [`variants`] too.
#[derive(Clone)]
pub struct Variant {
    /// Its name in the table.
    pub name: &'static str,
    /// What a noun must pass.
    pub guards: Guards,
}

/// What is compared: no guard beside the check of lemmas, synonyms and hypernyms, each guard alone,
/// all of them, and all of them with other distances and other shares of the visual guard.
pub fn variants() -> Vec<Variant> {
    let captions: Arc<dyn Guard> = Arc::new(OtherCaptions {});
    let implied: Arc<dyn Guard> = Arc::new(Implied {});
    let people: Arc<dyn Guard> = Arc::new(People {});
    let distance = |min| -> Arc<dyn Guard> { Arc::new(Distance { min }) };
    let visual = |share| -> Arc<dyn Guard> { Arc::new(Visual { share }) };
    let of = |name, guards: Vec<Arc<dyn Guard>>| Variant { name, guards: Guards::new(guards) };
    let words = [captions.clone(), implied.clone(), people.clone()];
    let with = |name, guard| of(name, words.iter().cloned().chain([guard]).collect());
    let seeing = |name, share| of(name, words.iter().cloned().chain([distance(4), visual(share)]).collect());
    vec![
        of("no guard", vec![]),
        of("known captions", vec![captions.clone()]),
        of("distance 4", vec![distance(4)]),
        of("implied things", vec![implied.clone()]),
        of("people", vec![people.clone()]),
        of("visual", vec![visual(0.3)]),
        of("all but known captions", vec![implied, people, distance(4)]),
        of("all, no distance", words.to_vec()),
        with("all, distance 2", distance(2)),
        with("all, distance 4", distance(4)),
        with("all, distance 6", distance(6)),
        with("all, distance 8", distance(8)),
        seeing("all, visual 0.1", 0.1),
        seeing("all, visual 0.2", 0.2),
        seeing("all, visual 0.3", 0.3),
        seeing("all, visual 0.5", 0.5),
    ]
}

/// The ground truth: what is known of images, ready to judge a noun.
pub struct Truth<'a> {
    known: &'a Known,
    /// Images by the keys that their samples may have; `None` where two may have the same one.
    by_key: HashMap<String, Option<usize>>,
    /// The same by their names without folders.
    by_name: HashMap<String, Option<usize>>,
}

/// Whether an image shows what a noun names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It does: a caption that denies it is false.
    Present,
    /// It does not.
    Absent,
    /// What is known of the image does not say.
    Unknown,
}

impl<'a> Truth<'a> {
    /// What is known, by the keys of samples.
    pub fn new(known: &'a Known) -> Self {
        let mut truth = Self { known, by_key: HashMap::new(), by_name: HashMap::new() };
        for (i, picture) in known.pictures.iter().enumerate() {
            let Keys { whole, names } = Keys::of(&picture.image);
            for (map, keys) in [(&mut truth.by_key, whole), (&mut truth.by_name, names)] {
                for key in keys {
                    let image = map.entry(key).or_insert(Some(i));
                    *image = image.filter(|image| *image == i);
                }
            }
        }
        truth
    }

    /// The image of a sample, if something is known of it, and of no other that its key may mean.
    pub fn image(&self, key: &str) -> Option<usize> {
        if let Some(Some(image)) = self.by_key.get(key) {
            return Some(*image);
        }
        Keys::of(key).names.iter().find_map(|name| self.by_name.get(name)).copied().flatten()
    }

    /// Judges a noun. It is present if the image shows a thing with the same name, a synonym or
    /// something more special. It is unknown if the image shows something more general ("poodle",
    /// where a dog is known), or if no known thing is related to it.
    pub fn judge(&self, image: usize, name: &str, concept: Option<&Concept>) -> Verdict {
        let present = &self.known.pictures[image].present;
        let mut related = false;
        let mut unknown = false;
        for (index, thing) in self.known.things.iter().enumerate() {
            let relation = match (concept, &thing.concept) {
                _ if thing.name == name => Relation::Synonym,
                (Some(noun), Some(thing)) => noun.relation(thing),
                _ => continue,
            };
            match (relation, present.binary_search(&index).is_ok()) {
                (Relation::Apart(_), _) => {}
                (Relation::Synonym | Relation::Hypernym, true) => return Verdict::Present,
                (Relation::Hyponym, true) => unknown = true,
                (_, false) => related = true,
            }
        }
        if related && !unknown { Verdict::Absent } else { Verdict::Unknown }
    }
}

/// What a variant gave.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its name.
    pub variant: &'static str,
    /// Captions that deny a thing the image shows, of those that can be judged; one cluster per image.
    pub false_absence: Series,
    /// Full negations of captions all of whose things that can be judged are in the image.
    pub false_full: Series,
    /// Images that got an object, of all.
    pub with_object: (u64, u64),
    /// Objects that are not things ("front", "group").
    pub not_things: u64,
    /// Distinct objects and templates.
    pub distinct: (usize, usize),
    /// Distinct bigrams of the compositional captions, of all.
    pub bigrams: (usize, usize),
    /// Where objects came from, and why nouns were turned down.
    pub counts: Counts,
    /// False ones to look at: key, caption, object.
    pub examples: Vec<(String, String, String)>,
}

/// False captions that are kept to look at.
const EXAMPLES: usize = 5;
/// Distinct captions whose reading is remembered.
const REMEMBERED: usize = 200_000;

/// Runs the writer with some guards over batches; `start` is the text tower before training.
///
/// # Errors
/// When WordNet or the templates cannot be read; when `start` fails.
pub fn audit(
    variant: &Variant,
    batches: &[Paired],
    truth: &Truth<'_>,
    start: &StartTower,
    seed: u64,
) -> Result<Report, StageError> {
    let wordnet = WordNet::embedded().map_err(|e| StageError::msg(e.to_string()))?;
    let writer = TngWriter::usual()?;
    let reader = Reader::new(Analyser::new(wordnet, REMEMBERED), variant.guards.clone());
    let mut tally = Tally::default();
    for paired in batches {
        let items = &paired.batch.items;
        let draw = |i: usize| Draw::new(seed, "audit").text(&items[i].key).number(paired.batch.step);
        let reading = reader.read(paired, Some(start))?;
        let made = writer.negations(&reading, draw, &mut tally.counts);
        for (item, made) in items.iter().zip(&made) {
            let image = truth.image(&item.key);
            tally.compositional(item, made, truth, image);
            let verdict = image.and_then(|image| full_verdict(wordnet, truth, image, items, made));
            if let (Some(image), Some(verdict)) = (image, verdict) {
                tally.full.push((verdict == Verdict::Present, image));
            }
        }
    }
    Ok(tally.report(variant.name))
}

/// What was found so far.
#[derive(Default)]
struct Tally {
    counts: Counts,
    /// For each compositional caption that can be judged: whether it is false, and the image.
    compositional: Vec<(bool, usize)>,
    /// The same for full negations.
    full: Vec<(bool, usize)>,
    objects: BTreeSet<String>,
    templates: BTreeSet<usize>,
    bigrams: BTreeMap<(String, String), usize>,
    not_things: u64,
    examples: Vec<(String, String, String)>,
}

impl Tally {
    /// Judges the object of a caption; `image` is its place in the truth, if something is known of it.
    fn compositional(&mut self, item: &BatchItem, made: &Negations, truth: &Truth<'_>, image: Option<usize>) {
        let Some(object) = &made.object else { return };
        let noun = &object.noun;
        self.objects.insert(noun.lemma.clone());
        self.templates.insert(made.compositional_template);
        self.not_things += u64::from(!noun.is_thing());
        let words: Vec<String> = made.compositional.to_lowercase().split_whitespace().map(str::to_owned).collect();
        for pair in words.windows(2) {
            *self.bigrams.entry((pair[0].clone(), pair[1].clone())).or_default() += 1;
        }
        let Some(image) = image else { return };
        let verdict = truth.judge(image, &noun.lemma, noun.concept.as_ref());
        if verdict != Verdict::Unknown {
            self.compositional.push((verdict == Verdict::Present, image));
        }
        if verdict == Verdict::Present && self.examples.len() < EXAMPLES {
            self.examples.push((item.key.to_string(), made.compositional.clone(), noun.text.clone()));
        }
    }

    fn report(self, variant: &'static str) -> Report {
        let images = self.counts[Count::Images];
        Report {
            variant,
            false_absence: Series::hits("false_absence", variant, self.compositional),
            false_full: Series::hits("false_full_negation", variant, self.full),
            with_object: (images - self.counts[Count::NoObject], images),
            not_things: self.not_things,
            distinct: (self.objects.len(), self.templates.len()),
            bigrams: (self.bigrams.len(), self.bigrams.values().sum()),
            counts: self.counts,
            examples: self.examples,
        }
    }
}

/// "Not A" is false of an image that shows all of A: all its things that can be judged.
fn full_verdict(
    wordnet: &WordNet,
    truth: &Truth<'_>,
    image: usize,
    items: &[BatchItem],
    made: &Negations,
) -> Option<Verdict> {
    let denied = analyse(wordnet, items[made.full_item?].caption());
    let verdicts: Vec<Verdict> = denied
        .nouns
        .iter()
        .map(|noun| truth.judge(image, &noun.lemma, noun.concept.as_ref()))
        .filter(|verdict| *verdict != Verdict::Unknown)
        .collect();
    let all = verdicts.iter().all(|verdict| *verdict == Verdict::Present);
    (!verdicts.is_empty()).then_some(if all { Verdict::Present } else { Verdict::Absent })
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

    use items::{Batch, TextEncoder};

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

    /// Image 0 shows a dog and a ball, of which its caption names the dog; image 1 shows everything.
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

    /// As `pipeline pack` names the samples of a folder.
    #[test]
    fn images_are_found_by_their_paths_and_never_taken_for_another() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.jsonl");
        let line = |image: &str, present: &str| format!("{{\"image\":\"{image}\",\"present\":[\"{present}\"]}}\n");
        let images = [("val/x.jpg", "dog"), ("test/x.jpg", "cat"), ("val/y z.1.jpg", "ball")];
        std::fs::write(&path, images.map(|(image, present)| line(image, present)).concat()).unwrap();
        let known = Known::from_table(&path, 1).unwrap();
        let truth = Truth::new(&known);
        let image = |key: &str| truth.image(key).map(|i| known.pictures[i].image.as_str());
        assert_eq!(image("val/x"), Some("val/x.jpg"));
        assert_eq!(image("test_x"), Some("test/x.jpg"));
        assert_eq!(image("y_z_1"), Some("val/y z.1.jpg"));
        assert_eq!(image("x"), None, "two images may have this key");
    }

    #[test]
    fn a_noun_is_judged_by_what_it_means() {
        let known = known();
        let truth = Truth::new(&known);
        let wordnet = WordNet::embedded().unwrap();
        let judge = |name: &str| truth.judge(0, name, wordnet.concept(name).as_ref());
        assert_eq!(judge("dog"), Verdict::Present);
        assert_eq!(judge("animal"), Verdict::Present);
        assert_eq!(judge("poodle"), Verdict::Unknown);
        assert_eq!(judge("cat"), Verdict::Absent);
        assert_eq!(judge("guitar"), Verdict::Unknown, "a table of animals says nothing of guitars");
        assert_eq!(truth.image("x/1.tar"), Some(1));
    }

    #[test]
    fn a_thing_that_no_caption_names_makes_a_false_caption() {
        let known = known();
        let truth = Truth::new(&known);
        let start = StartTower::new(Arc::new(Axes));
        let report = |captions, variant: &Variant| audit(variant, &[batch(captions)], &truth, &start, 1).unwrap();
        let named = |name: &str| variants().into_iter().find(|v| v.name == name).unwrap();
        let all = &named("all, distance 4");
        let blind = report([&["A dog runs"], &["A ball"]], all);
        assert_eq!((blind.false_absence.values[0], blind.examples.len()), (1.0, 2));
        assert_eq!(blind.examples[0].2, "ball");
        let bench = report([&["A dog runs"], &["A bench"]], all);
        assert_eq!(bench.false_absence.values[0], 0.0);
        // Another caption of the image names the ball: the guard reads it.
        let open = &named("no guard");
        let captions: [&[&str]; 2] = [&["A dog runs", "A dog and its ball"], &["A ball"]];
        assert_eq!(report(captions, open).false_absence.values[0], 1.0);
        let guarded = report(captions, all);
        assert_eq!((guarded.counts[Count::NoObject], guarded.counts[Count::KnownCaption]), (1, 1));
        assert_eq!(guarded.not_things, 0);
        // Only the images tell of ball and dog: they resemble them.
        let seeing = report([&["A dog runs"], &["A ball"]], &named("all, visual 0.5"));
        assert_eq!((seeing.counts[Count::NoObject], seeing.counts[Count::LooksPresent]), (2, 2));
        assert!(seeing.examples.is_empty(), "{:?}", seeing.examples);
        assert_eq!(unknown(&[batch([&["A dog"], &["A cat"]])], &truth), Vec::<&str>::new());
    }
}
