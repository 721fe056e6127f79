//! `pipeline questions`

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use benchmarks::kinds::negbench_retrieval::RetrievalRow;
use benchmarks::kinds::{negbench_mcq, negbench_retrieval};
use clap::{Args, builder::PossibleValuesParser};
use questions::templates::Kind;
use questions::{Known, KnownError, LEAST, Wordings, expected_false, negated_queries, questions, row};

use super::{Context, Failure};
use crate::print;

/// Make a negation benchmark from what is known of images.
///
/// Writes NegBench's files: OUT/mcq.csv (four captions, one true: positive,
/// negative and hybrid) and OUT/retrieval.csv (captions with a denied object).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline questions --captions 'test-{000..001}.tar' --out questions
  pipeline questions --coco instances_val2017.json --coco-captions captions_val2017.json --out questions")]
pub struct Arguments {
    /// Shards with captions: what a caption names is there; what none names may not be.
    #[arg(long, value_name = "SHARDS", required_unless_present_any = ["coco", "table"], conflicts_with_all = ["coco", "table"])]
    captions: Vec<String>,
    /// COCO's instances_*.json.
    #[arg(long, value_name = "FILE", conflicts_with = "table")]
    coco: Option<PathBuf>,
    /// COCO's captions_*.json of the same images, for the queries.
    #[arg(long, value_name = "FILE", requires = "coco")]
    coco_captions: Option<PathBuf>,
    /// JSON lines or CSV with image, present and, if known, absent and captions.
    #[arg(long, value_name = "FILE")]
    table: Option<PathBuf>,
    /// The folder that the two files are written to.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Questions per image.
    #[arg(long, default_value_t = 3)]
    each: usize,
    /// Images that must show an object before it is denied of others.
    #[arg(long, default_value_t = LEAST)]
    least: u32,
    /// Which sentences are written. The second list asks about the same things in sentences that are built in another
    /// way.
    #[arg(long, value_name = "LIST", default_value = Wordings::First.word(), value_parser = PossibleValuesParser::new(Wordings::ALL.map(Wordings::word)))]
    wordings: String,
    /// The same seed makes the same questions.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Arguments {
    pub fn run(&self, _: &Context) -> Result<(), Failure> {
        let known = self.known().map_err(anyhow::Error::from)?;
        let asked = questions(&known, self.each, self.seed);
        let wordings = Wordings::of(&self.wordings).unwrap_or(Wordings::First);
        let queries = negated_queries(&known, self.seed, wordings);
        std::fs::create_dir_all(&self.out).with_context(|| format!("cannot make {}", self.out.display()))?;
        let (mcq, retrieval) = (self.out.join("mcq.csv"), self.out.join("retrieval.csv"));
        let rows: Vec<_> = asked.iter().map(|question| row(&known, question, wordings)).collect();
        negbench_mcq::write(&mcq, &rows).map_err(anyhow::Error::from)?;
        let lines: Vec<RetrievalRow> = queries.iter().map(|(row, _)| row.clone()).collect();
        negbench_retrieval::write(&retrieval, &lines).map_err(anyhow::Error::from)?;

        let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
        rows.iter().for_each(|row| *kinds.entry(&row.correct_answer_template).or_default() += 1);
        let kinds = Kind::ALL.map(|kind| format!("{} {}", kinds.get(kind.word()).unwrap_or(&0), kind.word()));
        let images: BTreeSet<&str> = rows.iter().map(|row| row.image_path.as_str()).collect();
        let denied: BTreeSet<usize> = asked.iter().filter_map(|q| q.claims[0].missing).collect();
        print::stdout(&format!(
            "{}: {} questions ({}) about {} of {} images; {} different objects are denied\n\
             {}: {} queries for {} images\n",
            mcq.display(),
            rows.len(),
            kinds.join(", "),
            images.len(),
            known.pictures.len(),
            denied.len(),
            retrieval.display(),
            lines.iter().map(|line| line.captions.len()).sum::<usize>(),
            lines.len(),
        ));
        if !self.captions.is_empty() {
            print::stdout(&format!(
                "judging by how captions agree, {:.2} % of what is denied is in the image all the same\n",
                100.0 * expected_false(&known, &asked)
            ));
        }
        Ok(())
    }

    fn known(&self) -> Result<Known, KnownError> {
        match (&self.coco, &self.table) {
            (Some(coco), _) => Known::from_coco(coco, self.coco_captions.as_deref(), self.least),
            (None, Some(table)) => Known::from_table(table, self.least),
            (None, None) => Known::from_captions(&self.captions, Path::new("."), self.least),
        }
    }
}
