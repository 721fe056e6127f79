//! What can go wrong while a pipeline runs.

/// The run is being stopped; return to the engine with `?`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

/// Why a stage ended before its input did.
///
/// Any `std::error::Error` turns into [`StageError::Failed`] with `?`, and so
/// does the [`Stopped`] that a closed channel answers with.
#[derive(Debug)]
pub enum StageError {
    /// Another stage failed first; this one has nothing to say.
    Stopped,
    /// The user asked for a stop (Ctrl-C) and the stage is in a sound state.
    Interrupted,
    /// The stage itself failed.
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl StageError {
    /// The error that a panic is.
    pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Self::msg(format!("it panicked ({text}); this is a fault of the program, please report it"))
    }

    /// A failure that needs no error type of its own.
    pub fn msg(message: impl Into<String>) -> Self {
        Self::Failed(message.into().into())
    }
}

impl std::fmt::Display for StageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped because another stage failed"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Failed(error) => {
                write!(f, "{error}")?;
                let mut source = error.source();
                while let Some(cause) = source {
                    // `#[error(transparent)]` and eager messages repeat themselves; say it once.
                    let text = cause.to_string();
                    if !error.to_string().contains(&text) {
                        write!(f, ": {text}")?;
                    }
                    source = cause.source();
                }
                Ok(())
            }
        }
    }
}

impl From<Stopped> for StageError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for StageError {
    fn from(error: E) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A stage failed; the others were stopped.
    #[error("stage `{stage}` failed{}: {error}", .epoch.map(|e| format!(" in epoch {e}")).unwrap_or_default())]
    Stage {
        /// The kind of the stage.
        stage: String,
        /// The epoch it ran in; none while it was being built.
        epoch: Option<u32>,
        /// What it said.
        error: StageError,
    },
    /// Ctrl-C: everything in flight is on disk.
    #[error("interrupted{}", .checkpoint.as_deref().map(|c| format!("; checkpoint {c} is whole, go on with --resume")).unwrap_or_default())]
    Interrupted {
        /// The checkpoint that was written, if a stage writes any.
        checkpoint: Option<String>,
    },
    /// The run folder could not be made or written.
    #[error("{0}")]
    Folder(String),
    /// Too many samples were skipped, or the ledger of skipped samples cannot be written.
    #[error(transparent)]
    Ledger(#[from] crate::ledger::LedgerError),
}
