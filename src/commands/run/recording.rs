//! The TensorBoard file of a run.

use std::io;
use std::path::Path;

use anyhow::Context as _;
use pipeline_engine::{Measurement, StepValues};

use crate::tensorboard::EventFile;

/// An event file that ends at its first write error: a full disk costs points of a plot, not the run.
pub struct Recording {
    events: EventFile,
    on: bool,
}

impl Recording {
    /// Creates the file in `dir`. If `on` is false, nothing is added to it.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn create(dir: &Path, on: bool) -> anyhow::Result<Self> {
        let events = EventFile::create(dir).with_context(|| format!("cannot write {}", dir.display()))?;
        Ok(Self { events, on })
    }

    /// Adds the values of a step.
    pub fn step(&mut self, step: &StepValues<'_>) {
        self.write(|events| events.step(step));
    }

    /// Adds measurements.
    pub fn measured(&mut self, all: &[Measurement]) {
        self.write(|events| events.measured(all));
    }

    fn write(&mut self, write: impl FnOnce(&mut EventFile) -> io::Result<()>) {
        if self.on
            && let Err(error) = write(&mut self.events)
        {
            self.on = false;
            tracing::warn!("cannot write the TensorBoard file, which ends here: {error}");
        }
    }
}
