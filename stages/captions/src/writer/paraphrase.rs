//! `writer = "paraphrase"`: other captions of the same image, which say the same in other words.

use items::Role;
use pipeline_engine::rng::Draw;
use pipeline_engine::{Build, Part, StageError, options};
use rand::seq::SliceRandom;

use super::{OpenWriter, Writer};
use crate::counts::Counts;
use crate::reading::Reading;

options! {
    /// Gives other captions of the same image.
    pub struct Paraphrase {
        /// Texts per image. An image with fewer other captions gets fewer.
        texts: usize = 1, 1..=64;
    }
}

impl Part for Paraphrase {
    const NAME: &'static str = "paraphrase";
    const ABOUT: &'static str = "other captions of the same image";
}

impl Writer for Paraphrase {
    fn roles(&self) -> Vec<Role> {
        (0..self.texts as u8).map(Role::Paraphrase).collect()
    }

    fn uses_guards(&self) -> bool {
        false
    }

    fn open(&self, _: &Build<'_>) -> Result<Box<dyn OpenWriter>, StageError> {
        Ok(Box::new(ParaphraseWriter { texts: self.texts }))
    }
}

struct ParaphraseWriter {
    texts: usize,
}

impl OpenWriter for ParaphraseWriter {
    fn write(
        &self,
        reading: &Reading<'_>,
        draw: &dyn Fn(usize) -> Draw,
        _: &mut Counts,
    ) -> Result<Vec<String>, StageError> {
        let of_image = |(i, item): (usize, &items::BatchItem)| {
            let mut others: Vec<&String> =
                item.captions.iter().filter(|caption| caption.trim() != item.caption().trim()).collect();
            others.shuffle(&mut draw(i).text("paraphrase").rng());
            let missing = std::iter::repeat(String::new());
            others.into_iter().cloned().chain(missing).take(self.texts).collect::<Vec<_>>()
        };
        Ok(reading.items().iter().enumerate().flat_map(of_image).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{batch, draw, reader};

    #[test]
    fn other_captions_and_nothing_where_there_is_none() {
        let images: &[&[&str]] = &[&["A boy", "A child", "A boy ", "A kid"], &["A tram"]];
        let (reader, batch) = (reader(), batch(images, 1));
        let reading = reader.read(&batch, None).unwrap();
        let texts = ParaphraseWriter { texts: 3 }.write(&reading, &draw, &mut Counts::default()).unwrap();
        let mut of_first = texts[..3].to_vec();
        of_first.sort();
        assert_eq!(of_first, ["", "A child", "A kid"]);
        assert_eq!(texts[3..], ["", "", ""]);
        let roles = Paraphrase { texts: 3 }.roles();
        assert_eq!(roles, [Role::Paraphrase(0), Role::Paraphrase(1), Role::Paraphrase(2)]);
    }
}
