//! The part of WordNet that captions need: which words exist, how often each is a noun, a verb, an
//! adjective or an adverb, and how nouns relate.
//!
//! The data is WordNet 3.0 (Princeton University; `data/WORDNET-LICENSE`), compacted by
//! `tools/wordnet`.

mod compact;
mod concept;

use std::cmp::Ordering;
use std::collections::HashMap;

pub use compact::WordNetError;
pub use concept::{Concept, Relation};

/// Part of speech of an open word class, numbered as in the compact file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// dog
    Noun,
    /// run
    Verb,
    /// brown
    Adjective,
    /// quickly
    Adverb,
}

impl Part {
    const ALL: [Self; 4] = [Self::Noun, Self::Verb, Self::Adjective, Self::Adverb];

    /// Endings and what they become (WordNet's morphy(7WN), without "-ful").
    fn endings(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Noun => &[
                ("s", ""),
                ("ses", "s"),
                ("xes", "x"),
                ("zes", "z"),
                ("ches", "ch"),
                ("shes", "sh"),
                ("men", "man"),
                ("ies", "y"),
            ],
            Self::Verb => {
                &[("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")]
            }
            Self::Adjective => &[("er", ""), ("est", ""), ("er", "e"), ("est", "e")],
            Self::Adverb => &[],
        }
    }
}

/// Lexicographer files: WordNet's 26 coarse kinds of noun (lexnames(5WN)).
pub mod kind {
    /// The most general nouns.
    pub const TOPS: u8 = 3;
    /// dog
    pub const ANIMAL: u8 = 5;
    /// ball
    pub const ARTIFACT: u8 = 6;
    /// bread
    pub const FOOD: u8 = 13;
    /// rock
    pub const OBJECT: u8 = 17;
    /// child
    pub const PERSON: u8 = 18;
    /// snow (as weather), rain, rainbow
    pub const PHENOMENON: u8 = 19;
    /// tree
    pub const PLANT: u8 = 20;
    /// sand
    pub const SUBSTANCE: u8 = 27;
}

/// The general nouns of the file "Tops" that are not abstract, as entity, act and group are.
const CONCRETE_TOPS: &[&str] = &["animal", "food", "person", "plant"];

/// WordNet, unpacked (about 8 MB).
#[derive(Debug)]
pub struct WordNet {
    /// Per synset, its lexicographer file.
    kinds: Vec<u8>,
    /// Per synset, its hypernyms in `hypernyms`.
    hypernyms: Ranges,
    hypernym_of: Vec<u32>,
    /// All words end to end, sorted.
    text: String,
    /// Per word, its bytes in `text`.
    words: Ranges,
    /// The synset "body part".
    body_part: Option<u32>,
    /// Per word, one bit per [`Part`].
    parts: Vec<u8>,
    /// Per word and [`Part`], how often it is tagged so.
    tagged: Vec<[u32; 4]>,
    /// Per word, its noun senses in `senses`.
    senses: Ranges,
    /// Synset and how often the word is tagged with it.
    sense_of: Vec<(u32, u32)>,
    irregular: HashMap<(Part, String), Vec<String>>,
    /// See [`WordNet::with_senses`].
    meant: &'static [(&'static str, u8)],
}

/// Consecutive ranges, stored as their ends.
#[derive(Debug, Default)]
struct Ranges(Vec<u32>);

impl Ranges {
    fn get(&self, index: usize) -> std::ops::Range<usize> {
        let start = if index == 0 { 0 } else { self.0[index - 1] };
        start as usize..self.0[index] as usize
    }
}

