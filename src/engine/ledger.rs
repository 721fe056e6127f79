//! The skip ledger: every sample that was not used, with the reason.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::channel::lock;

/// One line of `skipped.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Skip {
    /// The shard's url.
    pub shard: String,
    /// The sample's key; empty when it is the shard itself.
    pub key: String,
    /// The kind of the stage that could not use it.
    pub stage: String,
    /// Why, in words.
    pub reason: String,
}

/// Too much was skipped, or the ledger cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// More samples than `run.max_skipped` were not usable.
    #[error(
        "{count} samples were skipped, more than run.max_skipped = {limit}; the last one was {} of {}: {}. \
         Look at {}, mend the data or raise run.max_skipped",
        .last.key, .last.shard, .last.reason, .ledger
    )]
    TooMany {
        /// How many so far.
        count: u64,
        /// How many the config allows.
        limit: u64,
        /// The one that was too much.
        last: Box<Skip>,
        /// Where all of them stand.
        ledger: String,
    },
    /// The file cannot be written.
    #[error("cannot write {}: {source}", .path.display())]
    Write {
        /// The ledger.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Writes each skipped sample down once, and counts.
///
/// A sample that is skipped in every epoch is one line: the ledger says what is
/// wrong with the data, not how often it was met.
#[derive(Debug)]
pub struct Ledger {
    path: Option<PathBuf>,
    limit: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    file: Option<std::fs::File>,
    seen: HashSet<blake3::Hash>,
    by_reason: BTreeMap<(String, String), u64>,
    count: u64,
}

impl Ledger {
    /// A ledger in `path` (in memory only without one) that allows `limit` skips.
    /// Lines that are already in the file count, so that a resumed run does not write them again.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: Option<&Path>, limit: u64) -> Result<Self, LedgerError> {
        let ledger = Self { path: path.map(Path::to_owned), limit, state: Mutex::default() };
        if let Some(path) = path {
            let broken = |source| LedgerError::Write { path: path.to_owned(), source };
            let text = std::fs::read_to_string(path).unwrap_or_default();
            let mut state = lock(&ledger.state);
            for skip in text.lines().filter_map(|line| serde_json::from_str::<Skip>(line).ok()) {
                state.note(&skip);
            }
            state.file = Some(std::fs::OpenOptions::new().create(true).append(true).open(path).map_err(broken)?);
        }
        Ok(ledger)
    }

    /// Notes that `skip` was not used.
    ///
    /// # Errors
    /// When that makes more than the limit, or the file cannot be written.
    pub fn skip(&self, skip: Skip) -> Result<(), LedgerError> {
        let mut state = lock(&self.state);
        if !state.note(&skip) {
            return Ok(());
        }
        if let (Some(file), Some(path)) = (&mut state.file, &self.path) {
            let mut line = serde_json::to_string(&skip).unwrap_or_default();
            line.push('\n');
            file.write_all(line.as_bytes()).map_err(|source| LedgerError::Write { path: path.clone(), source })?;
        }
        tracing::debug!(shard = skip.shard, key = skip.key, stage = skip.stage, reason = skip.reason, "skipped");
        if state.count > self.limit {
            let ledger = self.path.as_ref().map_or_else(|| "the ledger".to_owned(), |p| p.display().to_string());
            return Err(LedgerError::TooMany { count: state.count, limit: self.limit, last: Box::new(skip), ledger });
        }
        Ok(())
    }

    /// Distinct samples skipped so far.
    pub fn count(&self) -> u64 {
        lock(&self.state).count
    }

    /// How many, by stage and reason.
    pub fn by_reason(&self) -> Vec<(String, String, u64)> {
        lock(&self.state).by_reason.iter().map(|((stage, reason), n)| (stage.clone(), reason.clone(), *n)).collect()
    }
}

impl State {
    /// Counts a skip that was not seen before.
    fn note(&mut self, skip: &Skip) -> bool {
        let mut hasher = blake3::Hasher::new();
        for part in [&skip.shard, &skip.key, &skip.stage] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        let new = self.seen.insert(hasher.finalize());
        if new {
            self.count += 1;
            *self.by_reason.entry((skip.stage.clone(), skip.reason.clone())).or_default() += 1;
        }
        new
    }
}
