//! The benchmarks by name: for `pipeline eval` and as kinds of `[[eval]]`.

use std::path::{Path, PathBuf};

use pipeline_engine::{Build, Probe, ProbeKind, StageError, options};

use crate::benchmark::{Benchmark, Detail, Probed};
use crate::choice::{Choice, Row};
use crate::files::FileError;
use crate::negation::{has_negation, parts};
use crate::retrieval::Retrieval;
use crate::{mcq, negbench, pairs, tasks};

/// What a benchmark is read from.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The benchmark's file.
    pub file: &'a Path,
    /// One folder, or shards.
    pub images: &'a [String],
    /// Templates of zero-shot classification.
    pub templates: &'a [String],
}

/// Name and meaning of every benchmark.
pub const BENCHMARKS: [(&str, &str); 11] = [
    ("negbench-mcq", "NegBench multiple choice, CSV"),
    ("negbench-retrieval", "NegBench retrieval with negation, CSV"),
    ("mcq", "multiple choice, JSON lines"),
    ("retrieval", "plain retrieval on shards, no file"),
    ("valse", "VALSE, JSON"),
    ("sugarcrepe", "SugarCrepe, JSON"),
    ("sugarcrepe++", "SugarCrepe++, JSON"),
    ("cc-neg", "CC-Neg, JSON"),
    ("negrefcocog", "NegRefCOCOg, JSON"),
    ("snli-ve", "hypotheses about photos, CSV"),
    ("zero-shot", "images and class names, CSV"),
];

/// Reads a benchmark and encodes its images.
///
/// # Errors
/// A file that is no such benchmark, named with the row; images that are not there.
pub fn open(benchmark: &str, given: Given<'_>, build: &Build<'_>) -> Result<Box<dyn Benchmark>, StageError> {
    let Given { file, images, templates } = given;
    let choice = |rows| Choice::open(benchmark, rows, images, build);
    Ok(match benchmark {
        "negbench-mcq" => Box::new(choice(negbench_rows(file)?)?),
        "negbench-retrieval" => {
            let rows = negbench::read_retrieval(file)?.into_iter().map(|(_, row)| (row.filepath, row.captions));
            Box::new(Retrieval::open(benchmark, rows.collect(), images, build)?)
        }
        "mcq" => Box::new(choice(mcq::read(file)?)?),
        "retrieval" => Box::new(Retrieval::of_shards(benchmark, images, build)?),
        "valse" => {
            let (rows, aside) = pairs::read_valse(file)?;
            Box::new(choice(rows)?.set_aside(aside, "too few annotators accepted the caption"))
        }
        "sugarcrepe" => Box::new(choice(pairs::read_sugarcrepe(file)?)?),
        "sugarcrepe++" => Box::new(tasks::Triplets::open(benchmark, pairs::read_sugarcrepe_pp(file)?, images, build)?),
        "cc-neg" => Box::new(choice(pairs::read_cc_neg(file)?)?),
        "negrefcocog" => Box::new(tasks::Regions::open(benchmark, pairs::read_negrefcocog(file)?, images, build)?),
        "snli-ve" => {
            let (rows, neutral) = tasks::read_entailment(file)?;
            Box::new(tasks::Entailment::open(benchmark, rows, neutral, images, build)?)
        }
        "zero-shot" => Box::new(tasks::ZeroShot::open(benchmark, tasks::read_labels(file)?, templates, images, build)?),
        other => return Err(StageError::msg(format!("there is no benchmark `{other}`"))),
    })
}

/// NegBench's questions, with the types of their options: by place in its own files, whose right
/// answer comes first and then a hybrid, a positive and a negative one; else by wording.
fn negbench_rows(file: &Path) -> Result<Vec<Row>, FileError> {
    const PLACES: [&str; 3] = ["hybrid", "positive", "negative"];
    let by_wording = |text: &String| {
        let kind = match (has_negation(text), parts(text).affirmed.is_empty()) {
            (false, _) => "positive",
            (true, true) => "negative",
            (true, false) => "hybrid",
        };
        kind.to_owned()
    };
    let row = |(_, row): (usize, negbench::McqRow)| {
        let kinds = match (row.correct_answer, row.captions.len()) {
            (0, 4) => [row.correct_answer_template.clone()].into_iter().chain(PLACES.map(str::to_owned)).collect(),
            _ => row.captions.iter().map(by_wording).collect(),
        };
        Row {
            image: row.image_path,
            options: row.captions,
            right: row.correct_answer,
            part: Some(row.correct_answer_template),
            kinds: Some(kinds),
        }
    };
    Ok(negbench::read_mcq(file)?.into_iter().map(row).collect())
}

