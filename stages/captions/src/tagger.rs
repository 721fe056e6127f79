//! Which words of a caption are its nouns.
//!
//! A bigram tagger (Viterbi). Its lexicon is WordNet's tag counts and a list of the closed classes;
//! its transitions are set by hand for the English of captions: mostly one clause, present tense,
//! many participles. It is our own because the Rust taggers that are still maintained need a second
//! deep-learning stack or have no licensed weights, and a caption's nouns need neither.
//! `docs/tagger.md` says how well it does.
//!
//! Nouns are read twice. [`Analysis::nouns`] are the words *tagged* as nouns: they can become an
//! object. [`Analysis::mentioned`] is every lemma that any word *could* be a form of: it counts as
//! said. So a tagging error can cost an object, but hardly ever makes a false caption.

use std::collections::HashMap;
use std::sync::LazyLock;

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

/// Words and punctuation marks, in lower case.
fn split(caption: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for piece in caption.to_lowercase().replace('\u{2019}', "'").split_whitespace() {
        let start = piece.find(char::is_alphanumeric).unwrap_or(piece.len());
        let end = piece
            .rfind(char::is_alphanumeric)
            .map_or(start, |i| i + piece[i..].chars().next().map_or(0, char::len_utf8));
        if start > 0 {
            words.push(",".to_owned());
        }
        // "camera,smiles": punctuation without a space still separates two words.
        for (i, word) in piece[start..end].split([',', ';', '/', '"', '(', ')']).enumerate() {
            if i > 0 {
                words.push(",".to_owned());
            }
            let word = word.strip_suffix("'s").unwrap_or(word);
            if !word.is_empty() {
                words.push(word.to_owned());
            }
        }
        if end > start && end < piece.len() && piece[end..] != *"'" {
            words.push(",".to_owned());
        }
    }
    words
}

/// Tags, in the order of the rows and columns of [`FOLLOWS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tag {
    /// the, a, his, two
    Det,
    Adj,
    NounSingular,
    NounPlural,
    /// runs, is
    VerbS,
    /// run, are
    VerbBase,
    /// running
    VerbIng,
    /// covered, ran
    VerbEd,
    Adv,
    /// in, of
    Prep,
    /// to
    To,
    /// and, while, that
    Conj,
    /// he, someone
    Pron,
    /// , .
    Mark,
}

use Tag::*;

const TAGS: [Tag; 14] =
    [Det, Adj, NounSingular, NounPlural, VerbS, VerbBase, VerbIng, VerbEd, Adv, Prep, To, Conj, Pron, Mark];

/// How well the column follows the row, in tenths of a nat. The last row is the begin of a caption,
/// the last column its end.
#[rustfmt::skip]
const FOLLOWS: [[i8; 15]; 15] = [
    //          Det  Adj   Ns   Np   Vs   Vb  Ing   Ed  Adv Prep   To Conj Pron Mark  end
    /* Det  */ [-20,   7,  10,   5, -60, -50, -15, -10, -15, -30, -50, -50, -50, -40, -40],
    /* Adj  */ [-30,   0,  12,   8, -40, -40, -12, -15, -25, -12, -15,  -5, -40,  -5,  -5],
    /* Ns   */ [-20, -25,   0,  -5,   8, -30,   8,   0,  -8,  10,   5,   3, -20,   5,   8],
    /* Np   */ [-20, -20, -25, -30, -30,   6,   8,   0,  -8,  10,   5,   3, -20,   5,   8],
    /* Vs   */ [ 10,  -3,  -8,  -3, -40, -30,  12,   0,   3,  10,   5,  -7,   0,  -5,   0],
    /* Vb   */ [ 10,  -3,  -8,  -3, -40, -40,  12,   0,   3,  10,   5,  -7,   0,  -5,   0],
    /* Ing  */ [ 10,  -3,  -6,  -3, -40, -40, -10, -12,   3,  10,   5,  -7,   0,  -5,   0],
    /* Ed   */ [ -3,  -5,  -3,  -3, -40, -40, -10, -20,   0,  10,   3,   0, -10,   0,   0],
    /* Adv  */ [  3,   0, -15, -15,   0,   0,   3,   0, -10,   5,   3,   0, -10,   2,   5],
    /* Prep */ [ 12,   3,   0,   0, -50, -40,  -3, -12, -10,  -3, -20, -20,   0, -30, -10],
    /* To   */ [  5,  -3,  -3,  -3, -50,  15, -10, -30, -10, -20, -50, -40,  -5, -40, -30],
    /* Conj */ [  7,   5,   2,   2,   3,   0,   3,  -3,  -3,  -3, -10, -30,   3, -30, -50],
    /* Pron */ [-20, -10, -30, -30,   5,   5,   0, -10,   0,   3,   3,   0, -30,   0,   0],
    /* Mark */ [  5,   3,   0,   0,  -5,  -5,   5,   0,   0,   3,   0,   5,   0,   0,   0],
    /* start*/ [ 15,   3,  -3,   3, -40, -40,  -5, -15, -15, -10, -20, -15,   0, -10, -50],
];

const EDGE: usize = TAGS.len();

