//! The hot pieces by themselves, with Divan: `cargo bench --profile release --workspace --bench hot [-- FILTER]`.
//!
//! Everything works on the embedded world and random weights, so that it runs anywhere. The program
//! `bench` beside this file compares with PyTorch.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../src/samples.rs"]
#[allow(dead_code)]
mod samples;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clip::preprocess::{Limits, Preprocess};
use clip::{ClipConfig, Layout, Params, TextConfig, TextTower, Tokenizer, device, init};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use items::{Batch, Paired};
use pipeline_engine::Chosen;
use pipeline_engine::rng::Draw;
use stage_captions::cache::Analyser;
use stage_captions::counts::Counts;
use stage_captions::guard::Guards;
use stage_captions::reading::Reader;
use stage_captions::wordnet::WordNet;
use stage_captions::writer::{TngWriter, Writer, Writers};
use stage_pairs::Search;
use stage_train::optimizer::{AdamW, Gradient, Settings};

const BATCH: usize = 128;
const WIDTH: usize = 512;

fn assets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets")
}

fn world() -> Vec<samples::Sample> {
    samples::read(&[assets().join("world/train-000.tar")]).unwrap()
}

fn paired(samples: &[samples::Sample]) -> Paired {
    let batch = samples::batch(samples, BATCH, 0);
    let features = samples::features(BATCH, WIDTH, 0);
    let groups: Vec<u32> = (0..BATCH as u32).collect();
    let found = Search::cpu().neighbours(&features, WIDTH, &groups, 4).unwrap();
    let items = samples::items(&batch);
    let batch = Batch { epoch: 1, step: 0, items, dim: WIDTH, features: features.into() };
    Paired { batch, k: found.k, neighbours: found.indices, cosines: found.cosines }
}

/// The three texts per image of a batch.
fn texts(samples: &[samples::Sample]) -> (Reader, impl Fn(&Reader, &Paired) -> Vec<String>, Paired) {
    let reader = Reader::new(Analyser::new(WordNet::embedded().unwrap(), 100_000), Guards::usual());
    let roles = Chosen::<dyn Writer>::of("tng").roles();
    let writers = Writers::new(vec![("tng", roles, Box::new(TngWriter::usual().unwrap()))]);
    let make = move |reader: &Reader, paired: &Paired| {
        let draw = |i: usize| Draw::new(1, "bench").number(i as u64);
        writers.write(&reader.read(paired, None).unwrap(), &draw, &mut Counts::default()).unwrap()
    };
    (reader, make, paired(samples))
}

/// A JPEG picture of the embedded world to the tower's 224 x 224.
#[divan::bench]
fn decode(bencher: Bencher) {
    let samples = world();
    let preprocess = Preprocess::openai(224);
    let mut next = samples.iter().cycle();
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        let file = &next.next().unwrap().file;
        preprocess.decode(black_box(file), &Limits::default()).unwrap()
    });
}

#[divan::bench(args = [128, 1024, 4096])]
fn pair_search(bencher: Bencher, count: usize) {
    let features = samples::features(count, WIDTH, 1);
    let groups: Vec<u32> = (0..count as u32).collect();
    let mut search = Search::cpu();
    bencher
        .counter(ItemsCount::new(count))
        .bench_local(|| search.neighbours(black_box(&features), WIDTH, &groups, 4).unwrap());
}

/// The texts with negation of a batch whose captions are known.
#[divan::bench]
fn captions(bencher: Bencher) {
    let samples = world();
    let (reader, make, paired) = texts(&samples);
    bencher.counter(ItemsCount::new(2 * BATCH)).bench_local(|| make(&reader, black_box(&paired)));
}

#[divan::bench]
fn tokens(bencher: Bencher) {
    let samples = world();
    let (reader, make, paired) = texts(&samples);
    let made = make(&reader, &paired);
    let tokenizer = Tokenizer::open(&assets().join("clip-world")).unwrap();
    bencher
        .counter(ItemsCount::new(made.len()))
        .bench_local(|| made.iter().map(|text| tokenizer.encode(black_box(text)).len()).sum::<usize>());
}

/// Two blocks of ViT-B/32's text tower, forward and backward, on the texts of a batch.
#[divan::bench(args = [Layout::Packed, Layout::Tree], sample_count = 10, sample_size = 1)]
fn text_tower(bencher: Bencher, layout: Layout) {
    let samples = world();
    let (reader, make, paired) = texts(&samples);
    let tokenizer = Tokenizer::open(&assets().join("clip-world")).unwrap();
    let ids: Vec<Vec<u32>> = make(&reader, &paired).iter().map(|text| tokenizer.encode(text)).collect();
    let lens: Vec<usize> = ids.iter().map(Vec::len).collect();
    let ids = ids.concat();
    let config = TextConfig { num_hidden_layers: 2, ..TextConfig::default() };
    let weights = init::random(&ClipConfig { text: Some(config.clone()), vision: None }, 1);
    let cpu = device::pick("cpu").unwrap().device;
    let tower = TextTower::from_tensors(&config, &weights, &cpu).unwrap().trainable();
    bencher.counter(ItemsCount::new(lens.len())).bench_local(|| {
        let features = tower.forward(black_box(&ids), &lens, layout).unwrap();
        features.powi_scalar(2).sum().backward()
    });
}

#[divan::bench]
fn adamw(bencher: Bencher) {
    let len = 1 << 22;
    let values = || samples::features(len / WIDTH, WIDTH, 3);
    let settings = Settings { beta1: 0.9, beta2: 0.98, eps: 1e-6, weight_decay: 0.2, clip_norm: 0.0 };
    let mut adam = AdamW::new(settings, [("w".to_owned(), (vec![len / WIDTH, WIDTH], values()))].into());
    let gradients = BTreeMap::from([("w".to_owned(), Gradient::Dense(values()))]);
    bencher.counter(ItemsCount::new(len)).bench_local(|| adam.step(1e-6, black_box(&gradients)).unwrap());
}

fn main() {
    divan::main();
}
