//! Texts that are made once and then repeat: `mode = "fixed"`.
//!
//! An object depends on the batch that an image is in, and batches change with
//! every epoch; so what is made first is kept, in memory and (for a resumed run)
//! in the run folder. A run that is killed makes the texts of its epoch again,
//! the same ones; those of earlier epochs stand in the file.

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
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    shard: String,
    key: String,
    texts: Vec<String>,
}

impl Fixed {
    /// Keeps the texts of at most `limit` images; reads what is in `dir` if the
    /// run is resumed.
    pub fn open(limit: usize, dir: Option<&RunDir>, resume: bool, texts: usize) -> Result<Self, StageError> {
        let mut kept = BTreeMap::new();
        if let Some(path) = dir.map(|d| d.join(FILE)).filter(|path| resume && path.exists()) {
            let shown = path.display();
            let text =
                std::fs::read_to_string(&path).map_err(|e| StageError::msg(format!("{shown}: cannot read: {e}")))?;
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
        Ok(Self { written: kept.len(), kept, limit, dir: dir.cloned() })
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

    /// Writes the file if there is something new.
    pub fn save(&mut self) -> Result<(), StageError> {
        let Some(dir) = self.dir.as_ref().filter(|_| self.written < self.kept.len()) else { return Ok(()) };
        let mut text = String::new();
        for ((shard, key), texts) in &self.kept {
            text += &serde_json::to_string(&Line { shard: shard.clone(), key: key.clone(), texts: texts.clone() })?;
            text.push('\n');
        }
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
        fixed.save().unwrap();
        let mut resumed = Fixed::open(2, Some(&dir), true, 1).unwrap();
        assert_eq!(resumed.first("a.tar", "1", text("no hat")).unwrap(), ["no dog"]);
        assert_eq!(resumed.first("b.tar", "1", text("no hat")).unwrap(), ["no hat"]);
        assert!(resumed.first("b.tar", "2", text("no bus")).unwrap_err().to_string().contains("raise keep"));
        assert!(Fixed::open(2, Some(&dir), true, 3).unwrap_err().to_string().contains("line 1: not 3 texts"));
        std::fs::remove_dir_all(&path).unwrap();
    }
}
