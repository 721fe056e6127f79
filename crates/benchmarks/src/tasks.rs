//! Benchmarks that are no multiple choice of texts: parts of an image, triplets of texts,
//! hypotheses about a photo, classes.

use std::collections::BTreeMap;
use std::path::Path;

use pipeline_engine::{Build, StageError};
use items::TextEncoder;

use crate::benchmark::{Benchmark, Coverage, Detail};
use crate::files::{FileError, csv_rows};
use crate::negation::has_negation;
use crate::pairs::{Region, Triplet};
use crate::pictures::{Pictures, gather};
use crate::score::Series;
use crate::texts::{Texts, cosine};

/// NegRefCOCOg: which part of the image does the phrase mean?
#[derive(Debug)]
pub struct Regions {
    coverage: Coverage,
    pictures: Pictures,
    texts: Texts,
    /// Phrase, parts, the right one, the number of the row's image.
    asked: Vec<(usize, Vec<usize>, usize, usize)>,
}

impl Regions {
    /// Cuts out and encodes all parts.
    ///
    /// # Errors
    /// When the images are shards, or none of them is there.
    pub fn open(name: &str, rows: Vec<Region>, images: &[String], build: &Build<'_>) -> Result<Self, StageError> {
        if !matches!(images, [one] if build.path(one).is_dir()) {
            return Err(StageError::msg(format!(
                "parts of images are cut from files; give a folder in place of {}",
                images.join(", ")
            )));
        }
        let part = |row: &Region, [x, y, w, h]: &[f64; 4]| format!("{}#{x},{y},{w},{h}", row.image);
        let all: Vec<String> = rows.iter().flat_map(|row| row.boxes.iter().map(move |b| part(row, b))).collect();
        let wanted: Vec<&str> = all.iter().map(String::as_str).collect();
        let (pictures, places, missing) = gather(name, images, &wanted, build)?;
        let mut coverage = Coverage { rows: rows.len(), missing, ..Coverage::default() };
        let mut texts = Texts::default();
        let mut places = places.into_iter();
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let mut asked = Vec::new();
        for row in &rows {
            let parts: Vec<Option<usize>> = places.by_ref().take(row.boxes.len()).collect();
            let next = numbers.len();
            let number = *numbers.entry(&row.image).or_insert(next);
            if let Some(parts) = parts.into_iter().collect::<Option<Vec<usize>>>() {
                asked.push((texts.place(&row.phrase), parts, row.right, number));
            }
        }
        coverage.used = asked.len();
        Ok(Self { coverage, pictures, texts, asked })
    }
}

impl Benchmark for Regions {
    fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    fn series(&self, encoder: &dyn TextEncoder, _: Detail) -> Result<Vec<Series>, StageError> {
        let rows = self.texts.embed(encoder, self.pictures.dim)?;
        let hits = self.asked.iter().map(|(text, parts, right, image)| {
            let score = |part: usize| cosine(rows.row(*text), self.pictures.feature(part));
            let own = score(parts[*right]);
            let beaten = parts.iter().enumerate().all(|(i, part)| i == *right || score(*part) < own);
            (beaten, *image)
        });
        Ok(vec![Series::hits("accuracy", "all", hits)])
    }
}

/// SugarCrepe++: do both true captions beat the false one, with the image and without?
#[derive(Debug)]
pub struct Triplets {
    coverage: Coverage,
    pictures: Pictures,
    texts: Texts,
    /// Image; both true captions and the false one.
    asked: Vec<(usize, [usize; 3])>,
}

impl Triplets {
    /// Encodes the images.
    ///
    /// # Errors
    /// When none of them is there.
    pub fn open(name: &str, rows: Vec<Triplet>, images: &[String], build: &Build<'_>) -> Result<Self, StageError> {
        let wanted: Vec<&str> = rows.iter().map(|row| row.image.as_str()).collect();
        let (pictures, places, missing) = gather(name, images, &wanted, build)?;
        let mut coverage = Coverage { rows: rows.len(), missing, ..Coverage::default() };
        let mut texts = Texts::default();
        let asked: Vec<_> = rows
            .iter()
            .zip(places)
            .filter_map(|(row, place)| {
                let [one, two] = row.captions.each_ref().map(|text| texts.place(text));
                Some((place?, [one, two, texts.place(&row.negative)]))
            })
            .collect();
        coverage.used = asked.len();
        Ok(Self { coverage, pictures, texts, asked })
    }
}

