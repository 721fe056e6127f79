//! `pipeline convert`

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use clip::checkpoint::{Format, Tower};
use clip::{Checkpoint, Target};
use pipeline_engine::write_atomically;

use super::{Context, Failure};
use crate::show;

/// Write a checkpoint in another layout, its values bit by bit the same.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline convert open_clip-folder clip-hf --to hf
  pipeline convert runs/NAME/export for-open_clip --to open-clip
  pipeline convert hf:openai/clip-vit-base-patch32 for-open_clip --to open-clip
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

/// As the export of a run has it.
const CARD: &str = "MODEL_CARD.md";

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
        let written = Checkpoint::open(&self.folder).context("what was written cannot be read")?;
        let card = self.folder.join(CARD);
        write_atomically(&card, self.card(&checkpoint, &written, words).as_bytes())
            .with_context(|| format!("cannot write {}", card.display()))?;
        if !context.quiet {
            show::say(&format!("{} is {} as {words} reads it\n", self.folder.display(), self.from.display()));
        }
        Ok(())
    }

    /// What was done, and what is known of the checkpoint that it was done to.
    fn card(&self, from: &Checkpoint, to: &Checkpoint, words: &str) -> String {
        let name = match self.from.to_str().and_then(|text| text.strip_prefix(clip_hub::SCHEME)) {
            Some(name) => name.to_owned(),
            None => {
                // Every run's checkpoint is called `export`; its folder tells which.
                let parts: Vec<_> = self.from.iter().map(|part| part.to_string_lossy()).collect();
                let kept = if self.from.ends_with("export") { 2 } else { 1 };
                parts[parts.len().saturating_sub(kept)..].join("/")
            }
        };
        let mut text = format!(
            "# {name}, for {words}\n\n\
             Made by `pipeline convert` {} from `{name}`, {}. Every value has the bits that it had there; only names, \
             cuts and the order of rows and columns are {words}'s. The licence of `{name}` holds on.\n\n\
             A fingerprint tells a tower's configuration and weights in the layout that they are in, as `pipeline \
             inspect` says it:\n\n| tower | there | here |\n|---|---|---|\n",
            env!("CARGO_PKG_VERSION"),
            layout(from.format()),
        );
        let config = from.config();
        for (tower, word, is) in
            [(Tower::Text, "text", config.text.is_some()), (Tower::Vision, "image", config.vision.is_some())]
        {
            if is {
                let short = |of: &Checkpoint| of.fingerprint(tower)[..16].to_owned();
                let _ = writeln!(text, "| {word} | `{}` | `{}` |", short(from), short(to));
            }
        }
        // The card of a trained checkpoint has its scores and settings: they are true of this one too.
        if let Ok(before) = std::fs::read_to_string(from.dir().join(CARD)) {
            let _ = write!(text, "\n## The card of `{name}`\n\n{}", deeper(&before));
        }
        text
    }
}

/// A Markdown text with each heading a level deeper; what stands in fences is left as it is.
fn deeper(markdown: &str) -> String {
    let mut fenced = false;
    let line = |line: &str| {
        fenced ^= line.starts_with("```");
        let mark = if line.starts_with('#') && !fenced { "##" } else { "" };
        format!("{mark}{line}\n")
    };
    markdown.lines().map(line).collect()
}

fn layout(format: Format) -> &'static str {
    match format {
        Format::OpenClip => "in the layout of open_clip",
        Format::HfClip | Format::HfText | Format::HfVision => "in the layout of transformers",
    }
}
