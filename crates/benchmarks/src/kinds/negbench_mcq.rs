//! NegBench's multiple choice (arXiv 2501.09425): which of the captions is true of the image?

use std::path::{Path, PathBuf};

use pipeline_engine::{Build, Look, Part, StageError, options};

use super::Source;
use crate::benchmark::Benchmark;
use crate::files::{FileError, TableRow, table_rows, write_table};
use crate::measures::Baselines;
use crate::measures::choice::{Choice, Question};
use crate::negation::{has_negation, parts};
use crate::verify;

options! {
    /// NegBench multiple choice, CSV.
    pub struct NegBenchMcq {
        /// The CSV, as NegBench publishes it: image_path, caption_0 and so on, correct_answer, correct_answer_template.
        file: PathBuf;
        /// The folder with the images, or shards (paths, globs, braces; one or a list).
        images: Vec<String>;
        /// Also measure which wrong answers were chosen, and the training-free answers.
        baselines: bool = false;
        /// The weight of what a text denies, in the answers training_free and lambda.
        lambda: f64 = 0.5, 0.0..=10.0;
    }
}

impl Part for NegBenchMcq {
    const NAME: &'static str = "negbench-mcq";
    const ABOUT: &'static str = "NegBench multiple choice (CSV): accuracy by type";
}

impl Source for NegBenchMcq {
    fn open(&self, name: &str, build: &Build<'_>) -> Result<Box<dyn Benchmark>, StageError> {
        let questions = read(&build.path(&self.file))?.into_iter().map(|(_, row)| question(row)).collect();
        let baselines = self.baselines.then_some(Baselines { lambda: self.lambda });
        Ok(Box::new(Choice::open(name, questions, &self.images, baselines, build)?))
    }

    fn verify(&self, look: &mut Look<'_>) {
        verify::file(look, &self.file);
        verify::images(look, &self.images);
    }
}

/// A question: which of the captions is true of the image?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McqRow {
    /// Path of the image.
    pub image_path: String,
    /// Four captions, or two in the binary questions.
    pub captions: Vec<String>,
    /// Which is true.
    pub correct_answer: usize,
    /// What the true one does: `positive`, `negative`, `hybrid`.
    pub correct_answer_template: String,
}

/// The types of the wrong options in NegBench's own files, by their places.
const WRONG_TYPES: [&str; 3] = ["hybrid", "positive", "negative"];

/// The question with the types of its options: by place in NegBench's own files, where the correct
/// answer comes first and then a hybrid, a positive and a negative one; else by wording.
pub fn question(row: McqRow) -> Question {
    let by_wording = |text: &String| {
        let of = match (has_negation(text), parts(text).affirmed.is_empty()) {
            (false, _) => "positive",
            (true, true) => "negative",
            (true, false) => "hybrid",
        };
        of.to_owned()
    };
    let option_types = match (row.correct_answer, row.captions.len()) {
        (0, 4) => [row.correct_answer_template.clone()].into_iter().chain(WRONG_TYPES.map(str::to_owned)).collect(),
        _ => row.captions.iter().map(by_wording).collect(),
    };
    Question {
        image: row.image_path,
        options: row.captions,
        correct: row.correct_answer,
        part: Some(row.correct_answer_template),
        option_types: Some(option_types),
    }
}

/// Reads `image_path, caption_0, …, correct_answer, correct_answer_template`, with four captions,
/// or with two as in NegBench's binary questions; each row with its line.
///
/// # Errors
/// A missing column; a row with an empty caption, path or type, or an answer that is not one of
/// the captions.
pub fn read(path: &Path) -> Result<Vec<(usize, McqRow)>, FileError> {
    const COLUMNS: [&str; 6] = ["image_path", "caption_0", "caption_1", "correct_answer", "caption_2", "caption_3"];
    let four = table_rows(path, &COLUMNS, &["correct_answer_template"]);
    let (rows, options) = match four {
        Ok(rows) => (rows, 4),
        Err(error) => match table_rows(path, &COLUMNS[..4], &[]) {
            Ok(rows) if rows[0].optional("caption_2").is_none() && rows[0].optional("caption_3").is_none() => (rows, 2),
            _ => return Err(error),
        },
    };
    let read = |row: TableRow| {
        let caption = |i: usize| row.text(&format!("caption_{i}")).map(str::to_owned);
        let typed = row.optional("correct_answer_template");
        let read = McqRow {
            image_path: row.text("image_path")?.to_owned(),
            captions: (0..options).map(caption).collect::<Result<_, _>>()?,
            correct_answer: row.below("correct_answer", options)?,
            correct_answer_template: match typed {
                None => "all".to_owned(),
                Some(_) => row.text("correct_answer_template")?.to_lowercase(),
            },
        };
        Ok((row.line, read))
    };
    rows.into_iter().map(read).collect()
}

/// Writes questions with four captions.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, rows: &[McqRow]) -> Result<(), FileError> {
    let header =
        ["image_path", "caption_0", "caption_1", "caption_2", "caption_3", "correct_answer", "correct_answer_template"];
    let records = rows.iter().map(|row| {
        let mut record = vec![row.image_path.clone()];
        record.extend(row.captions.iter().cloned());
        record.extend([row.correct_answer.to_string(), row.correct_answer_template.clone()]);
        record
    });
    write_table(path, &header, records)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HEADER: &str = "image_path,caption_0,caption_1,caption_2,caption_3,correct_answer,correct_answer_template";

    fn row(captions: &[&str], correct_answer: usize) -> McqRow {
        McqRow {
            image_path: "a/b.jpg".into(),
            captions: captions.iter().map(|caption| (*caption).to_owned()).collect(),
            correct_answer,
            correct_answer_template: "hybrid".into(),
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mcq.csv");
        let row = row(&["a \"dog\", no ball", "x", "y", "z"], 0);
        write(&path, std::slice::from_ref(&row)).unwrap();
        assert_eq!(read(&path).unwrap(), [(2, row)]);
    }

    #[test]
    fn faults_name_the_row() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.csv");
        let mcq = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path).map_err(|e| e.to_string())
        };
        let good = "a.jpg,one,two,three,four,0,positive";
        let empty = mcq(&format!("{HEADER}\n{good}\na.jpg,one,,three,four,0,negative\n")).unwrap_err();
        assert!(empty.contains("f.csv:3: `caption_1` is empty"), "{empty}");
        let answer = mcq(&format!("{HEADER}\n{good}\na.jpg,one,two,three,four,4,hybrid\n")).unwrap_err();
        assert!(answer.contains("f.csv:3: `correct_answer` is 4"), "{answer}");
        assert!(mcq(&HEADER.replace("caption_3,", "")).unwrap_err().contains("no column `caption_3`"));
        assert!(mcq("filepath,captions\nb.jpg,\"['a']\"\n").unwrap_err().contains("no column `image_path`"));
        let two = mcq("image_path,caption_0,caption_1,correct_answer\na.jpg,yes,no,1\n").unwrap();
        assert_eq!((two[0].1.captions.len(), two[0].1.correct_answer_template.as_str()), (2, "all"));
    }

    #[test]
    fn types_of_options_follow_from_places_or_from_the_wording() {
        let types = |row| question(row).option_types.unwrap();
        assert_eq!(types(row(&["x", "y", "z", "w"], 0)), ["hybrid", "hybrid", "positive", "negative"]);
        assert_eq!(types(row(&["a dog", "no dog"], 1)), ["positive", "negative"]);
        assert_eq!(
            types(row(&["x", "a dog but no cat", "no dog", "a cat"], 2)),
            ["positive", "hybrid", "negative", "positive"]
        );
    }
}
