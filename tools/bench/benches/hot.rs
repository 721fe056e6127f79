//! The hot pieces alone, with Criterion: `cargo bench --profile release --workspace --bench hot [-- FILTER]`.
//!
//! Everything runs on the embedded world and on random weights, so that it can be run anywhere. To
//! compare with PyTorch, see the program `bench` beside this file.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../src/samples.rs"]
#[allow(dead_code)]
mod samples;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clip::preprocess::{Limits, Preprocess};
use clip::{ClipConfig, Layout, Params, TextConfig, TextTower, Tokenizer, device, init};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pipeline_engine::rng::Draw;
use stage_captions::cache::Analyser;
use stage_captions::generator::{Counts, FullSource, Generator, Rule};
use stage_captions::templates::{self, Source};
use stage_captions::wordnet::WordNet;
use stage_items::{Batch, Paired};
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

/// The three texts an image of a batch.
fn texts(samples: &[samples::Sample]) -> (Generator, impl Fn(&Generator, &Paired) -> Vec<String>, Paired) {
    let rule = Rule { min_distance: Some(4), known_captions: true, implied: true, people: true };
    let generator = Generator::new(Analyser::new(WordNet::embedded().unwrap(), 100_000), rule);
    let compositional = templates::compositional(Source::default()).unwrap();
    let full = templates::full(Source::default()).unwrap();
    let make = move |generator: &Generator, paired: &Paired| {
        let draw = |i: usize| Draw::new(1, "bench").number(i as u64);
        let source = FullSource::Other { below: 0.7 };
        let made = generator.negations(paired, &compositional, &full, source, draw, &mut Counts::default());
        let captions = paired.batch.items.iter().map(|item| item.caption().to_owned());
        captions.zip(made).flat_map(|(caption, made)| [caption, made.compositional, made.full]).collect()
    };
    (generator, make, paired(samples))
}

fn decode(c: &mut Criterion) {
    let samples = world();
    let preprocess = Preprocess::openai(224);
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(1));
    group.bench_function("JPEG to 224 x 224", |b| {
        let mut next = samples.iter().cycle();
        b.iter(|| preprocess.decode(black_box(&next.next().unwrap().file), &Limits::default()).unwrap());
    });
    group.finish();
}

fn pairs(c: &mut Criterion) {
    let mut group = c.benchmark_group("pair search");
    for count in [128, 1024, 4096] {
        let features = samples::features(count, WIDTH, 1);
        let groups: Vec<u32> = (0..count as u32).collect();
        let mut search = Search::cpu();
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| search.neighbours(black_box(&features), WIDTH, &groups, 4).unwrap());
        });
    }
    group.finish();
}

fn words(c: &mut Criterion) {
    let samples = world();
    let (generator, make, paired) = texts(&samples);
    let made = make(&generator, &paired);
    let tokenizer = Tokenizer::open(&assets().join("clip-world")).unwrap();
    let mut group = c.benchmark_group("words");
    group.throughput(Throughput::Elements(2 * BATCH as u64));
    group.bench_function("captions", |b| b.iter(|| make(&generator, black_box(&paired))));
    group.throughput(Throughput::Elements(made.len() as u64));
    group.bench_function("tokens", |b| {
        b.iter(|| made.iter().map(|text| tokenizer.encode(black_box(text)).len()).sum::<usize>());
    });
    group.finish();
}

/// Two blocks of ViT-B/32's text tower, forward and backward, on the texts of a batch.
fn tower(c: &mut Criterion) {
    let samples = world();
    let (generator, make, paired) = texts(&samples);
    let tokenizer = Tokenizer::open(&assets().join("clip-world")).unwrap();
    let ids: Vec<Vec<u32>> = make(&generator, &paired).iter().map(|text| tokenizer.encode(text)).collect();
    let lens: Vec<usize> = ids.iter().map(Vec::len).collect();
    let ids = ids.concat();
    let config = TextConfig { num_hidden_layers: 2, ..TextConfig::default() };
    let weights = init::random(&ClipConfig { text: Some(config.clone()), vision: None }, 1);
    let (cpu, _) = device::pick("cpu").unwrap();
    let tower = TextTower::from_tensors(&config, &weights, &cpu).unwrap().trainable();
    let mut group = c.benchmark_group("text tower, 2 blocks");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    group.throughput(Throughput::Elements(lens.len() as u64));
    for layout in [Layout::Packed, Layout::Tree] {
        group.bench_function(BenchmarkId::from_parameter(format!("{layout:?}").to_lowercase()), |b| {
            b.iter(|| {
                let features = tower.forward(black_box(&ids), &lens, layout).unwrap();
                features.powi_scalar(2).sum().backward()
            });
        });
    }
    group.finish();
}

fn optimizer(c: &mut Criterion) {
    let len = 1 << 22;
    let values = || samples::features(len / WIDTH, WIDTH, 3);
    let settings = Settings { beta1: 0.9, beta2: 0.98, eps: 1e-6, weight_decay: 0.2, clip_norm: 0.0 };
    let mut adam = AdamW::new(settings, [("w".to_owned(), (vec![len / WIDTH, WIDTH], values()))].into());
    let gradients = BTreeMap::from([("w".to_owned(), Gradient::Dense(values()))]);
    let mut group = c.benchmark_group("AdamW");
    group.throughput(Throughput::Elements(len as u64));
    group.bench_function("step", |b| b.iter(|| adam.step(1e-6, black_box(&gradients)).unwrap()));
    group.finish();
}

criterion_group!(hot, decode, pairs, words, tower, optimizer);
criterion_main!(hot);
