//! Any bytes as model.safetensors (or, behind a zero byte, as config.json) of a checkpoint.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pipeline_fuzz::checkpoint::{Checkpoint, Precision};
use pipeline_fuzz::config::{ClipConfig, TextConfig};
use tempfile::TempDir;

struct Folder {
    dir: TempDir,
    config: Vec<u8>,
    weights: Vec<u8>,
}

static FOLDER: LazyLock<Folder> = LazyLock::new(|| {
    let text = TextConfig {
        vocab_size: 4,
        hidden_size: 2,
        intermediate_size: 2,
        projection_dim: 2,
        num_hidden_layers: 1,
        num_attention_heads: 1,
        max_position_embeddings: 2,
        ..TextConfig::default()
    };
    let config = ClipConfig { text: Some(text), vision: None };
    let tensors = config.tensors().into_iter().map(|(name, shape)| {
        let count = shape.iter().product();
        (name, (shape, vec![0.5; count]))
    });
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("model");
    Checkpoint::create(&place, &config, &tensors.collect(), Precision::F32).unwrap();
    let read = |name: &str| std::fs::read(place.join(name)).unwrap();
    Folder { config: read("config.json"), weights: read("model.safetensors"), dir }
});

fuzz_target!(|data: &[u8]| {
    let place = FOLDER.dir.path().join("model");
    let (config, weights) = match data.split_first() {
        Some((0, config)) => (config, FOLDER.weights.as_slice()),
        _ => (FOLDER.config.as_slice(), data),
    };
    // New files: an old one may still be mapped.
    for (name, bytes) in [("config.json", config), ("model.safetensors", weights)] {
        let _ = std::fs::remove_file(place.join(name));
        std::fs::write(place.join(name), bytes).unwrap();
    }
    if let Ok(checkpoint) = Checkpoint::open(&place) {
        for name in checkpoint.names().map(str::to_owned).collect::<Vec<_>>() {
            if let Ok((shape, values)) = checkpoint.tensor(&name) {
                assert_eq!(shape.iter().product::<usize>(), values.len());
                assert!(values.iter().all(|value| value.is_finite()));
            }
        }
    }
});
