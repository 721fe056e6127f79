//! Probes: what is measured before, between and after the epochs.

use std::any::Any;

use serde::{Deserialize, Serialize};

use super::build::Build;
use super::look::Look;
use super::source::Source;
use crate::config::{Alternatives, Moved};
use crate::edge::Item;
use crate::error::StageError;

/// A family of probes: each part of it is a `kind` of `[[eval]]`, with the part's options in that table.
pub trait ProbePart: Alternatives {
    /// Builds the probe that the config calls `name`.
    ///
    /// # Errors
    /// Whatever keeps it from measuring; better here than after hours of training.
    fn build(&self, name: &str, build: &mut Build<'_>) -> Result<Box<dyn Probe>, StageError>;

    /// Reports what costs nothing to see: files that do not exist.
    fn verify(&self, _look: &mut Look<'_>) {}

    /// Keys of this kind that have another place now; see [`StageKind::MOVED`](crate::StageKind::MOVED).
    fn moved(_kind: &str) -> Moved {
        &[]
    }
}

/// Something that measures what is being trained.
pub trait Probe: Send {
    /// Measures `subject`, the handle that the training stage gives out.
    ///
    /// # Errors
    /// When the subject is not of the kind that this probe measures, or data is missing.
    fn measure(&mut self, subject: &(dyn Any + Send + Sync), moment: &Moment) -> Result<Findings, StageError>;
}

/// What a probe found.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// The scores.
    pub measurements: Vec<Measurement>,
    /// What they are made of, item by item: JSON objects, one per line. They are kept before the first epoch and after
    /// the last; between epochs there need be none.
    pub answers: Vec<String>,
}

/// Scores alone.
impl From<Vec<Measurement>> for Findings {
    fn from(measurements: Vec<Measurement>) -> Self {
        Self { measurements, answers: Vec::new() }
    }
}

/// When a measurement is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Before the first epoch.
    Before,
    /// After an epoch that is not the last.
    Epoch,
    /// After the last epoch.
    After,
}

/// When a measurement is taken, and with which seed it resamples.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Before, between or after.
    pub phase: Phase,
    /// Epochs that are finished.
    pub epoch: u32,
    /// Steps that are finished.
    pub step: u64,
    /// The run's seed.
    pub seed: u64,
}

/// One line of `results.jsonl`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measurement {
    /// Before, between or after.
    pub phase: Phase,
    /// Epochs that are finished.
    pub epoch: u32,
    /// Steps that are finished.
    pub step: u64,
    /// The probe's name.
    pub eval: String,
    /// What is measured: `accuracy`, `text_to_image_r@5`.
    pub metric: String,
    /// The part of the questions it stands on: `all`, `negative`.
    pub part: String,
    /// The value.
    pub value: f64,
    /// Lower end of the 95 % interval, if one was made.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// How many questions, images or texts it stands on.
    pub n: u64,
}

/// Samples that were skipped, and shards that were lost: the stage, the reason, how many.
pub type Skipped = Vec<(String, String, u64)>;

/// Takes the items of a side run, whatever their type.
pub(crate) type Each<'a> = &'a mut (dyn FnMut(Box<dyn Any + Send>) -> Result<(), StageError> + Send);

/// Runs the first stages of a pipeline over other data: how a probe gets the features of its images
/// through the very stages that training uses. Made by the engine; call it through `dyn Side`.
pub trait Side: Send + Sync {
    /// Runs the stages up to the first whose items have this name, for one epoch; without a source,
    /// over the pipeline's own data.
    #[doc(hidden)]
    fn run(&self, source: Option<&Source>, upto: &'static str, each: Each<'_>) -> Result<Skipped, StageError>;
}

impl dyn Side {
    /// Runs the stages up to the first one that gives `T`, for one epoch over `source`, and hands each
    /// item to `each`.
    ///
    /// # Errors
    /// A stage's error, or a config that does not fit.
    pub fn collect<T: Item>(&self, source: &Source, each: EachOf<'_, T>) -> Result<Skipped, StageError> {
        self.items(Some(source), each)
    }

    /// As [`collect`](Self::collect), over the data that the pipeline itself reads.
    ///
    /// # Errors
    /// A stage's error, or a config that does not fit.
    pub fn collect_own<T: Item>(&self, each: EachOf<'_, T>) -> Result<Skipped, StageError> {
        self.items(None, each)
    }

    fn items<T: Item>(&self, source: Option<&Source>, each: EachOf<'_, T>) -> Result<Skipped, StageError> {
        self.run(source, T::NAME, &mut |item| match item.downcast::<T>() {
            Ok(item) => each(*item),
            Err(_) => Err(StageError::msg("a side run gave items of another type than was asked for")),
        })
    }
}

/// Takes the items of a side run.
type EachOf<'a, T> = &'a mut (dyn FnMut(T) -> Result<(), StageError> + Send);
