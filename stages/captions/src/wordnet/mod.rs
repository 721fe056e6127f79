//! The part of WordNet that captions need: which words there are, how often
//! each is a noun, a verb, an adjective or an adverb, and how nouns relate.
//!
//! The data is WordNet 3.0 (Princeton University; `data/WORDNET-LICENSE`),
//! compacted by `tools/wordnet`, which also documents the file's layout.

use std::collections::HashMap;
use std::io::Read;
use std::sync::LazyLock;

use flate2::read::ZlibDecoder;

use crate::usage;

static EMBEDDED: LazyLock<Result<WordNet, WordNetError>> =
    LazyLock::new(|| WordNet::parse(include_bytes!("../data/wordnet.bin")));

const MAGIC: &[u8] = b"pipeline wordnet 1\n";
/// Far above what WordNet 3.x unpacks to (4 MB): a limit for damaged files.
const MOST_BYTES: u64 = 64 << 20;

/// Why compact WordNet data cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WordNetError {
    /// The first line is another one.
    #[error("WordNet data: not a compact WordNet file of version 1; make it with `wordnet-compact DICT OUT`")]
    NotWordNet,
    /// The compressed stream is damaged.
    #[error("WordNet data: cannot be unpacked; make it anew with `wordnet-compact DICT OUT`")]
    Unpack,
    /// A part ends early or points outside of the file.
    #[error("WordNet data: damaged at {0}; make it anew with `wordnet-compact DICT OUT`")]
    Damaged(&'static str),
}

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

/// A general noun of the file "Tops" is abstract (entity, act, group) but for these.
const CONCRETE_TOPS: &[&str] = &["animal", "food", "person", "plant"];

/// WordNet, unpacked (about 8 MB).
#[derive(Debug)]
pub struct WordNet {
    /// Per synset.
    kinds: Vec<u8>,
    /// Per synset, end of its hypernyms in `hypernyms`.
    hypernyms: Ranges,
    hypernym_of: Vec<u32>,
    /// All words end to end, sorted.
    text: String,
    /// Per word, its bytes in `text`.
    words: Ranges,
    /// Hash table with open addressing: word + 1, or 0.
    slots: Vec<u32>,
    /// The synset "body part".
    body_part: Option<u32>,
    /// Per word, a bit for each [`Part`].
    parts: Vec<u8>,
    /// Per word and [`Part`].
    tagged: Vec<[u32; 4]>,
    /// Per word, its noun senses in `senses`.
    senses: Ranges,
    /// Synset and tag count.
    sense_of: Vec<(u32, u32)>,
    irregular: HashMap<(Part, String), Vec<String>>,
}

/// Consecutive ranges, given by their ends.
#[derive(Debug, Default)]
struct Ranges(Vec<u32>);

impl Ranges {
    fn get(&self, index: usize) -> std::ops::Range<usize> {
        let start = if index == 0 { 0 } else { self.0[index - 1] };
        start as usize..self.0[index] as usize
    }
}

impl WordNet {
    /// The data this crate carries, unpacked at the first call (some 30 ms).
    pub fn embedded() -> Result<&'static Self, &'static WordNetError> {
        EMBEDDED.as_ref()
    }

