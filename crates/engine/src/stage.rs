//! What a stage is, and what its author writes.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::channel::{Inlet, Outlet, Stop};
use crate::error::StageError;
use crate::lane::{self, Entered, Place};
use crate::ledger::Ledger;
use crate::meter::Meter;
use crate::options::Options;
use crate::probe::SideRun;
use crate::resume::Inputs;
use crate::rng::Draw;
use crate::run_dir::RunDir;
use crate::runner::RunOptions;
use crate::services::Services;
use crate::trace::Tracer;

/// Something that travels along an edge.
pub trait Item: Send + 'static {
    /// The name people see in `pipeline graph` and in messages of `pipeline check`.
    const NAME: &'static str;

    /// About how much memory it holds; counts against the byte budget of the edge.
    fn bytes(&self) -> usize;

    /// Which one it is, for traces: the key of a sample, the number of a step.
    fn label(&self) -> String {
        String::new()
    }
}

/// What comes into the first stage and leaves the last one: nothing.
#[derive(Debug)]
pub enum Nothing {}

impl Item for Nothing {
    const NAME: &'static str = "nothing";

    fn bytes(&self) -> usize {
        match *self {}
    }
}

/// A kind of stage: the value of `kind` in a `[[stage]]` table.
///
/// Adding one to the program is a crate with an implementation of this trait and
/// one line where the kinds are listed.
pub trait StageKind: Send + Sync + 'static {
    /// Its name in `pipeline.toml`.
    const KIND: &'static str;
    /// One line of help.
    const ABOUT: &'static str;
    /// Items that may wait in the edge after it, unless the config says otherwise.
    const CAPACITY: usize = 4;
    /// What it takes; [`Nothing`] if it starts a pipeline.
    type In: Item;
    /// What it gives; [`Nothing`] if it ends one.
    type Out: Item;
    /// Its options, made with [`options!`](crate::options!).
    type Options: Options;

    /// Builds the stage once for the whole run.
    ///
    /// # Errors
    /// Whatever keeps it from running: a missing file, a model of the wrong
    /// shape. The message names the file and what to do.
    fn build(options: Self::Options, build: &mut Build<'_>) -> Result<Built<Self::In, Self::Out>, StageError>;

    /// Whether what it does in an epoch depends on how many there will be, as a learning
    /// rate that falls to 0 does. If not, a resumed run may have more epochs.
    fn paced_by_epochs(_options: &Self::Options) -> bool {
        false
    }
}

/// A stage ready to run.
pub enum Built<I, O> {
    /// One thread that reads and writes as it likes.
    Stage(Box<dyn Stage<I, O>>),
    /// `workers` threads that turn each item into one item; the order is kept.
    Map {
        /// How many threads.
        workers: usize,
        /// What makes their workers.
        map: Box<dyn Map<I, O>>,
    },
}

/// A stage with a thread of its own. It lives as long as the run and keeps its
/// state from epoch to epoch.
pub trait Stage<I, O>: Send {
    /// Runs one epoch: reads `input` to its end and writes to `output`.
    ///
    /// # Errors
    /// The first error of any stage stops the run and is shown with the stage's name.
    fn run(&mut self, pass: &Pass<'_>, input: Inlet<I>, output: Outlet<O>) -> Result<(), StageError>;

    /// Whether the stage can produce this epoch by itself, for instance from a
    /// cache. The engine asks the last stage first; the stages before the one
    /// that says yes are not started in this epoch.
    ///
    /// # Errors
    /// When it cannot tell.
    fn starts(&mut self, _pass: &Pass<'_>) -> Result<bool, StageError> {
        Ok(false)
    }

    /// Where training stands, if this stage is the one that knows.
    fn position(&self) -> Option<Position> {
        None
    }

    /// What probes measure: a handle to the thing being trained.
    fn subject(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }

    /// Called once after the last epoch: export, close files.
    ///
    /// # Errors
    /// What could not be written.
    fn finish(&mut self, _pass: &Pass<'_>) -> Result<(), StageError> {
        Ok(())
    }
}

/// A stage that turns each item into one item.
pub trait Map<I, O>: Send + Sync {
    /// A worker with its own scratch memory; one a thread and epoch.
    ///
    /// # Errors
    /// What keeps a worker from starting.
    fn worker(&self, pass: &Pass<'_>) -> Result<Box<dyn Worker<I, O> + '_>, StageError>;
}

/// One thread's share of a [`Map`].
pub trait Worker<I, O>: Send {
    /// Turns an item into what leaves the stage. The result must depend on the
    /// item alone, not on the items this worker saw before.
    ///
    /// # Errors
    /// As [`Stage::run`].
    fn map(&mut self, pass: &Pass<'_>, item: I) -> Result<O, StageError>;
}

impl<I, O, F> Worker<I, O> for F
where
    F: FnMut(&Pass<'_>, I) -> Result<O, StageError> + Send,
{
    fn map(&mut self, pass: &Pass<'_>, item: I) -> Result<O, StageError> {
        self(pass, item)
    }
}

/// Where training stands: so many whole epochs, and steps of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Epochs that are finished.
    pub epochs: u32,
    /// Steps of the epoch after those that are finished.
    pub steps: u64,
    /// Steps in all.
    pub total_steps: u64,
}

/// One epoch of a run, as its stages see it.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// Counted from 1.
    pub epoch: u32,
    /// Epochs in all.
    pub epochs: u32,
    /// Steps at the start of this epoch that a resumed run has already done:
    /// make them, do not train them.
    pub skip_steps: u64,
    /// The run's seed.
    pub seed: u64,
    /// Where samples that cannot be used are written down.
    pub ledger: &'a Ledger,
    /// What stages offer to one another.
    pub services: &'a Services,
    /// The meter of the stage that runs.
    pub meter: &'a Meter,
    pub(crate) stop: &'a Stop,
    pub(crate) interrupt: &'a AtomicBool,
    pub(crate) watch: &'a Watch,
    /// The stage's place in the config, and its kind.
    pub(crate) stage: (usize, &'static str),
}

/// What looks at a run beside its meters.
#[derive(Clone, Default)]
pub(crate) struct Watch {
    pub tracer: Option<Arc<Tracer>>,
    pub on_step: Option<Arc<OnStep>>,
    /// For benchmarks: no meters.
    pub off: bool,
}

/// Told what a step gave: loss, learning rate.
pub type OnStep = dyn Fn(&StepValues<'_>) + Send + Sync;

/// What a step gave.
#[derive(Debug, Clone, Copy)]
pub struct StepValues<'a> {
    /// Counted from 1.
    pub epoch: u32,
    /// Steps in all, this one included.
    pub step: u64,
    /// Name and value.
    pub values: &'a [(&'static str, f64)],
}

impl Pass<'_> {
    /// Random numbers for `purpose` in this epoch; narrow the address further as needed.
    pub fn draw(&self, purpose: &str) -> Draw {
        Draw::new(self.seed, purpose).number(u64::from(self.epoch))
    }

