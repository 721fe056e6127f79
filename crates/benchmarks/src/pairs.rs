//! Captions against foils: VALSE, SugarCrepe, CC-Neg.

use std::path::Path;

use serde::Deserialize;

use crate::choice::Row;
use crate::files::{FileError, json_entries, json_value};

/// Annotators of three who must have found that a VALSE caption fits, as its own evaluation asks.
const VALSE_VOTES: u32 = 2;

/// A pair as a question with two options, the caption first.
fn pair(image: String, caption: String, foil: String, part: Option<String>) -> Row {
    Row { image, options: vec![caption, foil], right: 0, part, kinds: None }
}

/// The fault of an entry whose text is empty.
fn filled(path: &Path, row: usize, key: &str, fields: &[(&str, &str)]) -> Result<(), FileError> {
    match fields.iter().find(|(_, text)| text.trim().is_empty()) {
        Some((field, _)) => Err(FileError::Row {
            path: path.to_owned(),
            row: row + 1,
            message: format!("entry `{key}`: `{field}` is empty"),
        }),
        None => Ok(()),
    }
}

#[derive(Deserialize)]
struct Valse {
    image_file: String,
    caption: String,
    foil: String,
    #[serde(default)]
    linguistic_phenomena: Option<String>,
    #[serde(default)]
    mturk: Option<Votes>,
}

#[derive(Deserialize)]
struct Votes {
    caption: u32,
}

/// VALSE (arXiv 2112.07566): an object of entries with `image_file, caption, foil`, and
/// `linguistic_phenomena` and `mturk.caption`, the votes that the caption fits. Entries with fewer
/// than two votes do not count, as in VALSE's own evaluation; their number comes second.
///
/// # Errors
/// A file of another layout, an empty field.
pub fn read_valse(path: &Path) -> Result<(Vec<Row>, usize), FileError> {
    const WHAT: &str = "VALSE (entries with image_file, caption, foil)";
    let entries: Vec<(String, Valse)> = json_entries(path, WHAT)?;
    let all = entries.len();
    let mut rows = Vec::new();
    for (row, (key, entry)) in entries.into_iter().enumerate() {
        let fields = [("image_file", &*entry.image_file), ("caption", &*entry.caption), ("foil", &*entry.foil)];
        filled(path, row, &key, &fields)?;
        if entry.mturk.is_none_or(|votes| votes.caption >= VALSE_VOTES) {
            rows.push(pair(entry.image_file, entry.caption, entry.foil, entry.linguistic_phenomena));
        }
    }
    if rows.is_empty() {
        return Err(FileError::whole(path, "no entry has two votes (mturk.caption) that its caption fits"));
    }
    let aside = all - rows.len();
    Ok((rows, aside))
}

#[derive(Deserialize)]
struct SugarCrepe {
    filename: String,
    caption: String,
    negative_caption: String,
    #[serde(default)]
    caption2: Option<String>,
}

/// SugarCrepe (arXiv 2306.14610): entries with `filename, caption, negative_caption`.
///
/// # Errors
/// A file of another layout, an empty field; one of SugarCrepe++, which asks another question.
pub fn read_sugarcrepe(path: &Path) -> Result<Vec<Row>, FileError> {
    const WHAT: &str = "SugarCrepe (entries with filename, caption, negative_caption)";
    let entries: Vec<(String, SugarCrepe)> = json_entries(path, WHAT)?;
    let read = |(row, (key, entry)): (usize, (String, SugarCrepe))| {
        let (caption, foil) = (&*entry.caption, &*entry.negative_caption);
        filled(path, row, &key, &[("filename", &*entry.filename), ("caption", caption), ("negative_caption", foil)])?;
        if entry.caption2.is_some() {
            let message = format!("entry `{key}` has a `caption2`: this is SugarCrepe++; use --benchmark sugarcrepe++");
            return Err(FileError::Row { path: path.to_owned(), row: row + 1, message });
        }
        Ok(pair(entry.filename, entry.caption, entry.negative_caption, None))
    };
    entries.into_iter().enumerate().map(read).collect()
}

/// An image with two captions that mean the same and one that does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Triplet {
    /// Path of the image.
    pub image: String,
    /// Two true captions.
    pub captions: [String; 2],
    /// The false one.
    pub negative: String,
}

