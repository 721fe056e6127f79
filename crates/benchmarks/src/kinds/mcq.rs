//! Multiple choice in our own format: which of some captions is true of the image?
//!
//! The questions are JSON lines:
//!
//! ```json
//! {"image_key": "000123", "captions": ["…", "…", "…", "…"], "correct": 2, "kind": "negative"}
//! ```
//!
//! `kind` is the type of the correct answer: `positive` (only says what is there),
//! `negative` (says what is not), `hybrid` (both), as in NegBench.

use std::path::{Path, PathBuf};

use pipeline_engine::{Build, Look, Moved, Part, StageError, options};
use serde::Deserialize;

use super::Source;
use crate::benchmark::Benchmark;
use crate::files::{FileError, read_lines};
use crate::measures::Baselines;
use crate::measures::choice::{Choice, Question};
use crate::verify;

options! {
    /// Multiple choice, JSON lines.
    pub struct Mcq {
        /// The questions, JSON lines.
        file: PathBuf;
        /// The folder with the images, or shards (paths, globs, braces; one or a list).
        images: Vec<String>;
        /// Also measure the training-free answers, and the text-only answer by type.
        baselines: bool = false;
        /// The weight of what a text denies, in the answers training_free and lambda.
        lambda: f64 = 0.5, 0.0..=10.0;
    }
}

impl Part for Mcq {
    const NAME: &'static str = "mcq";
    const ABOUT: &'static str = "multiple choice (JSON lines): which caption is true of the image, by type";
}

/// Options that have other names now.
pub(super) const MOVED: Moved = &[("questions", "file"), ("shards", "images")];

impl Source for Mcq {
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

#[derive(Debug, Deserialize)]
struct Line {
    image_key: String,
    captions: Vec<String>,
    correct: usize,
    kind: String,
}

/// Reads and checks every line.
///
/// # Errors
/// A line that is not a question: the file and the line.
pub fn read(path: &Path) -> Result<Vec<Question>, FileError> {
    let mut questions = Vec::new();
    for (number, line) in read_lines(path)? {
        let wrong = |message: String| FileError::row(path, number, message);
        let Line { image_key, captions, correct, kind } = serde_json::from_str(&line)
            .map_err(|e| wrong(format!("not a question: {e}; it needs image_key, captions, correct and kind")))?;
        if captions.len() < 2 {
            return Err(wrong("a question needs at least two captions".into()));
        }
        if correct >= captions.len() {
            return Err(wrong(format!(
                "correct = {correct}, but there are {} captions, counted from 0",
                captions.len()
            )));
        }
        if let Some(empty) = captions.iter().position(|caption| caption.trim().is_empty()) {
            return Err(wrong(format!("caption {empty} is empty")));
        }
        questions.push(Question { image: image_key, options: captions, correct, part: Some(kind), option_types: None });
    }
    if questions.is_empty() {
        return Err(FileError::whole(path, "the file has no question"));
    }
    Ok(questions)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn faults_name_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("q.jsonl");
        let read_text = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path).map_err(|e| e.to_string())
        };
        let good = r#"{"image_key":"a","captions":["x","y"],"correct":1,"kind":"positive"}"#;
        let questions = read_text(&format!("{good}\n\n{good}\n")).unwrap();
        assert_eq!((questions.len(), questions[0].correct, questions[0].part.as_deref()), (2, 1, Some("positive")));
        for (bad, word) in [
            (r#"{"image_key":"a","captions":["x","y"],"correct":2,"kind":"positive"}"#, "correct = 2"),
            (r#"{"image_key":"a","captions":["x",""],"correct":0,"kind":"positive"}"#, "caption 1 is empty"),
            (r#"{"image_key":"a","captions":["x"],"correct":0,"kind":"positive"}"#, "at least two captions"),
            (r#"{"image_key":"a","captions":["x","y"],"kind":"positive"}"#, "correct"),
            ("not json", "not a question"),
        ] {
            let message = read_text(&format!("{good}\n\n{bad}\n")).unwrap_err();
            assert!(message.contains("q.jsonl:3: ") && message.contains(word), "{message}");
        }
        assert!(read_text("\n").unwrap_err().contains("no question"));
    }
}