    /// Whether the user asked for a stop. The last stage finishes its step, saves
    /// what it has and returns [`StageError::Interrupted`].
    pub fn interrupted(&self) -> bool {
        self.interrupt.load(Relaxed)
    }

    /// Says what a step gave, `step` being the number of steps in all: live views
    /// show it, TensorBoard files and timelines keep it.
    pub fn step(&self, step: u64, values: &[(&'static str, f64)]) {
        for (name, value) in values {
            self.meter.gauge(name, *value);
        }
        if let Some(on_step) = &self.watch.on_step {
            on_step(&StepValues { epoch: self.epoch, step, values });
        }
    }

    /// Makes the thread that calls a helper of the stage: one of those that do its
    /// work while the stage's own thread hands it out. `number` counts from 1.
    /// The helper waits for work in [`idle`](crate::idle) and works in [`work`](crate::work).
    pub fn helper(&self, number: usize) -> Helper {
        Helper { _lane: lane::enter(self.meter, true, number, self.place(), false) }
    }

    pub(crate) fn place(&self) -> Option<Place<'_>> {
        let (stage, kind) = self.stage;
        self.watch.tracer.as_ref().map(|tracer| Place { tracer, stage, kind })
    }

    /// Whether another stage failed. A stage that works long between two items asks now and then.
    pub fn stopped(&self) -> bool {
        self.stop.raised()
    }
}

/// While it lives, the time of this thread counts for its stage.
#[must_use]
pub struct Helper {
    _lane: Entered,
}

/// What a stage may use while it is built.
pub struct Build<'a> {
    /// `[run]`: seed, epochs, device.
    pub run: &'a RunOptions,
    /// Relative paths in the config are relative to this folder.
    pub base: &'a std::path::Path,
    /// What stages offer to one another; look others up when running, not here,
    /// since the stages after this one are not built yet.
    pub services: &'a Services,
    /// The run folder; none in a side run.
    pub dir: Option<&'a RunDir>,
    /// The checkpoint to go on from, with `--resume`.
    pub resume: Option<PathBuf>,
    /// Runs the first stages of this pipeline over other data.
    pub side: Option<SideRun>,
    pub(crate) sections: &'a Services,
    pub(crate) inputs: &'a Inputs,
}

impl Build<'_> {
    /// The options of a table that belongs to no stage, such as `[model]`.
    ///
    /// # Errors
    /// When the config has no such table.
    pub fn section<T: Any + Send + Sync>(&self, name: &str) -> Result<Arc<T>, StageError> {
        self.sections.get::<T>().ok_or_else(|| StageError::msg(format!("the config has no [{name}] table; add one")))
    }

    /// Notes what the stage reads beside its options: a name for people ("shard `a.tar`")
    /// and a text that changes when the content does. A resumed run must find the same.
    pub fn input(&self, name: impl Into<String>, version: impl Into<String>) {
        self.inputs.note(name.into(), version.into());
    }

    /// A path of the config, made absolute.
    pub fn path(&self, path: impl AsRef<std::path::Path>) -> PathBuf {
        self.base.join(path)
    }
}
