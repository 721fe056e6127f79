//! Parts of speech: a bigram tagger (Viterbi).

use std::collections::HashMap;
use std::sync::LazyLock;

use super::lemma::is_plural;
use crate::wordnet::{Part, WordNet};

/// Tags, in the order of the rows and columns of [`FOLLOWS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
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
pub(super) fn is_closed(word: &str) -> bool {
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
pub(super) fn tag(wordnet: &WordNet, words: &[String]) -> Vec<Tag> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closed_classes_do_not_repeat_a_word() {
        for (tags, words) in CLOSED {
            let mut seen = std::collections::BTreeSet::new();
            assert!(words.split_whitespace().all(|word| seen.insert(word)), "{tags:?}");
        }
    }
}
