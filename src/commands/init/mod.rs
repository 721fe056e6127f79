//! `pipeline init`

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use pipeline_engine::{Config, OptionValue, write_atomically};
use stage_shards::Location;

use super::{Context, Failure};
use crate::look::checkpoint::CheckpointInfo;
use crate::look::shard::ShardInfo;
use crate::{look, show};

/// Write a config for a checkpoint and shards.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline init --weights models/clip --shards 'data/train-{000..099}.tar'
  pipeline init --weights models/clip --shards 'data/train-*.tar' --eval 'data/test-*.tar' --questions data/test.jsonl")]
pub struct Arguments {
    /// The checkpoint to start from: a folder, a file of weights with its config beside it, or hf:owner/name.
    #[arg(long, value_name = "CHECKPOINT")]
    weights: PathBuf,
    /// Shards to train on: paths, globs, {000..099} in quotes; more than once for a list.
    #[arg(long, value_name = "PATTERN", required = true)]
    shards: Vec<String>,
    /// Held-out shards to measure retrieval on.
    #[arg(long, value_name = "PATTERN")]
    eval: Vec<String>,
    /// Questions (JSON lines) about the pictures of the held-out shards.
    #[arg(long, value_name = "FILE", requires = "eval")]
    questions: Option<PathBuf>,
    /// Where the config goes.
    #[arg(long, short, value_name = "FILE", default_value = "pipeline.toml")]
    out: PathBuf,
    /// Replace it if it is there.
    #[arg(long)]
    force: bool,
}

/// Sizes of a batch, the one that is wanted first, and the steps an epoch must then have at least. More and smaller
/// steps teach more (docs/results), but below 32 images there are few neighbours to choose from.
const BATCHES: [(u64, u64); 6] = [(128, 100), (64, 100), (32, 20), (16, 20), (8, 20), (4, 0)];
/// Bytes of pictures that the shuffle buffer may come to.
const BUFFER_BYTES: u64 = 1 << 30;

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        let out = self.out.display();
        if self.out.exists() && !self.force {
            return Err(anyhow!("{out} is there already; choose another with --out, or replace it with --force").into());
        }
        let text = aligned(&self.config()?);
        // What is written is right, or not written.
        let parsed = Config::parse(&self.out.display().to_string(), text.clone(), self.folder());
        pipeline_engine::check(&parsed?, &context.registry)?;
        if !self.folder().is_dir() {
            return Err(anyhow!("cannot write {out}: there is no folder {}", self.folder().display()).into());
        }
        write_atomically(&self.out, text.as_bytes()).with_context(|| format!("cannot write {out}"))?;
        show::say(&format!(
            "{out} is written. Now: pipeline check {out}; pipeline profile {out}; pipeline run {out}\n"
        ));
        Ok(())
    }

    /// The folder of the config, where its relative paths start.
    fn folder(&self) -> PathBuf {
        self.out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
    }

    /// A path or pattern as the config must have it.
    fn place(&self, path: &str) -> String {
        if path.contains("://") || path.starts_with(clip_hub::SCHEME) || self.folder() == Path::new(".") {
            return path.to_owned();
        }
        std::path::absolute(path).map_or_else(|_| path.to_owned(), |path| path.display().to_string())
    }

    fn places(&self, patterns: &[String]) -> String {
        match patterns {
            [one] => self.place(one).show(),
            many => many.iter().map(|pattern| self.place(pattern)).collect::<Vec<_>>().show(),
        }
    }

    fn config(&self) -> anyhow::Result<String> {
        let model = CheckpointInfo::read(&clip_hub::resolve(&self.weights, Path::new(""))?)?;
        let Some(text) = &model.text else { bail!("{} has no text tower to train", self.weights.display()) };
        let Some(encoder) = model.encoder() else {
            bail!("{} has no image encoder: neither a vision tower nor a vision_model.onnx", self.weights.display());
        };
        let data = Data::look(&self.shards)?;
        if !self.eval.is_empty() {
            Data::look(&self.eval).context("--eval")?;
        }
        if let Some(questions) = self.questions.as_ref().filter(|path| !path.is_file()) {
            bail!("--questions {}: there is no such file", questions.display());
        }
        let batch = batch(data.samples);
        let buffer = data.samples.min(10_000).min(BUFFER_BYTES / data.picture_bytes.max(1)).max(1);
        let lr = match text.width {
            ..=128 => "1e-3",
            129..=384 => "6e-4",
            _ => "5e-6",
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let evals = self.evals();
        Ok(format!(
            r#"# Fine-tunes the text tower of {name} on captions with negation.
# `pipeline stages KIND` lists the options of a stage, `pipeline check` finds every
# mistake. For completion in an editor: pipeline schema > pipeline.schema.json, and
# as the first line of this file: #:schema ./pipeline.schema.json

[run]
seed = 1
epochs = 10
device = "auto" # a real GPU if there is one, else the CPU
preset = "best" # or "paper", TNG-CLIP as published; `pipeline stages` lists them

[model]
weights = {weights} # {layout}, text tower of {parameters:.1} M parameters

[[stage]]
kind = "shards" # {shards} shards, about {samples} samples
urls = {urls}
captions = {captions}
shuffle = true
buffer = {buffer} # samples in the shuffle buffer

[[stage]]
kind = "decode"
workers = {workers}

[[stage]]
kind = "encode" # features are made once, then come from the cache
encoder = "{encoder}"
cache = ".cache/features"

[[stage]]
kind = "batch"
size = {batch} # {steps} steps an epoch

[[stage]]
kind = "pairs" # who looks like whom
k = 4

[[stage]]
kind = "captions" # captions that say what is not there
mode = "dynamic" # new ones each epoch

[[stage]]
kind = "tokenize"

[[stage]]
kind = "train"
lr = {lr} # a guess by the width of the tower ({width}); the paper's is 5e-6, for a wide one
{evals}"#,
            name = self.weights.display(),
            weights = self.place(&self.weights.display().to_string()).show(),
            layout = model.layout,
            parameters = text.parameters as f64 / 1e6,
            shards = data.shards,
            samples = data.samples,
            urls = self.places(&self.shards),
            captions = data.captions.show(),
            workers = cores.min(4),
            steps = data.samples / batch,
            width = text.width,
        ))
    }

    fn evals(&self) -> String {
        if self.eval.is_empty() {
            return "\n# What is measured before and after; it needs held-out shards.\n# [[eval]]\n# kind = \"retrieval\"\n# shards = \"test-*.tar\"\n"
                .into();
        }
        let shards = self.places(&self.eval);
        let mut text = format!("\n[[eval]]\nkind = \"retrieval\" # what must not be lost\nshards = {shards}\n");
        if let Some(questions) = &self.questions {
            let questions = self.place(&questions.display().to_string()).show();
            text.push_str(&format!(
                "\n[[eval]]\nkind = \"mcq\" # which caption is true of the picture?\nquestions = {questions}\nshards = {shards}\n"
            ));
        }
        text
    }
}

