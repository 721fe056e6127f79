//! Runs a plan: its epochs, side runs, profiles.

mod epoch;
mod event;
mod pipeline;
mod profiler;
mod results;
mod resume;
mod session;
mod side;

pub use event::{Event, Summary};
pub use pipeline::{LastCheckpoint, Pipeline};
pub use profiler::{Limits, PipelineProfile, Profiler, StageProfile};
pub use side::outside_run;
