//! Writes shards: a shard is complete or does not exist.

use std::io::{BufWriter, IntoInnerError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use pipeline_engine::files::PartFile;
use tar::{Builder, Header};

/// Writes `PREFIX-000000.tar` and so on.
pub struct Shards {
    dir: PathBuf,
    prefix: String,
    max_count: u64,
    max_size: u64,
    /// Shards that existed before; those that are not replaced are deleted at the end.
    old: Vec<PathBuf>,
    open: Option<Open>,
    packed: Packed,
}

/// Totals of the finished shards.
#[derive(Debug, Clone, Copy, Default)]
pub struct Packed {
    pub shards: usize,
    pub samples: u64,
    pub bytes: u64,
}

/// The current shard. An error before it is finished leaves no part of it.
struct Open {
    builder: Builder<BufWriter<PartFile>>,
    path: PathBuf,
    samples: u64,
    bytes: u64,
}

/// Bytes of the two empty blocks at the end of a tar. Most programs write more of them; these shards have two.
const END: u64 = 1024;

impl Shards {
    /// Creates the folder `dir`.
    ///
    /// # Errors
    /// Shards of this prefix exist and `force` is not set; what the file system reports.
    pub fn open(dir: &Path, prefix: &str, max_count: u64, max_size: u64, force: bool) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create the folder {}", dir.display()))?;
        let mut old = Vec::new();
        for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read the folder {}", dir.display()))? {
            let path = entry.with_context(|| dir.display().to_string())?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let number = name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-')?.strip_suffix(".tar"));
            if number.is_some_and(|number| number.len() == 6 && number.bytes().all(|b| b.is_ascii_digit())) {
                old.push(path);
            }
        }
        old.sort();
        if let Some(first) = old.first().filter(|_| !force) {
            bail!("{} already exists; choose another --prefix or --out, or replace it with --force", first.display());
        }
        let packed = Packed::default();
        Ok(Self { dir: dir.to_owned(), prefix: prefix.to_owned(), max_count, max_size, old, open: None, packed })
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.packed.bytes + self.open.as_ref().map_or(0, |open| open.bytes)
    }

    /// Adds a sample: its members by extension.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn add(&mut self, key: &str, members: &[(&str, &[u8])]) -> Result<()> {
        let bytes: u64 = members.iter().map(|(_, bytes)| 512 + (bytes.len() as u64).next_multiple_of(512)).sum();
        let full = |open: &Open| open.samples >= self.max_count || open.bytes + bytes + END > self.max_size;
        if self.open.as_ref().is_some_and(full) {
            self.close()?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        for (extension, bytes) in members {
            let mut header = Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(0);
            let name = format!("{key}.{extension}");
            let added = open.builder.append_data(&mut header, &name, *bytes);
            added.with_context(|| format!("cannot write {name} to {}", open.path.display()))?;
        }
        open.samples += 1;
        open.bytes += bytes;
        self.open = Some(open);
        Ok(())
    }

    fn begin(&mut self) -> Result<Open> {
        let path = self.dir.join(format!("{}-{:06}.tar", self.prefix, self.packed.shards));
        let file = PartFile::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Open { builder: Builder::new(BufWriter::with_capacity(1 << 20, file)), path, samples: 0, bytes: 0 })
    }

    fn close(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let Open { builder, path, samples, bytes } = open;
        let written = builder
            .into_inner()
            .and_then(|writer| writer.into_inner().map_err(IntoInnerError::into_error))
            .and_then(PartFile::commit);
        written.with_context(|| format!("cannot write {}", path.display()))?;
        self.old.retain(|old| *old != path);
        self.packed.shards += 1;
        self.packed.samples += samples;
        self.packed.bytes += bytes + END;
        Ok(())
    }

    /// Finishes the last shard and deletes the old shards that were not replaced.
    ///
    /// # Errors
    /// What the file system reports.
    pub fn finish(mut self) -> Result<Packed> {
        self.close()?;
        for old in &self.old {
            std::fs::remove_file(old).with_context(|| format!("cannot delete {}", old.display()))?;
        }
        Ok(self.packed)
    }
}
