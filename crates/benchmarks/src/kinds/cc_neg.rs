//! CC-Neg (arXiv 2403.20312): a caption against its negation.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipeline_engine::{Build, Look, Part, StageError, options};
use serde::Deserialize;

use super::Source;
use crate::benchmark::Benchmark;
use crate::files::{FileError, JsonEntry, json_entries, json_value};
use crate::measures::Baselines;
use crate::measures::choice::{Choice, Question};
use crate::verify;

options! {
    /// CC-Neg, JSON.
    pub struct CcNeg {
        /// ccneg_preprocessed.pt as JSON: json.dump(torch.load("ccneg_preprocessed.pt"), open("ccneg.json", "w")).
        file: PathBuf;
        /// The folder with the images, or shards (paths, globs, braces; one or a list).
        images: Vec<String>;
        /// Also measure the training-free answer.
        baselines: bool = false;
        /// The training-free answer's weight of what a text denies.
        lambda: f64 = 0.5, 0.0..=10.0;
    }
}

impl Part for CcNeg {
    const NAME: &'static str = "cc-neg";
    const ABOUT: &'static str = "CC-Neg (JSON): caption against its negation";
}

impl Source for CcNeg {
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

/// An annotation in CC-Neg's own layout.
#[derive(Deserialize)]
struct Annotation {
    caption: String,
    sop_data: SopData,
}

#[derive(Deserialize)]
struct SopData {
    #[serde(rename = "negative-prompt")]
    negative: String,
}

/// An entry of a flat list.
#[derive(Deserialize)]
struct Entry {
    #[serde(alias = "image", alias = "filename")]
    image_path: String,
    #[serde(alias = "positive_caption")]
    caption: String,
    #[serde(alias = "negated_caption", alias = "negation")]
    negative_caption: String,
}

const WHAT: &str = "CC-Neg (annotations and image_paths, or entries with image_path, caption, negative_caption)";

/// Reads CC-Neg. It is published as `ccneg_preprocessed.pt`; as JSON (`json.dump(torch.load(…), …)`)
/// it has `annotations`, each with `caption` and `sop_data["negative-prompt"]`, and `image_paths` in
/// the same order. A list of entries with `image_path, caption, negative_caption` is read too.
///
/// # Errors
/// A file of another layout, an empty field, lists of different lengths.
pub fn read(path: &Path) -> Result<Vec<Question>, FileError> {
    let value = json_value(path, WHAT)?;
    let entries = match (value.get("annotations"), value.get("image_paths")) {
        (Some(annotations), Some(images)) => published(path, annotations, images)?,
        _ => json_entries(path, WHAT)?,
    };
    let read = |entry: JsonEntry<Entry>| {
        let Entry { image_path, caption, negative_caption } = &entry.value;
        entry.filled(&[("image_path", image_path), ("caption", caption), ("negative_caption", negative_caption)])?;
        let Entry { image_path, caption, negative_caption } = entry.value;
        Ok(Question::pair(image_path, caption, negative_caption))
    };
    entries.into_iter().map(read).collect()
}

/// The entries of CC-Neg's own layout.
fn published(
    path: &Path,
    annotations: &serde_json::Value,
    images: &serde_json::Value,
) -> Result<Vec<JsonEntry<Entry>>, FileError> {
    let fault = |e: serde_json::Error| FileError::whole(path, format!("not {WHAT}: {e}"));
    let annotations = Vec::<Annotation>::deserialize(annotations).map_err(fault)?;
    let images = Vec::<String>::deserialize(images).map_err(fault)?;
    if annotations.len() != images.len() {
        let (a, b) = (annotations.len(), images.len());
        return Err(FileError::whole(path, format!("{a} annotations, but {b} image_paths")));
    }
    let path: Arc<Path> = path.into();
    let entry = |(index, (Annotation { caption, sop_data }, image_path))| {
        JsonEntry::of_list(&path, index, Entry { image_path, caption, negative_caption: sop_data.negative })
    };
    Ok(annotations.into_iter().zip(images).enumerate().map(entry).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tests::written;

    #[test]
    fn both_layouts_are_read() {
        let (_d, own) = written(
            r#"{"annotations":[{"caption":"a dog with a ball","sop_data":{"negative-prompt":"a dog without a ball"}}],"image_paths":["x/a.jpg"]}"#,
        );
        let (_d2, flat) = written(
            r#"[{"image_path":"x/a.jpg","positive_caption":"a dog with a ball","negative_caption":"a dog without a ball"}]"#,
        );
        let (own, flat) = (read(&own).unwrap(), read(&flat).unwrap());
        assert_eq!((&own[0].image, &own[0].options), (&flat[0].image, &flat[0].options));
        let (_d, short) = written(r#"{"annotations":[],"image_paths":["x/a.jpg"]}"#);
        assert!(read(&short).unwrap_err().to_string().contains("0 annotations, but 1 image_paths"));
        let (_d, empty) =
            written(r#"{"annotations":[{"caption":"","sop_data":{"negative-prompt":"x"}}],"image_paths":["x/a.jpg"]}"#);
        assert!(read(&empty).unwrap_err().to_string().contains("f.json:1: entry `0`: `caption` is empty"));
    }
}
