//! CC-Neg (arXiv 2403.20312): a caption against its negation.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipeline_engine::{Build, Look, Part, StageError, choice, options};
use serde::Deserialize;

use super::Source;
use crate::benchmark::Benchmark;
use crate::files::{FileError, JsonEntry, json_entries, json_value};
use crate::measures::Baselines;
use crate::measures::choice::{Choice, Question};
use crate::verify;

choice! {
    /// Which rows of the published file are measured.
    pub enum Split {
        /// The last 40 000 rows, which CoN-CLIP does not train on.
        Test = "test",
        /// All rows.
        All = "all",
    }
}

options! {
    /// CC-Neg, JSON.
    pub struct CcNeg {
        /// ccneg_preprocessed.pt as JSON: json.dump(torch.load("ccneg_preprocessed.pt"), open("ccneg.json", "w")).
        file: PathBuf;
        /// The folder with the images, or shards (paths, globs, braces; one or a list).
        images: Vec<String>;
        /// The rows that are measured: the last 40 000 (test), or all; a list of entries is always measured whole.
        split: Split = Split::Test;
        /// Also measure the training-free answers.
        baselines: bool = false;
        /// The weight of what a text denies, in the answers training_free and lambda.
        lambda: f64 = 0.5, 0.0..=10.0;
    }
}

impl Part for CcNeg {
    const NAME: &'static str = "cc-neg";
    const ABOUT: &'static str = "CC-Neg (JSON): caption against its negation";
}

impl Source for CcNeg {
    fn open(&self, name: &str, build: &Build<'_>) -> Result<Box<dyn Benchmark>, StageError> {
        let (questions, empty) = read(&build.path(&self.file), self.split)?;
        let baselines = self.baselines.then_some(Baselines { lambda: self.lambda });
        let choice = Choice::open(name, questions, &self.images, baselines, build)?;
        Ok(Box::new(choice.set_aside(empty, "an empty text")))
    }

    fn verify(&self, look: &mut Look<'_>) {
        verify::file(look, &self.file);
        verify::images(look, &self.images);
    }
}

/// Rows of the test split, at the end of the published file (CoN-CLIP, arXiv 2403.20312).
const TEST_ROWS: usize = 40_000;

/// An annotation in CC-Neg's own layout. The caption is in `json` in the published file; copies have
/// it beside `sop_data` too.
#[derive(Deserialize)]
struct Annotation {
    json: Option<Caption>,
    caption: Option<String>,
    sop_data: SopData,
}