impl Benchmark for Triplets {
    fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// `image_to_text_accuracy` and `text_only_accuracy` (ITT and TOT of arXiv 2406.11171).
    fn series(&self, encoder: &dyn TextEncoder, _: Detail) -> Result<Vec<Series>, StageError> {
        let rows = self.texts.embed(encoder, self.pictures.dim)?;
        let image = self.asked.iter().map(|(image, [one, two, negative])| {
            let score = |text: usize| cosine(rows.row(text), self.pictures.feature(*image));
            (score(*one).min(score(*two)) > score(*negative), *image)
        });
        let text = self.asked.iter().map(|(image, [one, two, negative])| {
            let alike = |a: usize, b: usize| cosine(rows.row(a), rows.row(b));
            (alike(*one, *two) > alike(*one, *negative).max(alike(*two, *negative)), *image)
        });
        Ok(vec![Series::hits("image_to_text_accuracy", "all", image), Series::hits("text_only_accuracy", "all", text)])
    }
}

/// Hypotheses about photos, true (entailment) or false (contradiction).
#[derive(Debug)]
pub struct Entailment {
    coverage: Coverage,
    pictures: Pictures,
    texts: Texts,
    /// Image, hypothesis, whether it is true.
    asked: Vec<(usize, usize, bool)>,
}

/// A hypothesis about a photo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hypothesis {
    /// Path of the photo.
    pub image: String,
    /// What is said of it.
    pub text: String,
    /// Whether it is entailed; else it contradicts.
    pub truth: bool,
}

/// Reads `image, hypothesis, label`; the label is entailment, neutral or contradiction. Neutral
/// rows do not count; their number comes second.
///
/// # Errors
/// A missing column, an empty field, another label.
pub fn read_entailment(path: &Path) -> Result<(Vec<Hypothesis>, usize), FileError> {
    let (mut rows, mut neutral) = (Vec::new(), 0);
    for row in csv_rows(path, &["image", "hypothesis", "label"], &[])? {
        let (image, text) = (row.text("image")?.to_owned(), row.text("hypothesis")?.to_owned());
        match row.text("label")?.to_lowercase().as_str() {
            "entailment" => rows.push(Hypothesis { image, text, truth: true }),
            "contradiction" => rows.push(Hypothesis { image, text, truth: false }),
            "neutral" => neutral += 1,
            other => {
                return Err(
                    row.fault(format!("`label` is `{other}`, but must be entailment, neutral or contradiction"))
                );
            }
        }
    }
    Ok((rows, neutral))
}

impl Entailment {
    /// Encodes the images.
    ///
    /// # Errors
    /// When none of them is there.
    pub fn open(
        name: &str,
        rows: Vec<Hypothesis>,
        neutral: usize,
        images: &[String],
        build: &Build<'_>,
    ) -> Result<Self, StageError> {
        let wanted: Vec<&str> = rows.iter().map(|row| row.image.as_str()).collect();
        let (pictures, places, missing) = gather(name, images, &wanted, build)?;
        let mut texts = Texts::default();
        let asked: Vec<_> = rows
            .iter()
            .zip(places)
            .filter_map(|(row, place)| Some((place?, texts.place(&row.text), row.truth)))
            .collect();
        let set_aside = (neutral > 0).then_some((neutral, "neutral"));
        let coverage = Coverage { rows: rows.len(), used: asked.len(), missing, set_aside };
        Ok(Self { coverage, pictures, texts, asked })
    }
}

impl Benchmark for Entailment {
    fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// `pair_accuracy`: within a photo, does what is true score above what is false, pair by pair?
    /// `auc`: the same over all rows. The part `negation` are hypotheses with a word that denies
    /// (pairs where either has one).
    fn series(&self, encoder: &dyn TextEncoder, _: Detail) -> Result<Vec<Series>, StageError> {
        let rows = self.texts.embed(encoder, self.pictures.dim)?;
        let negated: Vec<bool> = self.texts.list().iter().map(|text| has_negation(text)).collect();
        let scored: Vec<(usize, usize, bool, f32)> = self
            .asked
            .iter()
            .map(|&(image, text, truth)| (image, text, truth, cosine(rows.row(text), self.pictures.feature(image))))
            .collect();
        let mut photos: BTreeMap<usize, Vec<&(usize, usize, bool, f32)>> = BTreeMap::new();
        scored.iter().for_each(|row| photos.entry(row.0).or_default().push(row));
        let mut pairs: Vec<(bool, bool, usize)> = Vec::new();
        for (photo, rows) in &photos {
            for truth in rows.iter().filter(|row| row.2) {
                for lie in rows.iter().filter(|row| !row.2) {
                    pairs.push((truth.3 > lie.3, negated[truth.1] || negated[lie.1], *photo));
                }
            }
        }
        let mut series = Vec::new();
        for (part, only) in [("all", false), ("negation", true)] {
            let pairs = pairs.iter().filter(|pair| !only || pair.1).map(|pair| (pair.0, pair.2));
            series.push(Series::hits("pair_accuracy", part, pairs));
            let rows = scored.iter().filter(|row| !only || negated[row.1]).map(|row| (row.3, row.2, row.0));
            series.push(Series::auc("auc", part, rows));
        }
        series.retain(|series| match &series.positive {
            Some(positive) => positive.contains(&true) && positive.contains(&false),
            None => !series.is_empty(),
        });
        Ok(series)
    }
}

