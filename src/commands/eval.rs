//! `pipeline eval`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use benchmarks::kinds::retrieval::Retrieval;
use benchmarks::score::Series;
use benchmarks::{Answered, Outcomes, Source};
use clap::{Args, builder::PossibleValuesParser};
use clip::TextTower;
use items::metric;
use model::Model;
use pipeline_engine::{
    Alternatives, Config, Diagnostic, Measurement, Moment, OptionSpec, Part, Phase, StageError, StageKind, Value,
    outside_run,
};
use questions::{Made, Wordings};
use serde_json::json;
use stage_train::encoder::Encoder;

use super::{Context, Failure};
use crate::print;

/// Score a checkpoint on a benchmark, alone or against another one.
#[derive(Debug, Args)]
#[command(after_help = after_help())]
pub struct Arguments {
    /// A checkpoint: a folder (such as the export of a run), a file of weights with its config beside it, or hf:owner/name.
    #[arg(long, value_name = "CHECKPOINT")]
    model: PathBuf,
    /// Which benchmark.
    #[arg(long, value_name = "NAME", hide_possible_values = true, value_parser = PossibleValuesParser::new(names()))]
    benchmark: String,
    /// The benchmark's file, in the format it is published in.
    #[arg(long)]
    file: Option<PathBuf>,
    /// The folder with the images, or shards (several, globs, braces).
    #[arg(long, value_name = "DIR|SHARDS", required = true, num_args = 1..)]
    images: Vec<String>,
    /// Another checkpoint: both scores, and the difference with its interval.
    #[arg(long, value_name = "CHECKPOINT")]
    against: Option<PathBuf>,
    /// Write the measurements as JSON lines, as in a run's results.jsonl.
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
    /// Write how each question of a multiple choice was answered, as JSON lines.
    #[arg(long, value_name = "OUT")]
    answers: Option<PathBuf>,
    /// The weight of what a text denies, in the training-free answers training_free and lambda.
    #[arg(long, default_value_t = 0.5)]
    lambda: f64,
    /// cc-neg: which rows of the published file are measured, test (the last 40 000) or all.
    #[arg(long, value_name = "SPLIT", default_value = "test")]
    split: String,
    /// negated-mcq and negated-retrieval: which list of sentences, first or second.
    #[arg(long, value_name = "LIST", default_value = Wordings::First.word())]
    wordings: String,
    /// zero-shot: a sentence with {} for the class's name; may be given several times.
    #[arg(long, value_name = "TEXT", default_value = "a photo of a {}.")]
    template: Vec<String>,
    /// Where tensors live: auto, cpu, wgpu, cuda.
    #[arg(long, default_value = "auto")]
    device: String,
    /// The folder of the feature cache.
    #[arg(long, value_name = "DIR", default_value = ".cache/features")]
    cache: PathBuf,
    /// Seed of the intervals' resampling.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    seed: u64,
}

/// A benchmark that `--benchmark` may name.
struct Known {
    name: &'static str,
    about: &'static str,
    specs: Vec<OptionSpec>,
    read: Box<Read>,
}

