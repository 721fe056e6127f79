//! `"distance"`: nouns that are near in WordNet may mean the same thing.

use pipeline_engine::{Part, options};

use super::{Apart, Guard};

options! {
    /// Turns down nouns that are near in WordNet to a noun of a caption: "a bench" may be the "seat"
    /// of another caption. Only nouns that the caption certainly names count.
    pub struct Distance {
        /// The least number of WordNet edges to every noun of a caption.
        min: u32 = 4, 1..=40;
    }
}

impl Part for Distance {
    const NAME: &'static str = "distance";
    const ABOUT: &'static str = "turns down nouns that are near in WordNet to a noun of a caption";
}

impl Guard for Distance {
    fn too_near(&self, nouns: &Apart<'_>) -> bool {
        nouns.certain && nouns.edges < self.min
    }
}
