//! Benchmarks that need no file: what they ask is made from the captions of their own images.

pub mod negated_mcq;
pub mod negated_retrieval;

use benchmarks::Source;
use benchmarks::benchmark::Probed;
use benchmarks::pictures::Pictures;
use pipeline_engine::{Build, Look, Probe, ProbePart, StageError, parts};

use crate::known::Known;

/// A benchmark that is made when it is opened, and used as those with a file are.
pub trait Made: Source {}

parts! {
    /// Every benchmark that is made from captions.
    dyn Made: "benchmark" => [
        negated_mcq::NegatedMcq,
        negated_retrieval::NegatedRetrieval,
    ]
}

impl ProbePart for dyn Made {
    fn build(&self, name: &str, build: &mut Build<'_>) -> Result<Box<dyn Probe>, StageError> {
        Ok(Probed::probe(name, self.open(name, build)?))
    }

    fn verify(&self, look: &mut Look<'_>) {
        Source::verify(self, look);
    }
}

/// What the captions of `pictures` tell of them, in the same order; `shards` are where they come from.
///
/// # Errors
/// When there is too little to ask about.
fn told(pictures: &Pictures, shards: &[String], least: u32) -> Result<Known, StageError> {
    let described =
        pictures.keys.iter().zip(&pictures.captions).map(|(key, captions)| (file_name(key), captions.to_vec()));
    Known::from_described(described.collect(), least)
        .map_err(|e| StageError::msg(format!("nothing can be asked about the images of {}: {e}", shards.join(", "))))
}

/// The name that `pipeline questions` has for a JPEG in a shard: draws are keyed by it, and are the
/// same for both.
fn file_name(key: &str) -> String {
    format!("{key}.jpg")
}

#[cfg(test)]
mod testing {
    use std::sync::Arc;

    use super::*;
    use crate::testing::described;

    /// The images of the tests with their captions, and one more without any.
    pub fn pictures() -> (Known, Pictures) {
        let known = described();
        let mut pictures = Pictures { dim: 1, ..Pictures::default() };
        for picture in &known.pictures {
            pictures.keys.push(Arc::from(picture.image.trim_end_matches(".jpg")));
            pictures.captions.push(Arc::from(picture.captions.clone()));
        }
        pictures.keys.push(Arc::from("last"));
        pictures.captions.push(Arc::from(Vec::new()));
        pictures.features = vec![1.0; pictures.keys.len()];
        (known, pictures)
    }
}
