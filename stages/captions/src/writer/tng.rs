//! `writer = "tng"`: the captions that deny of TNG-CLIP (arXiv 2505.18434, section 3): "A and no B",
//! where B is an object of a similar image that this image does not show, and "not A", where A is
//! another image's caption.

use std::path::PathBuf;

use items::Role;
use pipeline_engine::rng::{Draw, below};
use pipeline_engine::{Build, Look, Part, StageError, choice, options};
use rand::Rng;

use super::{List, OpenWriter, Writer};
use crate::counts::{Count, Counts};
use crate::object::Object;
use crate::reading::Reading;
use crate::templates::{self, Filling, Template, bare};

choice! {
    /// Whose caption the full negation denies.
    pub enum FullSource {
        /// A random item whose image is not similar.
        Other = "other",
        /// The nearest neighbour.
        Neighbour = "neighbour",
        /// Item B-1-i.
        Mirror = "mirror",
    }
}

options! {
    /// Writes a compositional and a full negation.
    pub struct Tng {
        /// A file of your own with templates for "A and no B", one per line.
        templates: Option<PathBuf> = None => free;
        /// Use the first N of these templates; all if omitted.
        templates_used: Option<usize> = None;
        /// A file of your own with templates for "not A", one per line.
        full_templates: Option<PathBuf> = None => free;
        /// Use the first N of these templates; all if omitted.
        full_templates_used: Option<usize> = None;
        /// Whose caption "not A" denies.
        full_source: FullSource = FullSource::Other;
        /// With full_source = "other": the cosine of the two images must be below this.
        full_below: f64 = 0.7, -1.0..=1.0;
    }
}

impl Part for Tng {
    const NAME: &'static str = "tng";
    const ABOUT: &'static str = "\"A and no B\", and \"not A\" of another image";
}

impl Tng {
    fn compositional(&self) -> List<'_> {
        let (file, used) = (self.templates.as_deref(), self.templates_used);
        List { writer: Self::NAME, option: "templates", file, used }
    }

    fn full(&self) -> List<'_> {
        let (file, used) = (self.full_templates.as_deref(), self.full_templates_used);
        List { writer: Self::NAME, option: "full_templates", file, used }
    }
}

impl Writer for Tng {
    fn roles(&self) -> Vec<Role> {
        vec![Role::Compositional, Role::Full]
    }

    fn verify(&self, look: &mut Look<'_>) {
        self.compositional().verify(look, templates::compositional);
        self.full().verify(look, templates::full);
    }

    fn open(&self, build: &Build<'_>) -> Result<Box<dyn OpenWriter>, StageError> {
        Ok(Box::new(TngWriter {
            compositional: self.compositional().open(build, templates::compositional)?,
            full: self.full().open(build, templates::full)?,
            full_source: self.full_source,
            full_below: self.full_below as f32,
        }))
    }
}

/// Writes negations with its templates.
#[derive(Clone, Debug)]
pub struct TngWriter {
    /// Templates for "A and no B"; not empty.
    pub compositional: Vec<Template>,
    /// Templates for "not A"; not empty.
    pub full: Vec<Template>,
    /// Whose caption "not A" denies.
    pub full_source: FullSource,
    /// With [`FullSource::Other`]: the cosine of the two images must be below this.
    pub full_below: f32,
}

/// Two texts for one image, and where they come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Negations {
    /// "A and no B"; the caption alone if there is no object.
    pub compositional: String,
    /// "No A", where A is the caption of `full_item`; the caption alone if the batch has no other
    /// image.
    pub full: String,
    /// The object; `None`: none was found.
    pub object: Option<Object>,
    /// Which compositional template.
    pub compositional_template: usize,
    /// Whose caption is denied.
    pub full_item: Option<usize>,
    /// Which full template.
    pub full_template: usize,
}

impl TngWriter {
    /// A writer with our own templates and the default options.
    ///
    /// # Errors
    /// When the crate was built with damaged lists.
    pub fn usual() -> Result<Self, templates::TemplateError> {
        Ok(Self {
            compositional: templates::compositional(templates::Source::default())?,
            full: templates::full(templates::Source::default())?,
            full_source: FullSource::Other,
            full_below: 0.7,
        })
    }

    /// A compositional and a full negation for each of the B images.
    pub fn negations(
        &self,
        reading: &Reading<'_>,
        draw: impl Fn(usize) -> Draw,
        counts: &mut Counts,
    ) -> Vec<Negations> {
        (0..reading.items().len()).map(|i| self.negations_of(reading, i, &draw(i), counts)).collect()
    }

