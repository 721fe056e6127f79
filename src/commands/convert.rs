//! `pipeline convert`

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use clip::checkpoint::Format;
use clip::{Checkpoint, Target};

use super::{Context, Failure};
use crate::show;

/// Write a checkpoint in another layout, its values bit by bit the same.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline convert open_clip-folder clip-hf --to hf
  pipeline convert runs/NAME/export for-open_clip --to open-clip
  pipeline convert epoch_10.pt clip-hf --to hf      # open_clip_config.json lies beside it")]
pub struct Arguments {
    /// A checkpoint: a folder, a file of weights with its config beside it, or hf:owner/name.
    #[arg(value_name = "CHECKPOINT")]
    pub from: PathBuf,
    /// The folder to write; must not be there yet.
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// The layout to write [default: the one that it has not].
    #[arg(long = "to", value_name = "LAYOUT")]
    layout: Option<Layout>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Layout {
    /// transformers: config.json, model.safetensors.
    Hf,
    /// open_clip: open_clip_config.json, open_clip_model.safetensors.
    OpenClip,
}

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        let weights = clip_hub::resolve(&self.from, Path::new("")).context("cannot convert")?;
        let checkpoint = Checkpoint::open(weights).context("cannot convert")?;
        if self.folder.exists() {
            return Err(anyhow::anyhow!("{} is there already; name a folder that is not", self.folder.display()).into());
        }
        let layout = self.layout.unwrap_or(match checkpoint.format() {
            Format::OpenClip => Layout::Hf,
            _ => Layout::OpenClip,
        });
        let (target, words) = match layout {
            Layout::Hf => (Target::HuggingFace, "transformers"),
            Layout::OpenClip => (Target::OpenClip, "open_clip"),
        };
        checkpoint.convert(&self.folder, target).context("cannot convert")?;
        if !context.quiet {
            show::say(&format!("{} is {} as {words} reads it\n", self.folder.display(), self.from.display()));
        }
        Ok(())
    }
}
