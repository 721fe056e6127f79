//! Zero-shot classification: which class's name, in templates, is nearest to the image?

use items::TextEncoder;
use pipeline_engine::{Build, StageError};

use crate::benchmark::{Benchmark, Coverage, Outcomes};
use crate::pictures::{Pictures, gather};
use crate::score::Series;
use crate::texts::{Texts, cosine};

/// What a template has in the place of a class's name.
pub const PLACE: &str = "{}";

/// Images and their classes.
#[derive(Debug)]
pub struct Classes {
    coverage: Coverage,
    pictures: Pictures,
    texts: Texts,
    /// The texts of each class.
    classes: Vec<Vec<usize>>,
    /// Image and class.
    asked: Vec<(usize, usize)>,
}

impl Classes {
    /// Encodes the images, for the benchmark `name`; each row is the path of an image and the name
    /// of its class. A class's feature is the mean of its texts' features (CLIP, arXiv 2103.00020,
    /// section 3.1.4).
    ///
    /// # Errors
    /// A template without `{}`, no template, fewer than two classes; when none of the images is
    /// found, or encoding fails.
    pub fn open(
        name: &str,
        rows: &[(String, String)],
        templates: &[String],
        images: &[String],
        build: &Build<'_>,
    ) -> Result<Self, StageError> {
        if let Some(wrong) = fault_of(templates) {
            return Err(StageError::msg(wrong));
        }
        let mut names: Vec<&str> = rows.iter().map(|(_, class)| class.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() < 2 {
            return Err(StageError::msg("zero-shot classification needs at least two classes"));
        }
        let wanted: Vec<&str> = rows.iter().map(|(image, _)| image.as_str()).collect();
        let found = gather(name, images, &wanted, build)?;
        let mut texts = Texts::default();
        let mut text = |template: &String, name: &str| texts.place(&template.replace(PLACE, name));
        let classes = names.iter().map(|name| templates.iter().map(|t| text(t, name)).collect()).collect();
        let number = |class: &str| names.binary_search(&class).ok();
        let asked: Vec<_> =
            rows.iter().zip(found.places).filter_map(|((_, class), place)| Some((place?, number(class)?))).collect();
        let (rows, used) = (rows.len(), asked.len());
        let coverage = Coverage { rows, used, missing: found.missing, ..Coverage::default() };
        Ok(Self { coverage, pictures: found.pictures, texts, classes, asked })
    }
}

/// What is wrong with the templates, if anything is.
pub fn fault_of(templates: &[String]) -> Option<String> {
    if templates.is_empty() {
        return Some("zero-shot classification needs a template".to_owned());
    }
    let wrong = templates.iter().find(|template| !template.contains(PLACE))?;
    Some(format!("the template {wrong:?} has no {PLACE} for the class's name"))
}

impl Benchmark for Classes {
    fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// `top_1`, and with more than five classes `top_5`.
    fn outcomes(&self, encoder: &dyn TextEncoder) -> Result<Outcomes, StageError> {
        let dim = self.pictures.dim;
        let rows = self.texts.embed(encoder, dim)?;
        let mean = |texts: &Vec<usize>| {
            let mut sum = vec![0.0f32; dim];
            texts.iter().for_each(|&text| sum.iter_mut().zip(rows.row(text)).for_each(|(s, x)| *s += x));
            let norm = cosine(&sum, &sum).sqrt().max(f32::MIN_POSITIVE);
            sum.iter().map(|x| x / norm).collect::<Vec<f32>>()
        };
        let classes: Vec<Vec<f32>> = self.classes.iter().map(mean).collect();
        // How many other classes are at least as near as the correct one, and the image.
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
        let series = if classes.len() > 5 { vec![top(1), top(5)] } else { vec![top(1)] };
        Ok(series.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_need_a_place_for_the_name() {
        let own = |templates: &[&str]| templates.iter().map(|template| (*template).to_owned()).collect::<Vec<_>>();
        assert_eq!(fault_of(&own(&["a photo of a {}.", "{}"])), None);
        assert!(fault_of(&own(&["{}", "a photo"])).is_some_and(|fault| fault.contains("\"a photo\" has no {}")));
        assert!(fault_of(&[]).is_some());
    }
}
