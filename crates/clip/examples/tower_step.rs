//! Times one training step of a text tower: forward and backward, no optimizer.
//!
//! `cargo run --release -p clip --example tower_step -- [device] [padded|packed|tree] [texts] [longest] [shortest] [small]`
//!
//! GFLOP/s count the linear layers on real tokens, so time spent on padding shows as a lower rate.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use clip::{ClipConfig, Layout, Params, TextConfig, TextTower, init};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let arg = |i: usize, default: &str| args.get(i).cloned().unwrap_or(default.to_owned());
    let clip::device::Picked { device, description: name, .. } = clip::device::pick(&arg(1, "cpu")).unwrap();
    let layout = match arg(2, "packed").as_str() {
        "padded" => Layout::Padded,
        "tree" => Layout::Tree,
        _ => Layout::Packed,
    };
    let texts: usize = arg(3, "384").parse().unwrap();
    let longest: usize = arg(4, "20").parse().unwrap();
    let shortest: usize = arg(5, &longest.to_string()).parse().unwrap();

    // ViT-B/32, or a small one.
    let mut config = TextConfig::default();
    if arg(6, "") == "small" {
        let width = 256;
        (config.hidden_size, config.intermediate_size, config.projection_dim) = (width, 4 * width, width);
        (config.num_hidden_layers, config.num_attention_heads) = (4, 4);
    }
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
    let width = config.hidden_size as f64;
    let flop = 6.0 * config.num_hidden_layers as f64 * 12.0 * width * width * tokens as f64;

    let rows = tower.rows(&ids, &lens, layout).unwrap();
    println!("{name}, {layout:?}, {texts} texts, {tokens} tokens, {rows} rows");
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
