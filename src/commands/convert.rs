//! `pipeline convert`

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use clip::checkpoint::{Format, Tower};
use clip::{Checkpoint, Target};
use pipeline_engine::files::write_atomically;

use super::{Context, Failure};
use crate::print;

/// Write a checkpoint in another layout, with the same values bit by bit.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline convert open_clip-folder clip-hf --to hf
  pipeline convert runs/NAME/export for-open_clip --to open-clip
  pipeline convert hf:openai/clip-vit-base-patch32 for-open_clip --to open-clip
  pipeline convert epoch_10.pt clip-hf --to hf      # with open_clip_config.json beside it")]
pub struct Arguments {
    /// A checkpoint: a folder, a file of weights with its config beside it, or hf:owner/name.
    #[arg(value_name = "CHECKPOINT")]
    pub from: PathBuf,
    /// The folder to write; must not exist.
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// The layout to write [default: the other one].
    #[arg(long = "to", value_name = "LAYOUT")]
    layout: Option<Layout>,
}

/// The same name as in the export of a run.
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
            return Err(anyhow::anyhow!("{} already exists; name a folder that does not", self.folder.display()).into());
        }
        let layout = self.layout.unwrap_or(match checkpoint.format() {
            Format::OpenClip => Layout::Hf,
            _ => Layout::OpenClip,
        });
        let (target, library) = match layout {
            Layout::Hf => (Target::HuggingFace, "transformers"),
            Layout::OpenClip => (Target::OpenClip, "open_clip"),
        };
        checkpoint.convert(&self.folder, target).context("cannot convert")?;
        let written = Checkpoint::open(&self.folder).context("the converted checkpoint cannot be read")?;
        let card = self.folder.join(CARD);
        write_atomically(&card, self.card(&checkpoint, &written, library).as_bytes())
            .with_context(|| format!("cannot write {}", card.display()))?;
        if !context.quiet {
            print::stdout(&format!(
                "wrote {}: {} in the layout of {library}\n",
                self.folder.display(),
                self.from.display()
            ));
        }
        Ok(())
    }

    /// The model card: what was converted, and the card of the original.
    fn card(&self, from: &Checkpoint, to: &Checkpoint, library: &str) -> String {
        let name = match self.from.to_str().and_then(|text| text.strip_prefix(clip_hub::SCHEME)) {
            Some(name) => name.to_owned(),
            None => {
                // Every run's checkpoint is called `export`; the folder above has the name of the run.
                let parts: Vec<_> = self.from.iter().map(|part| part.to_string_lossy()).collect();
                let kept = if self.from.ends_with("export") { 2 } else { 1 };
                parts[parts.len().saturating_sub(kept)..].join("/")
            }
        };
        let mut text = format!(
            "# {name}, for {library}\n\n\
             Made by `pipeline convert` {} from `{name}`, {}. Every value has the same bits as there; only names, \
             the split into tensors and the order of rows and columns are {library}'s. The licence of `{name}` still applies.\n\n\
             The fingerprint of a tower identifies its configuration and weights in their layout, as `pipeline \
             inspect` prints it:\n\n| tower | there | here |\n|---|---|---|\n",
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
        // The card of a trained checkpoint has its scores and settings, which hold for this one too.
        if let Ok(before) = std::fs::read_to_string(from.dir().join(CARD)) {
            let _ = write!(text, "\n## The card of `{name}`\n\n{}", deeper(&before));
        }
        text
    }
}

/// Moves every heading of a Markdown text one level down, except inside fences.
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
