//! Lemmas of nouns as captions use them, and words of a caption.

use crate::usage;
use crate::wordnet::{Part, WordNet};

/// Words and punctuation marks, in lower case.
pub(super) fn split(caption: &str) -> Vec<String> {
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

/// The lemma of a single noun.
pub(super) fn noun_lemma(wordnet: &WordNet, word: &str) -> String {
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

pub(super) fn is_plural(wordnet: &WordNet, word: &str) -> bool {
    usage::is_plural_lemma(word) || singular(wordnet, word).is_some()
}
