//! What a sentence affirms and what it denies, found by plain rules: the training-free
//! answer that fine-tuning must beat.
//!
//! With s the cosine to an image, a sentence scores s(what it affirms) - lambda s(what it
//! denies). A sentence that affirms nothing is taken to affirm "a photo".

use items::TextEncoder;
use pipeline_engine::StageError;

use crate::texts::{Rows, Texts, cosine};

/// Words that deny, and are dropped from what they deny.
const CUES: &[&str] = &[
    "no",
    "not",
    "without",
    "never",
    "none",
    "nobody",
    "nothing",
    "nowhere",
    "neither",
    "nor",
    "cannot",
    "lacks",
    "lack",
    "lacking",
    "absent",
    "missing",
    "excludes",
    "exclude",
    "excluding",
    "free",
];
/// Of these, the ones that deny only what follows.
const FORWARD: &[&str] =
    &["no", "without", "lacks", "lack", "lacking", "excludes", "exclude", "excluding", "neither", "nor"];
/// Words that separate clauses.
const BREAKS: &[&str] = &["but", "while", "yet", "whereas", "though", "although", "however", "only", "just", "instead"];
/// Words that name nothing that can be seen.
const EMPTY: &[&str] = &[
    "a",
    "an",
    "the",
    "this",
    "that",
    "these",
    "there",
    "it",
    "is",
    "are",
    "was",
    "were",
    "be",
    "been",
    "in",
    "of",
    "on",
    "at",
    "and",
    "or",
    "with",
    "has",
    "have",
    "having",
    "do",
    "does",
    "did",
    "can",
    "could",
    "you",
    "we",
    "one",
    "i",
    "image",
    "photo",
    "picture",
    "scene",
    "photograph",
    "shows",
    "show",
    "showing",
    "shown",
    "contains",
    "contain",
    "containing",
    "includes",
    "include",
    "including",
    "included",
    "features",
    "feature",
    "featuring",
    "featured",
    "captures",
    "capture",
    "capturing",
    "taken",
    "see",
    "seen",
    "find",
    "found",
    "visible",
    "here",
    "present",
    "so",
    "which",
    "where",
    "also",
    "any",
    "to",
    "any",
];

/// What a sentence affirms and denies; either may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// What it says is there.
    pub affirmed: String,
    /// What it says is not there.
    pub denied: String,
}

/// Whether a sentence has a word that denies.
pub fn has_negation(text: &str) -> bool {
    words(text).iter().any(|word| is_cue(word))
}

fn is_cue(word: &str) -> bool {
    CUES.contains(&word) || word.ends_with("n't")
}

/// Words in lower case, with "," for every punctuation mark.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for piece in text.to_lowercase().replace('\u{2019}', "'").split_whitespace() {
        let word = piece.trim_matches(|c: char| !c.is_alphanumeric());
        if piece.starts_with(|c: char| !c.is_alphanumeric()) {
            words.push(",".to_owned());
        }
        if !word.is_empty() {
            words.push(word.to_owned());
        }
        if !word.is_empty() && piece.ends_with([',', '.', ';', ':', '!', '(', ')']) {
            words.push(",".to_owned());
        }
    }
    words
}

/// Splits a sentence into what it affirms and denies, clause by clause.
pub fn parts(text: &str) -> Parts {
    let mut parts = Parts::default();
    let add = |to: &mut String, words: &[&str]| {
        if words.iter().any(|word| !EMPTY.contains(word)) {
            if !to.is_empty() {
                to.push(' ');
            }
            to.push_str(&words.join(" "));
        }
    };
    let words = words(text);
    for clause in words.split(|word| word == "," || BREAKS.contains(&word.as_str())) {
        let clause: Vec<&str> = clause.iter().map(String::as_str).collect();
        let Some(cue) = clause.iter().position(|word| is_cue(word)) else {
            add(&mut parts.affirmed, &clause);
            continue;
        };
        let (before, rest) = clause.split_at(cue);
        let rest: Vec<&str> = rest.iter().copied().filter(|word| !is_cue(word)).collect();
        if FORWARD.contains(&clause[cue]) {
            add(&mut parts.affirmed, before);
            add(&mut parts.denied, &rest);
        } else {
            add(&mut parts.denied, &[before, &rest].concat());
        }
    }
    parts
}

/// The training-free score of texts against images.
#[derive(Debug)]
pub struct TrainingFree {
    affirmed: Vec<usize>,
    denied: Vec<Option<usize>>,
    rows: Rows,
    lambda: f32,
}

impl TrainingFree {
    /// Embeds the parts of `texts`.
    ///
    /// # Errors
    /// When the encoder fails.
    pub fn new(texts: &[String], encoder: &dyn TextEncoder, dim: usize, lambda: f64) -> Result<Self, StageError> {
        let mut pieces = Texts::default();
        let (mut affirmed, mut denied) = (Vec::new(), Vec::new());
        for text in texts {
            let parts = parts(text);
            // A sentence that denies nothing stays as it is written.
            let said = if parts.denied.is_empty() { text } else { &parts.affirmed };
            affirmed.push(pieces.place(if said.is_empty() { "a photo" } else { said }));
            denied.push((!parts.denied.is_empty()).then(|| pieces.place(&parts.denied)));
        }
        Ok(Self { affirmed, denied, rows: pieces.embed(encoder, dim)?, lambda: lambda as f32 })
    }

    /// The score of text `text` for an image.
    pub fn score(&self, text: usize, image: &[f32]) -> f32 {
        let denied = self.denied[text].map_or(0.0, |denied| cosine(self.rows.row(denied), image));
        cosine(self.rows.row(self.affirmed[text]), image) - self.lambda * denied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_split_where_they_deny() {
        for (text, affirmed, denied) in [
            ("A photo that includes a dog but not a ball", "a photo that includes a dog", "a ball"),
            ("There is no ramp in this image, but a shirt is included", "a shirt is included", "ramp in this image"),
            ("A dog on grass with no ball.", "a dog on grass with", "ball"),
            ("While a shirt is featured in the photo, a man is not", "a shirt is featured in the photo", "a man is"),
            ("This photo does not include a boat", "", "this photo does include a boat"),
            ("A man runs. There isn't any dog in the image.", "a man runs", "there any dog in the image"),
            ("The photo captures a cat without capturing sand", "the photo captures a cat", "capturing sand"),
            ("A red bus", "a red bus", ""),
        ] {
            let parts = parts(text);
            assert_eq!((parts.affirmed.as_str(), parts.denied.as_str()), (affirmed, denied), "{text}");
            assert_eq!(has_negation(text), !denied.is_empty());
        }
    }
}
