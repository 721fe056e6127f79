//! Ablations as a file: a base config, a grid of settings, seeds; every run in its own folder, and
//! one table and plots of all.

mod plan;
mod plot;
mod table;

pub use plan::{Planned, Sweep};
pub use plot::plot;
pub use table::{Outcome, Row, csv, markdown, rows};
