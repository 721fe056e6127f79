//! Ablations from a file: a base config, a grid of settings, seeds. Every run has its own folder; one table and plots
//! compare all runs.

mod plan;
mod plot;
mod table;

pub use plan::{Planned, Sweep};
pub use plot::plot;
pub use table::{Outcome, Row, csv, markdown, names, rows};
