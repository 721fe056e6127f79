//! A writer of one's own: a caption, followed by a sentence that denies an object. The caption by
//! itself comes from the stage.
//!
//! A writer is one file and one word. Put a file like this one beside the others in
//! `stages/captions/src/writer/`, and name it in the list in `mod.rs` there. Then a config can choose
//! it, `pipeline stages captions` describes it, and `check` knows which texts it gives:
//!
//! ```toml
//! [[stage]]
//! kind = "captions"
//! writer = "denies"
//! [stage.denies]
//! beside = true
//! ```

use items::Role;
use pipeline_engine::rng::Draw;
use pipeline_engine::{Build, Part, StageError, options};

use crate::counts::Counts;
use crate::reading::Reading;
use crate::tagger::{Noun, Number};
use crate::templates::bare;
use crate::writer::{OpenWriter, Writer};

options! {
    /// Writes "A dog runs. There is no kite."
    pub struct Denies {
        /// Whether the caption stands before the sentence.
        beside: bool = true;
    }
}

impl Part for Denies {
    const NAME: &'static str = "denies";
    const ABOUT: &'static str = "the caption with a sentence that denies an object";
}

impl Writer for Denies {
    /// The loss `tng` asks for this one and for `Role::Full`; `check` compares them with what the
    /// loss of the config needs.
    fn roles(&self) -> Vec<Role> {
        vec![Role::Compositional]
    }

    /// There are no files to read.
    fn open(&self, _: &Build<'_>) -> Result<Box<dyn OpenWriter>, StageError> {
        Ok(Box::new(self.clone()))
    }
}

impl OpenWriter for Denies {
    fn write(
        &self,
        reading: &Reading<'_>,
        draw: &dyn Fn(usize) -> Draw,
        counts: &mut Counts,
    ) -> Result<Vec<String>, StageError> {
        let mut texts = Vec::with_capacity(reading.items().len());
        for i in 0..reading.items().len() {
            let caption = bare(reading.caption(i));
            // An address of its own: draws for other purposes must not change these.
            let rng = &mut draw(i).text("denies").rng();
            // A thing that a similar image shows, and that passes the guards of the config.
            let object = reading.object(i, &reading.known_captions(i), rng, counts);
            texts.push(match object.map(|object| denied(&object.noun)) {
                Some(sentence) if self.beside => format!("{caption}. {sentence}"),
                Some(sentence) => sentence,
                None => caption.to_owned(),
            });
        }
        Ok(texts)
    }
}

fn denied(noun: &Noun) -> String {
    let verb = if noun.number == Number::Plural { "are" } else { "is" };
    format!("There {verb} no {}.", noun.text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{batch, draw, reader};

    #[test]
    fn an_object_of_the_neighbour_is_denied() -> Result<(), StageError> {
        let (reader, batch) = (reader(), batch(&[&["A dog runs."], &["Two umbrellas"]], 1));
        let reading = reader.read(&batch, None)?;
        let write = |denies: Denies| denies.write(&reading, &draw, &mut Counts::default());
        assert_eq!(
            write(Denies { beside: true })?,
            ["A dog runs. There are no umbrellas.", "Two umbrellas. There is no dog."]
        );
        assert_eq!(write(Denies { beside: false })?[0], "There are no umbrellas.");
        Ok(())
    }
}
