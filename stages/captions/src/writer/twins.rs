//! `writer = "twins"`: pairs of a true and a false text ("twins") that differ in what they negate.
//! Both name a thing that the image shows, a thing that it does not show, or both.

use std::mem::take;
use std::path::PathBuf;

use items::{Role, Statement};
use pipeline_engine::rng::{ChaCha8Rng, Draw, below};
use pipeline_engine::{Build, Look, Part, StageError, options};

use super::{List, OpenWriter, Writer};
use crate::counts::{Count, Counts};
use crate::present::Present;
use crate::reading::Reading;
use crate::tagger::Noun;
use crate::templates::{self, Filling, Said, Says, TwinTemplate, alone, bare};

options! {
    /// Writes pairs of a true and a false text.
    pub struct Twins {
        /// Pairs per image.
        pairs: usize = 2, 1..=64;
        /// Let the true texts of an image take turns: say what the image shows, what it does not
        /// show, both. If false, each pair is drawn from all templates.
        balanced: bool = false;
        /// Whether the things that each pair is about are texts too; train.contrast.turn needs them.
        things: bool = false;
        /// Whether what each text affirms (at most two phrases) and denies (one) are texts too;
        /// train.composition needs them.
        phrases: bool = false;
        /// A file of your own with templates, `TRUE | FALSE`, one pair per line.
        templates: Option<PathBuf> = None => free;
        /// Use the first N of these templates; all if omitted.
        templates_used: Option<usize> = None;
    }
}

impl Part for Twins {
    const NAME: &'static str = "twins";
    const ABOUT: &'static str = "pairs of a true and a false text that differ in what they negate";
}

/// The two texts of pair `n`.
fn pair(n: u8) -> [Statement; 2] {
    [Statement::True(n), Statement::False(n)]
}

impl Twins {
    fn list(&self) -> List<'_> {
        let (file, used) = (self.templates.as_deref(), self.templates_used);
        List { writer: Self::NAME, option: "templates", file, used }
    }
}

impl Writer for Twins {
    fn roles(&self) -> Vec<Role> {
        let pairs = 0..self.pairs as u8;
        let texts = pairs.clone().flat_map(|n| pair(n).map(Role::from));
        let things = pairs.clone().filter(|_| self.things).flat_map(|n| [Role::Present(n), Role::Absent(n)]);
        let phrases = pairs.filter(|_| self.phrases).flat_map(pair).flat_map(Statement::phrases);
        texts.chain(things).chain(phrases).collect()
    }

    fn verify(&self, look: &mut Look<'_>) {
        self.list().verify(look, templates::twins);
    }

    fn open(&self, build: &Build<'_>) -> Result<Box<dyn OpenWriter>, StageError> {
        Ok(Box::new(TwinsWriter {
            templates: self.list().open(build, templates::twins)?,
            pairs: self.pairs,
            balanced: self.balanced,
            things: self.things,
            phrases: self.phrases,
        }))
    }
}

/// Writes twins with its templates.
#[derive(Clone, Debug)]
pub struct TwinsWriter {
    /// The templates; not empty.
    pub templates: Vec<TwinTemplate>,
    /// Pairs per image.
    pub pairs: usize,
    /// Whether the true texts of an image take turns, see [`Says`].
    pub balanced: bool,
    /// Whether the things that each pair is about are texts too.
    pub things: bool,
    /// Whether the phrases that each text affirms and denies are texts too.
    pub phrases: bool,
}

/// A true and a false text that differ in what they negate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TwinTexts {
    /// True of the image.
    pub true_text: String,
    /// False of it.
    pub false_text: String,
    /// The thing in the image that they are about, as "A dog"; empty if there is none.
    pub present: String,
    /// The thing not in the image that they are about; empty if there is none.
    pub absent: String,
    /// What the true text says.
    pub of_true: Content,
    /// What the false text says.
    pub of_false: Content,
    /// Which template; `None`: none could be filled, and both texts are the caption.
    pub template: Option<usize>,
}

/// What a text says, as phrases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// What it affirms: the caption as it is written, or things as "A dog".
    pub affirmed: Vec<String>,
    /// What it denies.
    pub denied: Vec<String>,
}

impl TwinsWriter {
    /// A writer with our own templates and the default options.
    ///
    /// # Errors
    /// When the crate was built with a damaged list.
    pub fn usual() -> Result<Self, templates::TemplateError> {
        let templates = templates::twins(templates::Source::default())?;
        Ok(Self { templates, pairs: 2, balanced: false, things: false, phrases: false })
    }

