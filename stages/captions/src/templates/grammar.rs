//! A little English: articles, verbs, and captions inside of a sentence.

use crate::tagger::{Noun, Number};

/// In which form a thing stands in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// dog, dogs, water
    Plain,
    /// a dog, dogs, water
    A,
    /// a dog, any dogs, any water
    Any,
    /// is, are, is
    Is,
    /// does, do, does
    Does,
}

/// The words for a thing in this form.
pub(super) fn grammar(form: Form, noun: &Noun) -> String {
    let plural = noun.number == Number::Plural;
    match (form, noun.number) {
        (Form::A | Form::Any, Number::Singular) => format!("{} {}", article(&noun.text), noun.text),
        (Form::Any, _) => format!("any {}", noun.text),
        (Form::Plain | Form::A, _) => noun.text.clone(),
        (Form::Is, _) => if plural { "are" } else { "is" }.to_owned(),
        (Form::Does, _) => if plural { "do" } else { "does" }.to_owned(),
    }
}

/// "a" or "an", by the sound that the spelling most likely stands for.
fn article(word: &str) -> &'static str {
    const VOWEL_SOUND: &[&str] = &["heir", "honest", "honor", "honour", "hour", "x-ray", "mri"];
    const CONSONANT_SOUND: &[&str] = &["eu", "ewe", "one", "once", "uku", "uni", "usa", "use", "uten", "u-", "ur"];
    let begins = |list: &[&str]| list.iter().any(|start| word.starts_with(start));
    // "unimportant", "urn" and "urchin" begin with a vowel anyway.
    let vowel = word.starts_with(['a', 'e', 'i', 'o', 'u']);
    let vowel = if begins(&["unin", "unim", "urn", "urch", "urb"]) { vowel } else { vowel && !begins(CONSONANT_SOUND) };
    if vowel || begins(VOWEL_SOUND) { "an" } else { "a" }
}

/// A thing inside of a sentence: "a dog", "dogs", "water".
pub fn with_article(noun: &Noun) -> String {
    grammar(Form::A, noun)
}

/// A thing by itself: "A dog", "Dogs", "Water".
pub fn alone(noun: &Noun) -> String {
    let mut text = with_article(noun);
    capitalise(&mut text);
    text
}

/// A caption without the punctuation at its end.
pub fn bare(caption: &str) -> &str {
    caption.trim().trim_end_matches(['.', '!', ';', ',', ' '])
}

/// A caption as it stands inside of a sentence: "A dog" becomes "a dog"; names and abbreviations keep
/// their capital.
pub(super) fn inside(caption: &str) -> String {
    const BEGINNINGS: &str = "a an the this that these those there two three four five six seven eight nine ten \
        some several many one his her its their another each both all people children men women kids dogs boys girls \
        man woman boy girl dog young old small large little big group black brown white";
    let first = caption.split_whitespace().next().unwrap_or("");
    if BEGINNINGS.split_whitespace().any(|word| word.eq_ignore_ascii_case(first)) {
        let mut text = caption.to_owned();
        text[..1].make_ascii_lowercase();
        text
    } else {
        caption.to_owned()
    }
}

pub(super) fn capitalise(text: &mut String) {
    if let Some(first) = text.chars().next() {
        let upper: String = first.to_uppercase().collect();
        text.replace_range(..first.len_utf8(), &upper);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn articles_go_by_sound() {
        for word in ["apple", "umbrella", "hour", "orange ball", "urn", "egg"] {
            assert_eq!(article(word), "an", "{word}");
        }
        for word in ["dog", "unicycle", "uniform", "horse", "ukulele", "one-way street"] {
            assert_eq!(article(word), "a", "{word}");
        }
    }
}