/// Reads the options of a benchmark.
type Read = dyn Fn(&[(&'static str, Value)]) -> Result<Arc<dyn Source>, Vec<Diagnostic>>;

/// Those with a file, and those that are made from captions.
fn known() -> Vec<Known> {
    let published = <dyn Source>::list().iter().map(|part| Known {
        name: part.name,
        about: part.about,
        specs: (part.specs)(),
        read: Box::new(move |options| part.from_options(options, COMMAND_LINE)),
    });
    let made = <dyn Made>::list().iter().map(|part| Known {
        name: part.name,
        about: part.about,
        specs: (part.specs)(),
        read: Box::new(move |options| {
            let source: Arc<dyn Source> = part.from_options(options, COMMAND_LINE)?;
            Ok(source)
        }),
    });
    published.chain(made).collect()
}

fn names() -> impl Iterator<Item = &'static str> {
    known().into_iter().map(|benchmark| benchmark.name)
}

fn after_help() -> String {
    let mut text = "Examples:
  pipeline eval --model runs/NAME/export --benchmark retrieval --images 'test-*.tar'
  pipeline eval --model runs/NAME/export --against clip --benchmark negbench-mcq --file mcq.csv --images val2017

Benchmarks:
"
    .to_owned();
    for benchmark in known() {
        let _ = writeln!(text, "  {:<20} {}", benchmark.name, benchmark.about);
    }
    text
}

/// What a checkpoint scored.
struct Score {
    /// How much of the file it stands on, for people.
    coverage: String,
    series: Vec<Series>,
    answers: Vec<Answered>,
}

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        let benchmark = &known()
            .into_iter()
            .find(|benchmark| benchmark.name == self.benchmark)
            .ok_or_else(|| anyhow!("there is no benchmark `{}`", self.benchmark))?;
        let needs_file = benchmark.specs.iter().any(|spec| spec.name == "file" && spec.default.is_none());
        if needs_file && self.file.is_none() {
            return Err(anyhow!("--benchmark {} needs --file, the benchmark's file", self.benchmark).into());
        }
        let own = self.score(benchmark, "--model", &self.model, context)?;
        if self.answers.is_some() && own.answers.is_empty() {
            let name = &self.benchmark;
            return Err(anyhow!("the benchmark {name} asks no multiple-choice questions: leave out --answers").into());
        }
        let other = match &self.against {
            Some(model) => Some(self.score(benchmark, "--against", model, context)?),
            None => None,
        };
        let (table, lines) = self.report(&own, other.as_ref());
        write_lines(self.json.as_deref(), lines.iter().map(|line| Ok(json!(line).to_string())))?;
        write_lines(self.answers.as_deref(), own.answers.iter().map(|answer| answer.line(&self.benchmark)))?;
        print::stdout(&table);
        Ok(())
    }

    /// The table for people, and its measurements.
    fn report(&self, own: &Score, other: Option<&Score>) -> (String, Vec<Measurement>) {
        let name = &self.benchmark;
        let at = |phase| Moment { phase, epoch: 0, step: 0, seed: self.seed };
        let mut coverage = own.coverage.clone();
        if let Some(other) = other.filter(|other| other.coverage != own.coverage) {
            coverage += &format!(" (against: {})", other.coverage);
        }
        let mut lines: Vec<Measurement> = Vec::new();
        let mut table = format!("{name}: {coverage}\n\n");
        table += &match other {
            Some(_) => format!("{:<44} {:>8} {:>8}   {}\n", "", "against", "model", "difference [95 %]"),
            None => format!("{:<44} {:>8}   {}\n", "", "model", "[95 %]"),
        };
        let mut all_paired = true;
        for series in &own.series {
            let measured = series.measured(&at(Phase::After), name);
            let part = if series.part == metric::ALL { String::new() } else { format!(" ({})", series.part) };
            let _ = write!(table, "{:<44} ", format!("{}{part}", series.metric));
            let is_same = |other: &&Series| other.metric == series.metric && other.part == series.part;
            if let Some(against) = other.and_then(|other| other.series.iter().find(is_same)) {
                let before = against.measured(&at(Phase::Before), name);
                let _ = write!(table, "{:>6.1} % {:>6.1} %   ", 100.0 * before.value, 100.0 * measured.value);
                lines.push(before);
                match series.minus(against, &at(Phase::After), name) {
                    Some(difference) => {
                        let _ = write!(table, "{:+.1} {}", 100.0 * difference.value, interval(&difference));
                        lines.push(difference);
                    }
                    None => all_paired = false,
                }
            } else {
                let _ = write!(table, "{:>6.1} %   {}", 100.0 * measured.value, interval(&measured));
            }
            let _ = writeln!(table, " n = {}", measured.n);
            lines.push(measured);
        }
        if !all_paired {
            table += "\nthe two stand on different rows, so that there is no paired difference\n";
        }
        (table, lines)
    }

    /// The outcomes of a checkpoint, and what they stand on.
    fn score(&self, benchmark: &Known, flag: &str, model: &Path, context: &Context) -> Result<Score, Failure> {
        let given = || format!("{flag} {}", model.display());
        let config = self.config(&clip_hub::resolve(model, Path::new("")).with_context(given)?)?;
        let source = (benchmark.read)(&self.options(benchmark))?;
        let scored = outside_run(&config, &context.registry, |build| {
            let named = |name: &str, error: StageError| StageError::msg(format!("{name}: {error}"));
            let encoder = Model::of(build).and_then(|model| text_encoder(&model, &self.device));
            let encoder = encoder.map_err(|error| named(&given(), error))?;
            let score = source.open(&self.benchmark, build).and_then(|benchmark| {
                let Outcomes { series, answers } = benchmark.outcomes(&encoder)?;
                Ok(Score { coverage: benchmark.coverage().describe(), series, answers })
            });
            score.map_err(|error| named(&self.benchmark, error))
        })?;
        Ok(scored.map_err(|error| anyhow!("{error}"))?)
    }

    /// The flags that are options of this benchmark.
    fn options(&self, benchmark: &Known) -> Vec<(&'static str, Value)> {
        let list = |texts: &[String]| Value::Array(texts.iter().cloned().map(Value::String).collect());
        let file = self.file.as_ref().map(|file| Value::String(file.display().to_string()));
        // The captions of plain retrieval deny next to nothing: their training-free answers are the tower's own.
        let baselines = benchmark.name != Retrieval::NAME;
        let flags = [
            ("file", file),
            ("images", Some(list(&self.images))),
            ("baselines", Some(Value::Boolean(baselines))),
            ("lambda", Some(Value::Float(self.lambda))),
            ("split", Some(Value::String(self.split.clone()))),
            ("wordings", Some(Value::String(self.wordings.clone()))),
            ("templates", Some(list(&self.template))),
        ];
        let takes = |name: &str| benchmark.specs.iter().any(|spec| spec.name == name);
        flags.into_iter().filter(|(name, _)| takes(name)).filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// A pipeline that encodes images as this checkpoint does.
    fn config(&self, model: &Path) -> Result<Config, Failure> {
        let absolute =
            |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
        let config = json!({
            "run": { "seed": self.seed, "device": self.device },
            "model": { "weights": absolute(model) },
            "stage": [
                { "kind": items::source::SHARDS, "urls": self.images },
                { "kind": stage_decode::Decode::KIND },
                { "kind": stage_encode::Encode::KIND, "cache": absolute(&self.cache) },
            ],
        });
        let text = toml::to_string(&config).map_err(anyhow::Error::from)?;
        Ok(Config::parse(COMMAND_LINE, text, PathBuf::from("."))?)
    }
}

/// Writes JSON lines, if a file is asked for.
fn write_lines(path: Option<&Path>, lines: impl Iterator<Item = Result<String, StageError>>) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    let text = lines.map(|line| Ok(line? + "\n")).collect::<Result<String, StageError>>();
    let text = text.map_err(|error| anyhow!("{error}"))?;
    pipeline_engine::write_atomically(path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

/// Where options come from, for messages.
const COMMAND_LINE: &str = "the command line";

fn interval(measured: &Measurement) -> String {
    match (measured.low, measured.high) {
        (Some(low), Some(high)) => format!("[{:.1}, {:.1}]", 100.0 * low, 100.0 * high),
        _ => String::new(),
    }
}

/// The text encoder of a checkpoint.
///
/// # Errors
/// A checkpoint without a text tower or a tokenizer; a device that cannot be used.
pub fn text_encoder(model: &Model, device: &str) -> Result<Encoder, StageError> {
    let device = clip::device::pick(device)?.device;
    let tower = TextTower::load(&model.checkpoint, &device)?;
    Ok(Encoder::new(tower, model.tokenizer()?))
}
