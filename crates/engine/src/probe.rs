//! Probes: what is measured before, between and after the epochs.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use crate::channel::Stop;
use crate::check::check_stages;
use crate::config::{Config, Diagnostic, Located, Origin, Table, Value};
use crate::error::StageError;
use crate::ledger::Ledger;
use crate::options::Options;
use crate::registry::Registry;
use crate::resume::Inputs;
use crate::runner::{self, RunOptions};
use crate::services::Services;
use crate::stage::{Build, Item, Watch};

/// A kind of probe: the value of `kind` in an `[[eval]]` table.
pub trait ProbeKind: Send + Sync + 'static {
    /// Its name in `pipeline.toml`.
    const KIND: &'static str;
    /// One line of help.
    const ABOUT: &'static str;
    /// Its options.
    type Options: Options;

    /// Builds the probe that the config calls `name`.
    ///
    /// # Errors
    /// Whatever keeps it from measuring; better here than after hours of training.
    fn build(options: Self::Options, name: &str, build: &mut Build<'_>) -> Result<Box<dyn Probe>, StageError>;
}

/// Something that measures what is being trained.
pub trait Probe: Send {
    /// Measures `subject`, the handle that the training stage gives out.
    ///
    /// # Errors
    /// When the subject is not of the kind that this probe measures, or data is missing.
    fn measure(&mut self, subject: &(dyn Any + Send + Sync), moment: &Moment) -> Result<Vec<Measurement>, StageError>;
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

/// Runs the first stages of a pipeline over other data: how a probe gets the
/// features of its images through the very stages that training uses.
#[derive(Clone)]
pub struct SideRun {
    pub(crate) config: Config,
    pub(crate) registry: Arc<Registry>,
    pub(crate) interrupt: Arc<AtomicBool>,
}

/// Builds what stands on the first stages of a pipeline outside of a run: a benchmark of a
/// checkpoint that is not trained. The stages of `config` need not end a pipeline.
///
/// # Errors
/// Every fault of the config; else what `make` says.
pub fn outside_run<R>(
    config: &Config,
    registry: &Arc<Registry>,
    make: impl FnOnce(&mut Build<'_>) -> Result<R, StageError>,
) -> Result<Result<R, StageError>, Vec<Diagnostic>> {
    let plan = check_stages(config, registry)?;
    let side = SideRun { config: plan.config.clone(), registry: registry.clone(), interrupt: Arc::default() };
    let mut build = Build {
        run: &plan.run,
        base: &plan.base,
        services: &Services::default(),
        dir: None,
        resume: None,
        side: Some(side),
        sections: &plan.sections,
        inputs: &Inputs::default(),
    };
    Ok(make(&mut build))
}

impl SideRun {
    /// The same pipeline with another first stage, of kind `kind` with these options.
    #[must_use]
    pub fn with_source(&self, kind: &str, options: Vec<(&str, Value)>) -> Self {
        let mut side = self.clone();
        let at = Origin::Given("an [[eval]] table".to_owned());
        let kind = ("kind", Value::String(kind.to_owned()));
        let entries = [kind]
            .into_iter()
            .chain(options)
            .map(|(key, value)| (key.to_owned(), Located { value, at: at.clone(), key_at: at.clone() }));
        let source = Table { entries: entries.collect(), at: at.clone() };
        match side.config.stages.first_mut() {
            Some(first) => *first = source,
            None => side.config.stages.push(source),
        }
        side
    }

    /// Runs the stages up to the one of kind `upto`, with `sets` laid over the
    /// config (`("shards.urls", "…")`), for one epoch, and hands each item that
    /// leaves to `each`. Returns how many samples were skipped, by stage and reason.
    ///
    /// # Errors
    /// A stage's error, or a config that does not fit.
    pub fn collect<T: Item>(
        &self,
        upto: &str,
        sets: &[(&str, String)],
        each: &mut (dyn FnMut(T) -> Result<(), StageError> + Send),
    ) -> Result<Vec<(String, String, u64)>, StageError> {
        let mut config = self.config.clone();
        let mut faults = Vec::new();
        let end = config.stages.iter().position(|s| s.text("kind").is_some_and(|(kind, _)| kind == upto));
        let Some(end) = end else {
            return Err(StageError::msg(format!("the pipeline has no stage `{upto}`, which an [[eval]] needs")));
        };
        config.stages.truncate(end + 1);
        config.evals.clear();
        for (key, value) in sets {
            config.set(key, value, "an [[eval]] table", true, &mut faults);
        }
        let mut plan = check_stages(&config, &self.registry).map_err(|more| join(&more))?;
        if !faults.is_empty() {
            return Err(join(&faults));
        }
        let run: RunOptions = plan.run.clone();
        let services = Services::default();
        // What is measured on is no input of the training.
        let mut slots = runner::build_stages(&mut plan, &services, &Inputs::default(), None, None, None)
            .map_err(|(kind, error)| StageError::msg(format!("{kind}: {error}")))?;
        let ledger = Ledger::open(None, run.max_skipped)?;
        let stop = Arc::new(Stop::default());
        let context = runner::PassContext {
            epoch: 1,
            skip_steps: 0,
            run: &run,
            ledger: &ledger,
            services: &services,
            stop: &stop,
            interrupt: &self.interrupt,
            watch: &Watch::default(),
        };
        runner::run_pass::<T>(&mut slots, &context, Some(each), &mut |_, _| {}).map_err(
            |(kind, error)| match error {
                StageError::Interrupted => StageError::Interrupted,
                error => StageError::msg(format!("{kind}: {error}")),
            },
        )?;
        Ok(ledger.by_reason())
    }
}

fn join(faults: &[Diagnostic]) -> StageError {
    StageError::msg(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}