impl WordNet {
    /// Sets senses that captions use instead of the most frequent one: a lemma and the lexicographer
    /// file of the sense that is meant.
    #[must_use]
    pub fn with_senses(mut self, meant: &'static [(&'static str, u8)]) -> Self {
        self.meant = meant;
        self
    }

    /// The position of a word, by binary search: the words are sorted.
    fn find(&self, word: &str) -> Option<usize> {
        let (mut low, mut high) = (0, self.words.0.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.text[self.words.get(middle)].cmp(word) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Some(middle),
                Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// How often the lemma is tagged as `part` in WordNet's corpus; `None` if WordNet does not have
    /// the word.
    pub fn tagged(&self, lemma: &str, part: Part) -> Option<u32> {
        let word = self.find(lemma)?;
        (self.parts[word] & (1 << part as u8) != 0).then(|| self.tagged[word][part as usize])
    }

    /// Lemmas that `form` (lower case) may be a form of, itself first. In a term of several words, only
    /// the last word is inflected.
    ///
    /// `lemmas("children", Noun)` is `["child"]`, `lemmas("glasses", Noun)` is
    /// `["glasses", "glass"]`.
    pub fn lemmas(&self, form: &str, part: Part) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        let mut keep = |lemma: String| {
            if self.tagged(&lemma, part).is_some() && !found.contains(&lemma) {
                found.push(lemma);
            }
        };
        keep(form.to_owned());
        let (stem, last) = form.rfind([' ', '-']).map_or(("", form), |i| form.split_at(i + 1));
        for lemma in self.irregular.get(&(part, last.to_owned())).into_iter().flatten() {
            keep(format!("{stem}{lemma}"));
        }
        if last.len() > 2 && !last.ends_with("ss") {
            for (ending, becomes) in part.endings() {
                // At least two letters must remain: "bed" is not a form of "be".
                if let Some(rest) = last.strip_suffix(ending).filter(|rest| rest.len() > 1) {
                    keep(format!("{stem}{rest}{becomes}"));
                }
            }
        }
        found
    }

    /// What a noun lemma means; `None` if WordNet does not know the noun.
    ///
    /// Only its usual senses count: the first one, and those with at least an eighth of the lemma's
    /// tags. "dog" is an animal, though WordNet also knows it as a word for a man.
    pub fn concept(&self, lemma: &str) -> Option<Concept> {
        let senses = &self.sense_of[self.senses.get(self.find(lemma)?)];
        let meant = self.meant.iter().find(|(l, _)| *l == lemma).map(|(_, kind)| *kind);
        let main = senses
            .iter()
            .find(|(synset, _)| meant.is_some_and(|kind| self.kinds[*synset as usize] == kind))
            .or(senses.first())?
            .0;
        let total: u32 = senses.iter().map(|s| s.1).sum();
        let mut usual = vec![main];
        if meant.is_none() {
            usual.extend(
                senses.iter().filter(|(s, count)| *s != main && *count > 0 && count * 8 >= total).map(|(s, _)| *s),
            );
        }
        let kind = self.kinds[main as usize];
        let above = self.above(&usual);
        let body_part = self.body_part.is_some_and(|part| above.iter().any(|a| a.0 == part));
        let concrete = match kind {
            kind::TOPS => CONCRETE_TOPS.contains(&lemma),
            kind => CONCRETE.contains(&kind) && !body_part,
        };
        Some(Concept { kind, concrete, above })
    }

    /// The synsets themselves and all above them, sorted, with the number of edges.
    fn above(&self, synsets: &[u32]) -> Vec<(u32, u8)> {
        let mut found: Vec<(u32, u8)> = synsets.iter().map(|s| (*s, 0)).collect();
        let mut next = 0;
        while let Some(&(synset, edges)) = found.get(next) {
            for &hypernym in &self.hypernym_of[self.hypernyms.get(synset as usize)] {
                if !found.iter().any(|f| f.0 == hypernym) {
                    found.push((hypernym, edges.saturating_add(1)));
                }
            }
            next += 1;
        }
        found.sort_unstable();
        found
    }
}

/// Lexicographer files of things that a photo can show, and that can be missing from a photo.
///
/// Body parts are not among them, since a person without "hand" in the caption still has hands.
/// Neither are groups (their members have nouns of their own), places in the picture ("front",
/// "side": location, shape), and everything abstract.
const CONCRETE: &[u8] =
    &[kind::ANIMAL, kind::ARTIFACT, kind::FOOD, kind::OBJECT, kind::PERSON, kind::PLANT, kind::SUBSTANCE];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn concept(lemma: &str) -> Concept {
        WordNet::embedded().unwrap().concept(lemma).unwrap()
    }

    #[test]
    fn forms_lead_to_lemmas() {
        let wordnet = WordNet::embedded().unwrap();
        let noun = |form| wordnet.lemmas(form, Part::Noun);
        assert_eq!(noun("children"), ["child"]);
        assert_eq!(noun("benches"), ["bench"]);
        assert_eq!(noun("tennis balls"), ["tennis ball"]);
        assert_eq!(noun("firemen"), ["fireman"]);
        assert_eq!(noun("glasses"), ["glasses", "glass"]);
        assert_eq!(noun("zzz"), Vec::<String>::new());
        assert_eq!(wordnet.lemmas("running", Part::Verb), ["run"]);
        assert_eq!(wordnet.lemmas("carries", Part::Verb), ["carry"]);
        assert_eq!(wordnet.lemmas("bed", Part::Verb), ["bed"]);
    }

    #[test]
    fn things_are_concrete_and_places_groups_and_body_parts_are_not() {
        for thing in ["dog", "ball", "bread", "rock", "child", "tree", "sand", "hot dog", "person", "bench"] {
            assert!(concept(thing).concrete, "{thing}");
        }
        for other in ["group", "front", "side", "day", "hand", "tail", "team", "jump", "color", "entity"] {
            assert!(!concept(other).concrete, "{other}");
        }
    }

    #[test]
    fn relations_follow_the_hypernyms() {
        assert_eq!(concept("dog").relation(&concept("animal")), Relation::Hyponym);
        assert_eq!(concept("animal").relation(&concept("dog")), Relation::Hypernym);
        assert_eq!(concept("sofa").relation(&concept("couch")), Relation::Synonym);
        assert_eq!(concept("dog").relation(&concept("cat")), Relation::Apart(4));
        assert_eq!(concept("man").relation(&concept("woman")), Relation::Apart(2));
        let Relation::Apart(far) = concept("dog").relation(&concept("bench")) else { panic!("not apart") };
        assert!(far > 4);
        // "dog" is also a word for a man, but hardly ever.
        assert!(matches!(concept("dog").relation(&concept("man")), Relation::Apart(_)));
    }
}
