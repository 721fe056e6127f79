//! Plain retrieval both ways on shards with captions: what training must not lose.

use pipeline_engine::{Build, Look, Moved, Part, StageError, options};

use super::Source;
use crate::benchmark::Benchmark;
use crate::measures::ranks::Ranks;
use crate::verify;

options! {
    /// Plain retrieval on shards.
    pub struct Retrieval {
        /// Shards with images and captions (paths, globs, braces; one or a list).
        images: Vec<String>;
    }
}

impl Part for Retrieval {
    const NAME: &'static str = "retrieval";
    const ABOUT: &'static str = "plain retrieval both ways, on shards with captions (no file): R@1, R@5, R@10";
}

/// Options that have other names now.
pub(super) const MOVED: Moved = &[("shards", "images")];

impl Source for Retrieval {
    fn open(&self, name: &str, build: &Build<'_>) -> Result<Box<dyn Benchmark>, StageError> {
        Ok(Box::new(Ranks::of_shards(name, &self.images, build)?))
    }

    fn verify(&self, look: &mut Look<'_>) {
        verify::shards(look, &self.images);
    }
}
