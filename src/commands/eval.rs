//! `pipeline eval`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, builder::PossibleValuesParser};
use clip::{Checkpoint, TextTower, Tokenizer};
use pipeline_engine::{Config, Measurement, Moment, Phase, StageError, outside_run};
use benchmarks::benchmark::{Benchmark, Detail};
use benchmarks::kinds::{BENCHMARKS, Given, open};
use benchmarks::score::Series;
use stage_train::encoder::Encoder;

use super::{Context, Failure};
use crate::show;

/// Score a checkpoint on a benchmark, alone or against another one.
#[derive(Debug, Args)]
#[command(after_help = after_help())]
pub struct Arguments {
    /// A checkpoint: a folder (the export of a run, say), a file of weights with its config beside it, or hf:owner/name.
    #[arg(long, value_name = "CHECKPOINT")]
    model: PathBuf,
    /// Which benchmark.
    #[arg(long, value_name = "NAME", hide_possible_values = true, value_parser = PossibleValuesParser::new(BENCHMARKS.map(|(name, _)| name)))]
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
    /// Weight of what a text denies in the training-free answer.
    #[arg(long, default_value_t = 0.5)]
    lambda: f64,
    /// zero-shot: a sentence with {} for the class's name; may be given several times.
    #[arg(long, value_name = "TEXT", default_value = "a photo of a {}.")]
    template: Vec<String>,
    /// Where tensors live: auto, cpu, wgpu, cuda.
    #[arg(long, default_value = "auto")]
    device: String,
    /// The folder of the feature cache.
    #[arg(long, value_name = "DIR", default_value = ".cache/features")]
    cache: PathBuf,
    /// Of the intervals.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn after_help() -> String {
    let mut text = "Examples:
  pipeline eval --model runs/NAME/export --benchmark retrieval --images 'test-*.tar'
  pipeline eval --model runs/NAME/export --against clip --benchmark negbench-mcq --file mcq.csv --images val2017

Benchmarks:
"
    .to_owned();
    for (name, about) in BENCHMARKS {
        let _ = writeln!(text, "  {name:<20} {about}");
    }
    text
}

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        if self.file.is_none() && self.benchmark != "retrieval" {
            return Err(anyhow!("--benchmark {} needs --file, the benchmark's file", self.benchmark).into());
        }
        let (mut coverage, own) = self.score("--model", &self.model, context)?;
        let other = match &self.against {
            Some(model) => {
                let (words, other) = self.score("--against", model, context)?;
                if words != coverage {
                    coverage += &format!(" (against: {words})");
                }
                Some(other)
            }
            None => None,
        };
        let at = |phase| Moment { phase, epoch: 0, step: 0, seed: self.seed };
        let name = &self.benchmark;
        let mut lines: Vec<Measurement> = Vec::new();
        let mut table = format!("{name}: {coverage}\n\n");
        let mut differ = false;
        table += &match other {
            Some(_) => format!("{:<44} {:>8} {:>8}   {}\n", "", "against", "model", "difference [95 %]"),
            None => format!("{:<44} {:>8}   {}\n", "", "model", "[95 %]"),
        };
        for series in &own {
            let measured = series.measured(&at(Phase::After), name);
            let part = if series.part == "all" { String::new() } else { format!(" ({})", series.part) };
            let _ = write!(table, "{:<44} ", format!("{}{part}", series.metric));
            let against = other.as_ref().and_then(|all: &Vec<Series>| {
                all.iter().find(|other| other.metric == series.metric && other.part == series.part)
            });
            if let Some(against) = against {
                let before = against.measured(&at(Phase::Before), name);
                let _ = write!(table, "{:>6.1} % {:>6.1} %   ", 100.0 * before.value, 100.0 * measured.value);
                lines.push(before);
                match series.less(against, &at(Phase::After), name) {
                    Some(less) => {
                        let _ = write!(table, "{:+.1} {}", 100.0 * less.value, interval(&less));
                        lines.push(less);
                    }
                    None => differ = true,
                }
            } else {
                let _ = write!(table, "{:>6.1} %   {}", 100.0 * measured.value, interval(&measured));
            }
            let _ = writeln!(table, " n = {}", measured.n);
            lines.push(measured);
        }
        if differ {
            table += "\nthe two stand on different rows, so that there is no paired difference\n";
        }
        if let Some(path) = &self.json {
            let text: String = lines.iter().map(|line| serde_json::json!(line).to_string() + "\n").collect();
            pipeline_engine::write_atomically(path, text.as_bytes())
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        show::say(&table);
        Ok(())
    }

    /// The outcomes of a checkpoint, and what they stand on.
    fn score(&self, flag: &str, model: &Path, context: &Context) -> Result<(String, Vec<Series>), Failure> {
        let given = || format!("{flag} {}", model.display());
        let model = clip_hub::resolve(model, Path::new("")).with_context(given)?;
        let encoder = text_encoder(&model, &self.device).with_context(given)?;
        let config = self.config(&model)?;
        let base = Path::new("");
        let file = self.file.as_deref().unwrap_or(base);
        let given = Given { file, images: &self.images, templates: &self.template };
        // Plain captions deny nothing worth a baseline.
        let detail = Detail { baselines: self.benchmark != "retrieval", lambda: self.lambda };
        let scored = outside_run(&config, &context.registry, |build| {
            let benchmark: Box<dyn Benchmark> = open(&self.benchmark, given, build)?;
            Ok((benchmark.coverage().words(), benchmark.series(&encoder, detail)?))
        })?;
        Ok(scored.map_err(|error: StageError| anyhow!("{}: {error}", self.benchmark))?)
    }

    /// A pipeline that encodes images as this checkpoint does.
    fn config(&self, model: &Path) -> Result<Config, Failure> {
        let text = |value: String| toml_string(&value);
        let absolute =
            |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
        let images: Vec<String> = self.images.iter().map(|url| text(url.clone())).collect();
        let config = format!(
            "[run]\nseed = {}\ndevice = {}\n[model]\nweights = {}\n[[stage]]\nkind = \"shards\"\nurls = [{}]\n\
             [[stage]]\nkind = \"decode\"\n[[stage]]\nkind = \"encode\"\ncache = {}\n",
            self.seed,
            text(self.device.clone()),
            text(absolute(model)),
            images.join(", "),
            text(absolute(&self.cache)),
        );
        Ok(Config::parse("the command line", config, PathBuf::from("."))?)
    }
}

fn interval(measured: &Measurement) -> String {
    match (measured.low, measured.high) {
        (Some(low), Some(high)) => format!("[{:.1}, {:.1}]", 100.0 * low, 100.0 * high),
        _ => String::new(),
    }
}

/// A TOML string, whatever is in it.
fn toml_string(text: &str) -> String {
    serde_json::Value::String(text.to_owned()).to_string()
}

/// The text encoder of a checkpoint.
pub fn text_encoder(model: &Path, device: &str) -> anyhow::Result<Encoder> {
    let checkpoint = Checkpoint::open(model)?;
    let (device, _) = clip::device::pick(device)?;
    let tower = TextTower::load(&checkpoint, &device)?;
    let tokenizer = Tokenizer::open(checkpoint.dir())?.with_context(tower.config().max_position_embeddings);
    Ok(Encoder::new(tower, std::sync::Arc::new(tokenizer)))
}
