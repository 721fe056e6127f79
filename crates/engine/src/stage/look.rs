//! What `check` lets a stage see of its surroundings before anything is built.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::services::Services;
use super::source::Source;
use crate::config::{Diagnostic, Findings, RunOptions, Table};
use crate::error::StageError;

/// A look at what the options of a stage, a probe or a table name, and where faults are reported.
/// Nothing is run, and no more is read than headers and lists of files.
pub struct Look<'a> {
    /// `[run]`: seed, epochs, device.
    pub run: &'a RunOptions,
    /// Relative paths in the config are relative to this folder.
    pub base: &'a Path,
    pub(crate) sections: &'a Services,
    pub(crate) shared: &'a Services,
    pub(crate) table: &'a Table,
    /// `[run]` as written, if it is.
    pub(crate) run_table: Option<&'a Table>,
    pub(crate) findings: &'a mut Findings,
    /// Finds what is wrong with the data of a side run.
    pub(crate) sources: &'a dyn Fn(&Source) -> Vec<Diagnostic>,
}

impl Look<'_> {
    /// The options of a table that belongs to no stage, such as `[model]`.
    pub fn section<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.sections.get::<T>()
    }

    /// A path of the config, made absolute.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.base.join(path)
    }

    /// Makes a thing once: what is opened here, the stages find when they are built.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn once<T: Any + Send + Sync>(
        &self,
        make: impl FnOnce() -> Result<T, StageError>,
    ) -> Result<Arc<T>, StageError> {
        self.shared.get_or_make(make)
    }

    /// Reports what is wrong with `option` (`urls`, or `visual.share` for an option of a part), and
    /// what to do; an empty `help` gives no advice.
    pub fn fault(&mut self, option: &str, message: impl Into<String>, help: impl Into<String>) {
        let table = self.table;
        self.fault_in(table, option, message, help);
    }

    /// As [`fault`](Self::fault), for an option of `[run]` that the stage cannot work with.
    pub fn fault_of_run(&mut self, option: &str, message: impl Into<String>, help: impl Into<String>) {
        let table = self.run_table.unwrap_or(self.table);
        self.fault_in(table, option, message, help);
    }

    fn fault_in(&mut self, table: &Table, option: &str, message: impl Into<String>, help: impl Into<String>) {
        let found = match option.split_once('.') {
            Some((part, option)) => table.tables.get(part).and_then(|table| table.entries.get(option)),
            None => table.entries.get(option),
        };
        let at = found.map_or(&table.at, |found| &found.at).clone();
        let help = Some(help.into()).filter(|help| !help.is_empty());
        self.findings.faults.push(Diagnostic { message: message.into(), at, help });
    }

    /// Lets the kind of stage that reads `source` verify it as the first stage of this pipeline, and
    /// reports what it finds for `option`: a probe checks the data of its side run.
    pub fn source(&mut self, option: &str, source: &Source) {
        for Diagnostic { message, help, .. } in (self.sources)(source) {
            self.fault(option, message, help.unwrap_or_default());
        }
    }

    /// Reports what is no fault, but may not be what was meant.
    pub fn note(&mut self, message: impl Into<String>) {
        self.findings.notes.push(Diagnostic::new(message, self.table.at.clone()));
    }
}
