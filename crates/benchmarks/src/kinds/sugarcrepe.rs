//! SugarCrepe (arXiv 2306.14610): a caption against a hard negative one.

use std::path::{Path, PathBuf};

use pipeline_engine::{Build, Look, Part, StageError, options};
use serde::Deserialize;

use super::Source;
use super::sugarcrepe_pp::SugarCrepePp;
use crate::benchmark::Benchmark;
use crate::files::{FileError, JsonEntry, json_entries};
use crate::measures::Baselines;
use crate::measures::choice::{Choice, Question};
use crate::verify;

options! {
    /// SugarCrepe, JSON.
    pub struct SugarCrepe {
        /// The JSON, as SugarCrepe publishes it: entries with filename, caption, negative_caption.
        file: PathBuf;
        /// The folder with the images, or shards (paths, globs, braces; one or a list).
        images: Vec<String>;
        /// Also measure the training-free answer.
        baselines: bool = false;
        /// The training-free answer's weight of what a text denies.
        lambda: f64 = 0.5, 0.0..=10.0;
    }
}

impl Part for SugarCrepe {
    const NAME: &'static str = "sugarcrepe";
    const ABOUT: &'static str = "SugarCrepe (JSON): caption against hard negative";
}

impl Source for SugarCrepe {
    fn open(&self, name: &str, build: &Build<'_>) -> Result<Box<dyn Benchmark>, StageError> {
        let questions = read(&build.path(&self.file))?;
        let baselines = self.baselines.then_some(Baselines { lambda: self.lambda });
        Ok(Box::new(Choice::open(name, questions, &self.images, baselines, build)?))
    }

    fn verify(&self, look: &mut Look<'_>) {
        verify::file(look, &self.file);
        verify::images(look, &self.images);
    }
}

/// An entry of SugarCrepe, or with a second caption of SugarCrepe++.
#[derive(Deserialize)]
pub(super) struct Entry {
    pub filename: String,
    pub caption: String,
    pub negative_caption: String,
    #[serde(default)]
    pub caption2: Option<String>,
}

/// Reads entries with `filename, caption, negative_caption`.
///
/// # Errors
/// A file of another layout, an empty field; a file of SugarCrepe++, which asks another question.
pub fn read(path: &Path) -> Result<Vec<Question>, FileError> {
    const WHAT: &str = "SugarCrepe (entries with filename, caption, negative_caption)";
    let read = |entry: JsonEntry<Entry>| {
        let Entry { filename, caption, negative_caption, caption2 } = &entry.value;
        entry.filled(&[("filename", filename), ("caption", caption), ("negative_caption", negative_caption)])?;
        if caption2.is_some() {
            let other = SugarCrepePp::NAME;
            return Err(
                entry.fault(format_args!("has a `caption2`: this is SugarCrepe++; use the benchmark `{other}`"))
            );
        }
        let Entry { filename, caption, negative_caption, .. } = entry.value;
        Ok(Question::pair(filename, caption, negative_caption))
    };
    json_entries(path, WHAT)?.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tests::written;

    #[test]
    fn captions_come_first_and_other_files_are_reported() {
        let (_d, path) = written(r#"{"0":{"filename":"a.jpg","caption":"A dog","negative_caption":"A cat"}}"#);
        assert_eq!(read(&path).unwrap()[0].options, ["A dog", "A cat"]);
        let said = |text: &str| {
            let (_d, path) = written(text);
            read(&path).unwrap_err().to_string()
        };
        let plus = r#"[{"id":1,"filename":"a.jpg","caption":"A dog","caption2":"One dog","negative_caption":"A cat"}]"#;
        assert!(said(plus).contains("f.json:1: entry `0`: has a `caption2`: this is SugarCrepe++"), "{}", said(plus));
        assert!(said(plus).contains("`sugarcrepe++`"));
        assert!(said(r#"[{"filename":"a.jpg","caption":"","negative_caption":"x"}]"#).contains("`caption` is empty"));
        assert!(said("{}").contains("no entry"));
        assert!(said("filename,captions\n").contains("not SugarCrepe"));
    }
}
