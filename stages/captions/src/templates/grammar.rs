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

/// A caption without the punctuation at its end, cut behind its subject: "A dog" and "on a sofa".
/// `subject` is its first noun, in lower case. `None` where what follows does not describe the
/// subject, so that nothing can be put between: "A dog and a cat".
pub fn cut<'a>(caption: &'a str, subject: &str) -> Option<(&'a str, &'a str)> {
    const GO_ON: &str = "in on at by with under over through beside behind along across into near against from during \
        while next inside outside between around is are sits stands runs walks rides plays jumps holds wears";
    let caption = bare(caption);
    // Lower case may have another length: then there is no place that is certain.
    let lower = caption.to_lowercase();
    let end = lower.find(subject).filter(|_| lower.len() == caption.len())? + subject.len();
    let (head, tail) = (caption.get(..end)?, caption.get(end..)?.strip_prefix(' ')?);
    let next = tail.split(' ').next().filter(|word| tail.len() > word.len())?;
    (GO_ON.split_whitespace().any(|word| word == next) || next.ends_with("ing")).then_some((head, tail))
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
    fn captions_are_cut_behind_their_subject() {
        assert_eq!(cut("A brown dog on a sofa .", "dog"), Some(("A brown dog", "on a sofa")));
        assert_eq!(cut("Two men playing chess", "men"), Some(("Two men", "playing chess")));
        for (caption, subject) in
            [("A dog and a cat", "dog"), ("A dog running", "dog"), ("A dog", "dog"), ("A dog, wet", "dog"), ("", "dog")]
        {
            assert_eq!(cut(caption, subject), None, "{caption}");
        }
    }

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
