//! Plain retrieval both ways on shards with captions: what training must not lose.

use pipeline_engine::{Build, Look, Moved, Part, StageError, options};

use super::Source;
use crate::benchmark::Benchmark;
use crate::measures::Baselines;
use crate::measures::ranks::Ranks;
use crate::verify;

options! {
    /// Plain retrieval on shards.
    pub struct Retrieval {
        /// Shards with images and captions (paths, globs, braces; one or a list).
        images: Vec<String>;
        /// Also measure the training-free answers: for captions that deny nothing, the tower's own.
        baselines: bool = false;
        /// The weight of what a text denies, in the answers training_free and lambda.
        lambda: f64 = 0.5, 0.0..=10.0;
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
        let baselines = self.baselines.then_some(Baselines { lambda: self.lambda });
        Ok(Box::new(Ranks::of_shards(name, &self.images, baselines, build)?))
    }

    fn verify(&self, look: &mut Look<'_>) {
        verify::shards(look, &self.images);
    }
}
