//! A text with places for a caption and for things.

use super::grammar::{Form, bare, capitalise, grammar, inside};
use crate::tagger::Noun;

/// What a place is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Caption,
    /// The caption up to the end of its subject.
    Head,
    /// The rest of the caption.
    Tail,
    /// The negation object: "B" of "A and no B".
    Object,
    /// A thing in the image.
    Present,
    /// Another thing in the image.
    Other,
    /// A thing that is not in the image.
    Absent,
    /// Another thing that is not in the image.
    Second,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    Place(Form, Slot),
}

/// A text with places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(pub(super) Vec<Piece>);

/// What fills the places of a template.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filling<'a> {
    /// `{caption}`
    pub caption: &'a str,
    /// `{head}` and `{tail}`
    pub cut: (&'a str, &'a str),
    /// `{object}` or `{absent}`
    pub absent: Option<&'a Noun>,
    /// `{present}`
    pub present: Option<&'a Noun>,
    /// `{other}`
    pub other: Option<&'a Noun>,
    /// `{second}`
    pub second: Option<&'a Noun>,
}

impl Template {
    /// Reads a template whose places may be filled with `allowed`. The error says what is wrong.
    pub(super) fn parse(text: &str, allowed: &[Slot]) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let close = rest[open..].find('}').filter(|c| *c > 0).ok_or("`{` and `}` do not pair up")? + open;
            if open > 0 {
                pieces.push(Piece::Text(rest[..open].to_owned()));
            }
            let place = &rest[open + 1..close];
            pieces.push(
                parse_place(place).filter(|p| matches!(p, Piece::Place(_, s) if allowed.contains(s))).ok_or_else(
                    || format!("{{{place}}} is not a place of such a template; the places are {}", places(allowed)),
                )?,
            );
            rest = &rest[close + 1..];
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// How often a slot has a place, in any form.
    pub(super) fn count(&self, slot: Slot) -> usize {
        self.0.iter().filter(|p| matches!(p, Piece::Place(_, s) if *s == slot)).count()
    }

    /// The template with things numbered in their order, so that two templates that differ only in
    /// which thing is where have the same pattern.
    pub(super) fn pattern(&self) -> String {
        let mut things = Vec::new();
        let mut pattern = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => pattern.push_str(text),
                Piece::Place(form, slot) => {
                    let number = things.iter().position(|s| s == slot).unwrap_or_else(|| {
                        things.push(*slot);
                        things.len() - 1
                    });
                    let name = if *slot == Slot::Caption { "caption".to_owned() } else { number.to_string() };
                    pattern.push_str(&format!("{{{form:?} {name}}}"));
                }
            }
        }
        pattern
    }

    /// The text, with a capital in front and without the punctuation at the end of the caption. A
    /// caption in front stays as it is, byte for byte, and one that begins a sentence keeps its capital.
    /// A thing that is missing leaves its place empty.
    pub fn fill(&self, filling: Filling<'_>) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(words) => text.push_str(words),
                Piece::Place(_, Slot::Caption | Slot::Head) if text.is_empty() || text.ends_with(". ") => {
                    text.push_str(if *piece == HEAD { filling.cut.0 } else { bare(filling.caption) });
                }
                Piece::Place(_, Slot::Caption) => text.push_str(&inside(bare(filling.caption))),
                Piece::Place(_, Slot::Head) => text.push_str(&inside(filling.cut.0)),
                Piece::Place(_, Slot::Tail) => text.push_str(filling.cut.1),
                Piece::Place(form, slot) => {
                    let noun = match slot {
                        Slot::Present => filling.present,
                        Slot::Other => filling.other,
                        Slot::Second => filling.second,
                        _ => filling.absent,
                    };
                    text.push_str(&noun.map_or_else(String::new, |noun| grammar(*form, noun)));
                }
            }
        }
        if !matches!(self.0.first(), Some(Piece::Place(_, Slot::Caption | Slot::Head))) {
            capitalise(&mut text);
        }
        text
    }
}

const HEAD: Piece = Piece::Place(Form::Plain, Slot::Head);

fn parse_place(place: &str) -> Option<Piece> {
    let (form, name) = place.split_once(' ').unwrap_or(("", place));
    let slot = match name {
        "caption" if form.is_empty() => Slot::Caption,
        "head" if form.is_empty() => Slot::Head,
        "tail" if form.is_empty() => Slot::Tail,
        "object" => Slot::Object,
        "present" => Slot::Present,
        "other" => Slot::Other,
        "absent" => Slot::Absent,
        "second" => Slot::Second,
        _ => return None,
    };
    let form = match form {
        "" => Form::Plain,
        "a" => Form::A,
        "any" => Form::Any,
        "is" => Form::Is,
        "does" => Form::Does,
        _ => return None,
    };
    Some(Piece::Place(form, slot))
}

fn places(allowed: &[Slot]) -> String {
    let name = |slot: &Slot| match slot {
        Slot::Caption => "{caption}".to_owned(),
        Slot::Head => "{head}".to_owned(),
        Slot::Tail => "{tail}".to_owned(),
        thing => {
            let name = format!("{thing:?}").to_lowercase();
            format!("{{{name}}}, {{a {name}}}, {{any {name}}}, {{is {name}}}, {{does {name}}}")
        }
    };
    allowed.iter().map(name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tagger::Number;

    fn noun(text: &str, number: Number) -> Noun {
        Noun { text: text.to_owned(), lemma: text.to_owned(), number, concept: None }
    }

    fn fill(template: &str, caption: &str, object: &Noun) -> String {
        let template = Template::parse(template, &[Slot::Caption, Slot::Object]).unwrap();
        template.fill(Filling { caption, absent: Some(object), ..Filling::default() })
    }

    #[test]
    fn the_grammar_follows_the_object() {
        let (dog, people, water) =
            (noun("dog", Number::Singular), noun("people", Number::Plural), noun("water", Number::Mass));
        let apple = noun("apple", Number::Singular);
        let caption = "A boy runs";
        assert_eq!(fill("{caption} without {any object}", caption, &dog), "A boy runs without a dog");
        assert_eq!(fill("{caption} without {any object}", caption, &people), "A boy runs without any people");
        assert_eq!(fill("{caption} without {any object}", caption, &water), "A boy runs without any water");
        assert_eq!(fill("{a object} {is object} absent: {caption}", caption, &apple), "An apple is absent: a boy runs");
        assert_eq!(fill("{a object} {is object} absent: {caption}", caption, &people), "People are absent: a boy runs");
        let missing = "{caption}, there {is object}n't {any object}";
        assert_eq!(fill(missing, caption, &people), "A boy runs, there aren't any people");
        assert_eq!(fill("{caption} and {a object} {does object}n't", caption, &water), "A boy runs and water doesn't");
    }

    #[test]
    fn captions_in_front_stay_and_inside_lose_their_capital_and_stop() {
        let dog = noun("dog", Number::Singular);
        assert_eq!(fill("{caption} with no {object}", "A Boy runs .", &dog), "A Boy runs with no dog");
        assert_eq!(fill("no {object}: {caption}", "Two boys run.", &dog), "No dog: two boys run");
        assert_eq!(fill("no {object}: {caption}", "Paris at night", &dog), "No dog: Paris at night");
        assert_eq!(fill("no {object}: {caption}", "", &dog), "No dog: ");
    }
}
