//! The result of a run: the trained checkpoint in the layout that it came in, and a model card.

use std::fmt::Write;
use std::path::Path;

use clip::checkpoint::Tower;
use clip::{Checkpoint, Stored, Tensors};
use pipeline_engine::choice;
use pipeline_engine::files::write_atomically;
use serde_json::Value;

use crate::error::TrainError;

/// What is in a model card.
#[derive(Debug, Clone, Default)]
pub struct Card {
    /// `[model] weights`, as the config has it.
    pub weights: String,
    /// The run's resolved config; empty if there is none.
    pub config: String,
    /// Options of the stage with their values, as TOML.
    pub options: Vec<(String, String)>,
    /// Description of the device that was used.
    pub device: String,
    /// The run's seed.
    pub seed: u64,
    /// Shards that were read, each with what identifies its version; `None` if the pipeline has no shards.
    pub shards: Option<Vec<(String, String)>>,
    /// Epochs.
    pub epochs: u32,
    /// Steps in all.
    pub steps: u64,
    /// The lines of results.jsonl.
    pub results: Vec<Value>,
}

choice! {
    /// In which type the trained tensors are exported.
    pub enum ExportType {
        /// In that of the start if it keeps every update, else in f32.
        Auto = "auto",
        /// In f32.
        F32 = "f32",
        /// In that of the start.
        Start = "start",
    }
}

impl ExportType {
    /// How the export stores these tensors, and a sentence where its type matters.
    ///
    /// In 16 bits a value that training moved by less than half the distance to the next number is stored as it was: the
    /// export would not be what was scored. bf16 loses most updates of a short fine-tuning like this.
    fn stored(self, checkpoint: &Checkpoint, trained: &Tensors) -> Result<(Stored, Option<String>), TrainError> {
        if self == Self::F32 {
            return Ok((Stored::F32, None));
        }
        let loss = match checkpoint.rounding_loss(trained) {
            Ok(loss) => loss,
            // A value that does not fit the type fits f32; one that is no number fits none.
            Err(_) if self == Self::Auto => return Ok((Stored::F32, None)),
            Err(error) => return Err(error.into()),
        };
        let share = 100.0 * loss.share();
        Ok(match self {
            _ if loss.lost == 0 => (Stored::AsBefore, None),
            Self::Start => {
                let lost = format!(
                    "the type of the starting checkpoint cannot hold {share:.1} % of the updates, so the export is not what \
                     was scored; export = \"auto\" stores the trained tensors in f32"
                );
                (Stored::AsBefore, Some(lost))
            }
            _ => {
                let wide = format!(
                    "the trained tensors are exported in f32: the type of the starting checkpoint would lose {share:.1} % \
                     of the updates (export = \"start\" keeps that type)"
                );
                (Stored::F32, Some(wide))
            }
        })
    }
}

/// Copies the checkpoint's folder to `dir` with the trained tensors replaced, and adds MODEL_CARD.md.
///
/// # Errors
/// A weight that does not fit the type it is stored in; a disk that is full.
pub fn export(
    checkpoint: &Checkpoint,
    dir: &Path,
    trained: &Tensors,
    wanted: ExportType,
    card: &Card,
) -> Result<(), TrainError> {
    let (stored, note) = wanted.stored(checkpoint, trained)?;
    match &note {
        Some(note) if stored == Stored::AsBefore => tracing::warn!("{note}"),
        Some(note) => tracing::info!("{note}"),
        None => {}
    }
    let exported = checkpoint.export_as(dir, trained, stored)?;
    for file in exported.left_out {
        tracing::warn!("the export omits {}: it has the old weights in another format", file.display());
    }
    let path = dir.join("MODEL_CARD.md");
    write_atomically(&path, card.text(checkpoint, note.as_deref()).as_bytes()).map_err(TrainError::io(&path))
}

