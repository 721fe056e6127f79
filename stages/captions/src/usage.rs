//! How captions use words, where WordNet and its corpus (written texts of the 1960s) differ. Small
//! lists of our own, found by reading what the most frequent nouns of photo captions were taken for.

use crate::wordnet::kind;

/// Nouns that captions use in another sense than the most frequent one, with the lexicographer file
/// of the sense that is meant.
pub const SENSES: &[(&str, u8)] = &[
    ("baseball", kind::ARTIFACT),
    ("basketball", kind::ARTIFACT),
    ("bat", kind::ARTIFACT),
    ("board", kind::ARTIFACT),
    ("book", kind::ARTIFACT),
    ("brush", kind::ARTIFACT),
    ("chain", kind::ARTIFACT),
    ("church", kind::ARTIFACT),
    ("climber", kind::PERSON),
    ("doughnut", kind::FOOD),
    ("escalator", kind::ARTIFACT),
    ("female", kind::PERSON),
    ("fire", kind::SUBSTANCE),
    ("football", kind::ARTIFACT),
    ("hot dog", kind::FOOD),
    ("jersey", kind::ARTIFACT),
    ("kite", kind::ARTIFACT),
    ("magazine", kind::ARTIFACT),
    ("male", kind::PERSON),
    ("microwave", kind::ARTIFACT),
    ("newspaper", kind::ARTIFACT),
    ("path", kind::ARTIFACT),
    ("post", kind::ARTIFACT),
    ("roller coaster", kind::ARTIFACT),
    ("seat", kind::ARTIFACT),
    ("sign", kind::ARTIFACT),
    ("snow", kind::SUBSTANCE),
    ("stage", kind::ARTIFACT),
    ("step", kind::ARTIFACT),
    ("stroller", kind::ARTIFACT),
    ("swing", kind::ARTIFACT),
    ("table", kind::ARTIFACT),
    ("television", kind::ARTIFACT),
    ("tv", kind::ARTIFACT),
    ("van", kind::ARTIFACT),
    ("volleyball", kind::ARTIFACT),
];

/// Nouns that WordNet does not know, or not in the sense of captions, and the noun it knows.
pub const SAME_AS: &[(&str, &str)] = &[
    ("biker", "cyclist"),
    ("hardhat", "hard hat"),
    ("hoodie", "sweatshirt"),
    ("kayaker", "boatman"),
    ("labrador", "labrador retriever"),
    ("people", "person"),
    ("pitbull", "pit bull terrier"),
    ("trashcan", "trash can"),
    ("wakeboarder", "skier"),
    ("wetsuit", "wet suit"),
    ("windsurfer", "surfer"),
];

/// Plurals that are words of their own: "glasses" are not more than one glass. Other plurals are forms
/// of their singular even where WordNet lists them ("men", "arms").
const PLURALS: &str = "binoculars bleachers cattle clothes earphones eyeglasses folks glasses goggles headphones \
    jeans khakis leggings overalls pajamas pants people police pyjamas scissors shorts slacks spectacles stairs suds \
    sunglasses suspenders sweats tights trunks woods";

/// Singulars that do not take "a" though WordNet files them as things. Substances (water, sand) are
/// mass nouns by their file.
const MASS: &str = "algae apparel art attire bacon baggage beer bread broccoli butter cake cheese chicken chocolate \
    cloth clothing coffee corn debris equipment fabric food foliage footage footwear fruit furniture garbage gear \
    graffiti grass gravel greenery hay headgear jewelry lace lettuce litter luggage machinery makeup meat milk moss \
    pasta produce rice rubbish rubble salad scaffolding scenery seafood seaweed shrubbery soda soup sportswear \
    sunlight swimwear tea terrain traffic trash underbrush undergrowth underwear vegetation wheat wildlife wine wood \
    woodland";

/// Substances that come in pieces.
const COUNTED_SUBSTANCES: &str = "board brick bubble cloud crystal fire log pebble plank puddle rock stick stone tile";

/// Concrete by WordNet, but part of every photo, of the photo itself, or too vague: a text that denies
/// them says nothing or is false.
const NO_OBJECTS: &str = "air airtime back background bottom camera closeup color corner course \
    decoration design display edge end face feather foreground front fur ground image item land light line material \
    match middle mohawk number object orange outfit part photo photograph picture piece place print red scene \
    scenery shadow shot side sky spot strip stripe structure stuff surface thing top variety view way white yellow";

/// Colours. Before a noun they seldom form a term with it, as in "yellow jacket".
const COLOURS: &str =
    "beige black blue brown gold golden gray green grey orange pink purple red silver tan white yellow";

fn listed(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|listed| listed == word)
}

/// Whether it is a plural that is its own lemma.
pub fn is_plural_lemma(word: &str) -> bool {
    listed(PLURALS, word)
}

/// Whether the noun does not take "a".
pub fn is_mass(lemma: &str, kind: u8) -> bool {
    let word = lemma.rsplit(' ').next().unwrap_or(lemma);
    listed(MASS, word) || kind == kind::SUBSTANCE && !listed(COUNTED_SUBSTANCES, word)
}

/// Whether the noun is never an object, though it is a thing.
pub fn is_no_object(lemma: &str) -> bool {
    listed(NO_OBJECTS, lemma.rsplit(' ').next().unwrap_or(lemma))
}

/// Whether it is a colour.
pub fn is_colour(word: &str) -> bool {
    listed(COLOURS, word)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::wordnet::WordNet;

    #[test]
    fn wordnet_knows_every_sense_and_every_noun_of_the_lists() {
        let wordnet = WordNet::embedded().unwrap();
        for (noun, kind) in SENSES {
            assert_eq!(wordnet.concept(noun).map(|c| c.kind), Some(*kind), "{noun}");
        }
        for (unknown, known) in SAME_AS {
            assert!(wordnet.concept(known).is_some(), "{unknown}: {known}");
        }
    }
}