    fn negations_of(&self, reading: &Reading<'_>, i: usize, draw: &Draw, counts: &mut Counts) -> Negations {
        counts[Count::Images] += 1;
        let caption = reading.caption(i);
        let rng = &mut draw.clone().text("object").rng();
        let object = reading.object(i, &reading.known_captions(i), rng, counts);
        let compositional_template = below(rng, self.compositional.len());
        let full_item = self.full_item(reading, i, rng, counts);
        let full_template = below(rng, self.full.len());
        let filling = |caption, absent| Filling { caption, absent, ..Filling::default() };
        Negations {
            compositional: object.as_ref().map_or_else(
                || bare(caption).to_owned(),
                |object| self.compositional[compositional_template].fill(filling(caption, Some(&object.noun))),
            ),
            full: full_item.map_or_else(
                || bare(caption).to_owned(),
                |j| self.full[full_template].fill(filling(reading.caption(j), None)),
            ),
            object,
            compositional_template,
            full_item,
            full_template,
        }
    }

    /// The item whose caption the full negation of item `i` denies; never one of the same image.
    fn full_item(&self, reading: &Reading<'_>, i: usize, rng: &mut impl Rng, counts: &mut Counts) -> Option<usize> {
        let items = reading.items();
        let wanted = match self.full_source {
            FullSource::Mirror => Some(items.len() - 1 - i),
            FullSource::Neighbour => reading.neighbours(i).next(),
            FullSource::Other => return self.dissimilar(reading, i, rng, counts),
        };
        if let Some(j) = wanted.filter(|j| items[*j].image != items[i].image) {
            return Some(j);
        }
        let replacement = reading.others(i, rng).next();
        counts[if replacement.is_some() { Count::FullReplaced } else { Count::NoFull }] += 1;
        replacement
    }

    /// A random item whose image has a cosine with image `i` below the bound; if there is none, the
    /// least similar one.
    fn dissimilar(&self, reading: &Reading<'_>, i: usize, rng: &mut impl Rng, counts: &mut Counts) -> Option<usize> {
        let mut least: Option<(f32, usize)> = None;
        for j in reading.shuffled_others(i, rng) {
            let cosine = reading.cosine(i, j);
            if cosine < self.full_below {
                return Some(j);
            }
            if least.is_none_or(|(c, _)| cosine < c) {
                least = Some((cosine, j));
            }
        }
        counts[if least.is_some() { Count::FullAboveBound } else { Count::NoFull }] += 1;
        least.map(|(_, j)| j)
    }
}

