//! The folder that a run leaves behind.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::error::RunError;
use crate::files::{remove_orphans, write_atomically};

/// How the resolved config of every run folder begins.
pub const MARK: &str = "# A run of pipeline";

/// Held while a process uses the folder.
const LOCK: &str = ".lock";

/// `runs/<name>/`.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
    /// The run that this one takes the place of, set aside until this one has begun.
    replaced: Option<PathBuf>,
    /// Let go by the system when the process ends, however it ends.
    _lock: Arc<File>,
}

impl RunDir {
    /// Makes the folder of a new run, or opens that of a run to be resumed.
    ///
    /// With `force`, a run of this name is set aside, and removed when the new one has
    /// begun; if that fails before, it comes back.
    ///
    /// # Errors
    /// When there is a run of this name already (and neither `resume` nor `force`
    /// is set), when there is none to resume, when another process is at it, or when the
    /// folder cannot be written.
    pub fn open(path: &Path, resume: bool, force: bool) -> Result<Self, RunError> {
        let shown = path.display();
        let cannot = |what: &str, error: io::Error| {
            RunError::Folder(format!("cannot {what} {shown}: {error}; choose another place with --set run.dir=DIR"))
        };
        let aside = aside(path)?;
        if path.exists() {
            // Nobody else may be at it while it is looked at and moved.
            let lock = lock(path)?;
            if aside.exists() {
                drop(lock);
                settle(path, &aside).map_err(|e| cannot("tidy up", e))?;
            }
        } else if aside.exists() {
            settle(path, &aside).map_err(|e| cannot("tidy up", e))?;
        }

        let exists = path.exists();
        if resume && !exists {
            return Err(RunError::Folder(format!(
                "there is no run to resume in {shown}; leave --resume out, or name the run with --set run.name=NAME"
            )));
        }
        let mut replaced = None;
        if exists && !resume && !is_empty(path) {
            if !force {
                return Err(RunError::Folder(format!(
                    "{shown} exists already; go on with it (--resume), start it anew (--force), or choose another name (--set run.name=NAME)"
                )));
            }
            // Only what a run writes is removed: `force` must not empty a folder that is something else.
            let config = std::fs::read_to_string(path.join("pipeline.toml")).unwrap_or_default();
            if !config.starts_with(MARK) {
                return Err(RunError::Folder(format!(
                    "{shown} is no run folder (its pipeline.toml, if any, is not one that a run wrote); choose another --set run.name=NAME"
                )));
            }
            std::fs::rename(path, &aside).map_err(|e| cannot("set aside", e))?;
            replaced = Some(aside);
        }
        std::fs::create_dir_all(path).map_err(|e| cannot("create", e))?;
        remove_orphans(path);
        Ok(Self { path: path.to_owned(), replaced, _lock: Arc::new(lock(path)?) })
    }

    /// Deletes the run that this one replaces; called once this one has started.
    pub(crate) fn begun(&self) {
        if let Some(old) = &self.replaced
            && let Err(error) = std::fs::remove_dir_all(old)
        {
            tracing::warn!("cannot remove {}, the run that was replaced: {error}", old.display());
        }
    }

    /// The run could not begin. A folder without anything of a run is taken away again, and
    /// the run that was to be replaced comes back.
    pub(crate) fn discard(&self) {
        if self.replaced.is_some() {
            let _ = std::fs::remove_dir_all(&self.path);
        } else if is_empty(&self.path) {
            let _ = std::fs::remove_file(self.path.join(LOCK));
            let _ = std::fs::remove_dir(&self.path);
        }
        if let Some(old) = &self.replaced
            && let Err(error) = std::fs::rename(old, &self.path)
        {
            tracing::warn!("the old run is in {} and cannot be moved back: {error}", old.display());
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file or folder in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file of the run, whole or not at all.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), RunError> {
        let path = self.join(name);
        write_atomically(&path, bytes).map_err(|e| RunError::Folder(format!("cannot write {}: {e}", path.display())))
    }

    /// Adds lines of JSON to a file of the run.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn append<T: Serialize>(&self, name: &str, lines: &[T]) -> Result<(), RunError> {
        let path = self.join(name);
        let broken = |e: io::Error| RunError::Folder(format!("cannot write {}: {e}", path.display()));
        let mut text = String::new();
        // A kill may have left half a line; it must not swallow the next one.
        if std::fs::read(&path).is_ok_and(|old| old.last().is_some_and(|byte| *byte != b'\n')) {
            text.push('\n');
        }
        for line in lines {
            text.push_str(&serde_json::to_string(line).map_err(|e| broken(e.into()))?);
            text.push('\n');
        }
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).map_err(broken)?;
        file.write_all(text.as_bytes()).map_err(broken)
    }
}

/// `runs/name` to `runs/.name.replaced`: where a run waits that another is to replace.
fn aside(path: &Path) -> Result<PathBuf, RunError> {
    match path.file_name() {
        Some(name) => Ok(path.with_file_name(format!(".{}.replaced", name.to_string_lossy()))),
        None => Err(RunError::Folder(format!("{} is not the name of a folder", path.display()))),
    }
}

/// After a kill between setting a run aside and removing it: the new run stays if it had
/// begun, else the old one comes back.
fn settle(path: &Path, aside: &Path) -> io::Result<()> {
    if path.join("pipeline.toml").exists() {
        return std::fs::remove_dir_all(aside);
    }
    if path.exists() {
        std::fs::remove_dir_all(path)?;
    }
    std::fs::rename(aside, path)
}

/// Whether the folder holds nothing but the lock file, as a run leaves it that was killed before it began.
fn is_empty(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|entries| entries.flatten().all(|entry| entry.file_name() == LOCK))
}

/// Two processes in one run folder would undo each other's checkpoints.
fn lock(path: &Path) -> Result<File, RunError> {
    let place = path.join(LOCK);
    let cannot = |error: io::Error| {
        RunError::Folder(format!(
            "cannot write {}: {error}; choose another place with --set run.dir=DIR",
            place.display()
        ))
    };
    let file = File::options().create(true).append(true).open(&place).map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RunError::Folder(format!(
            "another process is running in {}; wait for its end, or choose another name (--set run.name=NAME)",
            path.display()
        ))),
        // Some network file systems have no locks.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(cannot(error)),
    }
}
