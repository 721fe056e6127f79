//! Random weights, for models that are trained from nothing.

use std::f32::consts::TAU;

use crate::checkpoint::Tensors;
use crate::config::{ClipConfig, TextConfig, VisionConfig};

/// Draws every tensor of the towers, with the deviations that OpenAI's CLIP starts from
/// (arXiv 2103.00020, released code): biases 0, norms 1, and a `logit_scale` of `ln(1 / 0.07)`.
///
/// Each value depends only on the seed, the tensor's name and the value's place in the tensor.
pub fn random(config: &ClipConfig, seed: u64) -> Tensors {
    let text = config.text.iter().flat_map(|c: &TextConfig| {
        let (w, n) = (c.hidden_size, c.num_hidden_layers);
        c.tensors().into_iter().map(move |spec| (spec, w, n))
    });
    let vision = config.vision.iter().flat_map(|c: &VisionConfig| {
        let (w, n) = (c.hidden_size, c.num_hidden_layers);
        c.tensors().into_iter().map(move |spec| (spec, w, n))
    });
    let mut tensors: Tensors = text
        .chain(vision)
        .map(|((name, shape), width, layers)| {
            let len = shape.iter().product();
            let values = match start(&name, width, layers) {
                Start::Constant(value) => vec![value; len],
                Start::Normal(deviation) => normal(seed, &name, len, deviation),
            };
            (name, (shape, values))
        })
        .collect();
    tensors.insert("logit_scale".into(), (vec![], vec![(1.0f32 / 0.07).ln()]));
    tensors
}

enum Start {
    Constant(f32),
    Normal(f32),
}

fn start(name: &str, width: usize, layers: usize) -> Start {
    let (w, n) = (width as f32, layers as f32);
    let ends = |suffix: &str| name.ends_with(suffix);
    if ends(".bias") {
        Start::Constant(0.0)
    } else if name.contains("norm") || name.contains("layrnorm") {
        Start::Constant(1.0)
    } else if ends("_embedding.weight") {
        Start::Normal(0.02)
    } else if ends("out_proj.weight") || ends("fc2.weight") {
        // These outputs are added to the residual stream; each layer has two of them.
        Start::Normal(w.powf(-0.5) * (2.0 * n).powf(-0.5))
    } else if ends("fc1.weight") {
        Start::Normal((2.0 * w).powf(-0.5))
    } else {
        Start::Normal(w.powf(-0.5))
    }
}

/// Normal deviates (Box-Muller) from a keyed stream of bytes.
fn normal(seed: u64, name: &str, len: usize, deviation: f32) -> Vec<f32> {
    let mut hash = blake3::Hasher::new_derive_key("clip random weights");
    hash.update(&seed.to_le_bytes()).update(name.as_bytes());
    let mut stream = hash.finalize_xof();
    let mut values = Vec::with_capacity(len + 1);
    let mut bytes = [0u8; 8192];
    while values.len() < len {
        stream.fill(&mut bytes);
        for pair in bytes.chunks_exact(8) {
            let unit = |at: usize| {
                let bits = u32::from_le_bytes([pair[at], pair[at + 1], pair[at + 2], pair[at + 3]]);
                // In (0, 1]: the logarithm stays finite.
                ((bits >> 8) + 1) as f32 / (1u32 << 24) as f32
            };
            let radius = deviation * (-2.0 * unit(0).ln()).sqrt();
            let (sin, cos) = (TAU * unit(4)).sin_cos();
            values.extend([radius * cos, radius * sin]);
            if values.len() >= len {
                break;
            }
        }
    }
    values.truncate(len);
    values
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn deviations_are_as_asked() {
        let values = normal(1, "a", 100_001, 0.5);
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let deviation = (values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32).sqrt();
        assert!(mean.abs() < 0.01 && (deviation - 0.5).abs() < 0.01, "{mean} {deviation}");
        assert_eq!(values, normal(1, "a", 100_001, 0.5));
        assert_ne!(values, normal(2, "a", 100_001, 0.5));
        assert_ne!(values, normal(1, "b", 100_001, 0.5));
    }

    #[test]
    fn every_tensor_is_drawn() {
        let text = TextConfig {
            vocab_size: 20,
            hidden_size: 8,
            num_attention_heads: 2,
            num_hidden_layers: 2,
            intermediate_size: 16,
            ..Default::default()
        };
        let vision = VisionConfig { image_size: 64, num_hidden_layers: 1, ..Default::default() };
        let config = ClipConfig { text: Some(text), vision: Some(vision) };
        let tensors = random(&config, 7);
        for (name, shape) in config.tensors() {
            let (found, values) = &tensors[&name];
            assert_eq!(found, &shape);
            let constant = values.iter().all(|v| *v == values[0]);
            assert_eq!(constant, name.contains("norm") || name.ends_with(".bias"), "{name}");
        }
    }
}
