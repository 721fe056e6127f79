//! Files that are whole or absent: written beside their place, made durable, renamed.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file on its way to `path`. Until [`commit`](Self::commit) it lies beside it under a name of
/// its own; dropped before, it is removed.
#[derive(Debug)]
pub struct PartFile {
    file: File,
    beside: PathBuf,
    path: PathBuf,
    committed: bool,
}

impl PartFile {
    /// Starts a file that will be `path`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}.part", std::process::id()));
        let beside = PathBuf::from(beside);
        let file = File::create(&beside)?;
        // Shows other processes that this file is in use; not all file systems have locks.
        let _ = file.try_lock();
        Ok(Self { file, beside, path: path.to_owned(), committed: false })
    }

    /// Makes the content durable and renames the file into place: a reader sees the old file or
    /// the new one, never a part.
    ///
    /// # Errors
    /// What the file system says; the part is removed then, and an old file stays.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.beside, &self.path)?;
        self.committed = true;
        Ok(())
    }
}

impl Write for PartFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl io::Seek for PartFile {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.committed {
            let _ = std::fs::remove_file(&self.beside);
        }
    }
}

/// Writes `bytes` to `path` by a [`PartFile`].
///
/// # Errors
/// What the file system says.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut part = PartFile::create(path)?;
    part.write_all(bytes)?;
    part.commit()
}

/// Makes the names in a folder durable, so that renames in it survive a power cut. Does nothing on
/// Windows, which cannot open folders and does not need it.
///
/// # Errors
/// What the file system says.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(windows) { Ok(()) } else { File::open(folder)?.sync_all() }
}

/// Removes the [`PartFile`]s that killed processes left in `folder`; those that a living process
/// is writing stay.
pub fn remove_orphans(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let ours = path.to_str().and_then(|path| path.strip_suffix(".part")).and_then(|path| path.rsplit_once('.'));
        if ours.is_some_and(|(_, pid)| pid.parse::<u32>().is_ok())
            && File::open(&path).is_ok_and(|file| file.try_lock().is_ok())
        {
            let _ = std::fs::remove_file(&path);
        }
    }
}
