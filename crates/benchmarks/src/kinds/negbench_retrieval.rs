//! NegBench's retrieval (arXiv 2501.09425): captions with negation, and the images they belong to.

use std::path::{Path, PathBuf};

use pipeline_engine::{Build, Look, Part, StageError, options};

use super::Source;
use crate::benchmark::Benchmark;
use crate::files::{FileError, TableRow, literal_list, table_rows, write_table};
use crate::measures::Baselines;
use crate::measures::ranks::Ranks;
use crate::verify;

options! {
    /// NegBench retrieval, CSV.
    pub struct NegBenchRetrieval {
        /// The CSV, as NegBench publishes it: filepath, captions (a Python or JSON list).
        file: PathBuf;
        /// The folder with the images, or shards (paths, globs, braces; one or a list).
        images: Vec<String>;
        /// Also measure the training-free answers.
        baselines: bool = false;
        /// The weight of what a text denies, in the answers training_free and lambda.
        lambda: f64 = 0.5, 0.0..=10.0;
    }
}

impl Part for NegBenchRetrieval {
    const NAME: &'static str = "negbench-retrieval";
    const ABOUT: &'static str = "NegBench retrieval with negation (CSV): R@1, R@5, R@10";
}

impl Source for NegBenchRetrieval {
    fn open(&self, name: &str, build: &Build<'_>) -> Result<Box<dyn Benchmark>, StageError> {
        let rows = read(&build.path(&self.file))?.into_iter().map(|(_, row)| (row.filepath, row.captions)).collect();
        let baselines = self.baselines.then_some(Baselines { lambda: self.lambda });
        Ok(Box::new(Ranks::open(name, rows, &self.images, baselines, build)?))
    }

    fn verify(&self, look: &mut Look<'_>) {
        verify::file(look, &self.file);
        verify::images(look, &self.images);
    }
}

/// An image and its captions with negation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrievalRow {
    /// Path of the image.
    pub filepath: String,
    /// As they are in the file: NegBench's own files have empty ones.
    pub captions: Vec<String>,
}

/// Reads `filepath, captions`, the captions a Python or JSON list, which may be empty or hold empty
/// captions; each row with its line.
///
/// # Errors
/// A missing column; a row without a path, or whose captions are not a list of strings.
pub fn read(path: &Path) -> Result<Vec<(usize, RetrievalRow)>, FileError> {
    let read = |row: TableRow| {
        let captions = literal_list(row.text("captions")?).ok_or_else(|| {
            row.fault("`captions` is not a list of strings, as in ['a dog, no ball', 'no ball, a dog']")
        })?;
        Ok((row.line, RetrievalRow { filepath: row.text("filepath")?.to_owned(), captions }))
    };
    table_rows(path, &["filepath", "captions"], &[])?.into_iter().map(read).collect()
}

/// Writes images with their captions; the captions as a JSON list, which Python reads too.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, rows: &[RetrievalRow]) -> Result<(), FileError> {
    let list = |row: &RetrievalRow| serde_json::Value::from(row.captions.clone()).to_string();
    write_table(path, &["filepath", "captions"], rows.iter().map(|row| vec![row.filepath.clone(), list(row)]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.csv");
        let row = RetrievalRow { filepath: "b.jpg".into(), captions: vec!["it's \"a\" dog".into(), "é".into()] };
        write(&path, std::slice::from_ref(&row)).unwrap();
        assert_eq!(read(&path).unwrap(), [(2, row)]);
    }

    #[test]
    fn faults_name_the_row() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.csv");
        let said = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path).unwrap_err().to_string()
        };
        assert!(said("filepath,captions\nb.jpg,a dog\n").contains("f.csv:2: `captions` is not a list"));
        assert!(said("filepath,captions\nb.jpg,\n").contains("f.csv:2: `captions` is empty"));
        assert!(said("filepath,captions\n,\"['a']\"\n").contains("`filepath` is empty"));
    }

    #[test]
    fn empty_captions_and_other_columns_are_read_as_published() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.csv");
        let text = "positive_objects,filepath,captions\n['box'],a.jpg,\"['', 'A box, no tree.']\"\n['box'],b.jpg,[]\n";
        std::fs::write(&path, text).unwrap();
        let captions: Vec<Vec<String>> = read(&path).unwrap().into_iter().map(|(_, row)| row.captions).collect();
        assert_eq!(captions, [vec![String::new(), "A box, no tree.".to_owned()], vec![]]);
    }
}