options! {
    /// Options of a benchmark.
    pub struct BenchmarkOptions {
        /// The benchmark's file, in the format it is published in.
        file: PathBuf;
        /// The folder with its images, or shards (paths, globs, braces; one or a list).
        images: Vec<String>;
        /// Also measure which wrong answers were chosen, and the training-free answer.
        baselines: bool = false;
        /// The training-free answer's weight of what a text denies.
        lambda: f64 = 0.5, 0.0..=10.0;
    }
}

options! {
    /// Options of zero-shot classification.
    pub struct ZeroShotOptions {
        /// A CSV with image and label, the class's name.
        file: PathBuf;
        /// The folder with its images, or shards (paths, globs, braces; one or a list).
        images: Vec<String>;
        /// Sentences around a class's name, {}.
        templates: Vec<String> = vec!["a photo of a {}.".to_owned()];
    }
}

macro_rules! kinds {
    ($($(#[$meta:meta])* $kind:ident = $word:literal, $about:literal;)*) => {$(
        $(#[$meta])*
        pub struct $kind;

        impl ProbeKind for $kind {
            const KIND: &'static str = $word;
            const ABOUT: &'static str = $about;
            type Options = BenchmarkOptions;

            fn build(
                options: BenchmarkOptions,
                name: &str,
                build: &mut Build<'_>,
            ) -> Result<Box<dyn Probe>, StageError> {
                let file = build.path(&options.file);
                let given = Given { file: &file, images: &options.images, templates: &[] };
                let benchmark = open($word, given, build)?;
                Ok(Probed::probe(name, benchmark, Detail { baselines: options.baselines, lambda: options.lambda }))
            }
        }
    )*};
}

kinds! {
    /// The kind `negbench-mcq`.
    NegBenchMcq = "negbench-mcq", "NegBench multiple choice (CSV): accuracy by type";
    /// The kind `negbench-retrieval`.
    NegBenchRetrieval = "negbench-retrieval", "NegBench retrieval with negation (CSV): R@1, R@5, R@10";
    /// The kind `valse`.
    Valse = "valse", "VALSE (JSON): caption against foil";
    /// The kind `sugarcrepe`.
    SugarCrepe = "sugarcrepe", "SugarCrepe (JSON): caption against hard negative";
    /// The kind `sugarcrepe++`.
    SugarCrepePp = "sugarcrepe++", "SugarCrepe++ (JSON): two true captions against a false one, with image and without";
    /// The kind `cc-neg`.
    CcNeg = "cc-neg", "CC-Neg (JSON): caption against its negation";
    /// The kind `negrefcocog`.
    NegRefCocoG = "negrefcocog", "NegRefCOCOg (JSON): which part of the image a negated phrase means";
    /// The kind `snli-ve`.
    SnliVe = "snli-ve", "hypotheses about photos (CSV): entailment above contradiction, negated ones apart";
}

/// The kind `zero-shot`.
pub struct ZeroShot;

impl ProbeKind for ZeroShot {
    const KIND: &'static str = "zero-shot";
    const ABOUT: &'static str = "zero-shot classification (CSV of image and class name)";
    type Options = ZeroShotOptions;

    fn build(options: ZeroShotOptions, name: &str, build: &mut Build<'_>) -> Result<Box<dyn Probe>, StageError> {
        let file = build.path(&options.file);
        let given = Given { file: &file, images: &options.images, templates: &options.templates };
        let benchmark = open(Self::KIND, given, build)?;
        Ok(Probed::probe(name, benchmark, Detail { baselines: false, lambda: 0.0 }))
    }
}
