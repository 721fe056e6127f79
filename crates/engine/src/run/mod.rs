//! Runs a plan: its epochs, side runs, profiles.

mod epoch;
mod event;
mod pipeline;
mod results;
mod resume;
mod rig;
mod session;
mod side;

pub use event::{Event, Summary};
pub use pipeline::{LastCheckpoint, Pipeline};
pub use rig::{Alone, Limits, Rig, Whole};
pub use side::outside_run;
