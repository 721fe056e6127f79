//! Captions that deny, made while training runs (TNG-CLIP, arXiv 2505.18434,
//! section 3): an object of a similar image that this image does not have, and
//! templates around it and around another image's caption.

use std::sync::Arc;

use pipeline_engine::StageError;
use pipeline_engine::rng::Draw;
use rand::Rng;
use items::{NO_NEIGHBOUR, Paired};

use crate::cache::Analyser;
use crate::sight::{Seen, Sight};
use crate::tagger::{Analysis, Noun};
use crate::templates::{Filling, Says, Template, Twin, alone, bare};
use crate::usage::is_no_object;
use crate::wordnet::{Relation, kind};

/// What keeps a noun of another caption from being the object.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Least number of WordNet edges to every noun of the caption; `None`: any.
    pub min_distance: Option<u32>,
    /// Nouns of all captions of the image count as present, not only of T_i.
    pub known_captions: bool,
    /// What words imply counts as present, as a surfboard for "surfer".
    pub implied: bool,
    /// Two nouns for people may mean the same person, so that none is denied
    /// beside another.
    pub people: bool,
}

/// Whose caption the full negation denies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum FullSource {
    /// A random item whose image has a cosine below the bound.
    Other {
        /// The bound.
        below: f32,
    },
    /// The nearest neighbour.
    Neighbour,
    /// Item B-1-i.
    Mirror,
}

/// Where an object was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The neighbour of this rank, the nearest being 0.
    Neighbour(usize),
    /// Any other caption of the batch.
    Batch,
}

/// An object and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The noun, as written there.
    pub noun: Noun,
    /// Position in the batch of the item whose caption has it.
    pub item: usize,
    /// How that item was reached.
    pub origin: Origin,
}

/// Two texts for one image, and where they come from.
#[derive(Clone, Debug, PartialEq)]
pub struct Negations {
    /// "A and no B"; the caption alone if no object is left.
    pub compositional: String,
    /// "No A", A being the caption of `full_item`; the caption alone if the
    /// batch has no other image.
    pub full: String,
    /// The object; `None`: it fell through.
    pub object: Option<Object>,
    /// Which compositional template.
    pub compositional_template: usize,
    /// Whose caption is denied.
    pub full_item: Option<usize>,
    /// Which full template.
    pub full_template: usize,
}

/// A true and a false text that differ in what they negate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// True of the image.
    pub truth: String,
    /// False of it.
    pub lie: String,
    /// The thing in the image that they speak of, as "a dog"; empty if none.
    pub present: String,
    /// The thing not in the image that they speak of; empty if none.
    pub absent: String,
    /// Which template; `None`: it fell through, both are the caption.
    pub template: Option<usize>,
}

/// What became of a batch, or of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Images.
    pub items: u64,
    /// Objects from the nearest neighbour.
    pub first_neighbour: u64,
    /// Objects from a later neighbour.
    pub later_neighbour: u64,
    /// Objects from another caption of the batch.
    pub batch: u64,
    /// Images without an object: the caption stands alone.
    pub fell_through: u64,
    /// Full negations of a caption whose image is not below the bound, since none was.
    pub full_above_bound: u64,
    /// Full negations whose source was the image itself (or no neighbour at all);
    /// another item took its place.
    pub full_replaced: u64,
    /// Images alone in their batch: the caption stands alone.
    pub full_fell_through: u64,
    /// Images whose captions name no thing that twins could deny.
    pub nothing_present: u64,
    /// Nouns that were no object, by the first reason found.
    pub rejected: Rejected,
}

/// Nouns that were not taken as an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rejected {
    /// Not a thing that a photo can show and can be without.
    pub not_concrete: u64,
    /// The caption says it.
    pub same_lemma: u64,
    /// The caption says it in another word.
    pub synonym: u64,
    /// It is more general than a noun of the caption.
    pub hypernym: u64,
    /// It is more special than a noun of the caption.
    pub hyponym: u64,
    /// Nearer to a noun of the caption than the distance rule wants, or both are people.
    pub too_near: u64,
    /// Any of these with another known caption of the image.
    pub known_caption: u64,
    /// The image looks like it.
    pub looks_present: u64,
}

