//! `pipeline inspect`

mod cache;
mod checkpoint;
mod run;
mod shards;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Context, Failure};
use crate::inspect::checkpoint::CheckpointInfo;
use crate::inspect::shard::ShardInfo;
use crate::print;

/// Describe a shard, a feature cache, a checkpoint or a run folder.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline inspect data/train-000.tar
  pipeline inspect models/clip-vit-base-patch32
  pipeline inspect logs/checkpoints/epoch_10.pt      # with open_clip_config.json beside it
  pipeline inspect .cache/features
  pipeline inspect runs/first --json")]
pub struct Arguments {
    /// A .tar, an .arrow file or a folder of them; a checkpoint (a folder, a file of weights, hf:owner/name); a run folder.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// As JSON, one object per path.
    #[arg(long)]
    json: bool,
}

/// Lines of a list that are shown; the rest is only counted.
const SHOWN: usize = 10;

impl Arguments {
    pub fn run(&self, _: &Context) -> Result<(), Failure> {
        for (index, path) in self.paths.iter().enumerate() {
            // A checkpoint on the hub is read from the hub's cache.
            let path = clip_hub::resolve(path, Path::new("")).map_err(anyhow::Error::from)?;
            let (value, text) = describe(&path)?;
            if self.json {
                print::stdout(&format!("{value}\n"));
            } else {
                print::stdout(&format!("{}{text}", if index == 0 { "" } else { "\n" }));
            }
        }
        Ok(())
    }
}

/// What a path holds, as JSON and as text.
fn describe(path: &Path) -> anyhow::Result<(Value, String)> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).with_context(|| format!("cannot inspect {shown}"))?;
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    if metadata.is_file() {
        return match extension {
            "tar" => {
                let info = ShardInfo::read(path)?;
                Ok((tagged("shard", &info)?, shards::one(&info)))
            }
            "arrow" => cache::cache(path, &[path.to_owned()]),
            "safetensors" | "pt" | "pth" | "bin" => checkpoint(path),
            "onnx" | "json" => match path.parent() {
                Some(folder) if CheckpointInfo::is_one(folder) => {
                    bail!("{shown} is part of a checkpoint; inspect its folder, {}", folder.display())
                }
                _ => bail!(
                    "{shown} is not a checkpoint: inspect the folder that holds config.json, weights and tokenizer"
                ),
            },
            "toml" => bail!("{shown} looks like a config; `pipeline check` and `pipeline graph` read it"),
            _ => bail!("{shown} is not a .tar, .arrow or weights file; {WHAT}"),
        };
    }
    if run::is_one(path) {
        return run::run(path);
    }
    if CheckpointInfo::is_one(path) {
        return checkpoint(path);
    }
    let files = files(path)?;
    let with = |wanted: &str| -> Vec<PathBuf> {
        files.iter().filter(|file| file.extension().is_some_and(|e| e == wanted)).cloned().collect()
    };
    let (arrows, tars) = (with("arrow"), with("tar"));
    if !arrows.is_empty() {
        return cache::cache(path, &arrows);
    }
    if !tars.is_empty() {
        return shards::all(path, &tars);
    }
    if files.is_empty() {
        bail!("{shown} is an empty folder; {WHAT}");
    }
    bail!("{shown} holds no file that can be inspected; {WHAT}")
}

/// What can be inspected, for messages.
const WHAT: &str = "`inspect` reads shards (.tar), feature caches (.arrow), checkpoints (a folder, or a weights file with its \
                    config beside it) and run folders";

fn checkpoint(path: &Path) -> anyhow::Result<(Value, String)> {
    let info = CheckpointInfo::read(path)?;
    Ok((tagged("checkpoint", &info)?, checkpoint::text(&info)))
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let broken = || format!("cannot read the folder {}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(broken)? {
        files.push(entry.with_context(broken)?.path());
    }
    files.sort();
    Ok(files)
}

fn tagged(what: &str, info: &impl Serialize) -> anyhow::Result<Value> {
    let mut value = serde_json::to_value(info)?;
    value["what"] = json!(what);
    Ok(value)
}
