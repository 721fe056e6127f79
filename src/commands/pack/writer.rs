//! Shards, whole or not there.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tar::{Builder, Header};

/// Writes `PREFIX-000000.tar` and so on.
pub struct Shards {
    dir: PathBuf,
    prefix: String,
    max_count: u64,
    max_size: u64,
    /// Shards that were there before; what is not replaced is removed at the end.
    old: Vec<PathBuf>,
    open: Option<Open>,
    packed: Packed,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Packed {
    pub shards: usize,
    pub samples: u64,
    pub bytes: u64,
}

/// The shard that is being written, under another name.
struct Open {
    builder: Builder<BufWriter<File>>,
    path: PathBuf,
    beside: PathBuf,
    samples: u64,
    bytes: u64,
}

/// A tar ends with two empty blocks, filled up to ten in all by most who write it; ours has the two.
const END: u64 = 1024;

impl Shards {
    /// Makes the folder `dir`.
    ///
    /// # Errors
    /// When there are shards of this prefix and `force` is not set.
    pub fn open(dir: &Path, prefix: &str, max_count: u64, max_size: u64, force: bool) -> Result<Self> {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
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
            bail!("{} is there already; choose another --prefix or --out, or replace it with --force", first.display());
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
    /// What the file system says.
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
            added.with_context(|| format!("cannot write {name} to {}", open.beside.display()))?;
        }
        open.samples += 1;
        open.bytes += bytes;
        self.open = Some(open);
        Ok(())
    }

    fn begin(&mut self) -> Result<Open> {
        let path = self.dir.join(format!("{}-{:06}.tar", self.prefix, self.packed.shards));
        let beside = path.with_extension(format!("tar.{}.part", std::process::id()));
        let file = File::create(&beside).with_context(|| format!("cannot write {}", beside.display()))?;
        Ok(Open { builder: Builder::new(BufWriter::with_capacity(1 << 20, file)), path, beside, samples: 0, bytes: 0 })
    }

    fn close(&mut self) -> Result<()> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let Open { builder, path, beside, samples, bytes } = open;
        let written = (|| {
            let mut writer = builder.into_inner()?;
            writer.flush()?;
            writer.get_ref().sync_all()?;
            std::fs::rename(&beside, &path)
        })();
        if written.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        written.with_context(|| format!("cannot write {}", path.display()))?;
        self.old.retain(|old| *old != path);
        self.packed.shards += 1;
        self.packed.samples += samples;
        self.packed.bytes += bytes + END;
        Ok(())
    }

    /// Closes the last shard, and removes what was replaced.
    ///
    /// # Errors
    /// What the file system says.
    pub fn finish(mut self) -> Result<Packed> {
        self.close()?;
        for old in &self.old {
            std::fs::remove_file(old).with_context(|| format!("cannot remove {}", old.display()))?;
        }
        Ok(self.packed)
    }
}

impl Drop for Shards {
    /// An error half way leaves no part of a shard.
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            let _ = std::fs::remove_file(&open.beside);
        }
    }
}
