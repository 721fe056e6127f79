//! `"people"`: two nouns for people may mean the same person.

use pipeline_engine::{Part, options};

use super::{Apart, Guard};
use crate::wordnet::kind;

options! {
    /// Turns down nouns for people where a caption names people: "a skier" may be the "plumber" of
    /// another caption.
    pub struct People {}
}

impl Part for People {
    const NAME: &'static str = "people";
    const ABOUT: &'static str = "turns down nouns for people where a caption names people";
}

impl Guard for People {
    fn too_near(&self, nouns: &Apart<'_>) -> bool {
        nouns.noun.kind == kind::PERSON && nouns.named.kind == kind::PERSON
    }
}
