//! A tiny tower and batches for it.
#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::sync::Arc;

use clip::{ClipConfig, Tensors, TextConfig};
use items::{Batch, BatchItem, Role, Tokens};
use pipeline_engine::rng::Draw;
use rand::RngExt;

pub const DIM: usize = 12;
pub const END: u32 = 49407;
pub const TNG: [Role; 3] = [Role::Original, Role::Compositional, Role::Full];
pub const TWINS: [Role; 9] = [
    Role::Original,
    Role::True(0),
    Role::False(0),
    Role::True(1),
    Role::False(1),
    Role::Present(0),
    Role::Absent(0),
    Role::Present(1),
    Role::Absent(1),
];

/// A text tower of width 16 with CLIP's vocabulary, and random weights for it.
pub fn tiny() -> (ClipConfig, Tensors) {
    let text = TextConfig {
        hidden_size: 16,
        intermediate_size: 32,
        projection_dim: DIM,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        max_position_embeddings: 16,
        ..TextConfig::default()
    };
    let config = ClipConfig { text: Some(text), vision: None };
    let mut tensors = clip::init::random(&config, 11);
    tensors.remove("logit_scale");
    (config, tensors)
}

/// A batch of random features and texts. Batches with the same `draw` are the same.
pub fn batch(count: usize, roles: &[Role], epoch: u32, step: u64, draw: Draw) -> Tokens {
    let mut rng = draw.rng();
    let mut features = Vec::new();
    for _ in 0..count {
        let row: Vec<f32> = (0..DIM).map(|_| rng.random_range(-1.0..1.0f32)).collect();
        let length = row.iter().map(|v| v * v).sum::<f32>().sqrt();
        features.extend(row.iter().map(|v| v / length));
    }
    let (mut ids, mut lens) = (Vec::new(), Vec::new());
    for _ in 0..count * roles.len() {
        let words = rng.random_range(1..10u32);
        ids.push(49406);
        ids.extend((0..words).map(|_| rng.random_range(0..300u32) * 150));
        ids.push(END);
        lens.push(words + 2);
    }
    let item = |i: usize| BatchItem {
        key: format!("toy/{epoch}-{step}-{i}").into(),
        shard: "toy".into(),
        captions: Arc::from(vec!["a toy".to_owned()]),
        drawn: 0,
        image: i as u32,
    };
    Tokens {
        batch: Batch { epoch, step, items: (0..count).map(item).collect(), dim: DIM, features: features.into() },
        roles: roles.into(),
        ids,
        lens,
    }
}
