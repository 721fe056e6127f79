//! `pipeline init`

mod data;
mod text;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use pipeline_engine::files::{is_stream, write_atomically};
use pipeline_engine::{Config, OptionValue};

use super::{Context, Failure};
use crate::inspect::checkpoint::CheckpointInfo;
use crate::print;
use data::Data;
use text::Choices;

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
    /// Questions (JSON lines) about the images of the held-out shards.
    #[arg(long, value_name = "FILE", requires = "eval")]
    questions: Option<PathBuf>,
    /// The config to write.
    #[arg(long, short, value_name = "FILE", default_value = "pipeline.toml")]
    out: PathBuf,
    /// Replace it if it exists.
    #[arg(long)]
    force: bool,
}

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        let out = self.out.display();
        let is_stream = is_stream(&self.out).with_context(|| format!("cannot write {out}"))?;
        if self.out.exists() && !self.force && !is_stream {
            return Err(
                anyhow!("{out} already exists; choose another file with --out, or replace it with --force").into()
            );
        }
        let text = text::aligned(&self.config()?);
        // Only a config that passes the check is written.
        let parsed = Config::parse(&self.out.display().to_string(), text.clone(), self.folder());
        pipeline_engine::check(&parsed?, &context.registry)?;
        if !self.folder().is_dir() {
            return Err(anyhow!("cannot write {out}: the folder {} does not exist", self.folder().display()).into());
        }
        write_atomically(&self.out, text.as_bytes()).with_context(|| format!("cannot write {out}"))?;
        if !is_stream {
            print::stdout(&format!(
                "wrote {out}; next: pipeline check {out}; pipeline profile {out}; pipeline run {out}\n"
            ));
        }
        Ok(())
    }

    /// The folder of the config: its relative paths start there.
    fn folder(&self) -> PathBuf {
        self.out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
    }

    /// A path or pattern as it must stand in the config.
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

    /// The text of the config.
    fn config(&self) -> anyhow::Result<String> {
        let model = CheckpointInfo::read(&clip_hub::resolve(&self.weights, Path::new(""))?)?;
        let Some(tower) = &model.text else { bail!("{} has no text tower to train", self.weights.display()) };
        let Some(encoder) = model.encoder() else {
            bail!("{} has no image encoder: neither a vision tower nor a vision_model.onnx", self.weights.display());
        };
        let data = Data::read(&self.shards)?;
        let held_out = match self.eval.as_slice() {
            [] => None,
            patterns => Some(Data::read(patterns).context("--eval")?),
        };
        if let Some(questions) = self.questions.as_ref().filter(|path| !path.is_file()) {
            bail!("--questions {}: the file does not exist", questions.display());
        }
        let choices = Choices {
            name: self.weights.display().to_string(),
            weights: self.place(&self.weights.display().to_string()).show(),
            layout: &model.layout,
            tower,
            encoder,
            urls: self.places(&self.shards),
            data: &data,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            eval: held_out.is_some().then(|| self.places(&self.eval)),
            negated: held_out.is_some_and(|data| data.can_be_negated()),
            questions: self.questions.as_ref().map(|path| self.place(&path.display().to_string()).show()),
        };
        Ok(choices.config())
    }
}
