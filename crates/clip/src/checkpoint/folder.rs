//! Folders that are written beside their place and renamed into it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Whether both are there and are one folder.
pub(super) fn same(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// Copies files, following links to files, and folders that are not links. `inside` is the path
/// of `from` inside the folder that is copied. A file that cannot be read is reported and skipped: it
/// has nothing to do with the weights, and a run that trained for hours should not end without them.
pub(super) fn copy(
    from: &Path,
    to: &Path,
    inside: &Path,
    stale: &dyn Fn(&OsStr) -> bool,
    left_out: &mut Vec<PathBuf>,
) -> Result<(), Error> {
    let mut entries: Vec<_> =
        fs::read_dir(from).and_then(Iterator::collect::<Result<_, _>>).map_err(Error::io(from))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let (source, target) = (entry.path(), to.join(&name));
        // Deeper down, the same name is another model's.
        if inside.as_os_str().is_empty() && stale(&name) {
            left_out.push(inside.join(&name));
            continue;
        }
        let readable = match entry.file_type().map_err(Error::io(&source))? {
            kind if kind.is_dir() => {
                fs::create_dir(&target).map_err(Error::io(&target))?;
                copy(&source, &target, &inside.join(&name), stale, left_out)?;
                continue;
            }
            // To open a fifo would wait for its writer.
            _ => fs::metadata(&source).and_then(|found| match found.is_file() {
                true => fs::File::open(&source).map(|_| true),
                false => Ok(false),
            }),
        };
        match readable {
            Ok(false) => {}
            // The source can be read: it is the disk that is full.
            Ok(true) => {
                fs::copy(&source, &target).map_err(Error::io(&target))?;
                make_writable(&target)?;
            }
            Err(error) => tracing::warn!("the copy of the checkpoint lacks {}: {error}", source.display()),
        }
    }
    Ok(())
}

/// `fs::copy` keeps permissions, and downloaded checkpoints are often read-only.
fn make_writable(path: &Path) -> Result<(), Error> {
    let metadata = fs::metadata(path).map_err(Error::io(path))?;
    let mut permissions = metadata.permissions();
    if permissions.readonly() {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            permissions.set_mode(permissions.mode() | 0o200);
        }
        #[cfg(not(unix))]
        permissions.set_readonly(false);
        fs::set_permissions(path, permissions).map_err(Error::io(path))?;
    }
    Ok(())
}

/// A folder that is filled beside its place and renamed into it when it is whole. Dropped
/// before that, it is removed.
pub(super) struct Staged {
    pub path: PathBuf,
    place: PathBuf,
}

impl Staged {
    pub fn new(place: &Path) -> Result<Self, Error> {
        let path = beside(place, "partial")?;
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).map_err(Error::io(&path))?;
        Ok(Self { path, place: place.to_owned() })
    }

    pub fn put_in_place(self) -> Result<(), Error> {
        let old = beside(&self.place, "old")?;
        if self.place.exists() {
            let _ = fs::remove_dir_all(&old);
            fs::rename(&self.place, &old).map_err(Error::io(&self.place))?;
        }
        fs::rename(&self.path, &self.place).map_err(Error::io(&self.place))?;
        let _ = fs::remove_dir_all(&old);
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Gone already when it was put in place.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// `dir/name` to `dir/.name.suffix`: the same file system, and out of sight.
fn beside(place: &Path, suffix: &str) -> Result<PathBuf, Error> {
    match place.file_name() {
        Some(name) => Ok(place.with_file_name(format!(".{}.{suffix}", name.to_string_lossy()))),
        None => Err(Error::Input(format!("{}: not the name of a folder", place.display()))),
    }
}
