//! Templates of a whole caption with a denial: in front of it, behind it, or in its middle.

use pipeline_engine::rng::{ChaCha8Rng, below};

use super::file::{Source, TemplateError};
use super::grammar::Form;
use super::template::{Piece, Slot, Template};

/// Gives a caption with something denied, in one of several wordings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NegatedTemplate {
    /// At least one; all have the same places in the same order.
    wordings: Vec<Template>,
}

impl NegatedTemplate {
    /// A random wording.
    pub fn wording(&self, rng: &mut ChaCha8Rng) -> &Template {
        &self.wordings[below(rng, self.wordings.len())]
    }

    /// All wordings.
    pub fn wordings(&self) -> &[Template] {
        &self.wordings
    }

    /// Whether it cuts the caption behind its subject.
    pub fn cuts(&self) -> bool {
        self.place(Slot::Head).is_some()
    }

    /// Whether it denies two things.
    pub fn names_second(&self) -> bool {
        self.place(Slot::Second).is_some()
    }

    /// Whether the denial stands before the caption.
    pub fn denies_in_front(&self) -> bool {
        !self.cuts() && self.place(Slot::Absent) < self.place(Slot::Caption)
    }

    fn place(&self, slot: Slot) -> Option<usize> {
        slots(&self.wordings[0]).position(|other| other == slot)
    }
}

/// Templates of a whole caption with a denial. Each has `{caption}` once, or `{head}` before `{tail}`;
/// and `{absent}`. `[a|b]` stands for two wordings.
///
/// # Errors
/// As [`compositional`](super::compositional).
pub fn negated(source: Source<'_>) -> Result<Vec<NegatedTemplate>, TemplateError> {
    source.load("templates/negated.txt", include_str!("../../templates/negated.txt"), |line| {
        let wordings = expanded(line)?.iter().map(|wording| template(wording)).collect::<Result<Vec<_>, _>>()?;
        let places: Vec<Vec<Slot>> = wordings.iter().map(|wording| slots(wording).collect()).collect();
        if places.iter().any(|slots| *slots != places[0]) {
            return Err("the alternatives in `[` and `]` must have the same places".to_owned());
        }
        Ok(NegatedTemplate { wordings })
    })
}

/// The slots of a template, in order, without those of verbs.
fn slots(template: &Template) -> impl Iterator<Item = Slot> {
    template.0.iter().filter_map(|piece| match piece {
        Piece::Place(Form::Plain | Form::A | Form::Any, slot) => Some(*slot),
        _ => None,
    })
}

fn template(wording: &str) -> Result<Template, String> {
    let allowed = [Slot::Caption, Slot::Head, Slot::Tail, Slot::Absent, Slot::Second];
    let template = Template::parse(wording, &allowed)?;
    let of_caption = |slot: &Slot| matches!(slot, Slot::Caption | Slot::Head | Slot::Tail);
    let (caption, things): (Vec<Slot>, Vec<Slot>) = slots(&template).partition(of_caption);
    if !matches!(caption[..], [Slot::Caption] | [Slot::Head, Slot::Tail]) {
        return Err("{caption} must stand once, or {head} and behind it {tail}".to_owned());
    }
    if !matches!(things[..], [Slot::Absent] | [Slot::Absent, Slot::Second]) {
        return Err("{absent} must stand once, and {second} at most once and behind it".to_owned());
    }
    Ok(template)
}

/// Every wording of a line with alternatives: `[a|b]` stands for `a` and for `b`.
///
/// # Errors
/// When `[` has no `]`.
pub fn expanded(line: &str) -> Result<Vec<String>, String> {
    let Some((before, rest)) = line.split_once('[') else { return Ok(vec![line.to_owned()]) };
    let (choices, after) = rest.split_once(']').ok_or("`[` and `]` do not pair up")?;
    let after = expanded(after)?;
    Ok(choices
        .split('|')
        .flat_map(|choice| after.iter().map(move |after| format!("{before}{choice}{after}")))
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn our_own_list_denies_in_front_behind_and_in_the_middle() {
        let all = negated(Source::default()).unwrap();
        let wordings: Vec<&Template> = all.iter().flat_map(NegatedTemplate::wordings).collect();
        let patterns: BTreeSet<String> = wordings.iter().map(|wording| wording.pattern()).collect();
        assert_eq!(patterns.len(), wordings.len(), "a wording stands twice");
        assert!(wordings.len() > 500, "{}", wordings.len());
        let count = |test: fn(&NegatedTemplate) -> bool| all.iter().filter(|template| test(template)).count();
        let (front, middle, two) = (
            count(NegatedTemplate::denies_in_front),
            count(NegatedTemplate::cuts),
            count(NegatedTemplate::names_second),
        );
        assert!(front > 20 && middle > 5 && two > 5 && all.len() - front - middle > 20, "{front} {middle} {two}");
    }

    #[test]
    fn alternatives_are_wordings_of_one_template() {
        let all = expanded("{caption}[, but|] no {absent}[ here|]").unwrap();
        let expected = [
            "{caption}, but no {absent} here",
            "{caption}, but no {absent}",
            "{caption} no {absent} here",
            "{caption} no {absent}",
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn faults_say_what_to_write() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (line, wrong) in [
            ("{caption}[, but no {absent}", "`[` and `]` do not pair up"),
            ("no {absent}", "{caption} must stand once"),
            ("{tail} {head} no {absent}", "{head} and behind it {tail}"),
            ("{caption}, there {is absent} nothing", "{absent} must stand once"),
            ("{caption}, no {second}", "{second} at most once and behind it"),
            ("{caption}[ no {absent}| nothing]", "{absent} must stand once"),
            ("[{caption}, no {absent}|no {absent}: {caption}]", "must have the same places"),
            ("{caption} no {present}", "{present} is not a place"),
        ] {
            std::fs::write(file.path(), line).unwrap();
            let error = negated(Source { file: Some(file.path()), first: None }).unwrap_err().to_string();
            assert!(error.contains(wrong) && error.contains("line 1"), "{error}");
        }
    }
}