/// Words of the closed classes and the tags they can have. A word of two classes is in both. Those in
/// [`ALSO_OPEN`] have the tags of WordNet too.
const CLOSED: &[(&[Tag], &str)] = &[
    (
        &[Det],
        "a an the this these those some any each every another other both all several many few no his \
              her its their my your our one two three four five six seven eight nine ten eleven twelve \
              thirteen fourteen fifteen twenty thirty hundred dozen dozens various numerous multiple what \
              which whose 1 2 3 4 5 6 7 8 9 10 11 12",
    ),
    (
        &[Prep],
        "of in on at by with from into onto upon for through throughout over under above below beneath \
               underneath between among amongst amid against behind beside besides along across around near \
               next toward towards beyond before after during without within inside outside off past about \
               atop via per alongside amidst aboard despite up down out like",
    ),
    (
        &[Adv],
        "up down out off away back around along by together apart outside inside outdoors indoors \
              upside not very too so just also still almost here there ahead over across as about forward \
              forwards backwards sideways overhead nearby close past in on behind midair mid-air",
    ),
    (&[Adj, Adv], "high low deep wide open"),
    (&[To], "to"),
    (&[Conj], "and or but nor while as how that who which where when because if than whilst until whose then"),
    (
        &[Pron],
        "he she it they him her them himself herself itself themselves i you we us me someone somebody \
               something everyone everybody everything anyone anything nobody nothing one others another this \
               that each all both some what who",
    ),
    (&[VerbS], "is was has does"),
    (&[VerbBase], "are were am be have do can could will would may might must should"),
    (&[VerbIng], "being having doing"),
    (&[VerbEd], "been had did"),
    (&[Mark], ", & - + ="),
];

/// Words in [`CLOSED`] that are often of an open class as well.
const ALSO_OPEN: &[&str] = &["back", "can", "close", "like", "nearby", "outdoors", "past", "will"];

static CLOSED_TAGS: LazyLock<HashMap<&str, Vec<Tag>>> = LazyLock::new(|| {
    let mut tags: HashMap<&str, Vec<Tag>> = HashMap::new();
    for (class, words) in CLOSED {
        for word in words.split_whitespace() {
            tags.entry(word).or_default().extend(*class);
        }
    }
    tags
});

/// Whether the word has only the tags of [`CLOSED`].
fn is_closed(word: &str) -> bool {
    CLOSED_TAGS.contains_key(word) && !ALSO_OPEN.contains(&word)
}

/// For each tag, the weight of the word having it; never all zero.
fn weights(wordnet: &WordNet, word: &str) -> [f32; TAGS.len()] {
    let mut weights = [0.0; TAGS.len()];
    for tag in CLOSED_TAGS.get(word).into_iter().flatten() {
        weights[*tag as usize] += 20.0;
    }
    if is_closed(word) {
        return weights;
    }
    open_weights(wordnet, word, &mut weights);
    if weights.iter().all(|w| *w == 0.0) {
        // "neck-deep", "long-haired": the last part decides.
        if let Some((_, last)) = word.rsplit_once('-').filter(|(_, last)| !last.is_empty()) {
            open_weights(wordnet, last, &mut weights);
            weights[Adj as usize] += weights[VerbEd as usize] + weights[VerbIng as usize] + 1.0;
            weights[VerbS as usize] = 0.0;
            weights[VerbBase as usize] = 0.0;
        } else {
            unknown(word, &mut weights);
        }
    }
    weights
}

/// Adds weights from WordNet's tag counts: how often the lemma has the part of speech, times the share
/// of the form among the lemma's forms.
fn open_weights(wordnet: &WordNet, word: &str, weights: &mut [f32; TAGS.len()]) {
    let mut add = |tag: Tag, count: u32, unseen: f32, share: f32| {
        weights[tag as usize] += (count as f32 + unseen) * share;
    };
    for lemma in wordnet.lemmas(word, Part::Noun) {
        let count = wordnet.tagged(&lemma, Part::Noun).unwrap_or(0);
        if lemma == word && !is_plural(wordnet, word) {
            add(NounSingular, count, 0.7, 0.7);
        } else {
            add(NounPlural, count, 0.7, 0.3);
        }
    }
    for lemma in wordnet.lemmas(word, Part::Verb) {
        let count = wordnet.tagged(&lemma, Part::Verb).unwrap_or(0);
        match word {
            _ if lemma == word => add(VerbBase, count, 0.5, 0.3),
            _ if word.ends_with("ing") => add(VerbIng, count, 1.0, 0.3),
            _ if word.ends_with('s') => add(VerbS, count, 0.5, 0.3),
            _ => add(VerbEd, count, 0.5, 0.3),
        }
    }
    for lemma in wordnet.lemmas(word, Part::Adjective) {
        let share = if lemma == word { 1.0 } else { 0.2 };
        add(Adj, wordnet.tagged(&lemma, Part::Adjective).unwrap_or(0), 0.5, share);
    }
    if let Some(count) = wordnet.tagged(word, Part::Adverb) {
        add(Adv, count, 0.3, 1.0);
    }
}