/// Zero-shot classification: which class's name, in templates, is nearest to the image?
#[derive(Debug)]
pub struct ZeroShot {
    coverage: Coverage,
    pictures: Pictures,
    texts: Texts,
    /// The texts of each class.
    classes: Vec<Vec<usize>>,
    /// Image and class.
    asked: Vec<(usize, usize)>,
}

/// Reads `image, label`; the label is the class's name.
///
/// # Errors
/// A missing column, an empty field.
pub fn read_labels(path: &Path) -> Result<Vec<(String, String)>, FileError> {
    let rows = csv_rows(path, &["image", "label"], &[])?;
    rows.iter().map(|row| Ok((row.text("image")?.to_owned(), row.text("label")?.to_owned()))).collect()
}

impl ZeroShot {
    /// Encodes the images. A class's feature is the mean of its texts' (CLIP, arXiv 2103.00020,
    /// section 3.1.4).
    ///
    /// # Errors
    /// A template without `{}`; fewer than two classes; when none of the images is there.
    pub fn open(
        name: &str,
        rows: Vec<(String, String)>,
        templates: &[String],
        images: &[String],
        build: &Build<'_>,
    ) -> Result<Self, StageError> {
        if let Some(wrong) = templates.iter().find(|template| !template.contains("{}")) {
            return Err(StageError::msg(format!("the template {wrong:?} has no {{}} for the class's name")));
        }
        let mut names: Vec<&str> = rows.iter().map(|(_, label)| label.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() < 2 || templates.is_empty() {
            return Err(StageError::msg("zero-shot classification needs two classes at least, and a template"));
        }
        let wanted: Vec<&str> = rows.iter().map(|(image, _)| image.as_str()).collect();
        let (pictures, places, missing) = gather(name, images, &wanted, build)?;
        let mut texts = Texts::default();
        let mut text = |template: &String, name: &str| texts.place(&template.replace("{}", name));
        let classes = names.iter().map(|name| templates.iter().map(|t| text(t, name)).collect()).collect();
        let class = |label: &str| names.binary_search(&label).ok();
        let asked: Vec<_> =
            rows.iter().zip(places).filter_map(|((_, label), place)| Some((place?, class(label)?))).collect();
        let coverage = Coverage { rows: rows.len(), used: asked.len(), missing, set_aside: None };
        Ok(Self { coverage, pictures, texts, classes, asked })
    }
}

impl Benchmark for ZeroShot {
    fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    fn series(&self, encoder: &dyn TextEncoder, _: Detail) -> Result<Vec<Series>, StageError> {
        let dim = self.pictures.dim;
        let rows = self.texts.embed(encoder, dim)?;
        let mean = |texts: &Vec<usize>| {
            let mut sum = vec![0.0f32; dim];
            texts.iter().for_each(|&text| sum.iter_mut().zip(rows.row(text)).for_each(|(s, x)| *s += x));
            let norm = cosine(&sum, &sum).sqrt().max(f32::MIN_POSITIVE);
            sum.iter().map(|x| x / norm).collect::<Vec<f32>>()
        };
        let classes: Vec<Vec<f32>> = self.classes.iter().map(mean).collect();
        let before: Vec<(usize, usize)> = self
            .asked
            .iter()
            .map(|&(image, class)| {
                let score = |class: usize| cosine(&classes[class], self.pictures.feature(image));
                let own = score(class);
                ((0..classes.len()).filter(|&other| other != class && score(other) >= own).count(), image)
            })
            .collect();
        let top = |k: usize| Series::hits(&format!("top_{k}"), "all", before.iter().map(|(n, image)| (*n < k, *image)));
        Ok(if classes.len() > 5 { vec![top(1), top(5)] } else { vec![top(1)] })
    }
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
            read_entailment(&path).map_err(|e| e.to_string())
        };
        let head = "image,hypothesis,label\n";
        let (rows, neutral) =
            read(&format!("{head}1.jpg,A dog runs,entailment\n1.jpg,Maybe,neutral\n1.jpg,No dog,Contradiction\n"))
                .unwrap();
        assert_eq!((rows.len(), neutral, rows[0].truth, rows[1].truth), (2, 1, true, false));
        assert!(read(&format!("{head}1.jpg,A dog,true\n")).unwrap_err().contains("e.csv:2: `label` is `true`"));
        assert!(read(&format!("{head}1.jpg,,entailment\n")).unwrap_err().contains("`hypothesis` is empty"));
        assert!(read("image,label\n1.jpg,x\n").unwrap_err().contains("no column `hypothesis`"));
    }
}
