//! What a stage or a probe may use while it is built.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::contract::Fact;
use super::probe::Side;
use super::run_dir::RunDir;
use super::services::Services;
use crate::config::RunOptions;
use crate::error::StageError;

/// What a stage may use while it is built.
pub struct Build<'a> {
    /// `[run]`: seed, epochs, device.
    pub run: &'a RunOptions,
    /// Relative paths in the config are relative to this folder.
    pub base: &'a std::path::Path,
    /// What stages offer to one another; look others up when running, not here,
    /// since the stages after this one are not built yet.
    pub services: &'a Services,
    /// The run folder; none in a side run.
    pub dir: Option<&'a RunDir>,
    /// The checkpoint to go on from, with `--resume`.
    pub resume: Option<PathBuf>,
    /// Runs the first stages of this pipeline over other data; none in a side run.
    pub side: Option<Arc<dyn Side>>,
    pub(crate) sections: &'a Services,
    /// What is made once for the run and its side runs.
    pub(crate) shared: &'a Services,
    /// What the stages of the pipeline need of one another.
    pub(crate) needed: &'a [Fact],
    pub(crate) inputs: &'a Inputs,
}

impl Build<'_> {
    /// The options of a table that belongs to no stage, such as `[model]`.
    ///
    /// # Errors
    /// When the config has no such table.
    pub fn section<T: Any + Send + Sync>(&self, name: &str) -> Result<Arc<T>, StageError> {
        self.sections.get::<T>().ok_or_else(|| StageError::msg(format!("the config has no [{name}] table; add one")))
    }

    /// Whether a stage of this pipeline needs `fact`: who can give it only at a cost asks first.
    pub fn is_needed(&self, fact: &Fact) -> bool {
        self.needed.contains(fact)
    }

    /// Makes a thing once for the run and its side runs: a checkpoint is opened once, whoever
    /// asks first.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn once<T: Any + Send + Sync>(
        &self,
        make: impl FnOnce() -> Result<T, StageError>,
    ) -> Result<Arc<T>, StageError> {
        self.shared.get_or_make(make)
    }

    /// Notes what the stage reads beside its options: a name for people ("shard `a.tar`")
    /// and a text that changes when the content does. A resumed run must find the same.
    pub fn input(&self, name: impl Into<String>, version: impl Into<String>) {
        self.inputs.note(name.into(), version.into());
    }

    /// A path of the config, made absolute.
    pub fn path(&self, path: impl AsRef<std::path::Path>) -> PathBuf {
        self.base.join(path)
    }
}

/// What the stages of a run read: a name for people, and a text that changes when the content does.
#[derive(Debug, Default)]
pub(crate) struct Inputs(pub Mutex<BTreeMap<String, String>>);

impl Inputs {
    pub fn note(&self, name: String, version: String) {
        self.0.lock().insert(name, version);
    }
}
