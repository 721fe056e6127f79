//! Multiple choice that is made from the captions of the images themselves: what `pipeline questions`
//! writes into mcq.csv and `negbench-mcq` reads, without the file.

use benchmarks::kinds::negbench_mcq;
use benchmarks::measures::Baselines;
use benchmarks::measures::choice::{self, Choice};
use benchmarks::pictures::Pictures;
use benchmarks::{Benchmark, Coverage, Source, verify};
use pipeline_engine::{Build, Look, Part, StageError, options};

use super::{Made, told};
use crate::LEAST;
use crate::multiple_choice::{questions, row};
use crate::templates::Wordings;

options! {
    /// Multiple choice on shards with captions.
    pub struct NegatedMcq {
        /// Shards with images and captions (paths, globs, braces; one or a list).
        images: Vec<String>;
        /// Which sentences ask: a list that is close to NegBench's own, or one that is built in another way.
        wordings: Wordings = Wordings::First;
        /// Questions per image.
        each: usize = 3, 1..=1000;
        /// Images that must show an object before it is denied of others.
        least: u32 = LEAST, 1..=1_000_000;
        /// The same seed makes the same questions.
        seed: u64 = 1;
        /// Also measure which wrong answers were chosen, and the training-free answers.
        baselines: bool = false;
        /// The weight of what a text denies, in the answers training_free and lambda.
        lambda: f64 = 0.5, 0.0..=10.0;
    }
}

impl Part for NegatedMcq {
    const NAME: &'static str = "negated-mcq";
    const ABOUT: &'static str = "multiple choice, made from shards with captions (no file): accuracy by type";
}

impl Made for NegatedMcq {}

impl Source for NegatedMcq {
    fn open(&self, name: &str, build: &Build<'_>) -> Result<Box<dyn Benchmark>, StageError> {
        let pictures = Pictures::collect(name, &self.images, build)?;
        let questions = self.questions(&pictures)?;
        let coverage = Coverage { rows: questions.len(), ..Coverage::default() };
        let baselines = self.baselines.then_some(Baselines { lambda: self.lambda });
        Ok(Box::new(Choice::of_pictures(coverage, pictures, questions, baselines)))
    }

    fn verify(&self, look: &mut Look<'_>) {
        verify::shards(look, &self.images);
    }
}

impl NegatedMcq {
    /// The questions, each with the place of its image.
    fn questions(&self, pictures: &Pictures) -> Result<Vec<(usize, choice::Question)>, StageError> {
        let known = told(pictures, &self.images, self.least)?;
        let asked = |question: &crate::Question| {
            (question.picture, negbench_mcq::question(row(&known, question, self.wordings)))
        };
        Ok(questions(&known, self.each, self.seed).iter().map(asked).collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::made::testing::pictures;

    #[test]
    fn questions_are_those_of_the_file_and_stand_beside_their_images() {
        let (known, pictures) = pictures();
        let options = NegatedMcq {
            images: vec!["s.tar".into()],
            wordings: Wordings::Second,
            each: 2,
            least: 2,
            seed: 1,
            baselines: false,
            lambda: 0.5,
        };
        let asked = options.questions(&pictures).unwrap();
        let want = questions(&known, 2, 1);
        assert_eq!((asked.len(), want.len()), (120, 120));
        for ((place, question), want) in asked.iter().zip(&want) {
            let row = row(&known, want, Wordings::Second);
            assert_eq!((*place, &question.image, &question.options), (want.picture, &row.image_path, &row.captions));
            assert_eq!(question.option_types.as_ref().map(Vec::len), Some(4));
        }
    }
}
