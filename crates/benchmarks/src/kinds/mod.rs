//! The benchmarks: one file each, with its options, the reader of its published file, and its
//! tests. To add one, write such a file and one word in the list below.

pub mod cc_neg;
pub mod mcq;
pub mod negbench_mcq;
pub mod negbench_retrieval;
pub mod negrefcocog;
#[cfg(test)]
#[path = "../../../../docs/extending/benchmark.rs"]
mod own_pairs;
pub mod retrieval;
pub mod snli_ve;
pub mod sugarcrepe;
pub mod sugarcrepe_pp;
pub mod valse;
pub mod zero_shot;

use pipeline_engine::{Build, Look, Moved, Part, Probe, ProbePart, StageError, parts};

use crate::benchmark::{Benchmark, Probed};

/// A kind of benchmark with its options: what an `[[eval]]` table or `pipeline eval` names.
pub trait Source: Send + Sync {
    /// Reads the benchmark's file and encodes its images; `name` is what messages call it.
    ///
    /// # Errors
    /// A file that is not of this benchmark, with the row; images of which none is found.
    fn open(&self, name: &str, build: &Build<'_>) -> Result<Box<dyn Benchmark>, StageError>;

    /// Reports what costs nothing to see: a missing file, missing images. Nothing is read.
    fn verify(&self, look: &mut Look<'_>);
}

parts! {
    /// Every benchmark.
    dyn Source: "benchmark" => [
        negbench_mcq::NegBenchMcq,
        negbench_retrieval::NegBenchRetrieval,
        mcq::Mcq,
        retrieval::Retrieval,
        valse::Valse,
        sugarcrepe::SugarCrepe,
        sugarcrepe_pp::SugarCrepePp,
        cc_neg::CcNeg,
        negrefcocog::NegRefCocoG,
        snli_ve::SnliVe,
        zero_shot::ZeroShot,
        #[cfg(test)]
        own_pairs::OwnPairs,
    ]
}

impl ProbePart for dyn Source {
    fn build(&self, name: &str, build: &mut Build<'_>) -> Result<Box<dyn Probe>, StageError> {
        Ok(Probed::probe(name, self.open(name, build)?))
    }

    fn verify(&self, look: &mut Look<'_>) {
        Source::verify(self, look);
    }

    fn moved(kind: &str) -> Moved {
        match kind {
            mcq::Mcq::NAME => mcq::MOVED,
            retrieval::Retrieval::NAME => retrieval::MOVED,
            _ => &[],
        }
    }
}
