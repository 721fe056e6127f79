//! What a sentence affirms and what it denies, found by plain rules: what training-free answers
//! ([`crate::compose`]) are made of.

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
    "devoid",
];
/// Of these, the ones that deny only what follows.
const FORWARD: &[&str] =
    &["no", "without", "lacks", "lack", "lacking", "excludes", "exclude", "excluding", "neither", "nor", "devoid"];
/// How many words behind "and" may be a cue that denies its whole clause, which then begins at this
/// "and": "and does not show".
const AHEAD: usize = 2;
/// Words that separate clauses.
const BREAKS: &[&str] = &["but", "while", "yet", "whereas", "though", "although", "however", "only", "just", "instead"];
/// Words that name nothing that can be seen, and words of looking at pictures.
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
    "into",
    "out",
    "view",
    "frame",
    "setting",
    "sight",
    "part",
    "look",
    "looks",
    "looking",
    "notice",
    "spot",
    "point",
    "would",
    "will",
    "whoever",
    "anywhere",
    "around",
    "made",
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

/// The clauses between punctuation and words that separate. An "and" separates too if what follows
/// denies its whole clause.
fn clauses(words: &[String]) -> Vec<Vec<&str>> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let denies = |after: &[&str]| {
        let cue = after.iter().take(AHEAD).take_while(|word| **word != ",").position(|word| is_cue(word));
        cue.is_some_and(|cue| !is_forward(&after[cue..]))
    };
    let mut clauses = vec![Vec::new()];
    for (at, word) in words.iter().enumerate() {
        if *word == "," || BREAKS.contains(word) || *word == "and" && denies(&words[at + 1..]) {
            clauses.push(Vec::new());
        } else if let Some(clause) = clauses.last_mut() {
            clause.push(*word);
        }
    }
    clauses
}

/// True if the cue at the start of these words denies only what follows it.
fn is_forward(from_cue: &[&str]) -> bool {
    match from_cue {
        ["free", "of", ..] => true,
        [cue, ..] => FORWARD.contains(cue),
        [] => false,
    }
}

/// The words of a part that name something: without "a photo that includes" and the like.
pub fn naming_words(part: &str) -> usize {
    part.split_whitespace().filter(|word| !EMPTY.contains(word)).count()
}

/// A part without words at its ends that name nothing: "ramp" of "ramp in this image".
pub fn core(part: &str) -> String {
    let words: Vec<&str> = part.split_whitespace().collect();
    let names = |word: &&str| !EMPTY.contains(word);
    let (first, last) = (words.iter().position(names), words.iter().rposition(names));
    match (first, last) {
        (Some(first), Some(last)) => words[first..=last].join(" "),
        _ => String::new(),
    }
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
    for clause in clauses(&words(text)) {
        let Some(cue) = clause.iter().position(|word| is_cue(word)) else {
            add(&mut parts.affirmed, &clause);
            continue;
        };
        let (before, rest) = clause.split_at(cue);
        let rest: Vec<&str> = rest.iter().copied().filter(|word| !is_cue(word)).collect();
        if is_forward(&clause[cue..]) {
            add(&mut parts.affirmed, before);
            add(&mut parts.denied, &rest);
        } else {
            add(&mut parts.denied, &[before, &rest].concat());
        }
    }
    parts
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
            ("A photo of a dog and not of a ball", "a photo of a dog", "of a ball"),
            ("This image shows a dog and does not show a ball", "this image shows a dog", "does show a ball"),
            ("A dog and a cat without a ball", "a dog and a cat", "a ball"),
            ("A dog and no ball", "a dog and", "ball"),
            ("A beach free of boats, with a dog", "a beach with a dog", "of boats"),
            ("A yard devoid of any cat", "a yard", "of any cat"),
        ] {
            let parts = parts(text);
            assert_eq!((parts.affirmed.as_str(), parts.denied.as_str()), (affirmed, denied), "{text}");
            assert_eq!(has_negation(text), !denied.is_empty());
        }
    }

    #[test]
    fn what_names_something_is_counted_and_cut_out() {
        assert_eq!(naming_words("a photo that includes a dog"), 1);
        assert_eq!(naming_words("a brown dog runs on the grass"), 4);
        assert_eq!(core("this photo does include a tennis ball"), "tennis ball");
        assert_eq!(
            (core("ramp in this image").as_str(), core("a man is").as_str(), core("it is").as_str()),
            ("ramp", "man", "")
        );
    }
}
