//! The command line.

use clap::Parser;

use crate::commands::Command;

/// Teach CLIP the word "no": negation-aware fine-tuning as a streaming pipeline.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  pipeline init --weights models/clip --shards 'data/train-{000..099}.tar'
  pipeline check pipeline.toml --set stage.pairs.on=wgpu
  pipeline profile pipeline.toml
  pipeline run pipeline.toml --preset paper --set run.epochs=5

Exit codes: 0 done, 1 failed, 2 the config or the command line is wrong, 130 interrupted."
)]
pub struct Cli {
    /// Print only errors and the result.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Log lines instead of the live view, on a terminal too.
    #[arg(long, global = true)]
    pub plain: bool,
    /// Format of log lines: text, or json for programs, with the run's progress.
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text", hide_possible_values = true)]
    pub log: crate::log::Format,
    #[command(subcommand)]
    pub command: Command,
}
