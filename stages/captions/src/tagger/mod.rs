//! Which words of a caption are its nouns.
//!
//! A bigram tagger (Viterbi). Its lexicon is WordNet's tag counts and a list of the closed classes;
//! its transitions are set by hand for the English of captions: mostly one clause, present tense,
//! many participles. It is our own because the Rust taggers that are still maintained need a second
//! deep-learning stack or have no licensed weights, and a caption's nouns need neither.
//! `docs/tagger.md` says how well it does.
//!
//! Nouns are read twice. [`Analysis::nouns`] are the words *tagged* as nouns: they can become an
//! object. `Analysis::mentioned` is every lemma that any word *could* be a form of: it counts as
//! said. So a tagging error can cost an object, but hardly ever makes a false caption.

mod lemma;
mod tags;

use lemma::{is_plural, noun_lemma, split};
use tags::{Tag, is_closed, tag};

use crate::implied::implied_by;
use crate::usage;
use crate::wordnet::{Concept, Part, Relation, WordNet};

/// The grammatical number of a noun: whether it takes "a", and which verb form follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// a dog is
    Singular,
    /// dogs are
    Plural,
    /// water is
    Mass,
}

/// A noun of a caption: the longest term that WordNet knows, or the head noun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noun {
    /// As written, in lower case: "tennis balls".
    pub text: String,
    /// "tennis ball"
    pub lemma: String,
    /// Grammar of `text`.
    pub number: Number,
    /// `None` if WordNet does not know the word.
    pub concept: Option<Concept>,
}

impl Noun {
    /// Whether it is a thing that a photo can show and that can be missing from a photo.
    pub fn is_thing(&self) -> bool {
        self.concept.as_ref().is_some_and(|concept| concept.concrete) && !usage::is_no_object(&self.lemma)
    }
}

/// What is known of one caption.
#[derive(Clone, Debug, Default)]
pub struct Analysis {
    /// The nouns, in the order of the text.
    pub nouns: Vec<Noun>,
    /// Lemmas (sorted) that the words and their combinations may be forms of,
    /// as nouns or as verbs: "bikes" mentions "bike", whatever its tag.
    mentioned: Vec<String>,
    /// The meanings of those lemmas that are things but not among `nouns`.
    mentioned_things: Vec<Concept>,
    /// Lemmas (sorted) of things that the words imply.
    implied: Vec<String>,
    implied_things: Vec<Concept>,
}

impl Analysis {
    /// The nouns that are things.
    pub fn things(&self) -> impl Iterator<Item = &Noun> {
        self.nouns.iter().filter(|noun| noun.is_thing())
    }

    /// Whether a word of the caption may be a form of the lemma or, if `implied`
    /// counts, implies it.
    pub fn says(&self, lemma: &str, implied: bool) -> bool {
        let among = |list: &[String]| list.binary_search_by(|l| l.as_str().cmp(lemma)).is_ok();
        among(&self.mentioned) || implied && among(&self.implied)
    }

    /// What the caption names, and whether that is certain: its word is tagged as a noun. Otherwise
    /// the word may be a noun, or implies the thing.
    pub fn concepts(&self, implied: bool) -> impl Iterator<Item = (&Concept, bool)> {
        let implied = if implied { self.implied_things.as_slice() } else { &[] };
        let nouns = self.nouns.iter().filter_map(|noun| noun.concept.as_ref());
        nouns.map(|c| (c, true)).chain(self.mentioned_things.iter().chain(implied).map(|c| (c, false)))
    }
}

/// Reads a caption of any case and spacing.
pub fn analyse(wordnet: &WordNet, caption: &str) -> Analysis {
    let words: Vec<String> = split(caption);
    let tags = tag(wordnet, &words);
    let nouns = nouns(wordnet, &words, &tags);
    let mentioned = mentioned(wordnet, &words);
    let all = mentioned.iter().chain(&words).flat_map(|word| implied_by(word));
    let implied = sorted(all.map(|thing| (*thing).to_owned()).collect());
    let things = |lemmas: &[String]| {
        let other = lemmas.iter().filter(|lemma| !usage::is_colour(lemma) && nouns.iter().all(|n| n.lemma != **lemma));
        other.filter_map(|lemma| wordnet.concept(lemma)).filter(|c| c.concrete).collect()
    };
    let (mentioned_things, implied_things) = (things(&mentioned), things(&implied));
    Analysis { nouns, mentioned, mentioned_things, implied, implied_things }
}

