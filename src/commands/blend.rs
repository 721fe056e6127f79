//! `pipeline blend`

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Args;
use clip::{Checkpoint, Stored};

use super::{Context, Failure};
use crate::print;

/// Write a checkpoint between two others: (1 - alpha) A + alpha B, tensor by tensor.
///
/// Between the starting checkpoint (A) and the one trained from it (B) lie checkpoints that trade
/// the abilities of one for those of the other (WiSE-FT, arXiv 2109.01903).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline blend assets/clip-world runs/NAME/export between --alpha 0.7")]
pub struct Arguments {
    /// The starting checkpoint, as [model] weights takes it. The new folder has its layout.
    #[arg(value_name = "A")]
    from: PathBuf,
    /// A checkpoint of the same shape, such as the export of a run.
    #[arg(value_name = "B")]
    to: PathBuf,
    /// The folder to write; must not exist.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// How far from A to B: 0 is A, 1 is B.
    #[arg(long, value_parser = share)]
    alpha: f32,
}

fn share(text: &str) -> anyhow::Result<f32> {
    let alpha = text.parse().ok().filter(|alpha| (0.0..=1.0).contains(alpha));
    alpha.context("a number from 0 (A) to 1 (B)")
}

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        let open = |path: &Path| -> anyhow::Result<Checkpoint> {
            Ok(Checkpoint::open(clip_hub::resolve(path, Path::new(""))?)?)
        };
        let (from, to) = (open(&self.from).context("cannot blend")?, open(&self.to).context("cannot blend")?);
        if self.folder.exists() {
            return Err(anyhow!("{} already exists; name a folder that does not", self.folder.display()).into());
        }
        let mut blended = clip::Tensors::new();
        let mut shared = 0;
        // Where one of the two has 32 bits, 16 would round away what is between them.
        let mut stored = Stored::AsBefore;
        for name in from.names().filter(|name| to.contains(name)) {
            // Tensors that are not floats, such as position ids, stay those of A.
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
                    "cannot blend: {name} has shape {shape:?} in {} and {other:?} in {}; they are different models",
                    self.from.display(),
                    self.to.display()
                )
                .into());
            }
            shared += 1;
            // Exact at both ends, and where the two agree.
            let between = |(a, b): (&f32, &f32)| if a == b { *a } else { (1.0 - self.alpha) * a + self.alpha * b };
            if a != b {
                if [&from, &to].iter().any(|checkpoint| checkpoint.dtype(name).is_some_and(|dtype| dtype == "F32")) {
                    stored = Stored::F32;
                }
                blended.insert(name.to_owned(), (shape, a.iter().zip(&b).map(between).collect()));
            }
        }
        if shared == 0 {
            return Err(anyhow!(
                "cannot blend: {} and {} have no tensor of the same name; they are different models",
                self.from.display(),
                self.to.display()
            )
            .into());
        }
        let exported = from.export_as(&self.folder, &blended, stored).context("cannot blend")?;
        for file in exported.left_out {
            tracing::warn!("{} was not copied: it holds the old weights in another format", file.display());
        }
        if !context.quiet {
            print::stdout(&format!(
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
