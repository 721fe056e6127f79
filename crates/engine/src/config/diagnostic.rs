//! What is wrong with a config, and where.

use std::fmt::{self, Display};
use std::ops::Range;
use std::sync::Arc;

/// A config file, kept for messages.
#[derive(Debug)]
pub struct SourceFile {
    /// The path as the user gave it.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Where a value came from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// Bytes of a file.
    File(Arc<SourceFile>, Range<usize>),
    /// `--set` on the command line, or a preset: its text.
    Given(String),
}

impl Origin {
    /// Line and column, counted from 1, if it stands in a file.
    pub fn line_column(&self) -> Option<(usize, usize)> {
        let Self::File(file, span) = self else { return None };
        let before = file.text.get(..span.start)?;
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
        Some((line, column))
    }
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.line_column()) {
            (Self::File(file, _), Some((line, column))) => write!(f, "{}:{line}:{column}", file.name),
            (Self::File(file, _), None) => f.write_str(&file.name),
            (Self::Given(text), _) => f.write_str(text),
        }
    }
}

/// One fault of a config.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub at: Origin,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A fault without advice.
    pub fn new(message: impl Into<String>, at: Origin) -> Self {
        Self { message: message.into(), at, help: None }
    }

    /// Adds what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

/// What was found in a config.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// What keeps it from running.
    pub faults: Vec<Diagnostic>,
    /// What is no fault, but may not be what was meant: a table without effect.
    pub notes: Vec<Diagnostic>,
}
