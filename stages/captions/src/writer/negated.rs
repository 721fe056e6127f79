//! `writer = "negated"`: the whole caption, and a denial of something that the image does not show:
//! "A dog runs on grass, but there is no ball". What people search for, and what NegBench asks for in
//! its retrieval (arXiv 2501.09425, section 3).

use std::path::PathBuf;

use items::{Role, Statement};
use pipeline_engine::rng::{ChaCha8Rng, Draw, below};
use pipeline_engine::{Build, Look, Part, StageError, options};
use rand::RngExt;

use super::{List, OpenWriter, Writer};
use crate::counts::{Count, Counts};
use crate::object::Object;
use crate::present::Present;
use crate::reading::Reading;
use crate::templates::{self, Filling, NegatedTemplate, alone, bare, cut};

options! {
    /// Writes whole captions with a denial.
    pub struct Negated {
        /// Texts per image.
        texts: usize = 1, 1..=64;
        /// Whether each of them comes with a false one, which denies something that the image shows.
        contradictions: bool = false;
        /// Share of the denied things (0 to 1) that come from any caption of the batch; the others come
        /// from the most similar images.
        anywhere: f64 = 0.5, 0.0..=1.0;
        /// Of a caption with more words than this, the denial stands in front: behind it, the tower
        /// might cut the denial away (CLIP reads 77 tokens).
        longest: usize = 40, 1..=1_000_000;
        /// A file of your own with templates, one per line.
        templates: Option<PathBuf> = None => free;
        /// Use the first N of these templates; all if omitted.
        templates_used: Option<usize> = None;
    }
}

impl Part for Negated {
    const NAME: &'static str = "negated";
    const ABOUT: &'static str = "the whole caption with a denial of something that the image does not show";
}

impl Negated {
    fn list(&self) -> List<'_> {
        let (file, used) = (self.templates.as_deref(), self.templates_used);
        List { writer: Self::NAME, option: "templates", file, used }
    }
}

impl Writer for Negated {
    fn roles(&self) -> Vec<Role> {
        let roles = |n| {
            let texts = [Some(Role::Negated(n)), self.contradictions.then_some(Role::Misnegated(n))];
            texts.into_iter().flatten().chain(Statement::Negated(n).phrases())
        };
        (0..self.texts as u8).flat_map(roles).collect()
    }

    fn verify(&self, look: &mut Look<'_>) {
        self.list().verify(look, templates::negated);
    }

    fn open(&self, build: &Build<'_>) -> Result<Box<dyn OpenWriter>, StageError> {
        Ok(Box::new(NegatedWriter {
            templates: self.list().open(build, templates::negated)?,
            texts: self.texts,
            contradictions: self.contradictions,
            anywhere: self.anywhere,
            longest: self.longest,
        }))
    }
}

/// Writes whole captions with a denial.
#[derive(Clone, Debug)]
pub struct NegatedWriter {
    /// The templates; not empty.
    pub templates: Vec<NegatedTemplate>,
    /// Texts per image.
    pub texts: usize,
    /// Whether each comes with a false one.
    pub contradictions: bool,
    /// Share of the denied things that come from any caption of the batch.
    pub anywhere: f64,
    /// The most words of a caption behind which something is denied.
    pub longest: usize,
}

/// A caption with a denial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NegatedTexts {
    /// True of the image; the caption alone if nothing can be denied.
    pub text: String,
    /// False of it; `None` if it is not wanted, if the captions name nothing, or if `text` denies nothing.
    pub contradiction: Option<String>,
    /// What `text` denies, as "A dog": none, one or two things.
    pub denied: Vec<String>,
}

impl NegatedWriter {
    /// A writer with our own templates and the default options.
    ///
    /// # Errors
    /// When the crate was built with a damaged list.
    pub fn usual() -> Result<Self, templates::TemplateError> {
        let templates = templates::negated(templates::Source::default())?;
        Ok(Self { templates, texts: 1, contradictions: false, anywhere: 0.5, longest: 40 })
    }

    /// The texts of each of the B images, B x `texts` in all.
    pub fn negated(
        &self,
        reading: &Reading<'_>,
        draw: impl Fn(usize) -> Draw,
        counts: &mut Counts,
    ) -> Vec<NegatedTexts> {
        let mut made = Vec::with_capacity(reading.items().len() * self.texts);
        for i in 0..reading.items().len() {
            let rng = &mut draw(i).text("negated").rng();
            made.extend((0..self.texts).map(|_| self.negated_of(reading, i, rng, counts)));
        }
        made
    }