#[derive(Deserialize)]
struct Caption {
    caption: String,
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
/// it has `annotations`, each with `json["caption"]` and `sop_data["negative-prompt"]`, and
/// `image_paths` in the same order. As in CoN-CLIP, commas are deleted from the negative prompts, and
/// the last 40 000 rows are the test split. A list of entries with `image_path, caption,
/// negative_caption` is read too, as it is.
///
/// A row with an empty text asks nothing; their number comes second.
///
/// # Errors
/// A file of another layout, an empty path, lists of different lengths, no row with two texts.
pub fn read(path: &Path, split: Split) -> Result<(Vec<Question>, usize), FileError> {
    let value = json_value(path, WHAT)?;
    let entries = match (value.get("annotations"), value.get("image_paths")) {
        (Some(annotations), Some(images)) => published(path, annotations, images, split)?,
        _ => json_entries(path, WHAT)?,
    };
    let rows = entries.len();
    let mut questions = Vec::with_capacity(rows);
    for entry in entries {
        entry.filled(&[("image_path", &entry.value.image_path)])?;
        let Entry { image_path, caption, negative_caption } = entry.value;
        if !caption.trim().is_empty() && !negative_caption.trim().is_empty() {
            questions.push(Question::pair(image_path, caption, negative_caption));
        }
    }
    if questions.is_empty() {
        return Err(FileError::whole(path, "no row has both a caption and a negation"));
    }
    let empty = rows - questions.len();
    Ok((questions, empty))
}

/// The entries of CC-Neg's own layout.
fn published(
    path: &Path,
    annotations: &serde_json::Value,
    images: &serde_json::Value,
    split: Split,
) -> Result<Vec<JsonEntry<Entry>>, FileError> {
    let fault = |e: serde_json::Error| FileError::whole(path, format!("not {WHAT}: {e}"));
    let annotations = Vec::<Annotation>::deserialize(annotations).map_err(fault)?;
    let images = Vec::<String>::deserialize(images).map_err(fault)?;
    if annotations.len() != images.len() {
        let (a, b) = (annotations.len(), images.len());
        return Err(FileError::whole(path, format!("{a} annotations, but {b} image_paths")));
    }
    let before = match split {
        Split::Test => annotations.len().saturating_sub(TEST_ROWS),
        Split::All => 0,
    };
    let path: Arc<Path> = path.into();
    let entry = |(index, (Annotation { json, caption, sop_data }, image_path))| {
        let caption = json.map(|json| json.caption).or(caption);
        let Some(caption) = caption else {
            let fault = format!("entry `{index}` is not {WHAT}: it has no json.caption");
            return Err(FileError::row(&path, index + 1, fault));
        };
        let negative_caption = sop_data.negative.replace(',', "");
        Ok(JsonEntry::of_list(&path, index, Entry { image_path, caption, negative_caption }))
    };
    annotations.into_iter().zip(images).enumerate().skip(before).map(entry).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tests::written;

    fn annotation(caption: &str, negative: &str) -> String {
        format!(r#"{{"json":{{"caption":"{caption}"}},"sop_data":{{"negative-prompt":"{negative}"}}}}"#)
    }

    /// The published layout, with the images 0.jpg, 1.jpg, ...
    fn file(annotations: &[String]) -> String {
        let paths: Vec<String> = (0..annotations.len()).map(|i| format!(r#""/root/cc3m/{i}.jpg""#)).collect();
        format!(r#"{{"annotations":[{}],"image_paths":[{}]}}"#, annotations.join(","), paths.join(","))
    }

    fn read_text(text: &str, split: Split) -> Result<(Vec<Question>, usize), String> {
        let (_folder, path) = written(text);
        read(&path, split).map_err(|e| e.to_string())
    }

    #[test]
    fn all_layouts_are_read() {
        let published = file(&[annotation("a dog with a ball", "a dog, but without, a ball")]);
        let beside = r#"{"annotations":[{"caption":"a dog with a ball","sop_data":{"negative-prompt":"a dog but without a ball"}}],"image_paths":["/root/cc3m/0.jpg"]}"#;
        let flat = r#"[{"image_path":"/root/cc3m/0.jpg","positive_caption":"a dog with a ball","negative_caption":"a dog but without a ball"}]"#;
        for text in [published.as_str(), beside, flat] {
            let (questions, empty) = read_text(text, Split::Test).unwrap();
            let question = &questions[0];
            assert_eq!((questions.len(), empty, question.image.as_str()), (1, 0, "/root/cc3m/0.jpg"));
            assert_eq!(question.options, ["a dog with a ball", "a dog but without a ball"], "commas are deleted");
        }
    }

    #[test]
    fn the_test_split_is_the_last_40_000_rows() {
        let rows: Vec<String> = (0..TEST_ROWS + 2).map(|i| annotation(&format!("box {i}"), "no box")).collect();
        let text = file(&rows);
        let (test, _) = read_text(&text, Split::Test).unwrap();
        assert_eq!((test.len(), test[0].image.as_str()), (TEST_ROWS, "/root/cc3m/2.jpg"));
        assert_eq!(test[0].options[0], "box 2");
        assert_eq!(read_text(&text, Split::All).unwrap().0.len(), TEST_ROWS + 2);
    }

    #[test]
    fn empty_texts_are_counted_and_faults_named() {
        let rows = [annotation("a", "not a"), annotation("", "not b"), annotation("c", ",")];
        let (questions, empty) = read_text(&file(&rows), Split::Test).unwrap();
        assert_eq!((questions.len(), empty), (1, 2));
        let said = |text: &str| read_text(text, Split::Test).unwrap_err();
        assert!(said(&file(&rows[1..])).contains("no row has both"));
        assert!(said(r#"{"annotations":[],"image_paths":["x/a.jpg"]}"#).contains("0 annotations, but 1 image_paths"));
        let bare = r#"{"annotations":[{"sop_data":{"negative-prompt":"x"}}],"image_paths":["x/a.jpg"]}"#;
        assert!(said(bare).contains("f.json:1: entry `0` is not CC-Neg"));
        let path = r#"[{"image_path":" ","caption":"a","negative_caption":"b"}]"#;
        assert!(said(path).contains("f.json:1: entry `0`: `image_path` is empty"));
    }
}
