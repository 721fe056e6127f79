//! The names of things are nouns that caption generation can use: WordNet knows each
//! as something concrete, and none as a kind of another. So a picture of one is not a
//! picture of any other.
#![allow(clippy::unwrap_used)]

use scenes::things;
use stage_captions::wordnet::{Relation, WordNet};

#[test]
fn wordnet_knows_each_thing_as_concrete_and_apart_from_the_others() {
    let wordnet = WordNet::embedded().unwrap();
    let concepts: Vec<_> = things()
        .map(|thing| (thing.name, wordnet.concept(thing.name).unwrap_or_else(|| panic!("{} is unknown", thing.name))))
        .collect();
    let vague: Vec<_> = concepts.iter().filter(|(_, concept)| !concept.concrete).map(|(name, _)| name).collect();
    // Caption generation never denies a sun, because no photo is certain to be without
    // one. Here the sky is drawn, so questions may ask for it.
    assert_eq!(vague, [&"sun"]);
    let mut same = Vec::new();
    for (i, (a, first)) in concepts.iter().enumerate() {
        for (b, second) in &concepts[i + 1..] {
            let relation = first.relation(second);
            if !matches!(relation, Relation::Apart(_)) {
                same.push((a, b, relation));
            }
        }
    }
    assert!(same.is_empty(), "one is the other: {same:?}");
}