fn unknown(word: &str, weights: &mut [f32; TAGS.len()]) {
    let (tag, also) = if !word.contains(char::is_alphabetic) {
        (Det, Adj)
    } else if word.ends_with("ing") {
        (VerbIng, NounSingular)
    } else if word.ends_with("ed") {
        (VerbEd, Adj)
    } else if word.ends_with("ly") {
        (Adv, Adj)
    } else if word.ends_with('s') && !word.ends_with("ss") {
        (NounPlural, VerbS)
    } else {
        (NounSingular, Adj)
    };
    weights[tag as usize] = 1.0;
    weights[also as usize] = 0.3;
}

/// The factor by which the last word of a known term is more likely a noun.
const TERM: f32 = 5.0;

/// The best tag of each word (Viterbi).
fn tag(wordnet: &WordNet, words: &[String]) -> Vec<Tag> {
    // best[t]: score of the best path that ends in tag t.
    let mut best: Vec<f32> = Vec::new();
    let mut back: Vec<[usize; TAGS.len()]> = Vec::with_capacity(words.len());
    let follows = |from: usize, to: usize| f32::from(FOLLOWS[from][to]) / 10.0;
    for (i, word) in words.iter().enumerate() {
        let mut weights = weights(wordnet, word);
        // "bathing suits": the end of a known term is a noun rather than a verb.
        if i > 0 && !is_closed(word) && !wordnet.lemmas(&words[i - 1..=i].join(" "), Part::Noun).is_empty() {
            weights[NounSingular as usize] *= TERM;
            weights[NounPlural as usize] *= TERM;
        }
        let total: f32 = weights.iter().sum();
        let mut from = [EDGE; TAGS.len()];
        let scores = (0..TAGS.len())
            .map(|to| {
                if weights[to] == 0.0 {
                    return f32::NEG_INFINITY;
                }
                let mut score = if best.is_empty() { follows(EDGE, to) } else { f32::NEG_INFINITY };
                for (before, so_far) in best.iter().enumerate() {
                    let path = so_far + follows(before, to);
                    if path > score {
                        (score, from[to]) = (path, before);
                    }
                }
                score + (weights[to] / total).ln()
            })
            .collect();
        best = scores;
        back.push(from);
    }
    let ending = |t: usize| best[t] + follows(t, EDGE);
    let mut tags = Vec::with_capacity(words.len());
    let mut current = (0..best.len()).max_by(|a, b| ending(*a).total_cmp(&ending(*b))).unwrap_or(EDGE);
    for from in back.iter().rev() {
        tags.push(TAGS[current]);
        current = from[current];
    }
    tags.reverse();
    tags
}

/// The longest term that is looked up, in words: "Cape buffalo", "flight of stairs".
const LONGEST_TERM: usize = 4;

fn nouns(wordnet: &WordNet, words: &[String], tags: &[Tag]) -> Vec<Noun> {
    let is_noun = |i: usize| matches!(tags.get(i), Some(NounSingular | NounPlural));
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
        while phrase > 0 && matches!(tags[phrase - 1], Adj | VerbIng | VerbEd) {
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

/// The lemma of a single noun.
fn noun_lemma(wordnet: &WordNet, word: &str) -> String {
    let own = usage::is_plural_lemma(word) && wordnet.tagged(word, Part::Noun).is_some();
    let lemma = singular(wordnet, word).filter(|_| !own).unwrap_or_else(|| word.to_owned());
    usage::SAME_AS.iter().find(|(unknown, _)| *unknown == lemma).map_or(lemma, |(_, known)| (*known).to_owned())
}

/// The singular of a plural, even of one that is listed as a word.
fn singular(wordnet: &WordNet, word: &str) -> Option<String> {
    let may_be_plural = word.len() > 3 && word.ends_with('s') && !["ss", "us", "is"].iter().any(|e| word.ends_with(e));
    let irregular = !word.ends_with('s');
    wordnet
        .lemmas(word, Part::Noun)
        .into_iter()
        .find(|l| l != word)
        .filter(|_| may_be_plural || irregular || wordnet.tagged(word, Part::Noun).is_none())
}

fn is_plural(wordnet: &WordNet, word: &str) -> bool {
    usage::is_plural_lemma(word) || singular(wordnet, word).is_some()
}

fn number(
    wordnet: &WordNet,
    word: &str,
    tag: Tag,
    lemma: &str,
    concept: Option<&Concept>,
    before: Option<&str>,
) -> Number {
    if tag == NounPlural || is_plural(wordnet, word) {
        Number::Plural
    } else if matches!(before, Some("a" | "an" | "one" | "another" | "each" | "every")) {
        Number::Singular
    } else if usage::is_mass(lemma, concept.map_or(0, |c| c.kind)) {
        Number::Mass
    } else {
        Number::Singular
    }
}

/// See [`Analysis::mentioned`].
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

    #[test]
    fn the_closed_classes_do_not_repeat_a_word() {
        for (tags, words) in CLOSED {
            let mut seen = std::collections::BTreeSet::new();
            assert!(words.split_whitespace().all(|word| seen.insert(word)), "{tags:?}");
        }
    }
}
