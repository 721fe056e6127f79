//! What writers count: where objects came from, and why nouns were turned down.

use std::fmt;
use std::ops::{Index, IndexMut};

use items::metric;

/// Something that is counted. A noun that is turned down counts once, for the first reason found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Images.
    Images,
    /// Objects from the nearest neighbour.
    FromNearest,
    /// Objects from a later neighbour.
    FromLater,
    /// Objects from another caption of the batch.
    FromBatch,
    /// Texts without an object, or without a template that fits: the caption replaces them.
    NoObject,
    /// Full negations of a caption whose image is not below the bound, since none is.
    FullAboveBound,
    /// Full negations whose source was the image itself, or a neighbour that does not exist; another
    /// item replaces it.
    FullReplaced,
    /// Images alone in their batch: the caption replaces the full negation.
    NoFull,
    /// Images whose captions name no thing that twins could be about.
    NothingPresent,
    /// Captions so long that their denial was put in front.
    DeniedInFront,
    /// Nouns turned down: not a thing that a photo can show and that can be missing from it.
    NotConcrete,
    /// Nouns turned down: the caption says the word.
    SameLemma,
    /// Nouns turned down: the caption says it with another word.
    Synonym,
    /// Nouns turned down: more general than a noun of the caption.
    Hypernym,
    /// Nouns turned down: more special than a noun of the caption.
    Hyponym,
    /// Nouns turned down: a guard finds it too near to a noun of the caption.
    TooNear,
    /// Nouns turned down: any of these reasons, for another caption of the image.
    KnownCaption,
    /// Nouns turned down: a guard finds that the image probably shows it.
    LooksPresent,
}

impl Count {
    /// All of them, in the order of the definition.
    pub const ALL: [Self; 18] = [
        Self::Images,
        Self::FromNearest,
        Self::FromLater,
        Self::FromBatch,
        Self::NoObject,
        Self::FullAboveBound,
        Self::FullReplaced,
        Self::NoFull,
        Self::NothingPresent,
        Self::DeniedInFront,
        Self::NotConcrete,
        Self::SameLemma,
        Self::Synonym,
        Self::Hypernym,
        Self::Hyponym,
        Self::TooNear,
        Self::KnownCaption,
        Self::LooksPresent,
    ];
}

/// How often each thing happened, in a batch or in many.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts([u64; Count::ALL.len()]);

impl Counts {
    /// What `stages.json` reports, with the names there.
    pub fn reported(&self) -> [(&'static str, u64); 9] {
        [
            (metric::OBJECT_FROM_NEAREST_NEIGHBOUR, self[Count::FromNearest]),
            (metric::OBJECT_FROM_LATER_NEIGHBOUR, self[Count::FromLater]),
            (metric::OBJECT_FROM_BATCH, self[Count::FromBatch]),
            (metric::FELL_THROUGH, self[Count::NoObject] + self[Count::NoFull]),
            (metric::FULL_ABOVE_BOUND, self[Count::FullAboveBound]),
            (metric::FULL_REPLACED, self[Count::FullReplaced]),
            (metric::NOTHING_PRESENT, self[Count::NothingPresent]),
            (metric::DENIED_IN_FRONT, self[Count::DeniedInFront]),
            (metric::NOUNS_THAT_LOOK_PRESENT, self[Count::LooksPresent]),
        ]
    }
}

impl Index<Count> for Counts {
    type Output = u64;

    fn index(&self, count: Count) -> &u64 {
        &self.0[count as usize]
    }
}

impl IndexMut<Count> for Counts {
    fn index_mut(&mut self, count: Count) -> &mut u64 {
        &mut self.0[count as usize]
    }
}

/// Names and numbers, without what did not happen.
impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let happened = Count::ALL.into_iter().filter(|count| self[*count] > 0);
        f.debug_map().entries(happened.map(|count| (count, self[count]))).finish()
    }
}

/// How many of the captions that were drawn name an object: without one, there is nothing that a text could deny.
#[derive(Debug, Default)]
pub struct Naming {
    captions: u64,
    /// Those that name none.
    without: u64,
    /// The first of them.
    example: Option<String>,
}

impl Naming {
    /// Counts a caption.
    pub fn add(&mut self, caption: &str, names_an_object: bool) {
        self.captions += 1;
        if !names_an_object {
            self.without += 1;
            self.example.get_or_insert_with(|| caption.to_owned());
        }
    }

    /// What to say where most captions name no object.
    pub fn warning(&self) -> Option<String> {
        let example = self.example.as_ref().filter(|_| 2 * self.without > self.captions)?;
        Some(format!(
            "{} of the {} captions of this epoch name no object, such as `{example}`: their texts deny nothing, and there \
             is little to learn from them. Objects are found by English nouns; translate captions of another language, \
             or look at stage.shards.captions if these are no captions",
            self.without, self.captions
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_when_most_captions_name_nothing_there_is_a_warning() {
        let mut naming = Naming::default();
        assert_eq!(naming.warning(), None);
        naming.add("A dog", true);
        naming.add("一只狗", false);
        assert_eq!(naming.warning(), None);
        naming.add("一只猫", false);
        let said = naming.warning().unwrap();
        assert!(said.starts_with("2 of the 3 captions") && said.contains("`一只狗`"), "{said}");
    }

    #[test]
    fn every_count_has_a_place_of_its_own() {
        let mut counts = Counts::default();
        for (n, count) in Count::ALL.into_iter().enumerate() {
            assert_eq!(count as usize, n, "{count:?}");
            counts[count] += n as u64;
        }
        assert!(Count::ALL.into_iter().enumerate().all(|(n, count)| counts[count] == n as u64));
        assert_eq!(format!("{:?}", Counts::default()), "{}");
    }

    #[test]
    fn the_names_of_stages_json_stay() {
        let mut counts = Counts::default();
        Count::ALL.into_iter().for_each(|count| counts[count] = 10 + count as u64);
        let expected = [
            ("object_from_nearest_neighbour", 11),
            ("object_from_later_neighbour", 12),
            ("object_from_batch", 13),
            ("fell_through", 14 + 17),
            ("full_above_bound", 15),
            ("full_replaced", 16),
            ("nothing_present", 18),
            ("denied_in_front", 19),
            ("nouns_that_look_present", 27),
        ];
        assert_eq!(counts.reported(), expected);
    }
}
