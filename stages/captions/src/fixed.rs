//! Texts that are written once and then repeated: `mode = "fixed"`.
//!
//! An object depends on the batch of its image, and batches change with every epoch. So the first
//! texts of an image are kept, in memory and, for a resumed run, in the run folder. A resumed run
//! writes the same texts of its epoch again, from the first step on; those of earlier epochs are in
//! the file.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use pipeline_engine::{RunDir, StageError};
use serde::{Deserialize, Serialize};

const FILE: &str = "fixed-captions.jsonl";

/// By shard and key.
type Kept = BTreeMap<(String, String), Vec<String>>;

/// The texts of each image.
#[derive(Debug)]
pub struct Fixed {
    kept: Kept,
    limit: usize,
    dir: Option<RunDir>,
    written: usize,
    /// Epochs whose texts the file has.
    epochs: u32,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    shard: String,
    key: String,
    texts: Vec<String>,
}

/// The last line: the lines above are all texts of this many epochs, and have this BLAKE3 hash.
#[derive(Serialize, Deserialize)]
struct Seal {
    epochs: u32,
    blake3: String,
}

impl Fixed {
    /// Keeps the texts of at most `limit` images, `texts` per image; reads what is in `dir` if the run
    /// is resumed.
    ///
    /// # Errors
    /// A file that cannot be read, was cut or changed, or has another number of texts per image.
    pub fn open(limit: usize, dir: Option<&RunDir>, resume: bool, texts: usize) -> Result<Self, StageError> {
        let file = dir.map(|d| d.join(FILE)).filter(|path| resume && path.exists());
        let (kept, epochs) = file.map_or_else(|| Ok((Kept::new(), 0)), |path| read(&path, texts))?;
        Ok(Self { written: kept.len(), kept, limit, dir: dir.cloned(), epochs })
    }

    /// Checks that the texts of all epochs before `epoch` are known.
    ///
    /// # Errors
    /// When they are not.
    pub fn check(&self, epoch: u32) -> Result<(), StageError> {
        if self.epochs + 1 >= epoch {
            return Ok(());
        }
        let file = self.dir.as_ref().map(|dir| dir.join(FILE).display().to_string()).unwrap_or_default();
        Err(StageError::msg(format!(
            "epoch {epoch} repeats the texts of the epochs before it, but {file} has only those of {} epochs; restore \
             the file, or start the run again with --force",
            self.epochs
        )))
    }

    /// The first texts of the image: `made`, unless there were some before.
    ///
    /// # Errors
    /// When there are more images than are kept.
    pub fn first(&mut self, shard: &str, key: &str, made: Vec<String>) -> Result<Vec<String>, StageError> {
        let full = self.kept.len() >= self.limit;
        match self.kept.entry((shard.to_owned(), key.to_owned())) {
            Entry::Occupied(before) => Ok(before.get().clone()),
            Entry::Vacant(_) if full => Err(StageError::msg(format!(
                "{shard}: {key}: mode = \"fixed\" keeps the texts of {} images and there are more; raise \
                 captions.keep, or set captions.mode = \"dynamic\"",
                self.limit
            ))),
            Entry::Vacant(place) => Ok(place.insert(made).clone()),
        }
    }

    /// Writes the file after `epoch`, if there is something new.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&mut self, epoch: u32) -> Result<(), StageError> {
        // An epoch that a resumed run does again brings nothing new.
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

/// The texts of a file, and of how many epochs they are.
fn read(path: &Path, texts: usize) -> Result<(Kept, u32), StageError> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|e| StageError::msg(format!("{shown}: cannot read: {e}")))?;
    let damaged =
        || StageError::msg(format!("{shown} is cut or was changed; restore it, or start the run again with --force"));
    let lines = text.trim_end().rfind('\n').map_or(0, |end| end + 1);
    let seal: Seal = serde_json::from_str(&text[lines..]).map_err(|_| damaged())?;
    let text = &text[..lines];
    if blake3::hash(text.as_bytes()).to_hex().as_str() != seal.blake3 {
        return Err(damaged());
    }
    let mut kept = Kept::new();
    for (i, line) in text.lines().enumerate() {
        let wrong = |what: String| {
            StageError::msg(format!("{shown}: line {}: {what}; was the run started with other options?", i + 1))
        };
        let line: Line = serde_json::from_str(line).map_err(|e| wrong(e.to_string()))?;
        if line.texts.len() != texts {
            return Err(wrong(format!("not {texts} texts")));
        }
        kept.insert((line.shard, line.key), line.texts);
    }
    Ok((kept, seal.epochs))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_first_texts_stay_also_in_a_resumed_run() {
        let folder = tempfile::tempdir().unwrap();
        let dir = RunDir::open(&folder.path().join("run"), false, false).unwrap();
        let text = |t: &str| vec![t.to_owned()];
        let mut fixed = Fixed::open(2, Some(&dir), false, 1).unwrap();
        assert_eq!(fixed.first("a.tar", "1", text("no dog")).unwrap(), ["no dog"]);
        assert_eq!(fixed.first("a.tar", "1", text("no cat")).unwrap(), ["no dog"]);
        fixed.save(1).unwrap();
        let mut resumed = Fixed::open(2, Some(&dir), true, 1).unwrap();
        assert_eq!(resumed.first("a.tar", "1", text("no hat")).unwrap(), ["no dog"]);
        assert_eq!(resumed.first("b.tar", "1", text("no hat")).unwrap(), ["no hat"]);
        assert!(resumed.first("b.tar", "2", text("no bus")).unwrap_err().to_string().contains("raise captions.keep"));
        assert!(Fixed::open(2, Some(&dir), true, 3).unwrap_err().to_string().contains("line 1: not 3 texts"));
        // The file says of how many epochs it has the texts, and whether it is whole.
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
    }
}
