//! Zero-shot classification (CLIP, arXiv 2103.00020, section 3.1).

use std::path::{Path, PathBuf};

use pipeline_engine::{Build, Look, Part, StageError, options};

use super::Source;
use crate::benchmark::Benchmark;
use crate::files::{FileError, table_rows};
use crate::measures::classes::{Classes, fault_of};
use crate::verify;

options! {
    /// Zero-shot classification, CSV.
    pub struct ZeroShot {
        /// A CSV with image and label, the class's name.
        file: PathBuf;
        /// The folder with the images, or shards (paths, globs, braces; one or a list).
        images: Vec<String>;
        /// Sentences around a class's name, {}.
        templates: Vec<String> = vec!["a photo of a {}.".to_owned()];
    }
}

impl Part for ZeroShot {
    const NAME: &'static str = "zero-shot";
    const ABOUT: &'static str = "zero-shot classification (CSV of image and class name): top 1, top 5";
}

impl Source for ZeroShot {
    fn open(&self, name: &str, build: &Build<'_>) -> Result<Box<dyn Benchmark>, StageError> {
        let rows = read(&build.path(&self.file))?;
        Ok(Box::new(Classes::open(name, &rows, &self.templates, &self.images, build)?))
    }

    fn verify(&self, look: &mut Look<'_>) {
        verify::file(look, &self.file);
        verify::images(look, &self.images);
        if let Some(fault) = fault_of(&self.templates) {
            look.fault("templates", fault, "write {} where the class's name goes, as in \"a photo of a {}.\"");
        }
    }
}

/// Reads `image, label`; the label is the class's name.
///
/// # Errors
/// A missing column, an empty field.
pub fn read(path: &Path) -> Result<Vec<(String, String)>, FileError> {
    let rows = table_rows(path, &["image", "label"], &[])?;
    rows.iter().map(|row| Ok((row.text("image")?.to_owned(), row.text("label")?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn images_and_labels_must_not_be_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path).map_err(|e| e.to_string())
        };
        assert_eq!(read("image,label\na.jpg,drum\n").unwrap(), [("a.jpg".to_owned(), "drum".to_owned())]);
        assert!(read("image,label\na.jpg,\n").unwrap_err().contains("l.csv:2: `label` is empty"));
        assert!(read("image,class\na.jpg,x\n").unwrap_err().contains("no column `label`"));
    }
}