    fn negated_of(&self, reading: &Reading<'_>, i: usize, rng: &mut ChaCha8Rng, counts: &mut Counts) -> NegatedTexts {
        counts[Count::Images] += 1;
        let caption = bare(reading.caption(i));
        let known = reading.known_captions(i);
        let object = match rng.random_bool(self.anywhere) {
            true => reading.object_anywhere(i, &known, rng, counts),
            false => reading.object(i, &known, rng, counts),
        };
        // "A photo with no dog of a cat" is no sentence: the subject has to be a thing.
        let subject = reading.drawn(i).nouns.first().filter(|subject| subject.is_thing());
        let parts = subject.and_then(|subject| cut(caption, &subject.text));
        let is_long = caption.split_whitespace().count() > self.longest;
        let caption_alone = NegatedTexts { text: caption.to_owned(), ..NegatedTexts::default() };
        let Some(Object { noun: absent, .. }) = object else { return caption_alone };
        let Some(mut template) = self.template(|template| fits(template, is_long, parts.is_some(), true), rng) else {
            counts[Count::NoObject] += 1;
            return caption_alone;
        };
        let mut second = None;
        if template.names_second() {
            // Few batches have nothing else to deny.
            second = (0..3).find_map(|_| {
                let other = reading.object_anywhere(i, &known, rng, counts).map(|object| object.noun);
                other.filter(|other| other.lemma != absent.lemma)
            });
            if second.is_none() {
                let one = self.template(|template| fits(template, is_long, parts.is_some(), false), rng);
                let Some(one) = one else {
                    counts[Count::NoObject] += 1;
                    return caption_alone;
                };
                template = one;
            }
        }
        counts[Count::DeniedInFront] += u64::from(is_long);
        let cut = parts.unwrap_or((caption, ""));
        let filling = Filling { caption, cut, absent: Some(&absent), second: second.as_ref(), ..Filling::default() };
        let wording = template.wording(rng);
        let denied = [Some(&absent), second.as_ref()].into_iter().flatten().map(alone).collect();
        let mut made = NegatedTexts { text: wording.fill(filling), contradiction: None, denied };
        if self.contradictions {
            let others = reading.other_captions(i);
            let shown = Present::of(reading.drawn(i), &others).draw(true, rng);
            made.contradiction = shown.map(|shown| wording.fill(Filling { absent: Some(shown), ..filling }));
        }
        made
    }

    /// A random template that fits. `None` if no template of a custom list does; the built-in list always has one.
    fn template(&self, fits: impl Fn(&NegatedTemplate) -> bool, rng: &mut ChaCha8Rng) -> Option<&NegatedTemplate> {
        let fitting: Vec<&NegatedTemplate> = self.templates.iter().filter(|template| fits(template)).collect();
        (!fitting.is_empty()).then(|| fitting[below(rng, fitting.len())])
    }
}

/// Whether a template can take a caption that is long, and cannot be cut, and whether two things may be
/// denied.
fn fits(template: &NegatedTemplate, is_long: bool, can_be_cut: bool, two: bool) -> bool {
    (template.denies_in_front() || !is_long) && (can_be_cut || !template.cuts()) && (two || !template.names_second())
}

