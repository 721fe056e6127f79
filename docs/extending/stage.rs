//! A stage of one's own: `kind = "plain-case"` writes the texts of a batch in small letters.
//!
//! A real one is a crate under `stages/` with one line in `src/stages.rs`.

use items::Captioned;
use pipeline_engine::{Build, Built, Map, Pass, StageError, StageKind, Worker, options};

options! {
    /// Options of the stage `plain-case`.
    pub struct PlainCaseOptions {
        /// Threads.
        workers: usize = 1, 1..=64 => free;
        /// Leave words alone that are written in capitals throughout, such as "TV".
        keep_abbreviations: bool = true;
    }
}

/// The kind `plain-case`.
pub struct PlainCase;

impl StageKind for PlainCase {
    const KIND: &'static str = "plain-case";
    const ABOUT: &'static str = "writes texts in small letters";
    type In = Captioned;
    type Out = Captioned;
    type Options = PlainCaseOptions;

    fn build(options: PlainCaseOptions, _: &mut Build<'_>) -> Result<Built<Captioned, Captioned>, StageError> {
        Ok(Built::Map { workers: options.workers, map: Box::new(Lower { keep: options.keep_abbreviations }) })
    }
}

/// What all workers share.
struct Lower {
    keep: bool,
}

impl Map<Captioned, Captioned> for Lower {
    fn worker(&self, _: &Pass<'_>) -> Result<Box<dyn Worker<Captioned, Captioned> + '_>, StageError> {
        Ok(Box::new(|_: &Pass<'_>, mut batch: Captioned| {
            for text in &mut batch.texts {
                *text = text.split(' ').map(|word| self.word(word)).collect::<Vec<_>>().join(" ");
            }
            Ok(batch)
        }))
    }
}

impl Lower {
    fn word(&self, word: &str) -> String {
        let abbreviation = word.chars().count() > 1 && word.chars().all(char::is_uppercase);
        if self.keep && abbreviation { word.to_owned() } else { word.to_lowercase() }
    }
}