fn sorted(mut lemmas: Vec<String>) -> Vec<String> {
    lemmas.sort_unstable();
    lemmas.dedup();
    lemmas
}

/// The longest term that is looked up, in words: "Cape buffalo", "flight of stairs".
const LONGEST_TERM: usize = 4;

fn nouns(wordnet: &WordNet, words: &[String], tags: &[Tag]) -> Vec<Noun> {
    let is_noun = |i: usize| matches!(tags.get(i), Some(Tag::NounSingular | Tag::NounPlural));
    let mut nouns = Vec::new();
    let mut run = 0;
    for last in 0..words.len() {
        if !is_noun(last) {
            run = last + 1;
            continue;
        }
        // The head of a compound is its last noun.
        if is_noun(last + 1) {
            continue;
        }
        let mut phrase = run;
        while phrase > 0 && matches!(tags[phrase - 1], Tag::Adj | Tag::VerbIng | Tag::VerbEd) {
            phrase -= 1;
        }
        let (text, lemma) = (phrase.max((last + 1).saturating_sub(LONGEST_TERM))..last)
            .filter_map(|first| term(wordnet, &words[first..=last], first >= run))
            .find(|(text, lemma)| is_a(wordnet, text, lemma, &words[last]))
            .unwrap_or_else(|| (words[last].clone(), noun_lemma(wordnet, &words[last])));
        let one = (phrase > 0).then(|| words[phrase - 1].as_str());
        let concept = wordnet.concept(&lemma);
        let number = number(wordnet, &words[last], tags[last], &lemma, concept.as_ref(), one);
        nouns.push(Noun { text, lemma, number, concept });
    }
    nouns
}

/// The words as one noun of WordNet, with spaces or, if they are all nouns, written in another way:
/// "skate board" for "skateboard".
fn term(wordnet: &WordNet, words: &[String], nouns_only: bool) -> Option<(String, String)> {
    let text = words.join(" ");
    let lemma = |text: &str| wordnet.lemmas(text, Part::Noun).into_iter().next();
    let found = lemma(&text)
        .or_else(|| nouns_only.then(|| lemma(&words.join("-")).or_else(|| lemma(&words.concat()))).flatten())?;
    Some((text, found))
}

/// Whether a doubtful term is a kind of what its head says. A "yellow jacket" (a wasp) or a
/// "leatherjacket" (a fish) is not a jacket, and captions mean a jacket.
fn is_a(wordnet: &WordNet, text: &str, lemma: &str, head: &str) -> bool {
    let first = text.split(' ').next().unwrap_or(text);
    let joined = !lemma.contains(' ');
    if !joined && !usage::is_colour(first) {
        return true;
    }
    let concepts = wordnet.concept(lemma).zip(wordnet.concept(&noun_lemma(wordnet, head)));
    concepts.is_some_and(|(term, head)| matches!(term.relation(&head), Relation::Synonym | Relation::Hyponym))
}

fn number(
    wordnet: &WordNet,
    word: &str,
    tag: Tag,
    lemma: &str,
    concept: Option<&Concept>,
    before: Option<&str>,
) -> Number {
    if tag == Tag::NounPlural || is_plural(wordnet, word) {
        Number::Plural
    } else if matches!(before, Some("a" | "an" | "one" | "another" | "each" | "every")) {
        Number::Singular
    } else if usage::is_mass(lemma, concept.map_or(0, |c| c.kind)) {
        Number::Mass
    } else {
        Number::Singular
    }
}

