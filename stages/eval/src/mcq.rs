//! Multiple choice: which of four captions is true of the picture?
//!
//! The questions are JSON lines:
//!
//! ```json
//! {"image_key": "000123", "captions": ["…", "…", "…", "…"], "correct": 2, "kind": "negative"}
//! ```
//!
//! `kind` is the type of the right answer: `positive` (only says what is there),
//! `negative` (says what is not), `hybrid` (both), as in NegBench.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use pipeline_engine::{Build, Measurement, Moment, Probe, ProbeKind, StageError, options};
use serde::Deserialize;
use stage_items::TextEncoderHandle;

use crate::pictures::Pictures;
use crate::score::measured;

options! {
    /// Options of the eval `mcq`.
    pub struct McqOptions {
        /// The questions, JSON lines.
        questions: PathBuf;
        /// Shards with the images the questions are about.
        shards: Vec<String>;
    }
}

/// The kind `mcq`.
pub struct McqKind;

/// What is wrong with a file of questions.
#[derive(Debug, thiserror::Error)]
pub enum QuestionsError {
    /// It cannot be read.
    #[error("cannot read the questions {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is no question.
    #[error("{}:{line}: {message}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// None of the images is there.
    #[error("{} asks about {count} images, of which the shards have none (the first is `{first}`); give the shards that hold them", .path.display())]
    NoImage {
        /// The file.
        path: PathBuf,
        /// Questions in it.
        count: usize,
        /// Key of the first.
        first: String,
    },
}

#[derive(Debug, Deserialize)]
struct Line {
    image_key: String,
    captions: Vec<String>,
    correct: usize,
    kind: String,
}

/// A question whose picture is known.
#[derive(Debug)]
struct Question {
    image: usize,
    captions: Vec<String>,
    correct: usize,
    kind: String,
}

impl ProbeKind for McqKind {
    const KIND: &'static str = "mcq";
    const ABOUT: &'static str = "multiple choice: which caption is true of the picture (as NegBench asks)";
    type Options = McqOptions;

    fn build(options: McqOptions, name: &str, build: &mut Build<'_>) -> Result<Box<dyn Probe>, StageError> {
        let path = build.path(&options.questions);
        let lines = read(&path)?;
        let pictures = Pictures::collect(name, &options.shards, build)?;
        let by_key: HashMap<&str, usize> = pictures.keys.iter().enumerate().map(|(i, key)| (&**key, i)).collect();
        let (count, first) = (lines.len(), lines[0].image_key.clone());
        let mut missing = 0;
        let questions: Vec<Question> = lines
            .into_iter()
            .filter_map(|Line { image_key, captions, correct, kind }| {
                let image = by_key.get(image_key.as_str()).copied();
                missing += usize::from(image.is_none());
                Some(Question { image: image?, captions, correct, kind })
            })
            .collect();
        if questions.is_empty() {
            return Err(QuestionsError::NoImage { path, count, first }.into());
        }
        if missing > 0 {
            tracing::warn!(
                "eval {name}: the images of {missing} of {count} questions are not in the shards; these are left out"
            );
        }
        Ok(Box::new(Mcq { name: name.to_owned(), questions, pictures }))
    }
}

/// Reads and checks every line.
fn read(path: &Path) -> Result<Vec<Line>, QuestionsError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| QuestionsError::Read { path: path.to_owned(), source })?;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |message: String| QuestionsError::Line { path: path.to_owned(), line: index + 1, message };
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
        lines.push(question);
    }
    if lines.is_empty() {
        return Err(QuestionsError::Line {
            path: path.to_owned(),
            line: 1,
            message: "the file has no question".into(),
        });
    }
    Ok(lines)
}

struct Mcq {
    name: String,
    questions: Vec<Question>,
    pictures: Pictures,
}

impl Probe for Mcq {
    fn measure(&mut self, subject: &(dyn Any + Send + Sync), moment: &Moment) -> Result<Vec<Measurement>, StageError> {
        let encoder = text_encoder(subject, self.pictures.dim)?;
        let texts: Vec<String> = self.questions.iter().flat_map(|q| q.captions.iter().cloned()).collect();
        let features = encoder.0.embed(&texts)?;
        let dim = self.pictures.dim;
        let mut parts: BTreeMap<&str, Vec<bool>> = BTreeMap::new();
        let mut all = Vec::with_capacity(self.questions.len());
        let mut rows = features.chunks_exact(dim);
        for question in &self.questions {
            let image = self.pictures.feature(question.image);
            // The first of equal similarities wins, so that the answer never depends on chance.
            let mut best = (f32::NEG_INFINITY, 0);
            for (index, row) in rows.by_ref().take(question.captions.len()).enumerate() {
                let cosine = row.iter().zip(image).map(|(a, b)| a * b).sum::<f32>();
                if cosine > best.0 {
                    best = (cosine, index);
                }
            }
            let hit = best.1 == question.correct;
            all.push(hit);
            parts.entry(&question.kind).or_default().push(hit);
        }
        let mut taken = vec![measured(moment, &self.name, "accuracy", "all", &all)];
        taken.extend(parts.iter().map(|(part, hits)| measured(moment, &self.name, "accuracy", part, hits)));
        Ok(taken)
    }
}

/// The text encoder behind a subject, if its features have the width of the images'.
pub(crate) fn text_encoder(subject: &(dyn Any + Send + Sync), dim: usize) -> Result<&TextEncoderHandle, StageError> {
    let encoder = subject
        .downcast_ref::<TextEncoderHandle>()
        .ok_or_else(|| StageError::msg("the last stage trains no text encoder; this [[eval]] measures one"))?;
    if encoder.0.dim() != dim {
        return Err(StageError::msg(format!(
            "the text encoder gives {} numbers, the image encoder {dim}; both must come from one checkpoint",
            encoder.0.dim()
        )));
    }
    Ok(encoder)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read_text(text: &str) -> Result<Vec<Line>, String> {
        let path = std::env::temp_dir().join(format!("questions-{}-{}.jsonl", std::process::id(), text.len()));
        std::fs::write(&path, text).unwrap();
        let read = read(&path).map_err(|e| e.to_string());
        std::fs::remove_file(&path).unwrap();
        read
    }

    #[test]
    fn faults_name_the_line() {
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
