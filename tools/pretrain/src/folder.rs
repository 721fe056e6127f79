//! Writes the checkpoint folder, as transformers and this project read it.

use std::fs;
use std::path::Path;

use anyhow::Context;
use clip::{Checkpoint, ClipConfig, Precision, Tensors};
use scenes::SIDE;
use serde_json::{Value, json};

/// Rows of CLIP's token embedding.
pub const ROWS: usize = 49408;

/// Tokens below this id keep their random row even if no caption has them, so
/// that fine-tuning can tell common words apart. Ids are in order of frequency.
/// The rows of rarer words that no caption has are zero.
const COMMON: usize = 8192;

/// Name of the token embedding.
pub const TABLE: &str = "text_model.embeddings.token_embedding.weight";

/// Writes `config.json` and `model.safetensors` (f16) with the full token
/// table, and the configs of the image processor and the tokenizer. `ids` are
/// the tokens that the rows of the trained table stand for; `start` are the
/// rows of the full table before training.
///
/// # Errors
/// If a file cannot be read or written, or the tensors do not fit the config.
pub fn write(
    folder: &Path,
    config: &ClipConfig,
    mut tensors: Tensors,
    ids: &[u32],
    start: &[f32],
    tokenizer: Option<&Path>,
) -> anyhow::Result<()> {
    let mut config = config.clone();
    if let Some(text) = &mut config.text {
        text.vocab_size = ROWS;
        text.eos_token_id = ROWS as u32 - 1;
    }
    let (_, trained) = tensors.get(TABLE).context("the text tower has no token embedding")?;
    let width = trained.len() / ids.len();
    let mut table = vec![0.0; ROWS * width];
    table[..COMMON * width].copy_from_slice(&start[..COMMON * width]);
    for (&id, row) in ids.iter().zip(trained.chunks_exact(width)) {
        table[id as usize * width..][..width].copy_from_slice(row);
    }
    tensors.insert(TABLE.into(), (vec![ROWS, width], table));

    Checkpoint::create(folder, &config, &tensors, Precision::F16)?;
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    write("preprocessor_config.json", format!("{:#}\n", preprocessor()))?;
    write("tokenizer_config.json", format!("{:#}\n", tokenizer_config()))?;
    if let Some(path) = tokenizer {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let (vocab, merges) = vocabulary(&serde_json::from_str(&text)?)
            .with_context(|| format!("{} is not a byte-pair tokenizer.json", path.display()))?;
        write("vocab.json", vocab)?;
        write("merges.txt", merges)?;
    }
    Ok(())
}

/// OpenAI's preprocessing at this world's size.
fn preprocessor() -> Value {
    json!({
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": true,
        "do_resize": true,
        "size": {"shortest_edge": SIDE},
        "resample": 3,
        "do_center_crop": true,
        "crop_size": {"height": SIDE, "width": SIDE},
        "do_rescale": true,
        "rescale_factor": 1.0 / 255.0,
        "do_normalize": true,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    })
}

fn tokenizer_config() -> Value {
    json!({
        "tokenizer_class": "CLIPTokenizer",
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "do_lower_case": true,
        "model_max_length": 77,
    })
}

/// `vocab.json` and `merges.txt` from a `tokenizer.json`.
fn vocabulary(tokenizer: &Value) -> Option<(String, String)> {
    let model = &tokenizer["model"];
    let mut tokens: Vec<_> =
        model["vocab"].as_object()?.iter().map(|(token, id)| Some((id.as_u64()?, token))).collect::<Option<_>>()?;
    tokens.sort_unstable();
    let entries: Vec<_> = tokens.iter().map(|(id, token)| format!("{}: {id}", Value::from(token.as_str()))).collect();
    let mut merges = String::from("#version: 0.2\n");
    for merge in model["merges"].as_array()? {
        // Older files join the two tokens with a space.
        match merge.as_array().map(Vec::as_slice) {
            Some([left, right]) => merges += &format!("{} {}\n", left.as_str()?, right.as_str()?),
            _ => merges += &format!("{}\n", merge.as_str()?),
        }
    }
    Some((format!("{{{}}}\n", entries.join(", ")), merges))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn vocabularies_are_in_the_order_of_ids() {
        let tokenizer = json!({"model": {
            "vocab": {"b": 1, "a\"": 0, "ab": 2},
            "merges": [["a", "b"], "x y"],
        }});
        let (vocab, merges) = vocabulary(&tokenizer).unwrap();
        assert_eq!(vocab, "{\"a\\\"\": 0, \"b\": 1, \"ab\": 2}\n");
        assert_eq!(merges, "#version: 0.2\na b\nx y\n");
        assert!(vocabulary(&json!({})).is_none());
    }
}
