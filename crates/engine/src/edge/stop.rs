//! How the first failure of a run stops all of its stages.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::error::StageError;

/// Raised by the first failure, seen by all stages.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    raised: AtomicBool,
    cut: AtomicBool,
    first: Mutex<Option<(usize, StageError)>>,
}

impl Stop {
    pub fn raised(&self) -> bool {
        self.raised.load(Relaxed)
    }

    /// Keeps the first error and the number of the stage it came from.
    pub fn fail(&self, stage: usize, error: StageError) {
        if !matches!(error, StageError::Stopped) {
            self.first.lock().get_or_insert((stage, error));
        }
        self.raised.store(true, Relaxed);
    }

    /// Ends the epoch early on purpose: nobody failed.
    pub fn cut(&self) {
        self.cut.store(true, Relaxed);
        self.raised.store(true, Relaxed);
    }

    /// Whether it was ended early on purpose.
    pub fn was_cut(&self) -> bool {
        self.cut.load(Relaxed)
    }

    pub fn take(&self) -> Option<(usize, StageError)> {
        self.first.lock().take()
    }
}
