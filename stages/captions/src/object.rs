//! The search for a negation object: a thing of a similar image that this image does not show
//! (TNG-CLIP, arXiv 2505.18434, section 3.1).

use std::sync::Arc;

use pipeline_engine::rng::below;
use rand::Rng;

use crate::counts::{Count, Counts};
use crate::guard::{Apart, Guards};
use crate::reading::Reading;
use crate::tagger::{Analysis, Noun};
use crate::wordnet::Relation;

/// Where an object was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The neighbour of this rank, counted from 0 for the nearest.
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

impl Reading<'_> {
    /// The negation object of item `i`: the first of its neighbours, and then of the other captions of
    /// the batch, that names a thing which passes all guards; a random one of its things. `known` are
    /// the other captions of the image that count. Counts where it was found, and why nouns were
    /// turned down.
    pub fn object<R: Rng>(
        &self,
        i: usize,
        known: &[Arc<Analysis>],
        rng: &mut R,
        counts: &mut Counts,
    ) -> Option<Object> {
        let near: Vec<usize> = self.neighbours(i).collect();
        for (rank, &j) in near.iter().enumerate() {
            if let Some(noun) = self.object_of(j, i, known, rng, counts) {
                counts[if rank == 0 { Count::FromNearest } else { Count::FromLater }] += 1;
                return Some(Object { noun, item: j, origin: Origin::Neighbour(rank) });
            }
        }
        self.object_beyond(&near, i, known, rng, counts)
    }

    /// As [`object`](Self::object), of any other caption of the batch: a thing that is seldom near what
    /// the image shows.
    pub fn object_anywhere<R: Rng>(
        &self,
        i: usize,
        known: &[Arc<Analysis>],
        rng: &mut R,
        counts: &mut Counts,
    ) -> Option<Object> {
        self.object_beyond(&[], i, known, rng, counts)
    }

    /// A negation object of item `i` from the other captions of the batch, without those of `near`.
    fn object_beyond<R: Rng>(
        &self,
        near: &[usize],
        i: usize,
        known: &[Arc<Analysis>],
        rng: &mut R,
        counts: &mut Counts,
    ) -> Option<Object> {
        for j in self.others(i, rng).filter(|j| !near.contains(j)) {
            if let Some(noun) = self.object_of(j, i, known, rng, counts) {
                counts[Count::FromBatch] += 1;
                return Some(Object { noun, item: j, origin: Origin::Batch });
            }
        }
        counts[Count::NoObject] += 1;
        None
    }

    /// A random noun of item `j`'s caption among those that the image of item `i` does not show.
    fn object_of<R: Rng>(
        &self,
        j: usize,
        i: usize,
        known: &[Arc<Analysis>],
        rng: &mut R,
        counts: &mut Counts,
    ) -> Option<Noun> {
        let mut fit: Vec<&Noun> = Vec::new();
        for noun in &self.drawn(j).nouns {
            match self.admit(noun, i, known) {
                Ok(()) if fit.iter().all(|n| n.lemma != noun.lemma) => fit.push(noun),
                Ok(()) => {}
                Err(reason) => counts[reason] += 1,
            }
        }
        (!fit.is_empty()).then(|| fit[below(rng, fit.len())].clone())
    }

    /// Whether a text may say that image `i` does not show the noun; if not, the reason.
    fn admit(&self, noun: &Noun, i: usize, known: &[Arc<Analysis>]) -> Result<(), Count> {
        if !noun.is_thing() {
            return Err(Count::NotConcrete);
        }
        unnamed(self.guards(), noun, self.drawn(i))?;
        for caption in known {
            unnamed(self.guards(), noun, caption).map_err(|_| Count::KnownCaption)?;
        }
        if self.shows(i, noun) { Err(Count::LooksPresent) } else { Ok(()) }
    }
}

