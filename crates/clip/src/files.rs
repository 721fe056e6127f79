//! Questions to a folder, with the system's own words where it refuses to answer.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::Error;

/// Whether there is a file at this path, links followed.
///
/// `Path::is_file` says no where the system does not say: a folder that may not be read would pass for
/// an empty one.
///
/// # Errors
/// [`Error::Io`] if the system does not say, such as for want of permission, or for a link whose target
/// is missing.
pub(crate) fn has(path: &Path) -> Result<bool, Error> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.is_file()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            match fs::symlink_metadata(path) {
                Ok(_) => Err(Error::io(path)(std::io::Error::new(
                    error.kind(),
                    "it is a link to a file that does not exist; fetch the file again",
                ))),
                Err(_) => Ok(false),
            }
        }
        Err(error) => Err(Error::io(path)(error)),
    }
}

/// Whether a message about this path is the first of its kind: a folder is opened several times in a
/// run, and one warning is enough.
pub(crate) fn first_time(kind: &'static str, path: &Path) -> bool {
    static SEEN: Mutex<BTreeSet<(&str, PathBuf)>> = Mutex::new(BTreeSet::new());
    // An insert is the only write: a poisoned lock still holds whole entries.
    SEEN.lock().unwrap_or_else(PoisonError::into_inner).insert((kind, path.to_owned()))
}
