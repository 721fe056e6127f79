//! Benchmarks that need no file: what they ask is made from the captions of their own images.

pub mod negated_retrieval;

use benchmarks::Source;
use benchmarks::benchmark::Probed;
use pipeline_engine::{Build, Look, Probe, ProbePart, StageError, parts};

/// A benchmark that is made when it is opened, and used as those with a file are.
pub trait Made: Source {}

parts! {
    /// Every benchmark that is made from captions.
    dyn Made: "benchmark" => [
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
