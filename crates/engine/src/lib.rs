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

mod channel;
mod check;
mod config;
mod error;
mod lane;
mod ledger;
mod live;
mod meter;
mod ordered;
mod probe;
mod registry;
mod resume;
mod rig;
pub mod rng;
mod run_dir;
mod runner;
mod services;
mod stage;
mod timeline;
mod trace;

#[macro_use]
pub mod options;

pub use channel::{Inlet, Outlet, Received, Stopped};
pub use check::{EvalView, Plan, StageView, check};
pub use config::{Config, Diagnostic, Origin, SourceFile, Value};
pub use error::{RunError, StageError};
pub use lane::{idle, work};
pub use ledger::{Ledger, Skip};
pub use live::{Handle, Live, LiveStage};
pub use meter::{Gauge, Meter, Snapshot, StageReport};
pub use options::{OptionSpec, OptionValue, Options, TableReader, suggest as did_you_mean};
pub use probe::{Measurement, Moment, Phase, Probe, ProbeKind, SideRun, outside_run};
pub use registry::{Kind, Port, Preset, Registry};
pub use rig::{Alone, Limits, Rig, Whole};
pub use run_dir::{MARK, RunDir, remove_orphans, write_atomically};
pub use runner::{DeviceChoice, Event, LastCheckpoint, OnChange, Pipeline, RunOptions, Summary};
pub use services::Services;
pub use stage::{
    Build, Built, Helper, Item, Map, Nothing, OnStep, Pass, Position, Stage, StageKind, StepValues, Worker,
};
pub use timeline::{Timeline, TimelineCell, TimelineRow, TimelineStage};
pub use trace::Tracer;
