//! The text of a new config, with a comment on each choice.

use pipeline_engine::OptionValue;

use super::data::Data;
use crate::inspect::checkpoint::TowerInfo;

/// Batch sizes in order of preference, each with the steps per epoch that it needs. More and smaller steps teach more
/// (docs/results), but below 32 images there are few neighbours to choose from.
const BATCHES: [(u64, u64); 6] = [(128, 100), (64, 100), (32, 20), (16, 20), (8, 20), (4, 0)];
/// Bytes of pictures that the shuffle buffer may hold.
const BUFFER_BYTES: u64 = 1 << 30;

/// What a config is written from. Paths and patterns are TOML values.
pub struct Choices<'a> {
    /// The checkpoint, as the user named it.
    pub name: String,
    /// The value of `weights`.
    pub weights: String,
    /// Description of the checkpoint's layout.
    pub layout: &'a str,
    /// Its text tower.
    pub tower: &'a TowerInfo,
    /// The value of `encoder`.
    pub encoder: &'static str,
    /// The value of `urls`.
    pub urls: String,
    /// The shards behind `urls`.
    pub data: &'a Data,
    /// Cores of this machine.
    pub cores: usize,
    /// Held-out shards.
    pub eval: Option<String>,
    /// True if questions and negated queries can be made of their captions.
    pub negated: bool,
    /// Questions about them.
    pub questions: Option<String>,
}

impl Choices<'_> {
    /// The config.
    pub fn config(&self) -> String {
        let batch = batch(self.data.samples);
        let buffer = self.data.samples.min(10_000).min(BUFFER_BYTES / self.data.picture_bytes.max(1)).max(1);
        let lr = match self.tower.width {
            ..=128 => "1e-3",
            129..=384 => "6e-4",
            _ => "5e-6",
        };
        format!(
            r#"# Fine-tunes the text tower of {name} on captions with negation.
# `pipeline stages KIND` lists the options of a stage, `pipeline check` finds
# mistakes. For completion in an editor: pipeline schema > pipeline.schema.json, and
# as the first line of this file: #:schema ./pipeline.schema.json

[run]
seed = 1
epochs = 10
device = "auto" # a real GPU if there is one, else the CPU
preset = "best" # or "paper", TNG-CLIP as published; see `pipeline presets`

[model]
weights = {weights} # {layout}, text tower of {parameters:.1} M parameters

[[stage]]
kind = "shards" # {shards} shards, about {samples} samples
urls = {urls}
captions = {captions}
shuffle = true
buffer = {buffer} # samples in the shuffle buffer

[[stage]]
kind = "decode"
workers = {workers}

[[stage]]
kind = "encode" # computes features once, then reads them from the cache
encoder = "{encoder}"
cache = ".cache/features"

[[stage]]
kind = "batch"
size = {batch} # {steps} steps per epoch

[[stage]]
kind = "pairs" # the most similar images of each
k = 4

[[stage]]
kind = "captions" # captions that say what the image does not show
mode = "dynamic" # new ones in each epoch

[[stage]]
kind = "tokenize"

[[stage]]
kind = "train"
lr = {lr} # a guess from the width of the tower ({width}); the paper uses 5e-6 for a wide one
{evals}"#,
            name = self.name,
            weights = self.weights,
            layout = self.layout,
            parameters = self.tower.parameters as f64 / 1e6,
            shards = self.data.shards,
            samples = self.data.samples,
            urls = self.urls,
            captions = self.data.captions.show(),
            workers = self.cores.min(4),
            encoder = self.encoder,
            steps = self.data.samples / batch,
            width = self.tower.width,
            evals = self.evals(),
        )
    }

    fn evals(&self) -> String {
        let Some(images) = &self.eval else {
            return "\n# Measured before and after training; needs held-out shards.\n# [[eval]]\n# kind = \"retrieval\"\n# images = \"test-*.tar\"\n"
                .into();
        };
        let mut text = format!(
            "\n[[eval]]\nkind = \"retrieval\" # plain retrieval, which must not get worse\nimages = {images}\n"
        );
        if self.negated {
            text.push_str(&format!(
                "\n[[eval]]\nkind = \"negated-retrieval\" # the same captions, each with an absent object denied\nimages = {images}\n"
            ));
        }
        if self.negated && self.questions.is_none() {
            text.push_str(&format!(
                "\n[[eval]]\nkind = \"negated-mcq\" # which of four statements is true, made from the captions\nimages = {images}\n"
            ));
        }
        if let Some(file) = &self.questions {
            text.push_str(&format!(
                "\n[[eval]]\nkind = \"mcq\" # which caption is true of the image?\nfile = {file}\nimages = {images}\n"
            ));
        }
        text
    }
}

/// The batch size for this many samples.
fn batch(samples: u64) -> u64 {
    let enough = |&(size, steps): &(u64, u64)| samples / size >= steps;
    BATCHES.into_iter().find(enough).map_or(1, |(size, _)| size)
}

/// Aligns the comments after values in one column.
pub fn aligned(text: &str) -> String {
    let line = |line: &str| match line.split_once(" # ") {
        Some((value, comment)) if !line.starts_with('#') && value.matches('"').count() % 2 == 0 => {
            format!("{:<30} # {comment}\n", value.trim_end())
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::batch;

    #[test]
    fn few_samples_make_small_batches() {
        let wanted = [(12_800, 128), (12_799, 64), (6_400, 64), (6_399, 32), (640, 32), (639, 16), (160, 8), (159, 4)];
        wanted.iter().for_each(|&(samples, size)| assert_eq!(batch(samples), size, "{samples}"));
    }
}
