//! A benchmark of your own, complete: pairs of a true and a false caption in a CSV.
//!
//! To add it to the program, copy this file to `crates/benchmarks/src/kinds/own_pairs.rs`, and name it
//! in `kinds/mod.rs`: `pub mod own_pairs;` at the top, and `own_pairs::OwnPairs` in the list. After that
//!
//! ```toml
//! [[eval]]
//! kind = "own-pairs"
//! file = "pairs.csv"        # image,true,false
//! images = "photos"
//! ```
//!
//! is measured before and after training, and `pipeline eval --benchmark own-pairs --file pairs.csv
//! --images photos` scores a checkpoint. `pipeline stages own-pairs` prints its options, `check` looks
//! for its files. (Our tests compile this file and run it.)

use std::path::{Path, PathBuf};

use pipeline_engine::{Build, Look, Part, StageError, options};

use super::Source;
use crate::benchmark::Benchmark;
use crate::files::{FileError, table_rows};
use crate::measures::choice::{Choice, Question};
use crate::verify;

// The options: what stands in the `[[eval]]` table. The comments are the help.
options! {
    /// Pairs of a true and a false caption.
    pub struct OwnPairs {
        /// A CSV with image, true and false.
        file: PathBuf;
        /// The folder with the images, or shards (paths, globs, braces; one or a list).
        images: Vec<String>;
        /// The longest caption that counts, in characters.
        longest: usize = 200, 1..=10_000;
    }
}

// Its name, and its line in `pipeline eval --help`.
impl Part for OwnPairs {
    const NAME: &'static str = "own-pairs";
    const ABOUT: &'static str = "our own pairs (CSV): true caption above false one";
}

impl Source for OwnPairs {
    /// Reads the file and encodes the images. `Choice` measures the share of questions whose correct
    /// option scores highest; see `measures/` for other questions, or implement `Benchmark`.
    fn open(&self, name: &str, build: &Build<'_>) -> Result<Box<dyn Benchmark>, StageError> {
        let all = read(&build.path(&self.file))?;
        let is_short = |question: &Question| question.options.iter().all(|text| text.chars().count() <= self.longest);
        let (short, long): (Vec<_>, Vec<_>) = all.into_iter().partition(is_short);
        let choice = Choice::open(name, short, &self.images, None, build)?;
        Ok(Box::new(choice.set_aside(long.len(), "too long")))
    }

    /// What `check` can see without reading anything.
    fn verify(&self, look: &mut Look<'_>) {
        verify::file(look, &self.file);
        verify::images(look, &self.images);
    }
}

/// Reads `image, true, false`. A fault names the file and the line.
fn read(path: &Path) -> Result<Vec<Question>, FileError> {
    let question = |row: crate::files::TableRow| {
        let text = |column: &str| row.text(column).map(str::to_owned);
        Ok(Question::pair(text("image")?, text("true")?, text("false")?))
    };
    table_rows(path, &["image", "true", "false"], &[])?.into_iter().map(question).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rows_are_pairs_and_faults_name_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path)
        };
        let pairs = read("image,true,false\na.jpg,A dog,No dog\n").unwrap();
        assert_eq!((pairs[0].image.as_str(), pairs[0].correct), ("a.jpg", 0));
        assert_eq!(pairs[0].options, ["A dog", "No dog"]);
        assert!(read("image,true,false\na.jpg,,x\n").unwrap_err().to_string().contains("p.csv:2: `true` is empty"));
    }
}