/// SugarCrepe++ (arXiv 2406.11171): entries with `filename, caption, caption2, negative_caption`.
///
/// # Errors
/// A file of another layout, an empty field.
pub fn read_sugarcrepe_pp(path: &Path) -> Result<Vec<Triplet>, FileError> {
    const WHAT: &str = "SugarCrepe++ (entries with filename, caption, caption2, negative_caption)";
    let entries: Vec<(String, SugarCrepe)> = json_entries(path, WHAT)?;
    let read = |(row, (key, entry)): (usize, (String, SugarCrepe))| {
        let Some(second) = entry.caption2 else {
            let message = format!("entry `{key}` has no `caption2`: this is SugarCrepe; use --benchmark sugarcrepe");
            return Err(FileError::Row { path: path.to_owned(), row: row + 1, message });
        };
        let (caption, negative) = (entry.caption, entry.negative_caption);
        let fields = [
            ("filename", &*entry.filename),
            ("caption", &*caption),
            ("caption2", &*second),
            ("negative_caption", &*negative),
        ];
        filled(path, row, &key, &fields)?;
        Ok(Triplet { image: entry.filename, captions: [caption, second], negative })
    };
    entries.into_iter().enumerate().map(read).collect()
}

/// An entry of CC-Neg in its own layout.
#[derive(Deserialize)]
struct CcNeg {
    caption: String,
    sop_data: Sop,
}

#[derive(Deserialize)]
struct Sop {
    #[serde(rename = "negative-prompt")]
    negative: String,
}

/// A flat list of it.
#[derive(Deserialize)]
struct Flat {
    #[serde(alias = "image", alias = "filename")]
    image_path: String,
    #[serde(alias = "positive_caption")]
    caption: String,
    #[serde(alias = "negated_caption", alias = "negation")]
    negative_caption: String,
}

/// CC-Neg (arXiv 2403.20312). It is published as `ccneg_preprocessed.pt`; as JSON
/// (`json.dump(torch.load(…), …)`) it has `annotations`, each with `caption` and
/// `sop_data["negative-prompt"]`, and `image_paths` in the same order. A list of entries with
/// `image_path, caption, negative_caption` is read too.
///
/// # Errors
/// A file of another layout, an empty field, lists of different lengths.
pub fn read_cc_neg(path: &Path) -> Result<Vec<Row>, FileError> {
    const WHAT: &str = "CC-Neg (annotations and image_paths, or entries with image_path, caption, negative_caption)";
    let value = json_value(path, WHAT)?;
    let flat: Vec<(String, Flat)> = match (value.get("annotations"), value.get("image_paths")) {
        (Some(annotations), Some(images)) => {
            let fault = |e: serde_json::Error| FileError::whole(path, format!("not {WHAT}: {e}"));
            let annotations: Vec<CcNeg> = serde_json::from_value(annotations.clone()).map_err(fault)?;
            let images: Vec<String> = serde_json::from_value(images.clone()).map_err(fault)?;
            if annotations.len() != images.len() {
                let (a, b) = (annotations.len(), images.len());
                return Err(FileError::whole(path, format!("{a} annotations, but {b} image_paths")));
            }
            let join = |(i, (a, image)): (usize, (CcNeg, String))| {
                (i.to_string(), Flat { image_path: image, caption: a.caption, negative_caption: a.sop_data.negative })
            };
            annotations.into_iter().zip(images).enumerate().map(join).collect()
        }
        _ => json_entries(path, WHAT)?,
    };
    let read = |(row, (key, entry)): (usize, (String, Flat))| {
        let fields = [
            ("image_path", &*entry.image_path),
            ("caption", &*entry.caption),
            ("negative_caption", &*entry.negative_caption),
        ];
        filled(path, row, &key, &fields)?;
        Ok(pair(entry.image_path, entry.caption, entry.negative_caption, None))
    };
    flat.into_iter().enumerate().map(read).collect()
}

/// A phrase and the parts of an image among which it means one.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    /// Path of the image.
    pub image: String,
    /// The referring expression.
    pub phrase: String,
    /// x, y, width, height of each part.
    pub boxes: Vec<[f64; 4]>,
    /// Which one is meant.
    pub right: usize,
}

#[derive(Deserialize)]
struct RefCoco {
    image: String,
    phrase: String,
    ref_bbox: [f64; 4],
    bbox_list: Vec<[f64; 4]>,
}

