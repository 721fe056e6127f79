//! SNLI-VE (arXiv 1901.06706) and the like: hypotheses about photos, true or false.

use std::path::{Path, PathBuf};

use pipeline_engine::{Build, Look, Part, StageError, options};

use super::Source;
use crate::benchmark::Benchmark;
use crate::files::{FileError, table_rows};
use crate::measures::entailment::{Entailment, Hypothesis};
use crate::verify;

options! {
    /// Hypotheses about photos, CSV.
    pub struct SnliVe {
        /// A CSV with image, hypothesis and label: entailment, neutral or contradiction.
        file: PathBuf;
        /// The folder with the images, or shards (paths, globs, braces; one or a list).
        images: Vec<String>;
    }
}

impl Part for SnliVe {
    const NAME: &'static str = "snli-ve";
    const ABOUT: &'static str = "hypotheses about photos (CSV): entailment above contradiction, negated ones apart";
}

impl Source for SnliVe {
    fn open(&self, name: &str, build: &Build<'_>) -> Result<Box<dyn Benchmark>, StageError> {
        let (hypotheses, neutral) = read(&build.path(&self.file))?;
        Ok(Box::new(Entailment::open(name, &hypotheses, neutral, &self.images, build)?))
    }

    fn verify(&self, look: &mut Look<'_>) {
        verify::file(look, &self.file);
        verify::images(look, &self.images);
    }
}

/// Reads `image, hypothesis, label`; the label is entailment, neutral or contradiction. Neutral
/// rows do not count; their number comes second.
///
/// # Errors
/// A missing column, an empty field, another label.
pub fn read(path: &Path) -> Result<(Vec<Hypothesis>, usize), FileError> {
    let (mut hypotheses, mut neutral) = (Vec::new(), 0);
    for row in table_rows(path, &["image", "hypothesis", "label"], &[])? {
        let (image, text) = (row.text("image")?.to_owned(), row.text("hypothesis")?.to_owned());
        match row.text("label")?.to_lowercase().as_str() {
            "entailment" => hypotheses.push(Hypothesis { image, text, is_true: true }),
            "contradiction" => hypotheses.push(Hypothesis { image, text, is_true: false }),
            "neutral" => neutral += 1,
            other => {
                let message = format!("`label` is `{other}`, but must be entailment, neutral or contradiction");
                return Err(row.fault(message));
            }
        }
    }
    Ok((hypotheses, neutral))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn labels_and_columns_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("e.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path).map_err(|e| e.to_string())
        };
        let head = "image,hypothesis,label\n";
        let (rows, neutral) =
            read(&format!("{head}1.jpg,A dog runs,entailment\n1.jpg,Maybe,neutral\n1.jpg,No dog,Contradiction\n"))
                .unwrap();
        assert_eq!((rows.len(), neutral, rows[0].is_true, rows[1].is_true), (2, 1, true, false));
        assert!(read(&format!("{head}1.jpg,A dog,true\n")).unwrap_err().contains("e.csv:2: `label` is `true`"));
        assert!(read(&format!("{head}1.jpg,,entailment\n")).unwrap_err().contains("`hypothesis` is empty"));
        assert!(read("image,label\n1.jpg,x\n").unwrap_err().contains("no column `hypothesis`"));
    }
}
