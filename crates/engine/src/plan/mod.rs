//! From a config to a plan: the kinds that a program knows, presets, and every fault at once.

mod check;
mod load;
mod preset;
mod registry;
mod source;

pub(crate) use check::check_stages;
pub use check::{EvalView, Plan, StageView, check};
pub use preset::Preset;
pub(crate) use registry::EvalKeys;
pub use registry::{Kind, Port, Registry, Section};
pub(crate) use source::first_stage;
