//! The folder that a run leaves behind, and files that are whole or not there.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::RunError;

/// How the resolved config of every run folder begins.
pub const MARK: &str = "# A run of pipeline";

/// `runs/<name>/`.
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes the folder of a new run, or opens that of a run to be resumed.
    ///
    /// # Errors
    /// When there is a run of this name already (and neither `resume` nor `force`
    /// is set), when there is none to resume, or when the folder cannot be written.
    pub fn open(path: &Path, resume: bool, force: bool) -> Result<Self, RunError> {
        let shown = path.display();
        let exists = path.exists();
        if resume && !exists {
            return Err(RunError::Folder(format!(
                "there is no run to resume in {shown}; leave --resume out, or name the run with --set run.name=NAME"
            )));
        }
        // What a killed run left before it began is no run.
        let empty = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        if exists && !resume && !empty {
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
            std::fs::remove_dir_all(path).map_err(|e| RunError::Folder(format!("cannot remove {shown}: {e}")))?;
        }
        std::fs::create_dir_all(path).map_err(|e| {
            RunError::Folder(format!("cannot create {shown}: {e}; choose another place with --set run.dir=DIR"))
        })?;
        Ok(Self { path: path.to_owned() })
    }

    /// Takes the folder away again if nothing was written: a run that never began leaves nothing.
    pub(crate) fn discard(&self) {
        // Fails, as it should, when the folder is not empty.
        let _ = std::fs::remove_dir(&self.path);
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

/// Writes `bytes` beside `path`, makes them durable, and renames: a reader sees
/// the old file or the new one, never a part.
///
/// # Errors
/// What the file system says.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}.part", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = (|| {
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}