    /// Unpacks a compact file, checking every length and index in it.
    pub fn parse(file: &[u8]) -> Result<Self, WordNetError> {
        let stream = file.strip_prefix(MAGIC).ok_or(WordNetError::NotWordNet)?;
        let mut bytes = Vec::new();
        ZlibDecoder::new(stream).take(MOST_BYTES).read_to_end(&mut bytes).map_err(|_| WordNetError::Unpack)?;
        let mut cursor = Cursor { bytes: &bytes, part: "synsets" };

        let synsets = cursor.length()?;
        let kinds = cursor.take(synsets)?.to_vec();
        let mut hypernyms = Ranges::default();
        let mut hypernym_of = Vec::new();
        for _ in 0..synsets {
            for _ in 0..cursor.length()? {
                hypernym_of.push(cursor.below(synsets)?);
            }
            hypernyms.0.push(hypernym_of.len() as u32);
        }

        cursor.part = "words";
        let count = cursor.length()?;
        let mut text = Vec::new();
        let mut words = Ranges::default();
        let mut before = 0..0;
        for _ in 0..count {
            let shared = cursor.below(before.len() + 1)? as usize;
            let added = cursor.length()?;
            let start = text.len();
            text.extend_from_within(before.start..before.start + shared);
            text.extend_from_slice(cursor.take(added)?);
            let sorted = start == 0 || text[before] < text[start..];
            if !sorted || text.len() as u64 > MOST_BYTES {
                return Err(cursor.damaged());
            }
            before = start..text.len();
            words.0.push(text.len() as u32);
        }
        let text = String::from_utf8(text).map_err(|_| cursor.damaged())?;
        if words.0.iter().any(|&end| !text.is_char_boundary(end as usize)) {
            return Err(cursor.damaged());
        }

        cursor.part = "parts of speech";
        let mut parts = Vec::with_capacity(count);
        let mut tagged = Vec::with_capacity(count);
        for _ in 0..count {
            let bits = cursor.below(16)? as u8;
            let mut counts = [0; 4];
            for (part, count) in counts.iter_mut().enumerate() {
                if bits & (1 << part) != 0 {
                    *count = cursor.number()?;
                }
            }
            parts.push(bits);
            tagged.push(counts);
        }

        cursor.part = "senses";
        let mut senses = Ranges::default();
        let mut sense_of = Vec::new();
        for bits in &parts {
            if bits & 1 != 0 {
                for _ in 0..cursor.length()? {
                    sense_of.push((cursor.below(synsets)?, cursor.number()?));
                }
            }
            senses.0.push(sense_of.len() as u32);
        }

        cursor.part = "irregular forms";
        let length = cursor.length()?;
        let lines = std::str::from_utf8(cursor.take(length)?).map_err(|_| cursor.damaged())?;
        let mut irregular: HashMap<_, Vec<_>> = HashMap::new();
        for line in lines.lines() {
            let mut fields = line.split('\t');
            let (Some(part), Some(form), Some(lemma)) = (fields.next(), fields.next(), fields.next()) else {
                return Err(cursor.damaged());
            };
            let part = part.parse().ok().and_then(|p: usize| Part::ALL.get(p)).ok_or(cursor.damaged())?;
            irregular.entry((*part, form.to_owned())).or_default().push(lemma.to_owned());
        }
        if !cursor.bytes.is_empty() {
            return Err(cursor.damaged());
        }
        // At most half full, so that a search ends soon.
        let mut slots = vec![0; (2 * count + 1).next_power_of_two()];
        for word in 0..count {
            let mut slot = hash(&text[words.get(word)]) as usize & (slots.len() - 1);
            while slots[slot] != 0 {
                slot = (slot + 1) & (slots.len() - 1);
            }
            slots[slot] = word as u32 + 1;
        }
        let mut wordnet = Self {
            kinds,
            hypernyms,
            hypernym_of,
            text,
            words,
            slots,
            body_part: None,
            parts,
            tagged,
            senses,
            sense_of,
            irregular,
        };
        wordnet.body_part = wordnet.find("body part").and_then(|w| {
            let senses = wordnet.senses.get(w);
            wordnet.sense_of[senses].first().map(|s| s.0)
        });
        Ok(wordnet)
    }

    fn find(&self, word: &str) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut slot = hash(word) as usize & mask;
        while let Some(found) = (self.slots[slot] as usize).checked_sub(1) {
            if self.text[self.words.get(found)] == *word {
                return Some(found);
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    /// How often the lemma is tagged as `part` in WordNet's corpus; `None` if
    /// WordNet has no such word.
    pub fn tagged(&self, lemma: &str, part: Part) -> Option<u32> {
        let word = self.find(lemma)?;
        (self.parts[word] & (1 << part as u8) != 0).then(|| self.tagged[word][part as usize])
    }

    /// Lemmas that `form` (lower case) may be a form of, itself first; only
    /// the last word of a term of several words is inflected.
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
                // Of two letters at least: "bed" is no form of "be".
                if let Some(rest) = last.strip_suffix(ending).filter(|rest| rest.len() > 1) {
                    keep(format!("{stem}{rest}{becomes}"));
                }
            }
        }
        found
    }

    /// What a noun lemma means; `None` if WordNet does not know the noun.
    ///
    /// Only its usual senses count: "dog" is an animal, though WordNet also
    /// knows it as a word for a man. Those are the senses with at least an
    /// eighth of the lemma's tags, or the first one.
    pub fn concept(&self, lemma: &str) -> Option<Concept> {
        let senses = &self.sense_of[self.senses.get(self.find(lemma)?)];
        let meant = usage::SENSES.iter().find(|(l, _)| *l == lemma).map(|(_, kind)| *kind);
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

/// Lexicographer files of things that a photo can show, and can be without.
///
/// Not among them: body parts (a person without "hand" in the caption still
/// has hands, so that their absence cannot be told), groups (made of things
/// that have nouns of their own), places in the picture ("front", "side":
/// location, shape), and all that is abstract.
const CONCRETE: &[u8] =
    &[kind::ANIMAL, kind::ARTIFACT, kind::FOOD, kind::OBJECT, kind::PERSON, kind::PLANT, kind::SUBSTANCE];

/// The usual senses of a noun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concept {
    /// Lexicographer file of the most frequent sense.
    pub kind: u8,
    /// Whether it is a thing that a photo can show, and can be without.
    pub concrete: bool,
    /// Synsets of the usual senses and all their hypernyms, sorted, with the
    /// number of edges up to them.
    above: Vec<(u32, u8)>,
}

