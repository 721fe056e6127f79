//! Files that are whole or absent: written beside their place, made durable, renamed. Devices, pipes and open files such
//! as `/dev/stdout` are written directly.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file on its way to its place. Until [`commit`](Self::commit) it lies beside it under a name of
/// its own; dropped before, it is removed.
///
/// A device, a pipe or an open file of a process (`/dev/stdout`, `>(…)`) must not be replaced: it gets the bytes as they
/// come.
#[derive(Debug)]
pub struct PartFile {
    file: File,
    /// `None` where the file is its place.
    part: Option<Part>,
}

/// The path of the unfinished file, and its final path.
#[derive(Debug)]
struct Part {
    beside: PathBuf,
    path: PathBuf,
}

impl PartFile {
    /// Starts a file that will be `path`; if that is a link, what it points to.
    ///
    /// # Errors
    /// When the folder cannot be written, or the path is a folder.
    pub fn create(path: &Path) -> io::Result<Self> {
        let (path, old) = match Place::of(path)? {
            Place::File(path, old) => (path, old),
            Place::Stream(path) => return Ok(Self { file: open_stream(&path)?, part: None }),
        };
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}.part", std::process::id()));
        let beside = PathBuf::from(beside);
        let file = File::create(&beside)?;
        // Shows other processes that this file is in use; not all file systems have locks.
        let _ = file.try_lock();
        let part = Self { file, part: Some(Part { beside, path }) };
        if let Some(old) = old {
            part.keep_owner_and_mode(&old);
        }
        Ok(part)
    }

    /// Gives the new file the owner and the mode of the old one, as far as the file system allows.
    fn keep_owner_and_mode(&self, old: &Metadata) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let _ = std::os::unix::fs::fchown(&self.file, Some(old.uid()), Some(old.gid()));
        }
        let _ = self.file.set_permissions(old.permissions());
    }

    /// Makes the content durable and renames the file into place: a reader sees the old file or
    /// the new one, never a part.
    ///
    /// # Errors
    /// What the file system says; the part is removed then, and an old file stays.
    pub fn commit(mut self) -> io::Result<()> {
        if let Some(part) = &self.part {
            self.file.sync_all()?;
            std::fs::rename(&part.beside, &part.path)?;
            self.part = None;
        }
        Ok(())
    }
}

/// What a path leads to, links followed.
enum Place {
    /// A regular file, or none yet.
    File(PathBuf, Option<Metadata>),
    /// Neither a regular file nor a folder.
    Stream(PathBuf),
}

/// Links that are followed from one path; Linux has the same limit.
const MAX_LINKS: usize = 40;

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            let found = match std::fs::symlink_metadata(&path) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::File(path, None)),
                Err(error) => return Err(error),
            };
            let kind = found.file_type();
            if kind.is_file() {
                return Ok(Self::File(path, Some(found)));
            } else if kind.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            } else if !kind.is_symlink() || is_handle(&path) {
                return Ok(Self::Stream(path));
            }
            let target = std::fs::read_link(&path)?;
            path = path.parent().unwrap_or(Path::new("")).join(target);
        }
        Err(io::Error::other("too many links, or links in a circle"))
    }
}

/// True if a link stands for an open file of a process. Linux shows these as links that cannot be followed by name.
fn is_handle(path: &Path) -> bool {
    let is_number = path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit));
    let is_listed = path
        .parent()
        .is_some_and(|folder| folder.ends_with("fd") && (folder.starts_with("/proc") || folder.starts_with("/dev")));
    is_number && is_listed
}

/// True if bytes written to `path` cannot be changed afterwards: `/dev/stdout`, a pipe, a device.
///
/// # Errors
/// When the path cannot be looked at, or is a folder.
pub fn is_stream(path: &Path) -> io::Result<bool> {
    Ok(matches!(Place::of(path)?, Place::Stream(_)))
}

fn open_stream(path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    if ["/proc/self/fd/1", "/dev/fd/1"].iter().any(|own| path == Path::new(own)) {
        // Opened by this name, a file would be overwritten from its start, and a socket cannot be opened.
        use std::os::fd::AsFd;
        return Ok(io::stdout().as_fd().try_clone_to_owned()?.into());
    }
    // A file that a process has open may have content already.
    OpenOptions::new().append(true).open(path)
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
        if let Some(part) = &self.part {
            let _ = std::fs::remove_file(&part.beside);
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

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};

    use super::*;

    fn entries(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn a_file_is_whole_or_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        write_atomically(&path, b"old").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        let mut part = PartFile::create(&path).unwrap();
        part.write_all(b"new").unwrap();
        drop(part);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        write_atomically(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(entries(dir.path()), 1);
        assert_eq!(write_atomically(dir.path(), b"x").unwrap_err().kind(), io::ErrorKind::IsADirectory);
    }

    #[test]
    fn links_stay_and_what_they_point_to_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("data")).unwrap();
        symlink("data/file", at("a")).unwrap();
        symlink(at("a"), at("b")).unwrap();
        for text in ["not there yet", "there"] {
            write_atomically(&at("b"), text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(at("data/file")).unwrap(), text);
        }
        assert!(at("a").is_symlink() && at("b").is_symlink() && entries(&at("data")) == 1);
        symlink(at("c"), at("d")).unwrap();
        symlink(at("d"), at("c")).unwrap();
        assert!(write_atomically(&at("c"), b"x").unwrap_err().to_string().contains("circle"));
    }

    #[test]
    fn a_pipe_and_a_device_are_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(is_stream(&pipe).unwrap() && !is_stream(&dir.path().join("file")).unwrap());
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::read_to_string(pipe).unwrap()
        });
        write_atomically(&pipe, b"through").unwrap();
        assert_eq!(reader.join().unwrap(), "through");
        assert!(std::fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo() && entries(dir.path()) == 1);

        // A null device of the test's own, where it may make one: nobody must lose the machine's.
        let null = dir.path().join("null");
        let made = std::process::Command::new("mknod").arg(&null).args(["c", "1", "3"]).output().unwrap();
        if made.status.success() && OpenOptions::new().write(true).open(&null).is_ok() {
            write_atomically(&null, b"gone").unwrap();
            assert!(std::fs::symlink_metadata(&null).unwrap().file_type().is_char_device());
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_open_file_of_a_process_is_written_at_its_end() {
        use std::os::fd::AsRawFd;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = File::create(&path).unwrap();
        log.write_all(b"one ").unwrap();
        for folder in ["/dev/fd", "/proc/self/fd"] {
            let handle = Path::new(folder).join(log.as_raw_fd().to_string());
            assert!(is_stream(&handle).unwrap());
            write_atomically(&handle, b"more ").unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one more more ");
        assert_eq!(entries(dir.path()), 1);
    }
}
