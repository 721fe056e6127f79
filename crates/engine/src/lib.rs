//! The engine: stages as nodes, bounded channels as edges, a meter on each.
//!
//! It knows nothing of pictures, captions or models. A *kind* of stage
//! ([`StageKind`]) reads its options from `pipeline.toml` ([`options!`]), says
//! what type it takes and gives ([`Item`]), and builds a [`Stage`] or an n-wide
//! [`Map`]. The [`Registry`] lists the kinds; [`check`] finds every fault of a
//! config before anything runs; a [`Pipeline`] runs the epochs.
//!
//! Three promises hold everywhere:
//!
//! * **Bounded.** Every edge holds at most so many items and so many bytes; a
//!   full edge makes its sender wait. Nothing is dropped.
//! * **Ordered.** `workers = n` changes the speed of a stage, never the order of
//!   what leaves it.
//! * **Told.** The first error stops the run and names its stage; a sample that
//!   cannot be used is written to the [`Ledger`].

mod error;
pub mod files;
mod ledger;
pub mod rng;

pub mod config;
mod edge;
mod plan;
mod run;
mod stage;
mod watch;

pub use config::{
    Alternative, Alternatives, Chosen, Config, DeviceChoice, Diagnostic, Moved, OnChange, OptionSpec, OptionValue,
    Options, Origin, Part, PartSpec, RunOptions, Several, SourceFile, TableReader, Value, options,
    options::suggest as did_you_mean,
};
pub use edge::{Inlet, Item, Nothing, Outlet, Received};
pub use error::{RunError, StageError, Stopped};
pub use files::write_atomically;
pub use ledger::{Ledger, LedgerError, Skip};
pub use plan::{EvalView, Kind, Plan, Port, Preset, Registry, Section, StageView, check};
pub use run::{Event, LastCheckpoint, Limits, Pipeline, PipelineProfile, Profiler, StageProfile, Summary, outside_run};
pub use stage::{
    Build, Built, Fact, Findings, Look, MARK, Map, Measurement, Moment, Need, Pass, Phase, Position, Probe, ProbePart,
    RunDir, Services, Side, Skipped, Source, Stage, StageKind, Worker, in_order,
};
pub use watch::{
    Gauge, Handle, Live, LiveStage, Made, Meter, OnStep, Snapshot, StageReport, StepValues, Timeline, TimelineCell,
    TimelineRow, TimelineStage, Tracer,
};
