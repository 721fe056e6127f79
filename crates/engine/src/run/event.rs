//! What a run reports while it runs, and at its end.

use std::path::PathBuf;

use crate::ledger::Skip;
use crate::stage::Measurement;
use crate::watch::StageReport;

/// Something happened that people may want to see.
#[derive(Debug)]
pub enum Event<'a> {
    /// The run folder is there; the first measurements begin.
    Started {
        /// The run folder.
        dir: &'a std::path::Path,
    },
    /// Measurements were taken.
    Measured(&'a [Measurement]),
    /// An epoch begins, at the first of these stages.
    EpochStarted {
        /// Counted from 1.
        epoch: u32,
        /// The first stage that runs: not the first of the config when a cache starts it.
        from: &'static str,
    },
    /// An epoch is over.
    EpochDone {
        /// What each stage did.
        stages: &'a [StageReport],
        /// Samples skipped in the run so far.
        skipped: u64,
    },
}

/// How a run ended.
#[derive(Debug)]
pub struct Summary {
    /// The run folder.
    pub dir: PathBuf,
    /// All measurements.
    pub measurements: Vec<Measurement>,
    /// All stage reports.
    pub stages: Vec<StageReport>,
    /// Skipped samples: stage, reason, count.
    pub skipped: Vec<(String, String, u64)>,
    /// Shards that were lost, wholly or in part.
    pub lost_shards: Vec<Skip>,
}
