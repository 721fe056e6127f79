//! `pipeline blend`

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use clip::Checkpoint;

use super::{Context, Failure};
use crate::show;

/// Write a checkpoint between two others: (1 - alpha) A + alpha B, tensor by tensor.
///
/// Between the start (A) and what was trained from it (B) lie checkpoints that keep more of the
/// one and have less of the other (WiSE-FT, arXiv 2109.01903).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline blend assets/clip-world runs/NAME/export between --alpha 0.7")]
pub struct Arguments {
    /// The start: a checkpoint, as [model] weights takes it. The new folder has its layout.
    #[arg(value_name = "A")]
    from: PathBuf,
    /// A checkpoint of the same shape, as the export of a run.
    #[arg(value_name = "B")]
    to: PathBuf,
    /// The folder to write; must not be there yet.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// How far from A to B: 0 is A, 1 is B.
    #[arg(long, value_parser = share)]
    alpha: f32,
}

fn share(text: &str) -> Result<f32, String> {
    let alpha: f32 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    if (0.0..=1.0).contains(&alpha) { Ok(alpha) } else { Err("it lies between 0 (A) and 1 (B)".to_owned()) }
}

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        let open = |path: &Path| -> anyhow::Result<Checkpoint> {
            Ok(Checkpoint::open(clip_hub::resolve(path, Path::new(""))?)?)
        };
        let (from, to) = (open(&self.from).context("cannot blend")?, open(&self.to).context("cannot blend")?);
        if self.folder.exists() {
            return Err(anyhow!("{} is there already; name a folder that is not", self.folder.display()).into());
        }
        let mut blended = clip::Tensors::new();
        let mut shared = 0;
        for name in from.names().filter(|name| to.contains(name)) {
            // What is no number of ours, as position ids are, stays A's.
            let is_float = |checkpoint: &Checkpoint| {
                checkpoint.dtype(name).is_some_and(|dtype| ["F32", "F16", "BF16"].contains(&dtype.as_str()))
            };
            if !(is_float(&from) && is_float(&to)) {
                continue;
            }
            let read = |checkpoint: &Checkpoint| checkpoint.tensor(name).context("cannot blend");
            let ((shape, a), (other, b)) = (read(&from)?, read(&to)?);
            if shape != other {
                return Err(anyhow!(
                    "cannot blend: {name} has shape {shape:?} in {} and {other:?} in {}; they are not of one model",
                    self.from.display(),
                    self.to.display()
                )
                .into());
            }
            shared += 1;
            // Exact at both ends, and wherever the two agree.
            let between = |(a, b): (&f32, &f32)| if a == b { *a } else { (1.0 - self.alpha) * a + self.alpha * b };
            if a != b {
                blended.insert(name.to_owned(), (shape, a.iter().zip(&b).map(between).collect()));
            }
        }
        if shared == 0 {
            return Err(anyhow!(
                "cannot blend: {} and {} have no tensor of the same name; they are not of one model",
                self.from.display(),
                self.to.display()
            )
            .into());
        }
        let exported = from.export(&self.folder, &blended).context("cannot blend")?;
        for file in exported.left_out {
            tracing::warn!("{} is left out: it has the old weights in another format", file.display());
        }
        if !context.quiet {
            show::say(&format!(
                "{}: {} of {shared} tensors lie between {} and {}\n",
                self.folder.display(),
                blended.len(),
                self.from.display(),
                self.to.display()
            ));
        }
        Ok(())
    }
}
