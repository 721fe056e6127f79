//! Training-free answers: one unit vector per text, made of the features that the text tower gives to
//! what the text affirms and to what it denies. Fine-tuning must beat all of them.
//!
//! N texts, D features; every vector that goes in or comes out has length 1. Which parts a text has is
//! decided by plain rules ([`crate::negation`]), not by a language model as in the papers.

mod deo;
mod lambda;
mod policy;
mod space;

use std::collections::BTreeSet;

use items::{TextEncoder, metric};
use pipeline_engine::StageError;

use crate::negation::{core, naming_words, parts};
use crate::texts::{Rows, Texts, cosine};

/// What stands for an image of nothing in particular.
const NOTHING_IN_PARTICULAR: &str = "a photo";
/// Different denied things from which on their mean is such a stand-in. The mean of fewer would be
/// near to each of them, so that "no dog" would be near to "dog".
const ENOUGH_THINGS: usize = 5;

/// A text that denies something, as a composition sees it; D numbers each.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// The text as it is written.
    pub whole: &'a [f32],
    /// What it affirms; none if it affirms nothing.
    pub affirmed: Option<&'a [f32]>,
    /// What it denies.
    pub denied: &'a [f32],
    /// What stands for an image of nothing in particular.
    pub neutral: &'a [f32],
    /// How many words of the affirmed part name something.
    pub naming_words: usize,
}

impl<'a> Text<'a> {
    /// What it affirms, or the neutral vector.
    fn affirmed_or_neutral(&self) -> &'a [f32] {
        self.affirmed.unwrap_or(self.neutral)
    }
}

/// The composition of this name.
pub fn named(name: &str) -> Option<Compose> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, compose)| *compose)
}

/// A way to make one unit vector of a text's parts; the number is the option `lambda`.
pub type Compose = fn(&Text<'_>, f32) -> Vec<f32>;

/// Every composition, by the name that its metrics begin with.
pub const ALL: [(&str, Compose); 5] = [
    (metric::IGNORE, lambda::ignore),
    (metric::LAMBDA, lambda::minus),
    (metric::SPACE, space::compose),
    (metric::DEO, deo::compose),
    (metric::POLICY, policy::compose),
];

/// The parts of a text that denies something, as places among the embedded texts.
#[derive(Debug)]
struct Placed {
    /// None if nothing is affirmed.
    affirmed: Option<usize>,
    /// The denied part as it is written.
    denied: usize,
    /// "a photo of" what it names.
    thing: usize,
    naming_words: usize,
}

/// Texts whose parts are embedded.
#[derive(Debug)]
pub struct Composer<'a> {
    /// The texts as they are written: N x D.
    whole: &'a Rows,
    parts: Rows,
    /// The place of [`NOTHING_IN_PARTICULAR`].
    nothing: usize,
    neutral: Vec<f32>,
    /// None for a text that denies nothing: its vector is that of the whole.
    texts: Vec<Option<Placed>>,
}

impl<'a> Composer<'a> {
    /// Embeds the parts of `texts`; `whole` are the features of the texts themselves.
    ///
    /// The neutral vector is the mean of all things that the texts deny, or "a photo" if they deny fewer
    /// than five.
    ///
    /// # Errors
    /// When the encoder fails.
    pub fn new(texts: &[String], whole: &'a Rows, encoder: &dyn TextEncoder, dim: usize) -> Result<Self, StageError> {
        let mut pieces = Texts::default();
        let nothing = pieces.place(NOTHING_IN_PARTICULAR);
        let texts: Vec<Option<Placed>> = texts.iter().map(|text| placed(text, &mut pieces)).collect();
        let parts = pieces.embed(encoder, dim)?;
        let things: BTreeSet<usize> = texts.iter().flatten().map(|text| text.thing).collect();
        let neutral = match things.len() {
            ENOUGH_THINGS.. => mean(things.iter().map(|&thing| parts.row(thing)), dim),
            _ => parts.row(nothing).to_vec(),
        };
        Ok(Self { whole, parts, nothing, neutral, texts })
    }

    /// The same texts with the feature of "a photo" as the neutral vector, whatever they deny: the vector
    /// of each text then depends on that text alone, as an index of vectors needs it.
    #[must_use]
    pub fn each_by_itself(self) -> Self {
        let neutral = self.parts.row(self.nothing).to_vec();
        Self { neutral, ..self }
    }

    /// The score cos(image, affirmed) - lambda cos(image, denied) of text `text`, which is no cosine of one
    /// vector. Nothing affirmed counts as "a photo".
    pub fn score(&self, text: usize, image: &[f32], lambda: f64) -> f32 {
        match &self.texts[text] {
            None => cosine(self.whole.row(text), image),
            Some(Placed { affirmed, denied, .. }) => {
                let affirmed = self.parts.row(affirmed.unwrap_or(self.nothing));
                cosine(affirmed, image) - lambda as f32 * cosine(self.parts.row(*denied), image)
            }
        }
    }

    /// One unit vector per text: N x D.
    pub fn composed(&self, compose: Compose, lambda: f64) -> Rows {
        let row = |(index, text): (usize, &Option<Placed>)| match text {
            None => self.whole.row(index).to_vec(),
            Some(text) => compose(&self.text(index, text), lambda as f32),
        };
        Rows::new(self.neutral.len(), self.texts.iter().enumerate().flat_map(row).collect())
    }

