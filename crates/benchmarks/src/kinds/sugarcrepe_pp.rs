//! SugarCrepe++ (arXiv 2406.11171): two true captions against a false one.

use std::path::{Path, PathBuf};

use pipeline_engine::{Build, Look, Part, StageError, options};

use super::Source;
use super::sugarcrepe::{Entry, SugarCrepe};
use crate::benchmark::Benchmark;
use crate::files::{FileError, JsonEntry, json_entries};
use crate::measures::triplets::{Triplet, Triplets};
use crate::verify;

options! {
    /// SugarCrepe++, JSON.
    pub struct SugarCrepePp {
        /// The JSON, as SugarCrepe++ publishes it: entries with filename, caption, caption2, negative_caption.
        file: PathBuf;
        /// The folder with the images, or shards (paths, globs, braces; one or a list).
        images: Vec<String>;
    }
}

impl Part for SugarCrepePp {
    const NAME: &'static str = "sugarcrepe++";
    const ABOUT: &'static str = "SugarCrepe++ (JSON): two true captions against a false one, with image and without";
}

impl Source for SugarCrepePp {
    fn open(&self, name: &str, build: &Build<'_>) -> Result<Box<dyn Benchmark>, StageError> {
        let triplets = read(&build.path(&self.file))?;
        Ok(Box::new(Triplets::open(name, &triplets, &self.images, build)?))
    }

    fn verify(&self, look: &mut Look<'_>) {
        verify::file(look, &self.file);
        verify::images(look, &self.images);
    }
}

/// Reads entries with `filename, caption, caption2, negative_caption`.
///
/// # Errors
/// A file of another layout, an empty field; a file of SugarCrepe, which has no second caption.
pub fn read(path: &Path) -> Result<Vec<Triplet>, FileError> {
    const WHAT: &str = "SugarCrepe++ (entries with filename, caption, caption2, negative_caption)";
    let read = |entry: JsonEntry<Entry>| {
        let Entry { filename, caption, negative_caption, caption2 } = &entry.value;
        let Some(second) = caption2 else {
            let other = SugarCrepe::NAME;
            return Err(entry.fault(format_args!("has no `caption2`: this is SugarCrepe; use the benchmark `{other}`")));
        };
        entry.filled(&[
            ("filename", filename),
            ("caption", caption),
            ("caption2", second),
            ("negative_caption", negative_caption),
        ])?;
        let captions = [caption.clone(), second.clone()];
        Ok(Triplet { image: filename.clone(), captions, negative: negative_caption.clone() })
    };
    json_entries(path, WHAT)?.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tests::written;

    #[test]
    fn both_captions_are_read_and_other_files_are_reported() {
        let (_d, path) = written(
            r#"[{"id":1,"filename":"a.jpg","caption":"A dog","caption2":"One dog","negative_caption":"A cat"}]"#,
        );
        let triplet = &read(&path).unwrap()[0];
        assert_eq!((&triplet.captions[1][..], &triplet.negative[..]), ("One dog", "A cat"));
        let said = |text: &str| {
            let (_d, path) = written(text);
            read(&path).unwrap_err().to_string()
        };
        let sugar = said(r#"{"0":{"filename":"a.jpg","caption":"A dog","negative_caption":"A cat"}}"#);
        assert!(sugar.contains("this is SugarCrepe;") && sugar.contains("`sugarcrepe`"), "{sugar}");
        let empty = said(r#"[{"filename":"a.jpg","caption":"x","caption2":" ","negative_caption":"y"}]"#);
        assert!(empty.contains("`caption2` is empty"), "{empty}");
    }
}