impl Card {
    /// The card; `note` is a sentence about the type of the trained tensors.
    fn text(&self, checkpoint: &Checkpoint, note: Option<&str>) -> String {
        let start = self.name(checkpoint);
        let mut text = format!(
            "# {start}, text tower fine-tuned\n\n\
             Made by `pipeline` {}. The text tower and its projection were trained; the image encoder, the tokenizer \
             and everything else are those of `{start}`, and its licence still applies. The folder has the layout of that \
             checkpoint and loads in its place.\n\n\
             ## Training\n\n\
             {} epochs, {} steps, seed {}, on {}.",
            env!("CARGO_PKG_VERSION"),
            self.epochs,
            self.steps,
            self.seed,
            self.device,
        );
        let digest = &checkpoint.fingerprint(Tower::Text)[..16];
        let _ = write!(text, " Start: the text tower of `{start}`, fingerprint `{digest}`.");
        if let Some(shards) = &self.shards {
            let (count, plural) = (shards.len(), if shards.len() == 1 { "" } else { "s" });
            let _ =
                write!(text, " Data: {count} shard{plural}, fingerprint of names and sizes `{}`.", data_digest(shards));
        }
        if let Some(note) = note {
            let _ = write!(text, " Types: {note}.");
        }
        text.push_str("\n\n| option of the stage | value |\n|---|---|\n");
        for (name, value) in &self.options {
            let _ = writeln!(text, "| `{name}` | `{value}` |");
        }
        text.push_str("\n## Scores\n\n");
        let scores = self.scores();
        if scores.is_empty() {
            text.push_str("None were measured.\n");
        } else {
            text.push_str("| eval | metric | part | before | after | n |\n|---|---|---|---|---|---|\n");
            for line in scores {
                let _ = writeln!(text, "| {} |", line.join(" | "));
            }
        }
        if !self.config.is_empty() {
            text.push_str("\n## Configuration\n\nEvery default is written out.\n\n```toml\n");
            // The folder in which it ran is private and of no use to others.
            let lines = self.config.lines().filter(|line| !line.starts_with("base = ") && !line.starts_with('#'));
            for line in lines.skip_while(|line| line.is_empty()) {
                text.push_str(line);
                text.push('\n');
            }
            text.push_str("```\n");
        }
        text
    }

    /// The name of the checkpoint that training started from: that on the hub, or that of the folder.
    fn name(&self, checkpoint: &Checkpoint) -> String {
        match self.weights.strip_prefix("hf:") {
            Some(name) => name.to_owned(),
            None => checkpoint.dir().file_name().unwrap_or(checkpoint.dir().as_os_str()).to_string_lossy().into_owned(),
        }
    }

    /// One row per measurement, with the values before and after side by side, in the order of the
    /// file. A run that was resumed may have measured twice; the last value counts.
    fn scores(&self) -> Vec<[String; 6]> {
        let mut rows: Vec<[String; 6]> = Vec::new();
        for line in &self.results {
            let column = match line["phase"].as_str() {
                Some("before") => 3,
                Some("after") => 4,
                _ => continue,
            };
            let name = ["eval", "metric", "part"].map(|key| line[key].as_str().unwrap_or_default());
            let at = rows.iter().position(|row| row[..3] == name).unwrap_or_else(|| {
                rows.push([name[0].into(), name[1].into(), name[2].into(), "".into(), "".into(), "".into()]);
                rows.len() - 1
            });
            let number = |key: &str| line[key].as_f64();
            let mut value = number("value").map_or("not a number".to_owned(), |value| format!("{value:.4}"));
            if let (Some(low), Some(high)) = (number("low"), number("high")) {
                let _ = write!(value, " ({low:.4} to {high:.4})");
            }
            rows[at][column] = value;
            rows[at][5] = line["n"].to_string();
        }
        rows
    }
}

/// Equal for equal shards, no matter when they were copied: the time of a file is not included.
fn data_digest(shards: &[(String, String)]) -> String {
    let mut hash = blake3::Hasher::new();
    for (name, identity) in shards {
        let lasting = identity.split_whitespace().filter(|part| !part.starts_with("mtime="));
        let line = format!("{name} {}\n", lasting.collect::<Vec<_>>().join(" "));
        hash.update(line.as_bytes());
    }
    hash.finalize().to_hex()[..16].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_fingerprint_of_data_is_that_of_names_and_sizes() {
        let shard = |name: &str, identity: &str| (name.to_owned(), identity.to_owned());
        let one = data_digest(&[shard("a.tar", "size=9 mtime=5"), shard("b.tar", "size=8 mtime=5")]);
        assert_eq!(one, data_digest(&[shard("a.tar", "size=9 mtime=6"), shard("b.tar", "size=8 mtime=7")]));
        assert_ne!(one, data_digest(&[shard("a.tar", "size=9 mtime=5"), shard("b.tar", "size=7 mtime=5")]));
        assert_ne!(one, data_digest(&[shard("b.tar", "size=8 mtime=5"), shard("a.tar", "size=9 mtime=5")]));
    }

    #[test]
    fn scores_stand_side_by_side() {
        let line = |phase: &str, part: &str, value: f64| {
            json!({"phase": phase, "eval": "demo", "metric": "accuracy", "part": part,
                   "value": value, "low": 0.25, "high": 0.75, "n": 60})
        };
        let results = vec![
            line("before", "all", 0.4),
            line("before", "negative", 0.3),
            line("epoch", "all", 0.9),
            line("after", "negative", 0.5),
            line("after", "negative", 0.6),
        ];
        let scores = Card { results, ..Card::default() }.scores();
        let interval = |value: &str| format!("{value} (0.2500 to 0.7500)");
        assert_eq!(scores[0], ["demo", "accuracy", "all", &interval("0.4000"), "", "60"]);
        assert_eq!(scores[1], ["demo", "accuracy", "negative", &interval("0.3000"), &interval("0.6000"), "60"]);
        assert_eq!(scores.len(), 2);
    }
}
