//! What a built stage does in an epoch.

use std::any::Any;
use std::sync::Arc;

use super::pass::Pass;
use crate::edge::{Inlet, Outlet};
use crate::error::StageError;

/// A stage with a thread of its own. It lives as long as the run and keeps its
/// state from epoch to epoch.
pub trait Stage<I, O>: Send {
    /// Runs one epoch: reads `input` to its end and writes to `output`.
    ///
    /// # Errors
    /// The first error of any stage stops the run and is shown with the stage's name.
    fn run(&mut self, pass: &Pass<'_>, input: Inlet<I>, output: Outlet<O>) -> Result<(), StageError>;

    /// Whether the stage can produce this epoch by itself, for instance from a
    /// cache. The engine asks the last stage first; the stages before the one
    /// that says yes are not started in this epoch.
    ///
    /// # Errors
    /// When it cannot tell.
    fn starts(&mut self, _pass: &Pass<'_>) -> Result<bool, StageError> {
        Ok(false)
    }

    /// Where training stands, if this stage is the one that knows.
    fn position(&self) -> Option<Position> {
        None
    }

    /// What probes measure: a handle to the thing being trained.
    fn subject(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }

    /// Called once after the last epoch: export, close files.
    ///
    /// # Errors
    /// What could not be written.
    fn finish(&mut self, _pass: &Pass<'_>) -> Result<(), StageError> {
        Ok(())
    }
}

/// A stage that turns each item into one item.
pub trait Map<I, O>: Send + Sync {
    /// A worker with its own scratch memory; one a thread and epoch.
    ///
    /// # Errors
    /// What keeps a worker from starting.
    fn worker(&self, pass: &Pass<'_>) -> Result<Box<dyn Worker<I, O> + '_>, StageError>;
}

/// One thread's share of a [`Map`].
pub trait Worker<I, O>: Send {
    /// Turns an item into what leaves the stage. The result must depend on the
    /// item alone, not on the items this worker saw before.
    ///
    /// # Errors
    /// As [`Stage::run`].
    fn map(&mut self, pass: &Pass<'_>, item: I) -> Result<O, StageError>;
}

impl<I, O, F> Worker<I, O> for F
where
    F: FnMut(&Pass<'_>, I) -> Result<O, StageError> + Send,
{
    fn map(&mut self, pass: &Pass<'_>, item: I) -> Result<O, StageError> {
        self(pass, item)
    }
}

/// Where training stands: so many whole epochs, and steps of the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Epochs that are finished.
    pub epochs: u32,
    /// Steps of the epoch after those that are finished.
    pub steps: u64,
    /// Steps in all.
    pub total_steps: u64,
}
