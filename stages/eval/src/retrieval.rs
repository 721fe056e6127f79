//! Plain retrieval, both ways, with several captions an image.

use std::any::Any;

use pipeline_engine::{Build, Measurement, Moment, Probe, ProbeKind, StageError, options};

use crate::mcq::text_encoder;
use crate::pictures::{Pictures, cosines};
use crate::score::measured;

/// The ranks that are reported.
const RANKS: [usize; 3] = [1, 5, 10];

options! {
    /// Options of the eval `retrieval`.
    pub struct RetrievalOptions {
        /// Shards with images and captions.
        shards: Vec<String>;
    }
}

/// The kind `retrieval`.
pub struct RetrievalKind;

impl ProbeKind for RetrievalKind {
    const KIND: &'static str = "retrieval";
    const ABOUT: &'static str = "plain retrieval both ways, R@1, R@5 and R@10: what must not be lost";
    type Options = RetrievalOptions;

    fn build(options: RetrievalOptions, name: &str, build: &mut Build<'_>) -> Result<Box<dyn Probe>, StageError> {
        let pictures = Pictures::collect(name, &options.shards, build)?;
        Ok(Box::new(Retrieval { name: name.to_owned(), pictures }))
    }
}

struct Retrieval {
    name: String,
    pictures: Pictures,
}

impl Probe for Retrieval {
    fn measure(&mut self, subject: &(dyn Any + Send + Sync), moment: &Moment) -> Result<Vec<Measurement>, StageError> {
        let encoder = text_encoder(subject, self.pictures.dim)?;
        let texts: Vec<String> = self.pictures.captions.iter().flat_map(|c| c.iter().cloned()).collect();
        let owners: Vec<usize> =
            self.pictures.captions.iter().enumerate().flat_map(|(i, c)| c.iter().map(move |_| i)).collect();
        let features = encoder.0.embed(&texts)?;
        let ranks =
            ranks(&cosines(&features, &self.pictures.features, self.pictures.dim), &owners, self.pictures.len());
        let mut taken = Vec::new();
        for (direction, places) in [("text_to_image", ranks.text_to_image), ("image_to_text", ranks.image_to_text)] {
            for k in RANKS {
                let hits: Vec<bool> = places.iter().map(|place| *place < k).collect();
                taken.push(measured(moment, &self.name, &format!("{direction}_r@{k}"), "all", &hits));
            }
        }
        Ok(taken)
    }
}

/// How many wrong answers stand before the first right one.
struct Ranks {
    /// For each text: images before its own.
    text_to_image: Vec<usize>,
    /// For each image: other images' texts before the best of its own.
    image_to_text: Vec<usize>,
}

/// `similarity` is texts x images; text `i` belongs to image `owners[i]`. A wrong
/// answer that is as similar as the right one stands before it: ties don't help.
fn ranks(similarity: &[f32], owners: &[usize], images: usize) -> Ranks {
    let text_to_image = similarity
        .chunks_exact(images)
        .zip(owners)
        .map(|(row, &own)| row.iter().enumerate().filter(|(image, s)| *image != own && **s >= row[own]).count())
        .collect();
    let image_to_text = (0..images)
        .map(|image| {
            let column =
                || owners.iter().enumerate().map(|(text, &owner)| (owner == image, similarity[text * images + image]));
            let best = column().filter(|(own, _)| *own).map(|(_, s)| s).fold(f32::NEG_INFINITY, f32::max);
            column().filter(|(own, s)| !own && *s >= best).count()
        })
        .collect();
    Ranks { text_to_image, image_to_text }
}

#[cfg(test)]
mod tests {
    use super::ranks;

    #[test]
    fn ranks_by_hand() {
        // Two images; texts 0 and 1 belong to the first, text 2 to the second.
        let similarity = [0.9, 0.1, 0.2, 0.8, 0.5, 0.5];
        let ranks = ranks(&similarity, &[0, 0, 1], 2);
        assert_eq!(ranks.text_to_image, [0, 1, 1]); // the tie of text 2 counts against it
        assert_eq!(ranks.image_to_text, [0, 1]);
    }
}