/// Whether a caption does not name the noun; if it does, the reason.
fn unnamed(guards: &Guards, noun: &Noun, caption: &Analysis) -> Result<(), Count> {
    let implied = guards.named().implied;
    if caption.says(&noun.lemma, implied) || caption.says(&noun.text, implied) {
        return Err(Count::SameLemma);
    }
    let Some(concept) = &noun.concept else { return Err(Count::NotConcrete) };
    for (named, certain) in caption.concepts(implied) {
        match concept.relation(named) {
            Relation::Synonym => return Err(Count::Synonym),
            Relation::Hypernym => return Err(Count::Hypernym),
            Relation::Hyponym => return Err(Count::Hyponym),
            Relation::Apart(edges) => {
                if guards.too_near(&Apart { noun: concept, named, edges, certain }) {
                    return Err(Count::TooNear);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use items::{NO_NEIGHBOUR, Paired};
    use pipeline_engine::rng::Draw;

    use super::*;
    use crate::guard::{Distance, Guard, Guards, Implied, OtherCaptions, People};
    use crate::reading::Reader;
    use crate::testing::{batch, draw, plural, random_batch, reader, reader_with};
    use crate::wordnet::{Relation, kind};

    /// The object of the first image of a batch, as the writer `tng` asks for it.
    fn first(reader: &Reader, paired: &Paired) -> (Option<Object>, Counts) {
        let mut counts = Counts::default();
        let reading = reader.read(paired, None).unwrap();
        let object = reading.object(0, &reading.known_captions(0), &mut draw(0).rng(), &mut counts);
        (object, counts)
    }

    /// The object of an image with these captions, if its neighbour's caption names one.
    fn object(reader: &Reader, captions: &[&str], neighbour: &str) -> Option<String> {
        first(reader, &batch(&[captions, &[neighbour]], 1)).0.map(|object| object.noun.text)
    }

    #[test]
    fn the_object_is_a_thing_of_the_neighbour_that_the_image_lacks() {
        let reader = reader();
        assert_eq!(object(&reader, &["A dog sleeps"], "The dog chews on a slipper").unwrap(), "slipper");
        assert_eq!(object(&reader, &["A cook stirs soup"], "Somebody left two umbrellas").unwrap(), "umbrellas");
        assert_eq!(object(&reader, &["A tram in the rain"], "A polar bear in front").unwrap(), "polar bear");
    }

    #[test]
    fn each_reason_is_counted() {
        let reader = reader();
        let rejected = |captions: &[&str], neighbour| {
            let (object, counts) = first(&reader, &batch(&[captions, &[neighbour]], 1));
            assert_eq!((object, counts[Count::NoObject]), (None, 1));
            let mut reasons = Count::ALL.into_iter().filter(|c| *c != Count::NoObject && counts[*c] > 0);
            let reason = reasons.next().unwrap();
            assert_eq!((counts[reason], reasons.next()), (1, None), "{counts:?}");
            reason
        };
        assert_eq!(rejected(&["A tent"], "On the front side"), Count::NotConcrete);
        assert_eq!(rejected(&["Some tents"], "This is my tent"), Count::SameLemma);
        assert_eq!(rejected(&["A grey sofa"], "A red couch"), Count::Synonym);
        assert_eq!(rejected(&["A poodle"], "An animal"), Count::Hypernym);
        assert_eq!(rejected(&["An animal"], "A poodle"), Count::Hyponym);
        assert_eq!(rejected(&["A fork"], "A spoon"), Count::TooNear);
        assert_eq!(rejected(&["A plumber at work"], "A skier"), Count::TooNear);
        assert_eq!(rejected(&["A room", "A lamp in a room"], "A lamp"), Count::KnownCaption);
        assert_eq!(rejected(&["A surfer"], "Her surfboard"), Count::SameLemma);
    }

    fn guards(list: Vec<Arc<dyn Guard>>) -> Reader {
        reader_with(Guards::new(list))
    }

    #[test]
    fn every_guard_can_be_omitted() {
        let (captions, implied, people) = (Arc::new(OtherCaptions {}), Arc::new(Implied {}), Arc::new(People {}));
        let distance = Arc::new(Distance { min: 4 });
        let near = guards(vec![captions.clone(), implied.clone(), people.clone()]);
        assert_eq!(object(&near, &["A fork"], "A spoon").unwrap(), "spoon");
        let strangers = guards(vec![captions.clone(), implied.clone()]);
        assert_eq!(object(&strangers, &["A plumber"], "A skier").unwrap(), "skier");
        let one_caption = guards(vec![implied, people.clone(), distance.clone()]);
        assert_eq!(object(&one_caption, &["A room", "A lamp in a room"], "A lamp").unwrap(), "lamp");
        let literal = guards(vec![captions, people, distance]);
        assert_eq!(object(&literal, &["A surfer"], "Her surfboard").unwrap(), "surfboard");
    }

    /// The guards as one struct of flags, as they were before they were parts: what lists of guards
    /// must agree with.
    #[derive(Clone, Copy)]
    struct Rule {
        min_distance: Option<u32>,
        known_captions: bool,
        implied: bool,
        people: bool,
    }

    impl Rule {
        fn guards(self) -> Guards {
            let mut list: Vec<Arc<dyn Guard>> = Vec::new();
            // Not in the order of the defaults: it does not matter.
            if self.people {
                list.push(Arc::new(People {}));
            }
            if let Some(min) = self.min_distance {
                list.push(Arc::new(Distance { min }));
            }
            if self.implied {
                list.push(Arc::new(Implied {}));
            }
            if self.known_captions {
                list.push(Arc::new(OtherCaptions {}));
            }
            Guards::new(list)
        }

        fn admit(&self, noun: &Noun, own: &Analysis, known: &[Arc<Analysis>]) -> Result<(), Count> {
            if !noun.is_thing() {
                return Err(Count::NotConcrete);
            }
            self.absent(noun, own)?;
            let known = if self.known_captions { known } else { &[] };
            known.iter().try_for_each(|caption| self.absent(noun, caption).map_err(|_| Count::KnownCaption))
        }

        fn absent(&self, noun: &Noun, caption: &Analysis) -> Result<(), Count> {
            let said = |lemma: &str| caption.says(lemma, self.implied);
            if said(&noun.lemma) || said(&noun.text) {
                return Err(Count::SameLemma);
            }
            let Some(concept) = &noun.concept else { return Err(Count::NotConcrete) };
            for (other, certain) in caption.concepts(self.implied) {
                match concept.relation(other) {
                    Relation::Synonym => return Err(Count::Synonym),
                    Relation::Hypernym => return Err(Count::Hypernym),
                    Relation::Hyponym => return Err(Count::Hyponym),
                    Relation::Apart(edges) => {
                        let near = self.min_distance.is_some_and(|least| edges < least);
                        let people = self.people && concept.kind == kind::PERSON && other.kind == kind::PERSON;
                        if certain && near || people {
                            return Err(Count::TooNear);
                        }
                    }
                }
            }
            Ok(())
        }

        /// The object of item `i` by these flags alone.
        fn object(&self, reading: &Reading<'_>, i: usize, draw: &Draw, counts: &mut Counts) -> Option<(Noun, usize)> {
            let rng = &mut draw.rng();
            let items = &reading.paired().batch.items;
            let near: Vec<usize> = reading.neighbours(i).collect();
            let known = reading.other_captions(i);
            let mut from = |j: usize, rng: &mut _| {
                let mut fit: Vec<&Noun> = Vec::new();
                for noun in &reading.drawn(j).nouns {
                    match self.admit(noun, reading.drawn(i), &known) {
                        Ok(()) if fit.iter().all(|n| n.lemma != noun.lemma) => fit.push(noun),
                        Ok(()) => {}
                        Err(why) => counts[why] += 1,
                    }
                }
                (!fit.is_empty()).then(|| (fit[below(rng, fit.len())].clone(), j))
            };
            if let Some(found) = near.iter().find_map(|j| from(*j, rng)) {
                return Some(found);
            }
            let start = below(rng, items.len());
            let rest = (0..items.len()).map(|n| (start + n) % items.len());
            rest.filter(|j| items[*j].image != items[i].image && !near.contains(j)).find_map(|j| from(j, rng))
        }
    }

    #[test]
    fn lists_of_guards_give_the_objects_and_reasons_of_the_flags_they_replace() {
        let captions: [&[&str]; 12] = [
            &["A surfer rides a wave", "A man on a surfboard"],
            &["A skier jumps over a rock", "A person in the snow"],
            &["Two women talk beside a bench", "Ladies on a seat"],
            &["A plumber with a fork", "A worker holds a spoon in the kitchen"],
            &["A dog chews on a slipper", "A poodle with a shoe"],
            &["An animal under a table", "A cat near a desk"],
            &["A cook stirs soup", "A chef with a pot and a ladle"],
            &["Somebody left two umbrellas", "Umbrellas on the sofa"],
            &["A crowd watches a band", "People at a concert with guitars"],
            &["A boy in the front of a tram", "A child rides a streetcar"],
            &["A red couch in a room", "A lamp beside a sofa"],
            &["A cyclist on a road", "A biker with a helmet"],
        ];
        let (mut objects, mut turned_down) = (0, Counts::default());
        for flags in 0..16u32 {
            for least in [2, 4, 8] {
                let rule = Rule {
                    min_distance: (flags & 1 > 0).then_some(least),
                    known_captions: flags & 2 > 0,
                    implied: flags & 4 > 0,
                    people: flags & 8 > 0,
                };
                let reader = reader_with(rule.guards());
                for paired in [batch(&captions, 3), random_batch(u64::from(flags), 2)] {
                    let reading = reader.read(&paired, None).unwrap();
                    for i in 0..paired.batch.items.len() {
                        let (mut ours, mut theirs) = (Counts::default(), Counts::default());
                        let found = reading.object(i, &reading.known_captions(i), &mut draw(i).rng(), &mut ours);
                        let expected = rule.object(&reading, i, &draw(i), &mut theirs);
                        objects += usize::from(found.is_some());
                        assert_eq!(found.map(|found| (found.noun, found.item)), expected);
                        for reason in REASONS {
                            assert_eq!(ours[reason], theirs[reason], "{reason:?}");
                            turned_down[reason] += ours[reason];
                        }
                    }
                }
            }
        }
        assert!(objects > 1000, "{objects}");
        // The comparison is about something: each reason occurs.
        assert!(REASONS.iter().all(|reason| turned_down[*reason] > 0), "{turned_down:?}");
    }

    const REASONS: [Count; 7] = [
        Count::NotConcrete,
        Count::SameLemma,
        Count::Synonym,
        Count::Hypernym,
        Count::Hyponym,
        Count::TooNear,
        Count::KnownCaption,
    ];

    #[test]
    fn later_neighbours_and_the_batch_come_next() {
        let images: &[&[&str]] = &[&["A dog runs"], &["The dog jumps"], &["A dog with a drum"], &["A dog and a kite"]];
        let reader = reader();
        let (found, counts) = first(&reader, &batch(images, 2));
        let found = found.unwrap();
        assert_eq!((found.noun.text.as_str(), found.item, found.origin), ("drum", 2, Origin::Neighbour(1)));
        assert_eq!((counts[Count::FromNearest], counts[Count::FromLater], counts[Count::FromBatch]), (0, 1, 0));
        // The only neighbour of the first has nothing: the rest of the batch is asked.
        let (found, counts) = first(&reader, &batch(images, 1));
        assert_eq!(found.unwrap().origin, Origin::Batch);
        assert_eq!((counts[Count::FromNearest], counts[Count::FromLater], counts[Count::FromBatch]), (0, 0, 1));
        // So it is without any neighbour.
        let mut alone = batch(images, 1);
        alone.neighbours.fill(NO_NEIGHBOUR);
        assert_eq!(first(&reader, &alone).0.unwrap().origin, Origin::Batch);
    }

    #[test]
    fn no_object_is_invented_and_none_is_in_a_known_caption() {
        let reader = reader();
        let mut objects = 0;
        for seed in 0..60 {
            let paired = random_batch(seed, 2);
            let reading = reader.read(&paired, None).unwrap();
            let has = |caption: &str, word: &str| caption.split(' ').any(|w| w == word);
            let mut counts = Counts::default();
            for i in 0..paired.batch.items.len() {
                let known = reading.known_captions(i);
                let Some(object) = reading.object(i, &known, &mut draw(i).rng(), &mut counts) else { continue };
                objects += 1;
                assert!(has(reading.caption(object.item), &object.noun.text), "invented: {object:?}");
                for caption in paired.batch.items[i].captions.iter() {
                    let (one, many) = (object.noun.lemma.as_str(), plural(&object.noun.lemma));
                    assert!(!has(caption, one) && !has(caption, &many), "{caption}: {object:?}");
                }
            }
            let found = counts[Count::FromNearest] + counts[Count::FromLater] + counts[Count::FromBatch];
            assert_eq!(found + counts[Count::NoObject], 12);
        }
        assert!(objects > 500, "{objects}");
    }
}