    /// The pairs of each of the B images, B x `pairs` in all. Templates differ within an image while
    /// there are enough.
    pub fn twins(&self, reading: &Reading<'_>, draw: impl Fn(usize) -> Draw, counts: &mut Counts) -> Vec<TwinTexts> {
        let mut made = Vec::with_capacity(reading.items().len() * self.pairs);
        for i in 0..reading.items().len() {
            self.twins_of(reading, i, &draw(i), counts, &mut made);
        }
        made
    }

    /// Appends the pairs of item `i` to `made`.
    fn twins_of(&self, reading: &Reading<'_>, i: usize, draw: &Draw, counts: &mut Counts, made: &mut Vec<TwinTexts>) {
        counts[Count::Images] += 1;
        let rng = &mut draw.clone().text("twins").rng();
        // Whatever the guards, other captions count here: the pair may name one of their things as
        // present.
        let known = reading.other_captions(i);
        let object = reading.object(i, &known, rng, counts);
        let things = Present::of(reading.drawn(i), &known);
        counts[Count::NothingPresent] += u64::from(things.is_empty());
        let mut order: Vec<usize> = (0..self.templates.len()).collect();
        let turn = if self.balanced { below(rng, Says::ALL.len()) } else { 0 };
        for n in 0..self.pairs {
            let slot = n % order.len();
            let wanted = self.balanced.then(|| Says::ALL[(turn + n) % Says::ALL.len()]);
            self.choose(&mut order, slot, wanted, rng);
            let present = things.draw(self.templates[order[slot]].adds_present(), rng);
            let other = present.and_then(|present| things.draw_other(present, rng));
            if other.is_none() && self.templates[order[slot]].names_other() {
                self.settle_for_one(&mut order, slot, wanted);
            }
            let twin = &self.templates[order[slot]];
            let texts = match (&object, present) {
                (Some(object), Some(present)) if other.is_some() || !twin.names_other() => {
                    let absent = &object.noun;
                    filled(twin, reading.caption(i), absent, present, other, order[slot])
                }
                _ => {
                    let caption = bare(reading.caption(i)).to_owned();
                    let said = Content { affirmed: vec![reading.caption(i).to_owned()], denied: Vec::new() };
                    TwinTexts {
                        true_text: caption.clone(),
                        false_text: caption,
                        of_true: said.clone(),
                        of_false: said,
                        ..TwinTexts::default()
                    }
                }
            };
            made.push(texts);
        }
    }

    fn says(&self, template: usize, wanted: Option<Says>) -> bool {
        wanted.is_none_or(|wanted| self.templates[template].says() == wanted)
    }

    /// Swaps a random template among `order[slot..]` to `slot`: one that says what is wanted, if
    /// there is one.
    fn choose(&self, order: &mut [usize], slot: usize, wanted: Option<Says>, rng: &mut ChaCha8Rng) {
        let fit: Vec<usize> = (slot..order.len()).filter(|at| self.says(order[*at], wanted)).collect();
        // A user's own templates may all say the same.
        let chosen = match fit.len() {
            0 => slot + below(rng, order.len() - slot),
            fitting => fit[below(rng, fitting)],
        };
        order.swap(slot, chosen);
    }

    /// Swaps the next template that needs only one thing in the image to `slot`, if there is one.
    fn settle_for_one(&self, order: &mut [usize], slot: usize, wanted: Option<Says>) {
        let one_is_enough = |at: &usize| !self.templates[order[*at]].names_other();
        let mut left = slot..order.len();
        let found = left.clone().find(|at| one_is_enough(at) && self.says(order[*at], wanted));
        if let Some(found) = found.or_else(|| left.find(one_is_enough)) {
            order.swap(slot, found);
        }
    }
}

fn filled(
    twin: &TwinTemplate,
    caption: &str,
    absent: &Noun,
    present: &Noun,
    other: Option<&Noun>,
    template: usize,
) -> TwinTexts {
    let filling = Filling { caption, absent: Some(absent), present: Some(present), other, ..Filling::default() };
    // Of two things in the image, the twins differ in the other one.
    let turned = other.filter(|_| twin.names_other()).unwrap_or(present);
    TwinTexts {
        true_text: twin.true_text.fill(filling),
        false_text: twin.false_text.fill(filling),
        present: if twin.names_present() { alone(turned) } else { String::new() },
        absent: if twin.names_absent() { alone(absent) } else { String::new() },
        of_true: content(twin, true, filling),
        of_false: content(twin, false, filling),
        template: Some(template),
    }
}