impl Counts {
    /// The counts of a report, with their names.
    pub fn named(&self) -> [(&'static str, u64); 8] {
        [
            ("object_from_nearest_neighbour", self.first_neighbour),
            ("object_from_later_neighbour", self.later_neighbour),
            ("object_from_batch", self.batch),
            ("fell_through", self.fell_through + self.full_fell_through),
            ("full_above_bound", self.full_above_bound),
            ("full_replaced", self.full_replaced),
            ("nothing_present", self.nothing_present),
            ("nouns_that_look_present", self.rejected.looks_present),
        ]
    }

    /// Adds what `other` counted.
    pub fn add(&mut self, other: &Self) {
        self.items += other.items;
        self.first_neighbour += other.first_neighbour;
        self.later_neighbour += other.later_neighbour;
        self.batch += other.batch;
        self.fell_through += other.fell_through;
        self.full_above_bound += other.full_above_bound;
        self.full_replaced += other.full_replaced;
        self.full_fell_through += other.full_fell_through;
        self.nothing_present += other.nothing_present;
        self.rejected.not_concrete += other.rejected.not_concrete;
        self.rejected.same_lemma += other.rejected.same_lemma;
        self.rejected.synonym += other.rejected.synonym;
        self.rejected.hypernym += other.rejected.hypernym;
        self.rejected.hyponym += other.rejected.hyponym;
        self.rejected.too_near += other.rejected.too_near;
        self.rejected.known_caption += other.rejected.known_caption;
        self.rejected.looks_present += other.rejected.looks_present;
    }

    fn reject(&mut self, why: Rejection) {
        let rejected = &mut self.rejected;
        *match why {
            Rejection::NotConcrete => &mut rejected.not_concrete,
            Rejection::SameLemma => &mut rejected.same_lemma,
            Rejection::Synonym => &mut rejected.synonym,
            Rejection::Hypernym => &mut rejected.hypernym,
            Rejection::Hyponym => &mut rejected.hyponym,
            Rejection::TooNear => &mut rejected.too_near,
            Rejection::KnownCaption => &mut rejected.known_caption,
            Rejection::LooksPresent => &mut rejected.looks_present,
        } += 1;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rejection {
    NotConcrete,
    SameLemma,
    Synonym,
    Hypernym,
    Hyponym,
    TooNear,
    KnownCaption,
    LooksPresent,
}

/// Makes the texts of a batch.
///
/// The same draws give the same texts: an item's depend on the batch and on
/// `draw(i)` alone.
#[derive(Debug)]
pub struct Generator {
    analyser: Analyser,
    rule: Rule,
}

/// A batch, and what its images look like if the visual guard is on.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The batch.
    pub paired: &'a Paired,
    /// From [`Generator::look`].
    pub seen: Option<&'a Seen>,
}

impl<'a> From<&'a Paired> for View<'a> {
    fn from(paired: &'a Paired) -> Self {
        Self { paired, seen: None }
    }
}

/// True and false twins, and how they are drawn.
#[derive(Clone, Copy, Debug)]
pub struct TwinSettings {
    /// Pairs an image.
    pub pairs: usize,
    /// Whether an image's pairs go round what their true texts do, see [`Says`].
    pub balanced: bool,
}

/// A batch and what is known of the captions drawn.
struct Read<'a> {
    paired: &'a Paired,
    seen: Option<&'a Seen>,
    /// T_i of each item.
    drawn: Vec<Arc<Analysis>>,
}

impl Generator {
    /// A generator with this rule.
    pub fn new(analyser: Analyser, rule: Rule) -> Self {
        Self { analyser, rule }
    }

