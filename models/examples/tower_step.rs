//! Times one training step of a text tower: forward and backward, no optimizer.
//!
//! `cargo run --release -p clip --example tower_step -- [device] [padded|packed] [texts] [longest] [shortest]`
//!
//! GFLOP/s count the linear layers on real tokens, so what is spent on filling shows as a lower rate.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use clip::{ClipConfig, Layout, Params, TextConfig, TextTower, init};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let arg = |i: usize, default: &str| args.get(i).cloned().unwrap_or(default.to_owned());
    let (device, name) = clip::device::pick(&arg(1, "cpu")).unwrap();
    let layout = if arg(2, "padded") == "packed" { Layout::Packed } else { Layout::Padded };
    let texts: usize = arg(3, "384").parse().unwrap();
    let longest: usize = arg(4, "20").parse().unwrap();
    let shortest: usize = arg(5, &longest.to_string()).parse().unwrap();

    let config = TextConfig {
        hidden_size: 256,
        intermediate_size: 1024,
        projection_dim: 256,
        num_hidden_layers: 4,
        num_attention_heads: 4,
        ..Default::default()
    };
    let weights = init::random(&ClipConfig { text: Some(config.clone()), vision: None }, 1);
    let tower = TextTower::from_tensors(&config, &weights, &device).unwrap();

    let lens: Vec<usize> = (0..texts).map(|i| longest - (i * 7) % (longest - shortest + 1)).collect();
    let mut ids = Vec::new();
    for (i, len) in lens.iter().enumerate() {
        ids.push(49406);
        ids.extend((0..len - 2).map(|j| ((i * 31 + j * 17) % 49000) as u32));
        ids.push(49407);
    }
    let tokens: usize = lens.iter().sum();
    // Two per multiply-add; the backward pass is two forward passes.
    let flop = 6.0 * 4.0 * 12.0 * 256.0 * 256.0 * tokens as f64;

    println!("{name}, {layout:?}, {texts} texts, {tokens} tokens");
    let median = |mut f: Box<dyn FnMut() + '_>| {
        f();
        let mut times: Vec<f64> = (0..5)
            .map(|_| {
                let start = Instant::now();
                f();
                start.elapsed().as_secs_f64()
            })
            .collect();
        times.sort_by(f64::total_cmp);
        times[2]
    };
    let plain = tower.frozen();
    let forward = median(Box::new(|| {
        let features = plain.forward(&ids, &lens, layout).unwrap();
        features.into_data();
    }));
    println!("forward only   {:8.1} ms  {:6.1} GFLOP/s", forward * 1e3, flop / 3e9 / forward);
    let tower = tower.trainable();
    let step = median(Box::new(|| {
        let features = tower.forward(&ids, &lens, layout).unwrap();
        let grads = features.powi_scalar(2).sum().backward();
        device.sync().unwrap();
        drop(grads);
    }));
    println!("step           {:8.1} ms  {:6.1} GFLOP/s", step * 1e3, flop / 1e9 / step);
}
