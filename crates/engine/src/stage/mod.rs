//! What a stage is: its kind, what it may see while it is checked, built and run, and the node that
//! wires it into a pipeline.

mod behaviour;
mod build;
mod contract;
mod kind;
mod look;
pub(crate) mod node;
mod ordered;
mod pass;
mod probe;
mod run_dir;
mod services;
mod source;

pub use behaviour::{Map, Position, Stage, Worker};
pub use build::Build;
pub(crate) use build::Inputs;
pub use contract::{Fact, Need};
pub use kind::{Built, StageKind};
pub use look::Look;
pub use ordered::in_order;
pub use pass::Pass;
pub(crate) use probe::Each;
pub use probe::{Findings, Measurement, Moment, Phase, Probe, ProbePart, Side, Skipped};
pub use run_dir::{MARK, RunDir};
pub use services::Services;
pub use source::Source;