    fn read<'a>(&self, View { paired, seen }: View<'a>) -> Read<'a> {
        Read { paired, seen, drawn: self.drawn(paired) }
    }

    fn drawn(&self, paired: &Paired) -> Vec<Arc<Analysis>> {
        paired.batch.items.iter().map(|item| self.analyser.analyse(item.caption())).collect()
    }

    /// What the images of a batch look like, among the things that its drawn captions name: the
    /// share `most` of them that an image looks most like is not denied of it.
    ///
    /// # Errors
    /// As [`Sight::look`].
    pub fn look(&self, sight: &Sight, paired: &Paired, most: f64) -> Result<Seen, StageError> {
        let drawn = self.drawn(paired);
        sight.look(paired, drawn.iter().flat_map(|caption| things(caption)), most)
    }

    /// A compositional and a full negation for each of the B images.
    ///
    /// `draw(i)` is the address of item i's random numbers. `compositional` and
    /// `full` must not be empty.
    pub fn negations<'a>(
        &self,
        view: impl Into<View<'a>>,
        compositional: &[Template],
        full: &[Template],
        source: FullSource,
        draw: impl Fn(usize) -> Draw,
        counts: &mut Counts,
    ) -> Vec<Negations> {
        let read = self.read(view.into());
        let paired = read.paired;
        let items = &paired.batch.items;
        (0..items.len())
            .map(|i| {
                counts.items += 1;
                let caption = items[i].caption();
                let rng = &mut draw(i).text("object").rng();
                let known = if self.rule.known_captions { self.known(paired, i) } else { Vec::new() };
                let object = self.object(&read, i, &known, rng, counts);
                let compositional_template = below(rng, compositional.len());
                let full_item = full_item(paired, i, source, rng, counts);
                let full_template = below(rng, full.len());
                let filling = |caption, absent| Filling { caption, absent, present: None, other: None };
                Negations {
                    compositional: object.as_ref().map_or_else(
                        || bare(caption).to_owned(),
                        |object| compositional[compositional_template].fill(filling(caption, Some(&object.noun))),
                    ),
                    full: full_item.map_or_else(
                        || bare(caption).to_owned(),
                        |j| full[full_template].fill(filling(items[j].caption(), None)),
                    ),
                    object,
                    compositional_template,
                    full_item,
                    full_template,
                }
            })
            .collect()
    }

    /// `pairs` true and false twins for each of the B images, B x `pairs` in all,
    /// with templates that differ within an image while there are enough.
    pub fn twins<'a>(
        &self,
        view: impl Into<View<'a>>,
        twins: &[Twin],
        pairs: usize,
        draw: impl Fn(usize) -> Draw,
        counts: &mut Counts,
    ) -> Vec<Pair> {
        self.twins_as(view, twins, TwinSettings { pairs, balanced: false }, draw, counts)
    }

    /// As [`Self::twins`], drawn as `settings` say.
    pub fn twins_as<'a>(
        &self,
        view: impl Into<View<'a>>,
        twins: &[Twin],
        TwinSettings { pairs, balanced }: TwinSettings,
        draw: impl Fn(usize) -> Draw,
        counts: &mut Counts,
    ) -> Vec<Pair> {
        let read = self.read(view.into());
        let paired = read.paired;
        let items = &paired.batch.items;
        let mut made = Vec::with_capacity(items.len() * pairs);
        for (i, item) in items.iter().enumerate() {
            counts.items += 1;
            let rng = &mut draw(i).text("twins").rng();
            let caption = item.caption();
            // Here other captions always count: one of their things may be the other half.
            let known = self.known(paired, i);
            let object = self.object(&read, i, &known, rng, counts);
            let own = things(&read.drawn[i]).collect::<Vec<_>>();
            let beyond = known.iter().flat_map(|c| things(c)).filter(|n| !read.drawn[i].says(&n.lemma, false));
            let beyond = beyond.collect::<Vec<_>>();
            counts.nothing_present += u64::from(own.is_empty() && beyond.is_empty());
            let mut order: Vec<usize> = (0..twins.len()).collect();
            let turn = if balanced { below(rng, Says::ALL.len()) } else { 0 };
            for n in 0..pairs {
                let slot = n % order.len();
                let wanted = Says::ALL[(turn + n) % Says::ALL.len()];
                let fit = |at: &usize| !balanced || twins[order[*at]].says() == wanted;
                let left: Vec<usize> = (slot..order.len()).filter(fit).collect();
                // A user's own templates may all do the same.
                let chosen = match left.len() {
                    0 => slot + below(rng, order.len() - slot),
                    fitting => left[below(rng, fitting)],
                };
                order.swap(slot, chosen);
                // "A dog runs, with a dog" says a thing twice: rather take one that
                // only another caption of the image has.
                let adds = twins[order[slot]].adds_present();
                let things = if adds && !beyond.is_empty() || own.is_empty() { &beyond } else { &own };
                let present = (!things.is_empty()).then(|| things[below(rng, things.len())]);
                let others = own.iter().chain(&beyond).filter(|n| present.is_some_and(|p| p.lemma != n.lemma));
                let others: Vec<&&Noun> = others.collect();
                let other = (!others.is_empty()).then(|| *others[below(rng, others.len())]);
                if other.is_none() && twins[order[slot]].speaks_of_other() {
                    // The next one that one thing is enough for.
                    let enough = |at: &usize| !twins[order[*at]].speaks_of_other();
                    let alike = |at: &usize| !balanced || twins[order[*at]].says() == wanted;
                    let mut left = slot..order.len();
                    if let Some(found) = left.clone().find(|at| enough(at) && alike(at)).or_else(|| left.find(enough)) {
                        order.swap(slot, found);
                    }
                }
                let twin = &twins[order[slot]];
                made.push(match (&object, present) {
                    (Some(Object { noun: object, .. }), Some(present))
                        if other.is_some() || !twin.speaks_of_other() =>
                    {
                        let filling = Filling { caption, absent: Some(object), present: Some(present), other };
                        // Of two things in the image, it is the other one that the twins turn.
                        let turned = other.filter(|_| twin.speaks_of_other()).unwrap_or(present);
                        Pair {
                            truth: twin.truth.fill(filling),
                            lie: twin.lie.fill(filling),
                            present: if twin.speaks_of_present() { alone(turned) } else { String::new() },
                            absent: if twin.speaks_of_absent() { alone(object) } else { String::new() },
                            template: Some(order[slot]),
                        }
                    }
                    _ => Pair { truth: bare(caption).to_owned(), lie: bare(caption).to_owned(), ..Pair::default() },
                });
            }
        }
        made
    }

    /// The other captions of item i's image.
    fn known(&self, paired: &Paired, i: usize) -> Vec<Arc<Analysis>> {
        let item = &paired.batch.items[i];
        let others = item.captions.iter().enumerate().filter(|(n, _)| *n != item.drawn);
        others.map(|(_, caption)| self.analyser.analyse(caption)).collect()
    }

    /// The negation object of item i (TNG-CLIP, section 3.1).
    fn object<R: Rng>(
        &self,
        read: &Read<'_>,
        i: usize,
        known: &[Arc<Analysis>],
        rng: &mut R,
        counts: &mut Counts,
    ) -> Option<Object> {
        let near: Vec<usize> = neighbours(read.paired, i).collect();
        let from = |j: usize, origin, rng: &mut R, counts: &mut Counts| {
            let mut fit: Vec<&Noun> = Vec::new();
            for noun in &read.drawn[j].nouns {
                let unseen = || !read.seen.is_some_and(|seen| seen.looks_like(i, noun));
                let admitted = self.admit(noun, &read.drawn[i], known);
                match admitted.and_then(|()| unseen().then_some(()).ok_or(Rejection::LooksPresent)) {
                    Ok(()) if fit.iter().all(|n| n.lemma != noun.lemma) => fit.push(noun),
                    Ok(()) => {}
                    Err(why) => counts.reject(why),
                }
            }
            (!fit.is_empty()).then(|| Object { noun: fit[below(rng, fit.len())].clone(), item: j, origin })
        };
        for (rank, &j) in near.iter().enumerate() {
            if let Some(object) = from(j, Origin::Neighbour(rank), rng, counts) {
                *if rank == 0 { &mut counts.first_neighbour } else { &mut counts.later_neighbour } += 1;
                return Some(object);
            }
        }
        for j in others(read.paired, i, rng).filter(|j| !near.contains(j)) {
            if let Some(object) = from(j, Origin::Batch, rng, counts) {
                counts.batch += 1;
                return Some(object);
            }
        }
        counts.fell_through += 1;
        None
    }

    /// Whether the noun may be denied of an image with these captions.
    fn admit(&self, noun: &Noun, own: &Analysis, known: &[Arc<Analysis>]) -> Result<(), Rejection> {
        if !is_thing(noun) {
            return Err(Rejection::NotConcrete);
        }
        self.absent(noun, own)?;
        known.iter().try_for_each(|caption| self.absent(noun, caption).map_err(|_| Rejection::KnownCaption))
    }

    /// Whether a caption leaves the noun unsaid.
    fn absent(&self, noun: &Noun, caption: &Analysis) -> Result<(), Rejection> {
        let said = |lemma: &str| caption.says(lemma, self.rule.implied);
        if said(&noun.lemma) || said(&noun.text) {
            return Err(Rejection::SameLemma);
        }
        let Some(concept) = &noun.concept else { return Err(Rejection::NotConcrete) };
        for (other, certain) in caption.concepts(self.rule.implied) {
            match concept.relation(other) {
                Relation::Synonym => return Err(Rejection::Synonym),
                Relation::Hypernym => return Err(Rejection::Hypernym),
                Relation::Hyponym => return Err(Rejection::Hyponym),
                Relation::Apart(edges) => {
                    let near = self.rule.min_distance.is_some_and(|least| edges < least);
                    let people = self.rule.people && concept.kind == kind::PERSON && other.kind == kind::PERSON;
                    if certain && near || people {
                        return Err(Rejection::TooNear);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether the noun is a thing that a photo can show and can be without.
fn is_thing(noun: &Noun) -> bool {
    noun.concept.as_ref().is_some_and(|c| c.concrete) && !is_no_object(&noun.lemma)
}

/// The nouns of a caption that are things.
fn things(caption: &Analysis) -> impl Iterator<Item = &Noun> {
    caption.nouns.iter().filter(|noun| is_thing(noun))
}

/// The neighbours of item i of other images, nearest first.
fn neighbours(paired: &Paired, i: usize) -> impl Iterator<Item = usize> {
    let items = &paired.batch.items;
    let row = paired.neighbours[i * paired.k..(i + 1) * paired.k].iter();
    row.filter(|j| **j != NO_NEIGHBOUR).map(|j| *j as usize).filter(move |j| items[*j].image != items[i].image)
}

/// The items of other images, from a random one on.
fn others<'a>(paired: &'a Paired, i: usize, rng: &mut impl Rng) -> impl Iterator<Item = usize> + 'a {
    let items = &paired.batch.items;
    let start = below(rng, items.len());
    (0..items.len()).map(move |n| (start + n) % items.len()).filter(move |&j| items[j].image != items[i].image)
}

/// Whose caption the full negation of item i denies; never one of its own image.
fn full_item(paired: &Paired, i: usize, source: FullSource, rng: &mut impl Rng, counts: &mut Counts) -> Option<usize> {
    let items = &paired.batch.items;
    let cosine = |j: usize| {
        let row = |n: usize| &paired.batch.features[n * paired.batch.dim..(n + 1) * paired.batch.dim];
        row(i).iter().zip(row(j)).map(|(a, b)| a * b).sum::<f32>()
    };
    let wanted = match source {
        FullSource::Mirror => Some(items.len() - 1 - i),
        FullSource::Neighbour => neighbours(paired, i).next(),
        FullSource::Other { below: bound } => {
            let mut least: Option<(f32, usize)> = None;
            for j in shuffled_others(paired, i, rng) {
                let cosine = cosine(j);
                if cosine < bound {
                    return Some(j);
                }
                if least.is_none_or(|(c, _)| cosine < c) {
                    least = Some((cosine, j));
                }
            }
            counts.full_above_bound += u64::from(least.is_some());
            counts.full_fell_through += u64::from(least.is_none());
            return least.map(|(_, j)| j);
        }
    };
    if let Some(j) = wanted.filter(|j| items[*j].image != items[i].image) {
        return Some(j);
    }
    let replacement = others(paired, i, rng).next();
    counts.full_replaced += u64::from(replacement.is_some());
    counts.full_fell_through += u64::from(replacement.is_none());
    replacement
}

/// The items of other images in random order, shuffled as far as they are asked for.
fn shuffled_others<'a, R: Rng>(paired: &'a Paired, i: usize, rng: &'a mut R) -> impl Iterator<Item = usize> + 'a {
    let items = &paired.batch.items;
    let mut order: Vec<usize> = (0..items.len()).filter(|j| items[*j].image != items[i].image).collect();
    (0..order.len()).map(move |n| {
        let chosen = n + below(rng, order.len() - n);
        order.swap(n, chosen);
        order[n]
    })
}

/// A uniform draw from `0..n`, `n` not 0. A multiplication in place of a
/// division: the bias is below n / 2^64.
fn below(rng: &mut impl Rng, n: usize) -> usize {
    ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::templates::{Source, compositional, full, twins};
    use crate::wordnet::WordNet;
    use items::{Batch, BatchItem};

    const RULE: Rule = Rule { min_distance: Some(4), known_captions: true, implied: true, people: true };

    fn generator(rule: Rule) -> Generator {
        Generator::new(Analyser::new(WordNet::embedded().unwrap(), 1000), rule)
    }

    /// A batch of images with these captions (the first is drawn), whose
    /// neighbours are the next `k` and whose features are all at right angles.
    fn batch(images: &[&[&str]], k: usize) -> Paired {
        let items: Vec<BatchItem> = images
            .iter()
            .enumerate()
            .map(|(i, captions)| BatchItem {
                key: i.to_string().into(),
                shard: "a.tar".into(),
                captions: captions.iter().map(|c| (*c).to_owned()).collect(),
                drawn: 0,
                image: i as u32,
            })
            .collect();
        let n = items.len();
        let mut features = vec![0.0; n * n];
        (0..n).for_each(|i| features[i * n + i] = 1.0);
        let neighbour = |i: usize, rank: usize| if rank + 1 < n { ((i + rank + 1) % n) as u32 } else { NO_NEIGHBOUR };
        Paired {
            neighbours: (0..n).flat_map(|i| (0..k).map(move |rank| neighbour(i, rank))).collect(),
            cosines: vec![0.0; n * k],
            k,
            batch: Batch { epoch: 1, step: 0, items: items.into(), dim: n, features: features.into() },
        }
    }

    fn draw(i: usize) -> Draw {
        Draw::new(7, "test").number(i as u64)
    }

    fn negations(generator: &Generator, paired: &Paired, source: FullSource) -> (Vec<Negations>, Counts) {
        let (one, two) = (compositional(Source::default()).unwrap(), full(Source::default()).unwrap());
        let mut counts = Counts::default();
        let made = generator.negations(paired, &one, &two, source, draw, &mut counts);
        (made, counts)
    }

    /// The object of the first image, if its neighbour has one.
    fn object(rule: Rule, captions: &[&str], neighbour: &str) -> Result<String, Rejected> {
        let (made, counts) = negations(&generator(rule), &batch(&[captions, &[neighbour]], 1), FullSource::Mirror);
        made[0].object.as_ref().map(|o| o.noun.text.clone()).ok_or(counts.rejected)
    }

    #[test]
    fn the_object_is_a_thing_of_the_neighbour_that_the_image_lacks() {
        assert_eq!(object(RULE, &["A dog sleeps"], "The dog chews on a slipper"), Ok("slipper".into()));
        assert_eq!(object(RULE, &["A cook stirs soup"], "Somebody left two umbrellas"), Ok("umbrellas".into()));
        assert_eq!(object(RULE, &["A tram in the rain"], "A polar bear in front"), Ok("polar bear".into()));
    }

    #[test]
    fn each_reason_is_counted() {
        let rejected = |captions: &[&str], neighbour| {
            let paired = batch(&[captions, &[neighbour]], 1);
            let mut counts = Counts::default();
            let generator = generator(RULE);
            let read = generator.read((&paired).into());
            let known = generator.known(&paired, 0);
            assert_eq!(generator.object(&read, 0, &known, &mut draw(0).rng(), &mut counts), None);
            assert_eq!(counts.fell_through, 1);
            counts.rejected
        };
        let none = Rejected::default();
        assert_eq!(rejected(&["A tent"], "On the front side"), Rejected { not_concrete: 1, ..none });
        assert_eq!(rejected(&["Some tents"], "This is my tent"), Rejected { same_lemma: 1, ..none });
        assert_eq!(rejected(&["A grey sofa"], "A red couch"), Rejected { synonym: 1, ..none });
        assert_eq!(rejected(&["A poodle"], "An animal"), Rejected { hypernym: 1, ..none });
        assert_eq!(rejected(&["An animal"], "A poodle"), Rejected { hyponym: 1, ..none });
        assert_eq!(rejected(&["A fork"], "A spoon"), Rejected { too_near: 1, ..none });
        assert_eq!(rejected(&["A plumber at work"], "A skier"), Rejected { too_near: 1, ..none });
        assert_eq!(rejected(&["A room", "A lamp in a room"], "A lamp"), Rejected { known_caption: 1, ..none });
        assert_eq!(rejected(&["A surfer"], "Her surfboard"), Rejected { same_lemma: 1, ..none });
    }

    #[test]
    fn every_rule_can_be_left_out() {
        let near = Rule { min_distance: None, ..RULE };
        assert_eq!(object(near, &["A fork"], "A spoon"), Ok("spoon".into()));
        let people = Rule { people: false, min_distance: None, ..RULE };
        assert_eq!(object(people, &["A plumber"], "A skier"), Ok("skier".into()));
        let known = Rule { known_captions: false, ..RULE };
        assert_eq!(object(known, &["A room", "A lamp in a room"], "A lamp"), Ok("lamp".into()));
        let implied = Rule { implied: false, ..RULE };
        assert_eq!(object(implied, &["A surfer"], "Her surfboard"), Ok("surfboard".into()));
    }

    #[test]
    fn later_neighbours_and_the_batch_come_next() {
        let images: &[&[&str]] = &[&["A dog runs"], &["The dog jumps"], &["A dog with a drum"], &["A dog and a kite"]];
        let source = FullSource::Other { below: 0.5 };
        let (made, counts) = negations(&generator(RULE), &batch(images, 2), source);
        let found = made[0].object.as_ref().unwrap();
        assert_eq!((found.noun.text.as_str(), found.item, found.origin), ("drum", 2, Origin::Neighbour(1)));
        assert_eq!(made[1].object.as_ref().unwrap().origin, Origin::Neighbour(0));
        // The only neighbour of the first has nothing: the rest of the batch is asked.
        let (made, one) = negations(&generator(RULE), &batch(images, 1), source);
        assert_eq!(made[0].object.as_ref().unwrap().origin, Origin::Batch);
        assert_eq!((counts.first_neighbour, counts.later_neighbour, counts.batch, counts.fell_through), (2, 1, 1, 0));
        assert_eq!(one.first_neighbour + one.batch, 4);
    }

    #[test]
    fn without_an_object_the_caption_stands_alone() {
        let (made, counts) =
            negations(&generator(RULE), &batch(&[&["A dog runs."], &["Two dogs."]], 1), FullSource::Mirror);
        assert_eq!(made[0].compositional, "A dog runs");
        assert_eq!((counts.fell_through, counts.items), (2, 2));
        let (alone, counts) = negations(&generator(RULE), &batch(&[&["A dog"]], 1), FullSource::Mirror);
        assert_eq!((alone[0].full.as_str(), alone[0].full_item, counts.full_fell_through), ("A dog", None, 1));
    }

    #[test]
    fn the_full_negation_denies_another_image() {
        let images: &[&[&str]] = &[&["A dog"], &["A tram"], &["A kite"], &["A lamp"], &["A drum"]];
        let mut paired = batch(images, 1);
        let items = |paired: &Paired, source| {
            let (made, counts) = negations(&generator(RULE), paired, source);
            for made in &made {
                let denied = &paired.batch.items[made.full_item.unwrap()];
                assert!(made.full.to_lowercase().contains(&denied.caption().to_lowercase()), "{}", made.full);
            }
            (made.iter().map(|m| m.full_item.unwrap()).collect::<Vec<_>>(), counts)
        };
        let (mirror, counts) = items(&paired, FullSource::Mirror);
        assert_eq!((mirror[0], mirror[1], mirror[3], mirror[4]), (4, 3, 1, 0));
        assert_ne!(mirror[2], 2, "its own mirror image");
        assert_eq!(counts.full_replaced, 1);
        assert_eq!(items(&paired, FullSource::Neighbour).0, [1, 2, 3, 4, 0]);

        // Images 0 and 1 look alike; 2 is the same image as 0.
        let mut features = paired.batch.features.to_vec();
        features[5..10].copy_from_slice(&[1.0, 0.0, 0.0, 0.0, 0.0]);
        paired.batch.features = features.into();
        let mut own = paired.batch.items.to_vec();
        own[2].image = 0;
        paired.batch.items = own.into();
        for seed in 0..50 {
            let rng = &mut Draw::new(seed, "full").rng();
            let counts = &mut Counts::default();
            let chosen = full_item(&paired, 0, FullSource::Other { below: 0.5 }, rng, counts).unwrap();
            assert!([3, 4].contains(&chosen), "{chosen}");
            assert_eq!(counts.full_above_bound, 0);
            assert_eq!(
                full_item(&paired, 0, FullSource::Other { below: -1.0 }, rng, counts).map(|j| j > 2),
                Some(true)
            );
            assert_eq!(counts.full_above_bound, 1);
        }
    }

    /// Captions of a small grammar: what the guards must hold for.
    fn random_images(seed: u64) -> Vec<Vec<String>> {
        const THINGS: [&str; 24] = [
            "dog", "cat", "bench", "kite", "drum", "tram", "lamp", "tree", "horse", "ladder", "bucket", "melon",
            "piano", "tent", "bridge", "candle", "apple", "canoe", "sofa", "couch", "animal", "puppy", "tiger",
            "spoon",
        ];
        const LINKS: [&str; 5] = ["beside", "with", "under", "and", "near"];
        let rng = &mut Draw::new(seed, "images").rng();
        let noun = |rng: &mut _| match below(rng, 3) {
            0 => format!("two {}", plural(THINGS[below(rng, 24)])),
            1 => format!("the {}", THINGS[below(rng, 24)]),
            _ => format!("one small {}", THINGS[below(rng, 24)]),
        };
        (0..12)
            .map(|_| (0..3).map(|_| format!("{} {} {}", noun(rng), LINKS[below(rng, 5)], noun(rng))).collect())
            .collect()
    }

    fn plural(noun: &str) -> String {
        if noun.ends_with("ch") { format!("{noun}es") } else { format!("{noun}s") }
    }

    #[test]
    fn no_object_is_invented_and_none_is_in_a_known_caption() {
        let generator = generator(RULE);
        let mut objects = 0;
        for seed in 0..60 {
            let images = random_images(seed);
            let images: Vec<Vec<&str>> = images.iter().map(|i| i.iter().map(String::as_str).collect()).collect();
            let images: Vec<&[&str]> = images.iter().map(Vec::as_slice).collect();
            let paired = batch(&images, 2);
            let (made, counts) = negations(&generator, &paired, FullSource::Other { below: 0.5 });
            for (i, made) in made.iter().enumerate() {
                let Some(object) = &made.object else { continue };
                objects += 1;
                let has = |caption: &str, word: &str| caption.split(' ').any(|w| w == word);
                assert!(has(images[object.item][0], &object.noun.text), "invented: {object:?}");
                for known in images[i] {
                    let (one, many) = (object.noun.lemma.as_str(), plural(&object.noun.lemma));
                    assert!(!has(known, one) && !has(known, &many), "{known}: {}", made.compositional);
                }
                assert!(made.compositional.contains(&object.noun.text));
            }
            let found = counts.first_neighbour + counts.later_neighbour + counts.batch;
            assert_eq!(found + counts.fell_through, counts.items);
        }
        assert!(objects > 500, "{objects}");
    }

    #[test]
    fn the_same_draws_give_the_same_texts_and_others_do_not() {
        let images = random_images(1);
        let images: Vec<Vec<&str>> = images.iter().map(|i| i.iter().map(String::as_str).collect()).collect();
        let images: Vec<&[&str]> = images.iter().map(Vec::as_slice).collect();
        let paired = batch(&images, 1);
        let source = FullSource::Other { below: 0.5 };
        let first = negations(&generator(RULE), &paired, source);
        let warm = generator(RULE);
        negations(&warm, &paired, source);
        assert_eq!(first, negations(&warm, &paired, source), "a warm cache changes nothing");
        let (one, two) = (compositional(Source::default()).unwrap(), full(Source::default()).unwrap());
        let mut counts = Counts::default();
        let other = |i: usize| draw(i).number(2);
        assert_ne!(first.0, warm.negations(&paired, &one, &two, source, other, &mut counts));
    }

    #[test]
    fn balanced_twins_go_round_what_they_say() {
        let images: &[&[&str]] = &[&["A boy runs", "A boy with a hat runs by a canoe"], &["A tram by two lamps"]];
        let templates = twins(Source::default()).unwrap();
        let says = |balanced: bool, pairs: usize, images: &[&[&str]]| {
            let settings = TwinSettings { pairs, balanced };
            let batch = batch(images, 1);
            let made = generator(RULE).twins_as(&batch, &templates, settings, draw, &mut Counts::default());
            made.iter().map(|pair| templates[pair.template.unwrap()].says()).collect::<Vec<_>>()
        };
        for of_image in says(true, 3, images).chunks(3) {
            assert!(Says::ALL.iter().all(|says| of_image.contains(says)), "{of_image:?}");
        }
        // Also where nothing fills {other}.
        for of_image in says(true, 6, &[&["A boy runs"], &["A tram"]]).chunks(6) {
            assert!(Says::ALL.iter().all(|says| of_image.iter().filter(|s| *s == says).count() == 2), "{of_image:?}");
        }
        let free = says(false, 24, images);
        assert!(free.chunks(3).any(|three| Says::ALL.iter().any(|says| !three.contains(says))));
        // Round the list of a user that has one kind only.
        let same: Vec<Twin> = templates.iter().filter(|twin| twin.says() == Says::Denies).cloned().collect();
        let settings = TwinSettings { pairs: 3, balanced: true };
        let batch = batch(images, 1);
        let made = generator(RULE).twins_as(&batch, &same, settings, draw, &mut Counts::default());
        assert!(made.len() == 6 && made.iter().all(|pair| pair.template.is_some()));
    }

    #[test]
    fn twins_differ_only_in_what_they_deny() {
        let images: &[&[&str]] = &[&["A boy runs", "A boy with a hat runs by a canoe"], &["A tram by two lamps"]];
        let templates = twins(Source::default()).unwrap();
        let mut counts = Counts::default();
        let made = generator(RULE).twins(&batch(images, 1), &templates, 6, draw, &mut counts);
        assert_eq!(made.len(), 12);
        for (n, pair) in made.iter().enumerate() {
            let absent = |text: &str| text.to_lowercase().split(' ').map(str::to_owned).collect::<Vec<_>>();
            assert_ne!(pair.truth, pair.lie);
            assert!(pair.template.is_some());
            if n < 6 {
                let words = absent(&pair.truth);
                let denied = words.iter().position(|w| w == "no");
                if let Some(at) = denied.filter(|at| *at + 1 < words.len()) {
                    assert!(!["boy", "hat", "canoe"].contains(&words[at + 1].trim_end_matches(',')), "{}", pair.truth);
                }
            }
        }
        let distinct: std::collections::BTreeSet<_> = made[..6].iter().map(|p| p.template).collect();
        assert_eq!(distinct.len(), 6, "templates differ within an image");

        let mut counts = Counts::default();
        let none =
            generator(RULE).twins(&batch(&[&["Nothing much"], &["Nothing"]], 1), &templates, 2, draw, &mut counts);
        assert!(none.iter().all(|pair| pair.truth == pair.lie && pair.template.is_none()));
        assert_eq!((counts.fell_through, counts.nothing_present), (2, 2));
    }
}
