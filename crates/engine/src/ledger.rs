//! The skip ledger: every sample that was not used, with the reason.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// One line of `skipped.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Skip {
    /// The shard's url.
    pub shard: String,
    /// The sample's key; empty when it is the shard itself.
    pub key: String,
    /// The sample's place in the shard, counted from 0: two of one key are two samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// The kind of the stage that could not use it.
    pub stage: String,
    /// Why, in words.
    pub reason: String,
}

impl Skip {
    /// True if it stands for a shard that was lost, wholly or in part, not for a sample.
    pub fn is_shard(&self) -> bool {
        self.key.is_empty() && self.index.is_none()
    }
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
    file: Option<File>,
    seen: HashSet<blake3::Hash>,
    by_reason: BTreeMap<(String, String), u64>,
    samples: u64,
    /// Lost wholly or in part.
    shards: Vec<Skip>,
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
            let mut file = File::options().create(true).read(true).append(true).open(path).map_err(broken)?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(broken)?;
            // Half a line, of a kill while it was written, must not swallow the next one.
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            if whole < bytes.len() {
                file.set_len(whole as u64).map_err(broken)?;
            }
            let mut state = ledger.state.lock();
            let lines = bytes[..whole].split(|byte| *byte == b'\n');
            for skip in lines.filter_map(|line| serde_json::from_slice::<Skip>(line).ok()) {
                state.note(&skip);
            }
            state.file = Some(file);
        }
        Ok(ledger)
    }

    /// Notes that `skip` was not used.
    ///
    /// # Errors
    /// When that makes more than the limit, or the file cannot be written.
    pub fn skip(&self, skip: Skip) -> Result<(), LedgerError> {
        let mut state = self.state.lock();
        if !state.note(&skip) {
            return Ok(());
        }
        if let (Some(file), Some(path)) = (&mut state.file, &self.path) {
            let mut line = serde_json::to_string(&skip).unwrap_or_default();
            line.push('\n');
            file.write_all(line.as_bytes()).map_err(|source| LedgerError::Write { path: path.clone(), source })?;
        }
        tracing::debug!(shard = skip.shard, key = skip.key, stage = skip.stage, reason = skip.reason, "skipped");
        let count = state.samples + state.shards.len() as u64;
        if count > self.limit {
            let ledger = self.path.as_ref().map_or_else(|| "the ledger".to_owned(), |p| p.display().to_string());
            return Err(LedgerError::TooMany { count, limit: self.limit, last: Box::new(skip), ledger });
        }
        Ok(())
    }

    /// Distinct samples skipped so far. A lost shard does not count: the number of its samples is unknown.
    pub fn count(&self) -> u64 {
        self.state.lock().samples
    }

    /// The shards that were lost so far, wholly or in part.
    pub fn lost_shards(&self) -> Vec<Skip> {
        self.state.lock().shards.clone()
    }

    /// How many samples, by stage and reason.
    pub fn by_reason(&self) -> Vec<(String, String, u64)> {
        self.state.lock().by_reason.iter().map(|((stage, reason), n)| (stage.clone(), reason.clone(), *n)).collect()
    }
}

impl State {
    /// Counts a skip that was not seen before.
    fn note(&mut self, skip: &Skip) -> bool {
        let mut hasher = blake3::Hasher::new();
        for part in [&skip.shard, &skip.key, &skip.stage] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hasher.update(&skip.index.map_or(u64::MAX, u64::from).to_le_bytes());
        let new = self.seen.insert(hasher.finalize());
        if new {
            if skip.is_shard() {
                self.shards.push(skip.clone());
            } else {
                self.samples += 1;
                *self.by_reason.entry((skip.stage.clone(), skip.reason.clone())).or_default() += 1;
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn skip(key: &str, index: u32) -> Skip {
        Skip {
            shard: "a.tar".into(),
            key: key.into(),
            index: Some(index),
            stage: "shards".into(),
            reason: "the key came before".into(),
        }
    }

    #[test]
    fn two_samples_of_one_key_are_two_lines_and_half_a_line_swallows_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("skipped.jsonl");
        let ledger = Ledger::open(Some(&path), 10).unwrap();
        for index in [3, 3, 7] {
            ledger.skip(skip("dog", index)).unwrap();
        }
        assert_eq!(ledger.count(), 2);
        // A kill in the middle of a line.
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 9]).unwrap();
        let ledger = Ledger::open(Some(&path), 10).unwrap();
        assert_eq!(ledger.count(), 1);
        ledger.skip(skip("cat", 8)).unwrap();
        ledger.skip(skip("dog", 7)).unwrap();
        let lines = std::fs::read_to_string(&path).unwrap();
        let keys: Vec<String> = lines.lines().map(|line| serde_json::from_str::<Skip>(line).unwrap().key).collect();
        assert_eq!(keys, ["dog", "cat", "dog"]);
        let shard = Skip { key: String::new(), index: None, reason: "no tar".into(), ..skip("", 0) };
        let ledger = Ledger::open(None, 10).unwrap();
        ledger.skip(shard.clone()).unwrap();
        ledger.skip(shard.clone()).unwrap();
        assert_eq!((ledger.count(), ledger.by_reason().len(), ledger.lost_shards()), (0, 0, vec![shard]));
        let error = Ledger::open(Some(&path), 3).unwrap().skip(skip("hat", 9)).unwrap_err().to_string();
        assert!(error.contains("4 samples were skipped, more than run.max_skipped = 3"), "{error}");
    }
}
