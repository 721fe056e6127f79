//! Templates of a whole caption with a denial: in front of it, behind it, or in its middle.

use super::file::{Source, TemplateError};
use super::grammar::Form;
use super::template::{Piece, Slot, Template};

/// Gives a caption with something denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NegatedTemplate(pub Template);

impl NegatedTemplate {
    /// Whether it cuts the caption behind its subject.
    pub fn cuts(&self) -> bool {
        self.0.count(Slot::Head) > 0
    }

    /// Whether it denies two things.
    pub fn names_second(&self) -> bool {
        self.0.count(Slot::Second) > 0
    }

    /// Whether the denial stands before the caption.
    pub fn denies_in_front(&self) -> bool {
        let place = |slot| self.0.0.iter().position(|piece| matches!(piece, Piece::Place(_, s) if *s == slot));
        !self.cuts() && place(Slot::Absent) < place(Slot::Caption)
    }
}

/// Templates of a whole caption with a denial. Each has `{caption}` once, or `{head}` before `{tail}`;
/// and `{absent}`.
///
/// # Errors
/// As [`compositional`](super::compositional).
pub fn negated(source: Source<'_>) -> Result<Vec<NegatedTemplate>, TemplateError> {
    source.load("templates/negated.txt", include_str!("../../templates/negated.txt"), |line| {
        let slots = [Slot::Caption, Slot::Head, Slot::Tail, Slot::Absent, Slot::Second];
        let template = Template::parse(line, &slots)?;
        let named = |slot| {
            let names = |form: &Form| matches!(form, Form::Plain | Form::A | Form::Any);
            template.0.iter().any(|piece| matches!(piece, Piece::Place(form, s) if *s == slot && names(form)))
        };
        let of_caption: Vec<Slot> = template
            .0
            .iter()
            .filter_map(|piece| match piece {
                Piece::Place(_, slot @ (Slot::Caption | Slot::Head | Slot::Tail)) => Some(*slot),
                _ => None,
            })
            .collect();
        if !matches!(of_caption[..], [Slot::Caption] | [Slot::Head, Slot::Tail]) {
            return Err("{caption} must stand once, or {head} and behind it {tail}".to_owned());
        }
        if !named(Slot::Absent) || template.count(Slot::Second) > 0 && !named(Slot::Second) {
            return Err("the thing is missing; write {absent}, {a absent} or {any absent}".to_owned());
        }
        Ok(NegatedTemplate(template))
    })
}