/// The size of a batch for so many samples.
fn batch(samples: u64) -> u64 {
    let enough = |&(size, steps): &(u64, u64)| samples / size >= steps;
    BATCHES.into_iter().find(enough).map_or(1, |(size, _)| size)
}

/// Comments behind values, one below the other.
fn aligned(text: &str) -> String {
    let line = |line: &str| match line.split_once(" # ") {
        Some((value, comment)) if !line.starts_with('#') && value.matches('"').count() % 2 == 0 => {
            format!("{:<30} # {comment}\n", value.trim_end())
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// What is known of the shards by looking at the first.
struct Data {
    shards: usize,
    /// Of all shards, about: by the samples a byte of the first.
    samples: u64,
    captions: String,
    /// Of a picture, on average.
    picture_bytes: u64,
}

impl Data {
    fn look(patterns: &[String]) -> anyhow::Result<Self> {
        let sources = stage_shards::resolve(patterns, Path::new(""), stage_shards::Pipes::Refused)?;
        let mut bytes = 0;
        let mut first = None;
        for source in &sources {
            let Location::Local(path) = &source.location else {
                bail!("init looks into local shards; copy the first one here, and write its url into the config after");
            };
            let file = std::fs::metadata(path).with_context(|| format!("shard {}", path.display()))?;
            bytes += file.len();
            first.get_or_insert(path);
        }
        let Some(first) = first else { bail!("there are no shards") };
        let info = ShardInfo::read(first)?;
        let shown = first.display();
        if let Some(ended) = info.ended.as_ref().filter(|_| info.samples == 0) {
            bail!("{shown}: {ended}");
        }
        let Some(captions) = info.captions.clone() else {
            bail!("{shown} has no captions: neither .txt nor .json members with a text (`pipeline inspect {shown}`)");
        };
        if info.usable == 0 {
            let why = info.ended.or_else(|| info.faults.first().map(|(key, reason)| format!("{key}: {reason}")));
            bail!("{shown} has no usable sample: {}", why.unwrap_or_else(|| "it is empty".into()));
        }
        let samples = (info.usable as f64 * bytes as f64 / info.bytes.max(1) as f64).round() as u64;
        Ok(Self {
            shards: sources.len(),
            samples,
            captions,
            picture_bytes: look::per(info.picture_bytes, info.usable as u64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::batch;

    #[test]
    fn few_samples_make_small_batches() {
        let wanted = [(12_800, 128), (12_799, 64), (6_400, 64), (6_399, 32), (640, 32), (639, 16), (160, 8), (159, 4)];
        wanted.iter().for_each(|&(samples, size)| assert_eq!(batch(samples), size, "{samples}"));
    }
}