impl OpenWriter for NegatedWriter {
    fn write(
        &self,
        reading: &Reading<'_>,
        draw: &dyn Fn(usize) -> Draw,
        counts: &mut Counts,
    ) -> Result<Vec<String>, StageError> {
        let texts = |made: NegatedTexts| {
            let contradiction = self.contradictions.then(|| made.contradiction.unwrap_or_default());
            // Every number has the same places.
            let denied = Statement::Negated(0).phrase_texts(Vec::new(), made.denied);
            [Some(made.text), contradiction].into_iter().flatten().chain(denied)
        };
        Ok(self.negated(reading, draw, counts).into_iter().flat_map(texts).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::{batch, draw, random_batch, reader};

    fn made(writer: &NegatedWriter, images: &[&[&str]]) -> (Vec<NegatedTexts>, Counts) {
        let mut counts = Counts::default();
        let made = writer.negated(&reader().read(&batch(images, 1), None).unwrap(), draw, &mut counts);
        (made, counts)
    }

    const IMAGES: &[&[&str]] =
        &[&["A boy runs on the grass", "A boy in a hat"], &["A tram by two lamps"], &["A canoe"]];

    #[test]
    fn the_caption_is_whole_and_what_is_denied_is_not_in_it() {
        let writer = NegatedWriter { texts: 8, ..NegatedWriter::usual().unwrap() };
        let (mut wordings, mut two) = (BTreeSet::new(), 0);
        for seed in 0..12 {
            let paired = random_batch(seed, 3);
            let (reader, mut counts) = (reader(), Counts::default());
            let reading = reader.read(&paired, None).unwrap();
            for (n, made) in writer.negated(&reading, draw, &mut counts).iter().enumerate() {
                let caption = bare(reading.caption(n / 8));
                let text = made.text.to_lowercase();
                assert!(caption.split(' ').all(|word| text.contains(&word.to_lowercase())), "{caption}: {text}");
                assert!((1..=2).contains(&made.denied.len()), "{made:?}");
                for denied in &made.denied {
                    let thing = denied.split(' ').next_back().unwrap().to_lowercase();
                    assert!(text.contains(&thing) && !caption.contains(&thing), "{caption}: {text}");
                }
                two += usize::from(made.denied.len() == 2);
                wordings.insert(text.replace(&caption.to_lowercase(), "").split(' ').next().unwrap_or("").to_owned());
            }
        }
        assert!(two > 30 && wordings.len() > 20, "{two} {wordings:?}");
    }

    #[test]
    fn a_contradiction_denies_what_the_image_shows() {
        let writer = NegatedWriter { texts: 4, contradictions: true, ..NegatedWriter::usual().unwrap() };
        let contradiction = |made: &NegatedTexts| made.contradiction.clone().unwrap();
        let (made, _) = made(&writer, IMAGES);
        assert!(
            made[..4].iter().all(|made| contradiction(made).contains("hat") && !made.text.contains("hat")),
            "{made:?}"
        );
        // The only thing that the third image shows.
        assert!(
            made[8..].iter().all(|made| contradiction(made).to_lowercase().matches("canoe").count() == 2),
            "{made:?}"
        );
    }

    #[test]
    fn the_denial_of_a_long_caption_stands_in_front() {
        let long = format!("A boy {}", "very fast ".repeat(20));
        let writer = NegatedWriter { texts: 20, ..NegatedWriter::usual().unwrap() };
        let (made, counts) = made(&writer, &[&[&long], &["A tram"]]);
        let behind = |made: &NegatedTexts| made.text.to_lowercase().find("tram") > made.text.find("very");
        assert!(!made[..20].iter().any(behind) && counts[Count::DeniedInFront] == 20, "{made:?}");
    }

    #[test]
    fn nothing_is_invented_where_nothing_can_be_denied() {
        let writer = NegatedWriter { texts: 2, contradictions: true, ..NegatedWriter::usual().unwrap() };
        let (made, counts) = made(&writer, &[&["Nothing much."], &["Nothing"]]);
        assert!(made.iter().all(|made| made.contradiction.is_none() && made.denied.is_empty()));
        assert_eq!((made[0].text.as_str(), counts[Count::NoObject]), ("Nothing much", 4));
    }

    #[test]
    fn a_list_of_which_no_template_fits_leaves_the_caption_alone() {
        let long = format!("A boy {}", "very fast ".repeat(20));
        for (template, images, left) in [
            // One image: the other caption of the batch names the only thing that can be denied.
            ("{caption}, no {absent} and no {second}", &[["A boy runs"], ["A tram"]], 2),
            // No subject that is a thing.
            ("{head} with no {absent} {tail}", &[["Sitting by a canoe"], ["A tram by two lamps"]], 1),
            ("{caption}, but no {absent}", &[[long.as_str()], ["A tram"]], 1),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), template).unwrap();
            let templates = templates::negated(templates::Source { file: Some(file.path()), first: None }).unwrap();
            let writer = NegatedWriter { templates, ..NegatedWriter::usual().unwrap() };
            let images = images.each_ref().map(|captions| captions.as_slice());
            let (made, counts) = made(&writer, &images);
            let alone = made.iter().zip(images).filter(|(made, captions)| made.text == captions[0].trim());
            assert_eq!((alone.count(), counts[Count::NoObject]), (left, left as u64), "{template}: {made:?}");
            assert!(made.iter().all(|made| !made.text.contains('{') && !made.text.contains("  ")), "{made:?}");
        }
    }

    #[test]
    fn each_text_is_followed_by_what_it_denies() {
        let writer = NegatedWriter { contradictions: true, ..NegatedWriter::usual().unwrap() };
        let (reader, batch) = (reader(), batch(IMAGES, 1));
        let reading = reader.read(&batch, None).unwrap();
        let texts = writer.write(&reading, &draw, &mut Counts::default()).unwrap();
        let made = writer.negated(&reading, draw, &mut Counts::default());
        for (row, made) in texts.chunks(4).zip(made) {
            assert_eq!(row[..3], [made.text, made.contradiction.unwrap(), made.denied[0].clone()]);
        }
        let options = Negated {
            texts: 1,
            contradictions: true,
            anywhere: 0.5,
            longest: 40,
            templates: None,
            templates_used: None,
        };
        let of = |place| Role::Denied(Statement::Negated(0), place);
        assert_eq!(options.roles(), [Role::Negated(0), Role::Misnegated(0), of(0), of(1)]);
        assert_eq!(texts.len(), 3 * options.roles().len());
    }
}