/// See `Analysis::mentioned`.
fn mentioned(wordnet: &WordNet, words: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for first in 0..words.len() {
        for last in first..words.len().min(first + LONGEST_TERM) {
            if last == first {
                let word = &words[first];
                if is_closed(word) {
                    continue;
                }
                found.push(noun_lemma(wordnet, word));
                found.extend(wordnet.lemmas(word, Part::Noun));
                found.extend(wordnet.lemmas(word, Part::Verb));
                found.extend(word.split('-').flat_map(|part| wordnet.lemmas(part, Part::Noun)));
            } else if let Some((_, lemma)) = term(wordnet, &words[first..=last], last == first + 1) {
                found.push(lemma);
            }
        }
    }
    sorted(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(caption: &str) -> Analysis {
        analyse(WordNet::embedded().unwrap(), caption)
    }

    fn nouns(caption: &str) -> Vec<String> {
        read(caption).nouns.into_iter().map(|n| n.text).collect()
    }

    #[test]
    fn nouns_are_told_from_verbs_and_adjectives() {
        for (caption, expected) in [
            ("A juggler throws three torches", "juggler torches"),
            ("The white goat climbs over the fence", "goat fence"),
            ("Two kids swing while a dog watches", "kids dog"),
            ("A cat chases a ball of wool", "cat ball wool"),
            ("Someone is fishing from a stone bridge at dusk", "bridge dusk"),
            ("girls in yellow raincoats jump into puddles", "girls raincoats puddles"),
            ("A long-haired violinist plays outdoors", "violinist"),
            ("An old tractor parked near some sheep", "tractor sheep"),
        ] {
            assert_eq!(nouns(caption).join(" "), expected, "{caption}");
        }
    }

    #[test]
    fn terms_of_several_words_are_one_noun() {
        for (caption, expected) in [
            ("He swings a tennis racket", "tennis racket"),
            ("A vendor sells a hot dog", "vendor|hot dog"),
            ("A polar bear on ice", "polar bear|ice"),
            ("The kids jump into a swimming pool", "kids|swimming pool"),
            ("Her kitchen rake lies there", "rake"),
            ("A man in a yellow jacket", "man|jacket"),
            ("A boy on a skate board", "boy|skate board"),
        ] {
            assert_eq!(nouns(caption).join("|"), expected, "{caption}");
        }
        assert_eq!(read("A boy on a skate board").nouns[1].lemma, "skateboard");
    }

    #[test]
    fn numbers_follow_form_and_article() {
        let number = |caption: &str| read(caption).nouns[0].number;
        assert_eq!(number("A bus waits"), Number::Singular);
        assert_eq!(number("Buses wait"), Number::Plural);
        assert_eq!(number("People wait"), Number::Plural);
        assert_eq!(number("Men wait"), Number::Plural);
        assert_eq!(number("Sunglasses on a nose"), Number::Plural);
        assert_eq!(number("Sand everywhere"), Number::Mass);
        assert_eq!(number("a salad"), Number::Singular);
        assert_eq!(number("eating salad"), Number::Mass);
        assert_eq!(read("People wait").nouns[0].lemma, "person");
        assert_eq!(read("Men wait").nouns[0].lemma, "man");
    }

    #[test]
    fn whatever_a_word_may_be_is_said() {
        let caption = read("A girl bikes past rock-climbing tourists");
        for lemma in ["girl", "bike", "rock", "tourist"] {
            assert!(caption.says(lemma, false), "{lemma}");
        }
        assert!(!caption.says("bench", true));
        let surfer = read("A surfer");
        assert!(surfer.says("wave", true) && !surfer.says("wave", false));
    }

    #[test]
    fn odd_captions_are_read() {
        assert!(nouns("").is_empty());
        assert!(nouns(" . , !?").is_empty());
        assert_eq!(nouns("the dog 's ball,a \"hat\""), ["dog", "ball", "hat"]);
        assert_eq!(nouns("Ein Mädchen läuft — schnell 犬").len(), nouns("ein mädchen läuft — schnell 犬").len());
    }
}
