//! Templates of TNG-CLIP (arXiv 2505.18434, section 3): "A and no B", "not A".

use super::file::{Source, TemplateError};
use super::grammar::Form;
use super::template::{Piece, Slot, Template};

/// Templates for "A and no B" (TNG-CLIP, arXiv 2505.18434, section 3): each has `{caption}` once and
/// `{object}`. Our own list has 46.
///
/// # Errors
/// When the file cannot be read, has a line that is not such a template, or has fewer templates than
/// should be used.
pub fn compositional(source: Source<'_>) -> Result<Vec<Template>, TemplateError> {
    source.load("templates/compositional.txt", include_str!("../../templates/compositional.txt"), |line| {
        let template = Template::parse(line, &[Slot::Caption, Slot::Object])?;
        let plain = template.0.contains(&Piece::Place(Form::Plain, Slot::Object));
        let article = template.0.iter().any(|p| matches!(p, Piece::Place(Form::A | Form::Any, Slot::Object)));
        match (template.count(Slot::Caption), plain || article) {
            (1, true) => Ok(template),
            (1, false) => Err("the object is missing; write {object}, {a object} or {any object}".to_owned()),
            (n, _) => Err(format!("{{caption}} must stand once, not {n} times")),
        }
    })
}

/// Templates for "not A" (TNG-CLIP, section 3): each has `{caption}` once. Our own list has 18.
///
/// # Errors
/// As [`compositional`].
pub fn full(source: Source<'_>) -> Result<Vec<Template>, TemplateError> {
    source.load("templates/full.txt", include_str!("../../templates/full.txt"), |line| {
        let template = Template::parse(line, &[Slot::Caption])?;
        match template.count(Slot::Caption) {
            1 => Ok(template),
            n => Err(format!("{{caption}} must stand once, not {n} times")),
        }
    })
}