/// What the true or the false text of a pair affirms and denies.
fn content(twin: &TwinTemplate, is_true: bool, filling: Filling<'_>) -> Content {
    let thing = |noun: Option<&Noun>| noun.map_or_else(String::new, alone);
    let mut content = Content::default();
    for slot in twin.said(is_true) {
        let (denied, phrase) = match slot {
            Said::Caption => (false, filling.caption.to_owned()),
            Said::Present { denied } => (denied, thing(filling.present)),
            Said::Other { denied } => (denied, thing(filling.other)),
            Said::Absent { denied } => (denied, thing(filling.absent)),
        };
        if denied { &mut content.denied } else { &mut content.affirmed }.push(phrase);
    }
    content
}

impl OpenWriter for TwinsWriter {
    fn write(
        &self,
        reading: &Reading<'_>,
        draw: &dyn Fn(usize) -> Draw,
        counts: &mut Counts,
    ) -> Result<Vec<String>, StageError> {
        let mut made = self.twins(reading, draw, counts);
        let mut texts = Vec::new();
        for pairs in made.chunks_mut(self.pairs) {
            texts.extend(pairs.iter_mut().flat_map(|pair| [take(&mut pair.true_text), take(&mut pair.false_text)]));
            if self.things {
                texts.extend(pairs.iter_mut().flat_map(|pair| [take(&mut pair.present), take(&mut pair.absent)]));
            }
            if self.phrases {
                let said = pairs.iter_mut().flat_map(|pair| [take(&mut pair.of_true), take(&mut pair.of_false)]);
                let statements = (0..self.pairs as u8).flat_map(pair);
                texts.extend(
                    statements.zip(said).flat_map(|(text, said)| text.phrase_texts(said.affirmed, said.denied)),
                );
            }
        }
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::{batch, draw, reader};

    const IMAGES: &[&[&str]] = &[&["A boy runs", "A boy with a hat runs by a canoe"], &["A tram by two lamps"]];

    fn made(writer: &TwinsWriter, images: &[&[&str]]) -> (Vec<TwinTexts>, Counts) {
        let mut counts = Counts::default();
        let made = writer.twins(&reader().read(&batch(images, 1), None).unwrap(), draw, &mut counts);
        (made, counts)
    }

    fn writer(balanced: bool, pairs: usize) -> TwinsWriter {
        TwinsWriter { pairs, balanced, ..TwinsWriter::usual().unwrap() }
    }

    #[test]
    fn balanced_twins_take_turns_in_what_they_say() {
        let says = |balanced, pairs, images| {
            let writer = writer(balanced, pairs);
            let made = made(&writer, images).0;
            made.iter().map(|pair| writer.templates[pair.template.unwrap()].says()).collect::<Vec<_>>()
        };
        for of_image in says(true, 3, IMAGES).chunks(3) {
            assert!(Says::ALL.iter().all(|says| of_image.contains(says)), "{of_image:?}");
        }
        // Also where nothing fills {other}.
        for of_image in says(true, 6, &[&["A boy runs"], &["A tram"]]).chunks(6) {
            assert!(Says::ALL.iter().all(|says| of_image.iter().filter(|s| *s == says).count() == 2), "{of_image:?}");
        }
        let free = says(false, 24, IMAGES);
        assert!(free.chunks(3).any(|three| Says::ALL.iter().any(|says| !three.contains(says))));
        // And with a user's list whose templates all say the same.
        let mut same = writer(true, 3);
        same.templates.retain(|twin| twin.says() == Says::Denies);
        let made = made(&same, IMAGES).0;
        assert!(made.len() == 6 && made.iter().all(|pair| pair.template.is_some()));
    }

    #[test]
    fn twins_differ_only_in_what_they_deny() {
        let (pairs, _) = made(&writer(false, 6), IMAGES);
        assert_eq!(pairs.len(), 12);
        for (n, pair) in pairs.iter().enumerate() {
            assert_ne!(pair.true_text, pair.false_text);
            assert!(pair.template.is_some());
            if n < 6 {
                let text = pair.true_text.to_lowercase();
                let words: Vec<&str> = text.split(' ').collect();
                let denied = words.iter().position(|w| *w == "no");
                if let Some(at) = denied.filter(|at| *at + 1 < words.len()) {
                    assert!(!["boy", "hat", "canoe"].contains(&words[at + 1].trim_end_matches(',')), "{text}");
                }
            }
        }
        let distinct: BTreeSet<_> = pairs[..6].iter().map(|p| p.template).collect();
        assert_eq!(distinct.len(), 6, "templates differ within an image");

        let (none, counts) = made(&writer(false, 2), &[&["Nothing much"], &["Nothing"]]);
        assert!(none.iter().all(|pair| pair.true_text == pair.false_text && pair.template.is_none()));
        assert_eq!((counts[Count::NoObject], counts[Count::NothingPresent]), (2, 2));
    }

    #[test]
    fn things_and_phrases_come_after_all_pairs() {
        let writer = TwinsWriter { things: true, phrases: true, ..writer(false, 2) };
        let (reader, batch) = (reader(), batch(IMAGES, 1));
        let reading = reader.read(&batch, None).unwrap();
        let texts = writer.write(&reading, &draw, &mut Counts::default()).unwrap();
        let twins = writer.twins(&reading, draw, &mut Counts::default());
        for (i, row) in texts.chunks(20).enumerate() {
            let [one, two] = &twins[2 * i..2 * i + 2] else { panic!("two pairs per image") };
            let expected = [
                &one.true_text,
                &one.false_text,
                &two.true_text,
                &two.false_text,
                &one.present,
                &one.absent,
                &two.present,
                &two.absent,
            ];
            assert_eq!(row[..8], expected.map(String::as_str));
            let said = [&one.of_true, &one.of_false, &two.of_true, &two.of_false];
            for (row, said) in row[8..].chunks(3).zip(said) {
                let place = |texts: &[String], n: usize| texts.get(n).cloned().unwrap_or_default();
                assert_eq!(row, [place(&said.affirmed, 0), place(&said.affirmed, 1), place(&said.denied, 0)]);
            }
        }
        assert_eq!(texts.len(), 40);
        let (things, phrases) = (true, true);
        let options = Twins { pairs: 2, balanced: false, things, phrases, templates: None, templates_used: None };
        let roles = options.roles();
        assert_eq!(roles[..2], [Role::True(0), Role::False(0)]);
        assert_eq!(roles[4..8], [Role::Present(0), Role::Absent(0), Role::Present(1), Role::Absent(1)]);
        let first = Statement::True(0);
        let said = [Role::Affirmed(first, 0), Role::Affirmed(first, 1), Role::Denied(first, 0)];
        assert_eq!((&roles[8..11], roles.len()), (&said[..], 20));
    }

    #[test]
    fn what_a_text_says_follows_from_its_truth() {
        // The caption, a thing of it, one that only another caption names, and one that is absent.
        let filled = |line: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), line).unwrap();
            let templates = templates::twins(templates::Source { file: Some(file.path()), first: None });
            let writer = TwinsWriter { templates: templates.unwrap(), ..writer(false, 1) };
            let pair = made(&writer, &[&["A boy runs", "A boy and a canoe"], &["A tram"]]).0.swap_remove(0);
            [pair.of_true, pair.of_false].map(|said| (said.affirmed.join(" + "), said.denied.join(" + ")))
        };
        let said = |affirmed: &str, denied: &str| (affirmed.to_owned(), denied.to_owned());
        let other = "no {absent}, {a present} | no {present}, {a absent}";
        let [yes, no] = filled(other);
        assert_eq!((yes.1.as_str(), no.0.as_str(), yes.0 == no.1), ("A tram", "A tram", true));
        assert_eq!(filled("no {absent} | no {present}")[0], said("", "A tram"));
        assert_eq!(filled("{a present} | {a absent}")[1], said("A tram", ""));
        let with = "{caption} with no {absent} | {caption} with {a absent}\n{caption} with {a absent} | {caption} with no {absent}";
        assert_eq!(filled(with)[0], said("A boy runs", "A tram"));
        let [yes, no] = filled("{a present} but no {absent} | {a present} but no {other}");
        assert_eq!((yes.0 == no.0, yes.1.as_str()), (true, "A tram"));
        assert!(no.1 == "A canoe" || no.1 == "A boy", "{no:?}");
        let [yes, no] = filled("{a present} and {a other} | {a present} and {a absent}");
        assert!(yes.0.contains("A boy") && yes.0.contains("A canoe") && no.0.ends_with(" + A tram"), "{yes:?} {no:?}");
    }
}