/// How one noun stands to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// They share a sense.
    Synonym,
    /// The first is more general (directly or through others).
    Hypernym,
    /// The first is more special.
    Hyponym,
    /// Neither; the edges of the shortest path through a common hypernym.
    Apart(u32),
}

impl Concept {
    /// How this noun stands to `other`. Nouns without a common hypernym are
    /// `Apart(u32::MAX)`.
    pub fn relation(&self, other: &Self) -> Relation {
        let (mut i, mut j) = (0, 0);
        let mut edges = u32::MAX;
        let (mut hypernym, mut hyponym) = (false, false);
        while let (Some(a), Some(b)) = (self.above.get(i), other.above.get(j)) {
            match a.0.cmp(&b.0) {
                std::cmp::Ordering::Less => i += 1,
                std::cmp::Ordering::Greater => j += 1,
                std::cmp::Ordering::Equal => {
                    if a.1 == 0 && b.1 == 0 {
                        return Relation::Synonym;
                    }
                    hypernym |= a.1 == 0;
                    hyponym |= b.1 == 0;
                    edges = edges.min(u32::from(a.1) + u32::from(b.1));
                    i += 1;
                    j += 1;
                }
            }
        }
        match (hypernym, hyponym) {
            (true, _) => Relation::Hypernym,
            (_, true) => Relation::Hyponym,
            _ => Relation::Apart(edges),
        }
    }
}

/// FNV-1a.
fn hash(word: &str) -> u64 {
    word.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Reads the unpacked bytes from the front.
struct Cursor<'a> {
    bytes: &'a [u8],
    part: &'static str,
}

impl<'a> Cursor<'a> {
    fn damaged(&self) -> WordNetError {
        WordNetError::Damaged(self.part)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WordNetError> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(WordNetError::Damaged(self.part))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, WordNetError> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let byte = self.take(1)?[0];
            value |= u32::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.damaged())
    }

    /// A number of things, each of which takes at least a byte.
    fn length(&mut self) -> Result<usize, WordNetError> {
        self.below(self.bytes.len() + 1).map(|n| n as usize)
    }

    fn below(&mut self, end: usize) -> Result<u32, WordNetError> {
        let number = self.number()?;
        if (number as usize) < end { Ok(number) } else { Err(self.damaged()) }
    }
}

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

    #[test]
    fn damaged_data_is_refused() {
        let file = include_bytes!("../data/wordnet.bin");
        assert_eq!(WordNet::parse(b"dog").err(), Some(WordNetError::NotWordNet));
        assert_eq!(WordNet::parse(&file[..file.len() / 2]).err(), Some(WordNetError::Unpack));
        let unpacked = |bytes: &[u8]| {
            let mut file = flate2::write::ZlibEncoder::new(MAGIC.to_vec(), flate2::Compression::fast());
            std::io::Write::write_all(&mut file, bytes).unwrap();
            WordNet::parse(&file.finish().unwrap()).err()
        };
        assert_eq!(unpacked(&[]), Some(WordNetError::Damaged("synsets")));
        assert_eq!(unpacked(&[1, 5, 1, 9]), Some(WordNetError::Damaged("synsets")));
        assert_eq!(unpacked(&[1, 5, 0, 1, 3, 0]), Some(WordNetError::Damaged("words")));
        assert_eq!(unpacked(&[1, 5, 0, 0, 0]), None);
    }
}
