//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Teach CLIP the word "no": negation-aware fine-tuning as a streaming pipeline.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  pipeline run pipeline.toml
  pipeline run pipeline.toml --preset paper --set run.epochs=5
  pipeline check pipeline.toml --set stage.pairs.on=wgpu
  pipeline stages

Exit codes: 0 done, 1 failed, 2 the config or the command line is wrong, 130 interrupted."
)]
pub struct Cli {
    /// Say only what went wrong, and the result.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a pipeline: measure, train, measure, export.
    Run(RunArgs),
    /// Find every fault of a config without running it.
    Check(ConfigArgs),
    /// Show the stages of a config and what travels between them.
    Graph(ConfigArgs),
    /// List every kind of stage with its options and defaults.
    Stages,
}

#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// The config.
    #[arg(default_value = "pipeline.toml")]
    pub config: PathBuf,
    /// Change one key: run.epochs=3, model.weights=DIR, stage.train.lr=1e-5.
    #[arg(long, value_name = "TABLE.KEY=VALUE")]
    pub set: Vec<String>,
    /// Lay a named set of settings over the config.
    #[arg(long, value_name = "NAME")]
    pub preset: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Go on from the last whole checkpoint of the run folder.
    #[arg(long, conflicts_with = "force")]
    pub resume: bool,
    /// Remove the run folder of this name first.
    #[arg(long)]
    pub force: bool,
}
