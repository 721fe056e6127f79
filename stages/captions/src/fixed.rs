//! Texts that are made once and then repeat: `mode = "fixed"`.
//!
//! An object depends on the batch that an image is in, and batches change with
//! every epoch; so what is made first is kept, in memory and (for a resumed run)
//! in the run folder. A resumed run makes the texts of its epoch again from the first
//! step on, the same ones; those of earlier epochs stand in the file.

use std::collections::BTreeMap;

use pipeline_engine::{RunDir, StageError};
use serde::{Deserialize, Serialize};

const FILE: &str = "fixed-captions.jsonl";

/// The texts of each image, by (shard, key).
#[derive(Debug)]
pub struct Fixed {
    kept: BTreeMap<(String, String), Vec<String>>,
    limit: usize,
    dir: Option<RunDir>,
    written: usize,
    /// Epochs that the file stands for.
    epochs: u32,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    shard: String,
    key: String,
    texts: Vec<String>,
}

/// The last line: all texts of so many epochs stand above, and they have this BLAKE3 hash.
#[derive(Serialize, Deserialize)]
struct Seal {
    epochs: u32,
    blake3: String,
}

impl Fixed {
    /// Keeps the texts of at most `limit` images; reads what is in `dir` if the
    /// run is resumed.
    pub fn open(limit: usize, dir: Option<&RunDir>, resume: bool, texts: usize) -> Result<Self, StageError> {
        let (mut kept, mut epochs) = (BTreeMap::new(), 0);
        if let Some(path) = dir.map(|d| d.join(FILE)).filter(|path| resume && path.exists()) {
            let shown = path.display();
            let text =
                std::fs::read_to_string(&path).map_err(|e| StageError::msg(format!("{shown}: cannot read: {e}")))?;
            let damaged = || {
                StageError::msg(format!(
                    "{shown} is cut or was changed; put it back as it was, or start the run anew with --force"
                ))
            };
            let lines = text.trim_end().rfind('\n').map_or(0, |end| end + 1);
            let seal: Seal = serde_json::from_str(&text[lines..]).map_err(|_| damaged())?;
            let text = &text[..lines];
            if blake3::hash(text.as_bytes()).to_hex().as_str() != seal.blake3 {
                return Err(damaged());
            }
            epochs = seal.epochs;
            for (i, line) in text.lines().enumerate() {
                let line: Line = serde_json::from_str(line)
                    .map_err(|e| e.to_string())
                    .and_then(|l: Line| if l.texts.len() == texts { Ok(l) } else { Err(format!("not {texts} texts")) })
                    .map_err(|e| {
                        StageError::msg(format!("{shown}: line {}: {e}; was the run begun with other options?", i + 1))
                    })?;
                kept.insert((line.shard, line.key), line.texts);
            }
        }
        Ok(Self { written: kept.len(), kept, limit, dir: dir.cloned(), epochs })
    }

    /// Whether the texts of all epochs before `epoch` are known.
    pub fn check(&self, epoch: u32) -> Result<(), StageError> {
        if self.epochs + 1 >= epoch {
            return Ok(());
        }
        let file = self.dir.as_ref().map(|dir| dir.join(FILE).display().to_string()).unwrap_or_default();
        Err(StageError::msg(format!(
            "epoch {epoch} repeats the texts of those before, but {file} has only those of {} epochs; put it back, or \
             start the run anew with --force",
            self.epochs
        )))
    }

    /// What was made first for the image: `made`, unless there was something before.
    pub fn first(&mut self, shard: &str, key: &str, made: Vec<String>) -> Result<Vec<String>, StageError> {
        let full = self.kept.len() >= self.limit;
        match self.kept.entry((shard.to_owned(), key.to_owned())) {
            std::collections::btree_map::Entry::Occupied(before) => Ok(before.get().clone()),
            std::collections::btree_map::Entry::Vacant(_) if full => Err(StageError::msg(format!(
                "{shard}: {key}: mode = \"fixed\" keeps the texts of {} images and there are more; raise keep, or choose mode = \"dynamic\"",
                self.limit
            ))),
            std::collections::btree_map::Entry::Vacant(place) => Ok(place.insert(made).clone()),
        }
    }

    /// After `epoch`: writes the file if there is something new.
    pub fn save(&mut self, epoch: u32) -> Result<(), StageError> {
        // A later epoch that is made again, after a resume from before it, brings nothing.
        let news = self.written < self.kept.len() || self.epochs < epoch;
        self.epochs = self.epochs.max(epoch);
        let Some(dir) = self.dir.as_ref().filter(|_| news) else { return Ok(()) };
        let mut text = String::new();
        for ((shard, key), texts) in &self.kept {
            text += &serde_json::to_string(&Line { shard: shard.clone(), key: key.clone(), texts: texts.clone() })?;
            text.push('\n');
        }
        let seal = Seal { epochs: self.epochs, blake3: blake3::hash(text.as_bytes()).to_hex().to_string() };
        text += &serde_json::to_string(&seal)?;
        text.push('\n');
        dir.write(FILE, text.as_bytes())?;
        self.written = self.kept.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_first_texts_stay_also_in_a_resumed_run() {
        let path = std::env::temp_dir().join(format!("captions-fixed-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        let dir = RunDir::open(&path, false, false).unwrap();
        let text = |t: &str| vec![t.to_owned()];
        let mut fixed = Fixed::open(2, Some(&dir), false, 1).unwrap();
        assert_eq!(fixed.first("a.tar", "1", text("no dog")).unwrap(), ["no dog"]);
        assert_eq!(fixed.first("a.tar", "1", text("no cat")).unwrap(), ["no dog"]);
        fixed.save(1).unwrap();
        let mut resumed = Fixed::open(2, Some(&dir), true, 1).unwrap();
        assert_eq!(resumed.first("a.tar", "1", text("no hat")).unwrap(), ["no dog"]);
        assert_eq!(resumed.first("b.tar", "1", text("no hat")).unwrap(), ["no hat"]);
        assert!(resumed.first("b.tar", "2", text("no bus")).unwrap_err().to_string().contains("raise keep"));
        assert!(Fixed::open(2, Some(&dir), true, 3).unwrap_err().to_string().contains("line 1: not 3 texts"));
        // It says which epochs it stands for, and whether it is whole.
        assert!(resumed.check(2).is_ok());
        let error = Fixed::open(2, Some(&dir), false, 1).unwrap().check(2).unwrap_err().to_string();
        assert!(error.contains("of 0 epochs") && error.contains("--force"), "{error}");
        let file = dir.join(FILE);
        let whole = std::fs::read_to_string(&file).unwrap();
        for broken in [whole.replace("dog", "cat"), whole[..whole.len() / 2].to_owned(), String::new()] {
            std::fs::write(&file, broken).unwrap();
            let error = Fixed::open(2, Some(&dir), true, 1).unwrap_err().to_string();
            assert!(error.contains("cut or was changed"), "{error}");
        }
        std::fs::remove_dir_all(&path).unwrap();
    }
}
