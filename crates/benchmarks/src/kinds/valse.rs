//! VALSE (arXiv 2112.07566): a caption against a foil, by linguistic phenomenon.

use std::path::{Path, PathBuf};

use pipeline_engine::{Build, Look, Part, StageError, options};
use serde::Deserialize;

use super::Source;
use crate::benchmark::Benchmark;
use crate::files::{FileError, json_entries};
use crate::measures::Baselines;
use crate::measures::choice::{Choice, Question};
use crate::verify;

options! {
    /// VALSE, JSON.
    pub struct Valse {
        /// The JSON, as VALSE publishes it: entries with image_file, caption, foil, linguistic_phenomena, mturk.
        file: PathBuf;
        /// The folder with the images, or shards (paths, globs, braces; one or a list).
        images: Vec<String>;
        /// Also measure the training-free answer, and the text-only answer by phenomenon.
        baselines: bool = false;
        /// The training-free answer's weight of what a text denies.
        lambda: f64 = 0.5, 0.0..=10.0;
    }
}

impl Part for Valse {
    const NAME: &'static str = "valse";
    const ABOUT: &'static str = "VALSE (JSON): caption against foil";
}

impl Source for Valse {
    fn open(&self, name: &str, build: &Build<'_>) -> Result<Box<dyn Benchmark>, StageError> {
        let (questions, aside) = read(&build.path(&self.file))?;
        let baselines = self.baselines.then_some(Baselines { lambda: self.lambda });
        let choice = Choice::open(name, questions, &self.images, baselines, build)?;
        Ok(Box::new(choice.set_aside(aside, "too few annotators accepted the caption")))
    }

    fn verify(&self, look: &mut Look<'_>) {
        verify::file(look, &self.file);
        verify::images(look, &self.images);
    }
}

/// Annotators of three who must have found that a caption fits, as VALSE's own evaluation asks.
const VOTES: u32 = 2;

#[derive(Deserialize)]
struct Entry {
    image_file: String,
    caption: String,
    foil: String,
    #[serde(default)]
    linguistic_phenomena: Option<String>,
    #[serde(default)]
    mturk: Option<Votes>,
}

#[derive(Deserialize)]
struct Votes {
    caption: u32,
}

/// Reads an object of entries with `image_file, caption, foil`, and if known `linguistic_phenomena`
/// and `mturk.caption`, the votes that the caption fits. Entries with fewer than two votes do not
/// count, as in VALSE's own evaluation; their number comes second.
///
/// # Errors
/// A file of another layout, an empty field.
pub fn read(path: &Path) -> Result<(Vec<Question>, usize), FileError> {
    const WHAT: &str = "VALSE (entries with image_file, caption, foil)";
    let entries = json_entries::<Entry>(path, WHAT)?;
    let all = entries.len();
    let mut questions = Vec::new();
    for entry in entries {
        let Entry { image_file, caption, foil, .. } = &entry.value;
        entry.filled(&[("image_file", image_file), ("caption", caption), ("foil", foil)])?;
        let Entry { image_file, caption, foil, linguistic_phenomena, mturk } = entry.value;
        if mturk.is_none_or(|votes| votes.caption >= VOTES) {
            questions.push(Question { part: linguistic_phenomena, ..Question::pair(image_file, caption, foil) });
        }
    }
    if questions.is_empty() {
        return Err(FileError::whole(path, "no entry has two votes (mturk.caption) that its caption fits"));
    }
    let aside = all - questions.len();
    Ok((questions, aside))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tests::written;

    #[test]
    fn only_what_annotators_accepted_counts() {
        let entry = |votes: u32, foil: &str| {
            format!(
                r#"{{"image_file":"a.jpg","caption":"There are no dogs.","foil":"{foil}","linguistic_phenomena":"existence","mturk":{{"caption":{votes},"foil":0,"other":0}}}}"#
            )
        };
        let (_d, path) =
            written(&format!(r#"{{"x_1":{},"x_2":{}}}"#, entry(3, "There are dogs."), entry(1, "There are dogs.")));
        let (questions, aside) = read(&path).unwrap();
        assert_eq!((questions.len(), aside, questions[0].part.as_deref()), (1, 1, Some("existence")));
        assert_eq!(questions[0].options, ["There are no dogs.", "There are dogs."]);
        let (_d, path) = written(&format!(r#"{{"x_1":{}}}"#, entry(3, " ")));
        assert!(read(&path).unwrap_err().to_string().contains("f.json:1: entry `x_1`: `foil` is empty"));
        let (_d, path) = written(&format!(r#"{{"x_1":{}}}"#, entry(1, "x")));
        assert!(read(&path).unwrap_err().to_string().contains("no entry has two votes"));
    }

    #[test]
    fn a_file_of_another_benchmark_is_reported() {
        let (_d, path) = written(r#"{"0":{"filename":"a.jpg","caption":"A dog","negative_caption":"A cat"}}"#);
        let said = read(&path).unwrap_err().to_string();
        assert!(
            said.contains("f.json:1") && said.contains("not VALSE") && said.contains("another benchmark"),
            "{said}"
        );
    }
}
