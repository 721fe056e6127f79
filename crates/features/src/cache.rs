//! The feature cache: a folder with one file per shard, part of it kept in memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use items::{CachedSample, FeatureMemory, Shard, ShardFault};
use parking_lot::Mutex;
use pipeline_engine::StageError;
use pipeline_engine::files::{remove_orphans, write_atomically};

use crate::entry::{Entry, EntryFault, EntryKey, VERSION};

/// The cache folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the cache folder {} cannot be created: {source}; set `cache` of stage `encode` to another folder, or to \"\" for none", .dir.display())]
pub struct CacheError {
    dir: PathBuf,
    source: std::io::Error,
}

/// Image features on disk, one Arrow IPC file per shard.
///
/// A file that is damaged, or was made from other weights, another preprocessing
/// or another version of the shard, counts as absent and is written again.
#[derive(Debug)]
pub struct FeatureCache {
    dir: PathBuf,
    /// Relative shards are relative to it.
    base: PathBuf,
    fingerprint: String,
    held_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, Known>,
    /// Bytes of the entries in memory.
    bytes: usize,
}

/// What is known about a file.
#[derive(Debug)]
enum Known {
    /// Valid, and in memory.
    Held(Arc<Entry>),
    /// Valid when it was read, but there is no room for it in memory.
    OnDisk,
    /// Stale or damaged; this has been logged.
    Unusable,
}

impl FeatureCache {
    /// Creates the folder `dir` if it does not exist. `fingerprint` identifies the encoder and
    /// everything that shapes its input; relative shard urls are relative to `base`. Up to
    /// `held_bytes` of entries stay in memory from epoch to epoch; others are read again.
    ///
    /// # Errors
    /// When the folder cannot be created.
    pub fn open(dir: &Path, base: &Path, fingerprint: String, held_bytes: usize) -> Result<Self, CacheError> {
        let fault = |source| CacheError { dir: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(fault)?;
        remove_orphans(dir);
        let base = std::path::absolute(base).unwrap_or_else(|_| base.to_owned());
        Ok(Self { dir: dir.to_owned(), base, fingerprint, held_bytes, state: Mutex::default() })
    }

    /// Whether the shard has a valid entry. Reads it once; after that it only checks that the file exists.
    pub fn has(&self, shard: &Shard) -> bool {
        let path = self.path(shard);
        let on_disk = matches!(self.state.lock().files.get(&path), Some(Known::OnDisk));
        if on_disk { path.is_file() } else { self.load(shard).is_some() }
    }

    /// The shard's entry, if it has a valid one.
    pub fn load(&self, shard: &Shard) -> Option<Arc<Entry>> {
        let path = self.path(shard);
        match self.state.lock().files.get(&path) {
            Some(Known::Held(entry)) => return Some(entry.clone()),
            Some(Known::Unusable) => return None,
            Some(Known::OnDisk) | None => {}
        }
        let fault = match Entry::read(&path, &self.key(shard)) {
            Ok(Some(entry)) => return Some(self.hold(path, entry)),
            Ok(None) => return None,
            Err(fault) => fault,
        };
        let file = path.display();
        match fault {
            EntryFault::Stale => tracing::info!(shard = shard.url, "{file} is not used: {fault}"),
            fault => tracing::warn!(shard = shard.url, "{file} is not used: {fault}; it will be written again"),
        }
        self.state.lock().files.insert(path, Known::Unusable);
        None
    }

    /// Writes the shard's entry, whole or not at all. A failure is only logged as a
    /// warning: the run is correct without the entry.
    pub fn store(&self, shard: &Shard, entry: Entry) {
        let path = self.path(shard);
        let written = entry
            .to_bytes(&self.key(shard))
            .and_then(|bytes| write_atomically(&path, &bytes).map_err(EntryFault::from));
        match written {
            Ok(()) => {
                self.hold(path, entry);
            }
            Err(fault) => {
                tracing::warn!(shard = shard.url, "its features cannot be cached in {}: {fault}", path.display());
            }
        }
    }

    fn hold(&self, path: PathBuf, entry: Entry) -> Arc<Entry> {
        let bytes = entry.bytes();
        let entry = Arc::new(entry);
        let mut state = self.state.lock();
        // The stage that reads shards may have loaded it meanwhile.
        if let Some(Known::Held(held)) = state.files.get(&path) {
            return held.clone();
        }
        if state.bytes + bytes <= self.held_bytes {
            state.bytes += bytes;
            state.files.insert(path, Known::Held(entry.clone()));
        } else {
            state.files.insert(path, Known::OnDisk);
        }
        entry
    }

    fn key(&self, shard: &Shard) -> EntryKey {
        let identity = shard.identity.clone();
        EntryKey { fingerprint: self.fingerprint.clone(), shard: self.place(shard), identity }
    }

    /// The shard's location, the same from whichever folder the config names it.
    fn place(&self, shard: &Shard) -> String {
        if shard.url.contains("://") { shard.url.clone() } else { self.base.join(&shard.url).display().to_string() }
    }

    /// The shard's file: a readable name, and a hash that tells encoders and shards
    /// apart. The entry of a new version of a shard replaces the old one.
    pub fn path(&self, shard: &Shard) -> PathBuf {
        let mut hasher = blake3::Hasher::new();
        for part in [&format!("{VERSION}"), &self.fingerprint, &self.place(shard)] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        let name = shard.url.rsplit(['/', '\\']).next().unwrap_or_default();
        let stem = name.split_once(".tar").map_or(name, |(stem, _)| stem);
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        let stem: String = stem.chars().take(64).map(plain).collect();
        self.dir.join(format!("{stem}-{}.arrow", &hasher.finalize().to_hex()[..20]))
    }
}

impl FeatureMemory for FeatureCache {
    fn recall(&self, shard: &Shard) -> Result<Option<(Vec<CachedSample>, Option<ShardFault>)>, StageError> {
        Ok(self.load(shard).map(|entry| (entry.samples.clone(), entry.fault.clone())))
    }
}