    fn text(&self, index: usize, text: &Placed) -> Text<'_> {
        Text {
            whole: self.whole.row(index),
            affirmed: text.affirmed.map(|place| self.parts.row(place)),
            denied: self.parts.row(text.thing),
            neutral: &self.neutral,
            naming_words: text.naming_words,
        }
    }
}

/// Places the parts of a text; none if it denies nothing.
fn placed(text: &str, pieces: &mut Texts) -> Option<Placed> {
    let parts = parts(text);
    if parts.denied.is_empty() {
        return None;
    }
    Some(Placed {
        affirmed: (!parts.affirmed.is_empty()).then(|| pieces.place(&parts.affirmed)),
        denied: pieces.place(&parts.denied),
        thing: pieces.place(&format!("a photo of {}", core(&parts.denied))),
        naming_words: naming_words(&parts.affirmed),
    })
}

/// The mean of vectors, at length 1.
fn mean<'a>(vectors: impl Iterator<Item = &'a [f32]>, dim: usize) -> Vec<f32> {
    let mut sum = vec![0.0; dim];
    vectors.for_each(|vector| sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += f64::from(*x)));
    unit(sum).unwrap_or_else(|| vec![0.0; dim])
}

/// a x + b y, at length 1; x if that is (nearly) zero.
fn blend(a: f64, x: &[f32], b: f64, y: &[f32]) -> Vec<f32> {
    let sum = x.iter().zip(y).map(|(x, y)| a * f64::from(*x) + b * f64::from(*y)).collect();
    unit(sum).unwrap_or_else(|| x.to_vec())
}

/// A vector at length 1; none if it has no direction.
fn unit(vector: Vec<f64>) -> Option<Vec<f32>> {
    let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
    (length > 1e-6).then(|| vector.iter().map(|x| (x / length) as f32).collect())
}

#[cfg(test)]
mod testing {
    use super::Text;

    /// A text with these parts, whose neutral vector is the first axis.
    pub fn text<'a>(whole: &'a [f32], affirmed: Option<&'a [f32]>, denied: &'a [f32], naming_words: usize) -> Text<'a> {
        Text { whole, affirmed, denied, neutral: &[1.0, 0.0, 0.0, 0.0], naming_words }
    }

    pub fn length(vector: &[f32]) -> f32 {
        vector.iter().map(|x| x * x).sum::<f32>().sqrt()
    }

    pub fn near(one: &[f32], two: &[f32]) -> bool {
        one.len() == two.len() && one.iter().zip(two).all(|(a, b)| (a - b).abs() < 1e-5)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use testing::near;

    /// Gives each text the axis of the first letter of its last word, and counts texts.
    struct Axes;

    impl TextEncoder for Axes {
        fn dim(&self) -> usize {
            27
        }

        fn embed(&self, texts: &[String]) -> Result<Vec<f32>, StageError> {
            Ok(texts.iter().flat_map(|text| axis(text)).collect())
        }
    }

    fn axis(text: &str) -> Vec<f32> {
        let last = text.split_whitespace().last().unwrap_or_default();
        let place = last.bytes().next().map_or(26, |letter| usize::from(letter.to_ascii_lowercase() - b'a'));
        (0..27).map(|i| if i == place { 1.0 } else { 0.0 }).collect()
    }

    fn composer<T>(texts: &[&str], with: impl FnOnce(&Composer<'_>) -> T) -> T {
        let mut all = Texts::default();
        texts.iter().for_each(|text| assert!(all.place(text) < texts.len()));
        let whole = all.embed(&Axes, 27).unwrap();
        with(&Composer::new(all.list(), &whole, &Axes, 27).unwrap())
    }

    #[test]
    fn names_are_those_of_the_metrics() {
        let names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, metric::BASELINES[1..]);
    }

    #[test]
    fn a_text_that_denies_nothing_keeps_its_vector_in_every_composition() {
        composer(&["a red dog", "no cat"], |composer| {
            for (name, compose) in ALL {
                let rows = composer.composed(compose, 0.5);
                assert_eq!(rows.row(0), axis("dog"), "{name}");
                assert!((cosine(rows.row(1), rows.row(1)) - 1.0).abs() < 1e-5, "{name}");
            }
            assert_eq!(composer.score(0, &axis("dog"), 0.5), 1.0);
        });
    }

    #[test]
    fn what_affirms_nothing_stands_on_a_photo_or_on_the_mean_of_many_things() {
        composer(&["no cat", "no dog"], |composer| {
            let rows = composer.composed(lambda::ignore, 0.5);
            assert_eq!(rows.row(0), axis("a photo"));
            assert_eq!(composer.score(0, &axis("cat"), 0.5), -0.5);
            assert_eq!(composer.score(0, &axis("a photo"), 0.5), 1.0);
        });
        let things: Vec<String> = ('a'..='e').map(|letter| format!("no {letter}thing")).collect();
        let things: Vec<&str> = things.iter().map(String::as_str).collect();
        composer(&things, |composer| {
            let rows = composer.composed(lambda::ignore, 0.5);
            let mean: Vec<f32> = (0..27).map(|i| if i < 5 { 0.2f32.sqrt() } else { 0.0 }).collect();
            assert!(near(rows.row(3), &mean), "{:?}", rows.row(3));
        });
    }

    #[test]
    fn opposite_parts_leave_the_first() {
        assert_eq!(blend(1.0, &[1.0, 0.0], -1.0, &[1.0, 0.0]), [1.0, 0.0]);
        assert_eq!(blend(3.0, &[1.0, 0.0], 4.0, &[0.0, 1.0]), [0.6, 0.8]);
    }
}
