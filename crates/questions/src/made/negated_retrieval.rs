//! Retrieval with negated queries that are made from the captions of the images themselves: what
//! `pipeline questions` writes into retrieval.csv and `negbench-retrieval` reads, without the file.

use benchmarks::measures::Baselines;
use benchmarks::measures::ranks::Ranks;
use benchmarks::pictures::Pictures;
use benchmarks::{Benchmark, Coverage, Source, verify};
use pipeline_engine::{Build, Look, Part, StageError, options};

use super::{Made, told};
use crate::LEAST;
use crate::queries::negated_queries;
use crate::templates::Wordings;

options! {
    /// Negated retrieval on shards with captions.
    pub struct NegatedRetrieval {
        /// Shards with images and captions (paths, globs, braces; one or a list).
        images: Vec<String>;
        /// Which sentences deny: a list that is close to NegBench's own, or one that is built in another way.
        wordings: Wordings = Wordings::First;
        /// Images that must show an object before it is denied of others.
        least: u32 = LEAST, 1..=1_000_000;
        /// The same seed makes the same queries.
        seed: u64 = 1;
        /// Also measure the training-free answers.
        baselines: bool = false;
        /// The weight of what a text denies, in the answers training_free and lambda.
        lambda: f64 = 0.5, 0.0..=10.0;
    }
}

impl Part for NegatedRetrieval {
    const NAME: &'static str = "negated-retrieval";
    const ABOUT: &'static str =
        "captions with a denied object, made from shards with captions (no file): R@1, R@5, R@10";
}

impl Made for NegatedRetrieval {}

impl Source for NegatedRetrieval {
    fn open(&self, name: &str, build: &Build<'_>) -> Result<Box<dyn Benchmark>, StageError> {
        let pictures = Pictures::collect(name, &self.images, build)?;
        let queries = self.queries(&pictures)?;
        let without = pictures.len() - queries.len();
        let coverage = Coverage {
            rows: queries.len(),
            used: queries.len(),
            set_aside: (without > 0).then_some((without, "nothing to deny of the image")),
            ..Coverage::default()
        };
        let baselines = self.baselines.then_some(Baselines { lambda: self.lambda });
        Ok(Box::new(Ranks::of_pictures(coverage, &pictures, queries, baselines)))
    }

    fn verify(&self, look: &mut Look<'_>) {
        verify::shards(look, &self.images);
    }
}

impl NegatedRetrieval {
    /// The place of each image that has queries, with them.
    fn queries(&self, pictures: &Pictures) -> Result<Vec<(usize, Vec<String>)>, StageError> {
        let known = told(pictures, &self.images, self.least)?;
        let mut made = negated_queries(&known, self.seed, self.wordings).into_iter().peekable();
        let mut queries = Vec::new();
        // Both are in the order of the shards; an image without a row has no queries.
        for (place, picture) in known.pictures.iter().enumerate() {
            if let Some((row, _)) = made.next_if(|(row, _)| row.filepath == picture.image) {
                queries.push((place, row.captions));
            }
        }
        Ok(queries)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::made::testing::pictures;

    #[test]
    fn queries_are_those_of_the_file_and_stand_beside_their_images() {
        let (known, pictures) = pictures();
        let options = NegatedRetrieval {
            images: vec!["s.tar".into()],
            wordings: Wordings::Second,
            least: 2,
            seed: 1,
            baselines: false,
            lambda: 0.5,
        };
        let queries = options.queries(&pictures).unwrap();
        assert_eq!((queries.len(), pictures.len()), (60, 61), "the image without captions has no query");
        for ((place, texts), (row, _)) in queries.iter().zip(negated_queries(&known, 1, Wordings::Second)) {
            assert_eq!((&known.pictures[*place].image, texts), (&row.filepath, &row.captions));
        }
        let few = NegatedRetrieval { least: 1_000, ..options };
        let said = few.queries(&pictures).unwrap_err().to_string();
        assert!(said.contains("s.tar") && said.contains("--least"), "{said}");
    }
}