impl OpenWriter for TngWriter {
    fn write(
        &self,
        reading: &Reading<'_>,
        draw: &dyn Fn(usize) -> Draw,
        counts: &mut Counts,
    ) -> Result<Vec<String>, StageError> {
        let made = self.negations(reading, draw, counts);
        Ok(made.into_iter().flat_map(|made| [made.compositional, made.full]).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use items::Paired;

    use super::*;
    use crate::object::Origin;
    use crate::testing::{batch, draw, random_batch, reader};

    fn writer(full_source: FullSource, full_below: f32) -> TngWriter {
        TngWriter { full_source, full_below, ..TngWriter::usual().unwrap() }
    }

    fn negations(writer: &TngWriter, paired: &Paired) -> (Vec<Negations>, Counts) {
        let mut counts = Counts::default();
        let made = writer.negations(&reader().read(paired, None).unwrap(), draw, &mut counts);
        (made, counts)
    }

    #[test]
    fn the_usual_writer_has_the_default_options() {
        let (usual, options) = (TngWriter::usual().unwrap(), pipeline_engine::Chosen::<dyn Writer>::of("tng"));
        assert_eq!((usual.compositional.len(), usual.full.len()), (46, 18));
        let described = format!("{options:?}");
        assert!(
            described.contains(r#"("full_source", "\"other\"")"#) && described.contains(r#"("full_below", "0.7")"#)
        );
        assert_eq!((usual.full_source, usual.full_below), (FullSource::Other, 0.7));
    }

    #[test]
    fn objects_come_from_neighbours_first() {
        let images: &[&[&str]] = &[&["A dog runs"], &["The dog jumps"], &["A dog with a drum"], &["A dog and a kite"]];
        let writer = writer(FullSource::Other, 0.5);
        let (made, counts) = negations(&writer, &batch(images, 2));
        let found = made[0].object.as_ref().unwrap();
        assert_eq!((found.noun.text.as_str(), found.item, found.origin), ("drum", 2, Origin::Neighbour(1)));
        assert_eq!(made[1].object.as_ref().unwrap().origin, Origin::Neighbour(0));
        let (made, one) = negations(&writer, &batch(images, 1));
        assert_eq!(made[0].object.as_ref().unwrap().origin, Origin::Batch);
        let origins = [Count::FromNearest, Count::FromLater, Count::FromBatch, Count::NoObject];
        assert_eq!(origins.map(|origin| counts[origin]), [2, 1, 1, 0]);
        assert_eq!(one[Count::FromNearest] + one[Count::FromBatch], 4);
    }

    #[test]
    fn the_compositional_text_names_the_object_and_nothing_else() {
        let writer = writer(FullSource::Other, 0.5);
        for seed in 0..10 {
            for made in negations(&writer, &random_batch(seed, 2)).0 {
                let Some(object) = &made.object else { continue };
                assert!(made.compositional.contains(&object.noun.text), "{}", made.compositional);
            }
        }
    }

    #[test]
    fn without_an_object_the_caption_stands_alone() {
        let writer = writer(FullSource::Mirror, 0.0);
        let (made, counts) = negations(&writer, &batch(&[&["A dog runs."], &["Two dogs."]], 1));
        assert_eq!(made[0].compositional, "A dog runs");
        assert_eq!((counts[Count::NoObject], counts[Count::Images]), (2, 2));
        let (alone, counts) = negations(&writer, &batch(&[&["A dog"]], 1));
        assert_eq!((alone[0].full.as_str(), alone[0].full_item, counts[Count::NoFull]), ("A dog", None, 1));
    }

    #[test]
    fn the_full_negation_denies_another_image() {
        let images: &[&[&str]] = &[&["A dog"], &["A tram"], &["A kite"], &["A lamp"], &["A drum"]];
        let mut paired = batch(images, 1);
        let items = |paired: &Paired, source| {
            let (made, counts) = negations(&writer(source, 0.5), paired);
            for made in &made {
                let denied = &paired.batch.items[made.full_item.unwrap()];
                assert!(made.full.to_lowercase().contains(&denied.caption().to_lowercase()), "{}", made.full);
            }
            (made.iter().map(|m| m.full_item.unwrap()).collect::<Vec<_>>(), counts)
        };
        let (mirror, counts) = items(&paired, FullSource::Mirror);
        assert_eq!((mirror[0], mirror[1], mirror[3], mirror[4]), (4, 3, 1, 0));
        assert_ne!(mirror[2], 2, "its own mirror image");
        assert_eq!(counts[Count::FullReplaced], 1);
        assert_eq!(items(&paired, FullSource::Neighbour).0, [1, 2, 3, 4, 0]);

        // Images 0 and 1 look alike; 2 is the same image as 0.
        let mut features = paired.batch.features.to_vec();
        features[5..10].copy_from_slice(&[1.0, 0.0, 0.0, 0.0, 0.0]);
        paired.batch.features = features.into();
        let mut own = paired.batch.items.to_vec();
        own[2].image = 0;
        paired.batch.items = own.into();
        let reader = reader();
        let reading = reader.read(&paired, None).unwrap();
        for seed in 0..50 {
            let rng = &mut Draw::new(seed, "full").rng();
            let counts = &mut Counts::default();
            let chosen = writer(FullSource::Other, 0.5).full_item(&reading, 0, rng, counts).unwrap();
            assert!([3, 4].contains(&chosen), "{chosen}");
            assert_eq!(counts[Count::FullAboveBound], 0);
            let least = writer(FullSource::Other, -1.0).full_item(&reading, 0, rng, counts);
            assert_eq!(least.map(|j| j > 2), Some(true));
            assert_eq!(counts[Count::FullAboveBound], 1);
        }
    }

    #[test]
    fn the_same_draws_give_the_same_texts_and_others_do_not() {
        let (paired, writer, warm) = (random_batch(1, 1), writer(FullSource::Other, 0.5), reader());
        let first = negations(&writer, &paired);
        let warm_negations = |draw: &dyn Fn(usize) -> Draw| {
            let mut counts = Counts::default();
            (writer.negations(&warm.read(&paired, None).unwrap(), draw, &mut counts), counts)
        };
        warm_negations(&draw);
        assert_eq!(first, warm_negations(&draw), "a warm cache changes nothing");
        assert_ne!(first.0, warm_negations(&|i| draw(i).number(2)).0);
    }
}
