//! NegRefCOCOg (arXiv 2501.10913): which part of the image does a negated phrase mean?

use std::path::{Path, PathBuf};

use pipeline_engine::{Build, Look, Part, StageError, options};
use serde::Deserialize;

use super::Source;
use crate::benchmark::Benchmark;
use crate::files::{FileError, JsonEntry, json_entries};
use crate::measures::regions::{Region, Regions};
use crate::verify;

options! {
    /// NegRefCOCOg, JSON.
    pub struct NegRefCocoG {
        /// The JSON, as NegRefCOCOg publishes it: entries with image, phrase, ref_bbox, bbox_list.
        file: PathBuf;
        /// The folder with the images; parts are cut from files, so shards will not do.
        images: Vec<String>;
    }
}

impl Part for NegRefCocoG {
    const NAME: &'static str = "negrefcocog";
    const ABOUT: &'static str = "NegRefCOCOg (JSON): which part of the image a negated phrase means";
}

impl Source for NegRefCocoG {
    fn open(&self, name: &str, build: &Build<'_>) -> Result<Box<dyn Benchmark>, StageError> {
        let regions = read(&build.path(&self.file))?;
        Ok(Box::new(Regions::open(name, &regions, &self.images, build)?))
    }

    fn verify(&self, look: &mut Look<'_>) {
        verify::file(look, &self.file);
        verify::folder(look, &self.images);
    }
}

#[derive(Deserialize)]
struct Entry {
    image: String,
    phrase: String,
    ref_bbox: [f64; 4],
    bbox_list: Vec<[f64; 4]>,
}

/// Reads entries with `image, phrase, ref_bbox, bbox_list`, boxes as x, y, width, height in pixels.
///
/// # Errors
/// A file of another layout; an entry with fewer than two boxes, or whose box is not among them.
pub fn read(path: &Path) -> Result<Vec<Region>, FileError> {
    const WHAT: &str = "NegRefCOCOg (entries with image, phrase, ref_bbox, bbox_list)";
    let read = |entry: JsonEntry<Entry>| {
        let Entry { image, phrase, ref_bbox, bbox_list } = &entry.value;
        entry.filled(&[("image", image), ("phrase", phrase)])?;
        if bbox_list.len() < 2 {
            return Err(entry.fault("`bbox_list` has fewer than two boxes to choose from"));
        }
        let Some(correct) = bbox_list.iter().position(|found| found == ref_bbox) else {
            return Err(entry.fault("`ref_bbox` is not in `bbox_list`"));
        };
        let Entry { image, phrase, bbox_list, .. } = entry.value;
        Ok(Region { image, phrase, boxes: bbox_list, correct })
    };
    json_entries(path, WHAT)?.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tests::written;

    #[test]
    fn the_box_that_is_meant_must_be_among_the_boxes() {
        let entry = |reference: &str, boxes: &str| {
            format!(
                r#"[{{"image":"a.jpg","phrase":"the man without a hat","ref_bbox":{reference},"bbox_list":{boxes}}}]"#
            )
        };
        let boxes = "[[1,2,3,4],[5,6,7,8.5]]";
        let (_d, path) = written(&entry("[5,6,7,8.5]", boxes));
        assert_eq!(read(&path).unwrap()[0].correct, 1);
        let said = |text: &str| {
            let (_d, path) = written(text);
            read(&path).unwrap_err().to_string()
        };
        assert!(said(&entry("[0,0,1,1]", boxes)).contains("f.json:1: entry `0`: `ref_bbox` is not in `bbox_list`"));
        assert!(said(&entry("[0,0,1,1]", "[[0,0,1,1]]")).contains("fewer than two boxes"));
        assert!(said(r#"[{"filename":"a.jpg"}]"#).contains("not NegRefCOCOg"));
    }
}
