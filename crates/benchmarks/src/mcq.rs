//! Multiple choice: which of some captions is true of the picture?
//!
//! The questions are JSON lines:
//!
//! ```json
//! {"image_key": "000123", "captions": ["…", "…", "…", "…"], "correct": 2, "kind": "negative"}
//! ```
//!
//! `kind` is the type of the right answer: `positive` (only says what is there),
//! `negative` (says what is not), `hybrid` (both), as in NegBench.

use std::path::{Path, PathBuf};

use pipeline_engine::{Build, Probe, ProbeKind, StageError, options};
use serde::Deserialize;

use crate::benchmark::{Detail, Probed};
use crate::choice::{Choice, Row};
use crate::files::FileError;

options! {
    /// Options of the eval `mcq`.
    pub struct McqOptions {
        /// The questions, JSON lines.
        questions: PathBuf;
        /// Shards with the images the questions are about, or a folder.
        shards: Vec<String>;
    }
}

/// The kind `mcq`.
pub struct McqKind;

#[derive(Debug, Deserialize)]
struct Line {
    image_key: String,
    captions: Vec<String>,
    correct: usize,
    kind: String,
}

impl ProbeKind for McqKind {
    const KIND: &'static str = "mcq";
    const ABOUT: &'static str = "multiple choice: which caption is true of the picture (as NegBench asks)";
    type Options = McqOptions;

    fn build(options: McqOptions, name: &str, build: &mut Build<'_>) -> Result<Box<dyn Probe>, StageError> {
        let rows = read(&build.path(&options.questions))?;
        let choice = Choice::open(name, rows, &options.shards, build)?;
        Ok(Probed::probe(name, Box::new(choice), Detail { baselines: false, lambda: 0.0 }))
    }
}

/// Reads and checks every line.
///
/// # Errors
/// A line that is no question: the file and the line.
pub fn read(path: &Path) -> Result<Vec<Row>, FileError> {
    let text = std::fs::read_to_string(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |message: String| FileError::Row { path: path.to_owned(), row: index + 1, message };
        let question: Line = serde_json::from_str(line)
            .map_err(|e| wrong(format!("not a question: {e}; needed are image_key, captions, correct, kind")))?;
        if question.captions.len() < 2 {
            return Err(wrong("a question needs at least two captions".into()));
        }
        if question.correct >= question.captions.len() {
            return Err(wrong(format!(
                "correct = {}, but there are {} captions, counted from 0",
                question.correct,
                question.captions.len()
            )));
        }
        if let Some(empty) = question.captions.iter().position(|c| c.trim().is_empty()) {
            return Err(wrong(format!("caption {empty} is empty")));
        }
        rows.push(Row {
            image: question.image_key,
            options: question.captions,
            right: question.correct,
            part: Some(question.kind),
            kinds: None,
        });
    }
    if rows.is_empty() {
        return Err(FileError::whole(path, "the file has no question"));
    }
    Ok(rows)
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
        assert_eq!(read_text(&format!("{good}\n\n{good}\n")).unwrap().len(), 2);
        for (bad, word) in [
            (r#"{"image_key":"a","captions":["x","y"],"correct":2,"kind":"positive"}"#, "correct = 2"),
            (r#"{"image_key":"a","captions":["x",""],"correct":0,"kind":"positive"}"#, "caption 1 is empty"),
            (r#"{"image_key":"a","captions":["x","y"],"kind":"positive"}"#, "correct"),
            ("not json", "not a question"),
        ] {
            let message = read_text(&format!("{good}\n{bad}\n")).unwrap_err();
            assert!(message.contains(":2: ") && message.contains(word), "{message}");
        }
        assert!(read_text("\n").unwrap_err().contains("no question"));
    }
}
