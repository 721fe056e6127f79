//! `pipeline.toml` as it was written, and how options are read from it.
//!
//! A [`file`] is parsed into tables whose values know their place; [`layers`] lays presets and
//! `--set` over them; [`options!`](crate::options!) defines what a table may hold, and
//! [`parts`] are alternatives with a table of their own.

mod diagnostic;
mod file;
mod layers;
mod macros;
pub mod options;
mod parts;
mod reader;
mod run;
mod types;
mod value;

pub(crate) use diagnostic::Findings;
pub use diagnostic::{Diagnostic, Origin, SourceFile};
pub use file::Config;
pub(crate) use layers::Laid;
pub use options::{OptionSpec, OptionValue, Options, PartSpec};
pub use parts::{Alternative, Alternatives, Chosen, Part, Several};
pub use reader::{Moved, TableReader};
pub use run::{DeviceChoice, OnChange, RunOptions};
pub use value::Value;
pub(crate) use value::{Located, Table};