/// NegRefCOCOg (arXiv 2501.10913): entries with `image, phrase, ref_bbox, bbox_list`, boxes as
/// x, y, width, height.
///
/// # Errors
/// A file of another layout; an entry whose box is not among its boxes.
pub fn read_negrefcocog(path: &Path) -> Result<Vec<Region>, FileError> {
    const WHAT: &str = "NegRefCOCOg (entries with image, phrase, ref_bbox, bbox_list)";
    let entries: Vec<(String, RefCoco)> = json_entries(path, WHAT)?;
    let read = |(row, (key, entry)): (usize, (String, RefCoco))| {
        filled(path, row, &key, &[("image", &*entry.image), ("phrase", &*entry.phrase)])?;
        let fault = |message: String| FileError::Row { path: path.to_owned(), row: row + 1, message };
        if entry.bbox_list.len() < 2 {
            return Err(fault(format!("entry `{key}`: `bbox_list` has fewer than two boxes to choose from")));
        }
        let right = entry
            .bbox_list
            .iter()
            .position(|found| *found == entry.ref_bbox)
            .ok_or_else(|| fault(format!("entry `{key}`: `ref_bbox` is not in `bbox_list`")))?;
        Ok(Region { image: entry.image, phrase: entry.phrase, boxes: entry.bbox_list, right })
    };
    entries.into_iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.json");
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn valse_counts_what_annotators_accepted() {
        let entry = |votes: u32, foil: &str| {
            format!(
                r#"{{"image_file":"a.jpg","caption":"There are no dogs.","foil":"{foil}","linguistic_phenomena":"existence","mturk":{{"caption":{votes},"foil":0,"other":0}}}}"#
            )
        };
        let (_d, path) =
            file(&format!(r#"{{"x_1":{},"x_2":{}}}"#, entry(3, "There are dogs."), entry(1, "There are dogs.")));
        let (rows, aside) = read_valse(&path).unwrap();
        assert_eq!((rows.len(), aside, rows[0].part.as_deref()), (1, 1, Some("existence")));
        assert_eq!(rows[0].options, ["There are no dogs.", "There are dogs."]);
        let (_d, path) = file(&format!(r#"{{"x_1":{}}}"#, entry(3, " ")));
        assert!(read_valse(&path).unwrap_err().to_string().contains("f.json:1: entry `x_1`: `foil` is empty"));
    }

    #[test]
    fn files_of_another_benchmark_are_told() {
        let (_d, sugar) = file(r#"{"0":{"filename":"a.jpg","caption":"A dog","negative_caption":"A cat"}}"#);
        assert_eq!(read_sugarcrepe(&sugar).unwrap()[0].options, ["A dog", "A cat"]);
        let said = read_valse(&sugar).unwrap_err().to_string();
        assert!(
            said.contains("f.json:1") && said.contains("not VALSE") && said.contains("another benchmark"),
            "{said}"
        );
        assert!(read_sugarcrepe_pp(&sugar).unwrap_err().to_string().contains("this is SugarCrepe;"));
        let (_d, plus) =
            file(r#"[{"id":1,"filename":"a.jpg","caption":"A dog","caption2":"One dog","negative_caption":"A cat"}]"#);
        assert_eq!(read_sugarcrepe_pp(&plus).unwrap()[0].captions[1], "One dog");
        assert!(read_sugarcrepe(&plus).unwrap_err().to_string().contains("this is SugarCrepe++"));
        assert!(read_negrefcocog(&plus).unwrap_err().to_string().contains("not NegRefCOCOg"));
        let (_d, none) = file("{}");
        assert!(read_sugarcrepe(&none).unwrap_err().to_string().contains("no entry"));
        let (_d, csv) = file("filename,captions\n");
        assert!(read_sugarcrepe(&csv).unwrap_err().to_string().contains("not SugarCrepe"));
    }

    #[test]
    fn cc_neg_in_both_layouts() {
        let (_d, own) = file(
            r#"{"annotations":[{"caption":"a dog with a ball","sop_data":{"negative-prompt":"a dog without a ball"}}],"image_paths":["x/a.jpg"]}"#,
        );
        let (_d2, flat) = file(
            r#"[{"image_path":"x/a.jpg","positive_caption":"a dog with a ball","negative_caption":"a dog without a ball"}]"#,
        );
        let (own, flat) = (read_cc_neg(&own).unwrap(), read_cc_neg(&flat).unwrap());
        assert_eq!((&own[0].image, &own[0].options), (&flat[0].image, &flat[0].options));
        let (_d, short) = file(r#"{"annotations":[],"image_paths":["x/a.jpg"]}"#);
        assert!(read_cc_neg(&short).unwrap_err().to_string().contains("0 annotations, but 1 image_paths"));
    }

    #[test]
    fn regions_must_hold_the_one_that_is_meant() {
        let entry = |reference: &str| {
            format!(
                r#"[{{"image":"a.jpg","phrase":"the man without a hat","ref_bbox":{reference},"bbox_list":[[1,2,3,4],[5,6,7,8.5]]}}]"#
            )
        };
        let (_d, path) = file(&entry("[5,6,7,8.5]"));
        assert_eq!(read_negrefcocog(&path).unwrap()[0].right, 1);
        let (_d, path) = file(&entry("[0,0,1,1]"));
        assert!(read_negrefcocog(&path).unwrap_err().to_string().contains("`ref_bbox` is not in `bbox_list`"));
    }
}
