//! Times training steps of a random text tower on batches of random texts.
//!
//! `cargo run --release -p stage-train --example step -- [device] [padded|packed] [batch] [steps]`
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use clip::{ClipConfig, Layout, TextConfig, TextTower};
use items::{Batch, BatchItem, Role, Tokens};
use pipeline_engine::rng::Draw;
use rand::RngExt;
use stage_train::loss::tng::Tng;
use stage_train::optimizer::Settings;
use stage_train::trainer::{Step, Trainer};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let arg = |i: usize, default: &str| args.get(i).cloned().unwrap_or(default.to_owned());
    let picked = clip::device::pick(&arg(1, "cpu")).unwrap();
    let layout = if arg(2, "padded") == "packed" { Layout::Packed } else { Layout::Padded };
    let (count, steps): (usize, u64) = (arg(3, "128").parse().unwrap(), arg(4, "7").parse().unwrap());
    println!("{}, {layout:?}, B = {count}, medians of {steps} steps", picked.description);
    for (width, layers) in [(64, 4), (256, 4)] {
        let text = TextConfig {
            hidden_size: width,
            intermediate_size: 4 * width,
            projection_dim: width,
            num_hidden_layers: layers,
            num_attention_heads: 4,
            ..TextConfig::default()
        };
        let weights = clip::init::random(&ClipConfig { text: Some(text.clone()), vision: None }, 1);
        let tower = TextTower::from_tensors(&text, &weights, &picked.device).unwrap();
        let loss = Arc::new(Tng { noise: 1.0, temperature: 0.07 });
        let settings = Settings { beta1: 0.9, beta2: 0.98, eps: 1e-6, weight_decay: 0.2, clip_norm: 0.0 };
        let mut trainer = Trainer::new(&tower, loss, settings, layout);
        let taken: Vec<Step> = (0..=steps)
            .map(|step| {
                let draw = Draw::new(0, "example").number(step);
                trainer.step(&batch(count, width, draw.clone()), 5e-6, draw).unwrap()
            })
            .skip(1)
            .collect();
        let median = |part: fn(&Step) -> Duration| {
            let mut times: Vec<Duration> = taken.iter().map(part).collect();
            times.sort();
            times[times.len() / 2].as_secs_f64() * 1e3
        };
        println!(
            "width {width:4}, {layers} layers: {:7.1} ms = forward {:.1} + backward {:.1} + update {:.1}",
            median(|s| s.forward + s.backward + s.update),
            median(|s| s.forward),
            median(|s| s.backward),
            median(|s| s.update),
        );
    }
}

/// Texts as long as those of Flickr8k: captions of 8 to 18 tokens and their negations.
fn batch(count: usize, dim: usize, draw: Draw) -> Tokens {
    let mut rng = draw.rng();
    let features: Vec<f32> = (0..count * dim).map(|_| rng.random_range(-0.1..0.1f32)).collect();
    let (mut ids, mut lens) = (Vec::new(), Vec::new());
    for text in 0..3 * count {
        let words = rng.random_range(8..=18u32) + [0, 4, 3][text % 3];
        ids.push(49406);
        // Words come as in a language: few of them often.
        ids.extend((0..words).map(|_| (49000.0 * rng.random_range(0.0..1.0f32).powi(6)) as u32));
        ids.push(49407);
        lens.push(words + 2);
    }
    let item = |i: usize| BatchItem {
        key: i.to_string().into(),
        shard: "random".into(),
        captions: Arc::from(Vec::new()),
        drawn: 0,
        image: i as u32,
    };
    Tokens {
        batch: Batch { epoch: 1, step: 0, items: (0..count).map(item).collect(), dim, features: features.into() },
        roles: [Role::Original, Role::Compositional, Role::Full].into(),
        ids,
        lens,
    }
}
