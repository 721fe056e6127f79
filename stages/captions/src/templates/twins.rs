//! Templates of twins: a pair of a true and a false text.

use std::collections::BTreeMap;

use super::file::{Source, TemplateError};
use super::template::{Slot, Template};

/// What a true text does. NegBench distinguishes its questions in the same way: positive, negative,
/// hybrid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Says {
    /// It says what the image shows.
    Affirms,
    /// It says what the image does not show.
    Denies,
    /// It says both.
    Both,
}

impl Says {
    /// All of them, in the order in which balanced twins take turns.
    pub const ALL: [Self; 3] = [Self::Affirms, Self::Denies, Self::Both];
}

/// Templates of a true text and of a false one that differ in what they negate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TwinTemplate {
    /// Gives a text that is true of the image.
    pub true_text: Template,
    /// Gives a text that is false of it.
    pub false_text: Template,
}

/// Something that a text of a pair says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The caption, which is affirmed.
    Caption,
    /// The thing in the image.
    Present {
        /// Whether the text denies it.
        denied: bool,
    },
    /// The other thing in the image.
    Other {
        /// Whether the text denies it.
        denied: bool,
    },
    /// The thing that is not in the image.
    Absent {
        /// Whether the text denies it.
        denied: bool,
    },
}

impl TwinTemplate {
    /// What its true or its false text says. This follows from its truth: a true text affirms what is
    /// there and denies what is not. A false text affirms what is absent; what it turns round is
    /// denied, unless what it affirms makes it false already.
    pub fn said(&self, is_true: bool) -> impl Iterator<Item = Said> {
        let text = if is_true { &self.true_text } else { &self.false_text };
        let turns =
            !is_true && (text.count(Slot::Absent) == 0 || self.true_text.pattern() == self.false_text.pattern());
        let other = self.names_other();
        let said = [
            (Slot::Caption, Said::Caption),
            (Slot::Present, Said::Present { denied: turns && !other }),
            (Slot::Other, Said::Other { denied: turns }),
            (Slot::Absent, Said::Absent { denied: is_true }),
        ];
        said.into_iter().filter(|(slot, _)| text.count(*slot) > 0).map(|(_, said)| said)
    }

    /// What its true text does.
    pub fn says(&self) -> Says {
        let has = |slots: &[Slot]| slots.iter().any(|slot| self.true_text.count(*slot) > 0);
        match (has(&[Slot::Caption, Slot::Present, Slot::Other]), has(&[Slot::Absent])) {
            (true, true) => Says::Both,
            (false, true) => Says::Denies,
            _ => Says::Affirms,
        }
    }

    /// Whether it names a thing in the image in addition to the caption.
    pub fn adds_present(&self) -> bool {
        self.has(Slot::Caption) && self.names_present()
    }

    /// Whether it names two things in the image.
    pub fn names_other(&self) -> bool {
        self.has(Slot::Other)
    }

    /// Whether it names a thing in the image.
    pub fn names_present(&self) -> bool {
        self.has(Slot::Present)
    }

    /// Whether it names a thing that is not in the image.
    pub fn names_absent(&self) -> bool {
        self.has(Slot::Absent)
    }

    fn has(&self, slot: Slot) -> bool {
        self.true_text.count(slot) + self.false_text.count(slot) > 0
    }
}

const OWN: &str = "templates/twins.txt";

/// Templates of twins, `TRUE | FALSE`, one pair per line.
///
/// # Errors
/// As [`compositional`](super::compositional); and when a pattern stands more often on one side than
/// on the other, so that the pattern alone would give away which text is true.
pub fn twins(source: Source<'_>) -> Result<Vec<TwinTemplate>, TemplateError> {
    let pairs = source.load(OWN, include_str!("../../templates/twins.txt"), |line| {
        let (true_text, false_text) = line.split_once('|').ok_or("a pair is written `TRUE | FALSE`")?;
        Ok(TwinTemplate { true_text: side(true_text)?, false_text: side(false_text)? })
    })?;
    let mut balance: BTreeMap<String, i32> = BTreeMap::new();
    for pair in &pairs {
        *balance.entry(pair.true_text.pattern()).or_default() += 1;
        *balance.entry(pair.false_text.pattern()).or_default() -= 1;
    }
    if let Some((pattern, more)) = balance.iter().find(|(_, more)| **more != 0) {
        let side = if *more > 0 { "true" } else { "false" };
        return Err(TemplateError::File {
            file: source.name(OWN),
            what: format!(
                "the pattern `{pattern}` stands more often on the {side} side among the templates used, which gives \
                 away which text is true; add its counterpart"
            ),
        });
    }
    Ok(pairs)
}

fn side(text: &str) -> Result<Template, String> {
    let template = Template::parse(text.trim(), &[Slot::Caption, Slot::Present, Slot::Other, Slot::Absent])?;
    if template.count(Slot::Caption) > 1 {
        return Err("{caption} must stand at most once on each side".to_owned());
    }
    if template.count(Slot::Present) + template.count(Slot::Absent) == 0 {
        return Err("each side must name {present} or {absent}".to_owned());
    }
    Ok(template)
}
