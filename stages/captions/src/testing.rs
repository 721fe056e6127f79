//! What several tests use: batches of captions, and a reader with the default guards.
#![allow(clippy::unwrap_used)]

use items::{Batch, BatchItem, NO_NEIGHBOUR, Paired};
use pipeline_engine::rng::{Draw, below};

use crate::cache::Analyser;
use crate::guard::Guards;
use crate::reading::Reader;
use crate::wordnet::WordNet;

/// A reader with the default guards.
pub fn reader() -> Reader {
    reader_with(Guards::usual())
}

/// A reader with these guards.
pub fn reader_with(guards: Guards) -> Reader {
    Reader::new(Analyser::new(WordNet::embedded().unwrap(), 1000), guards)
}

/// A batch of images with these captions (the first is drawn), whose neighbours are the next `k` and
/// whose features are all at right angles.
pub fn batch(images: &[&[&str]], k: usize) -> Paired {
    let items: Vec<BatchItem> = images
        .iter()
        .enumerate()
        .map(|(i, captions)| BatchItem {
            key: i.to_string().into(),
            shard: "a.tar".into(),
            captions: captions.iter().map(|c| (*c).to_owned()).collect(),
            drawn: 0,
            image: i as u32,
        })
        .collect();
    let n = items.len();
    let mut features = vec![0.0; n * n];
    (0..n).for_each(|i| features[i * n + i] = 1.0);
    let neighbour = |i: usize, rank: usize| if rank + 1 < n { ((i + rank + 1) % n) as u32 } else { NO_NEIGHBOUR };
    Paired {
        neighbours: (0..n).flat_map(|i| (0..k).map(move |rank| neighbour(i, rank))).collect(),
        cosines: vec![0.0; n * k],
        k,
        batch: Batch { epoch: 1, step: 0, items: items.into(), dim: n, features: features.into() },
    }
}

/// The address of item `i`'s random numbers.
pub fn draw(i: usize) -> Draw {
    Draw::new(7, "test").number(i as u64)
}

/// Twelve images with three captions each, of a small grammar: each names two things.
pub fn random_images(seed: u64) -> Vec<Vec<String>> {
    const THINGS: [&str; 24] = [
        "dog", "cat", "bench", "kite", "drum", "tram", "lamp", "tree", "horse", "ladder", "bucket", "melon", "piano",
        "tent", "bridge", "candle", "apple", "canoe", "sofa", "couch", "animal", "puppy", "tiger", "spoon",
    ];
    const LINKS: [&str; 5] = ["beside", "with", "under", "and", "near"];
    let rng = &mut Draw::new(seed, "images").rng();
    let noun = |rng: &mut _| match below(rng, 3) {
        0 => format!("two {}", plural(THINGS[below(rng, 24)])),
        1 => format!("the {}", THINGS[below(rng, 24)]),
        _ => format!("one small {}", THINGS[below(rng, 24)]),
    };
    (0..12).map(|_| (0..3).map(|_| format!("{} {} {}", noun(rng), LINKS[below(rng, 5)], noun(rng))).collect()).collect()
}

/// The plural of one of those things.
pub fn plural(noun: &str) -> String {
    if noun.ends_with("ch") { format!("{noun}es") } else { format!("{noun}s") }
}

/// A batch of [`random_images`].
pub fn random_batch(seed: u64, k: usize) -> Paired {
    let images = random_images(seed);
    let images: Vec<Vec<&str>> = images.iter().map(|i| i.iter().map(String::as_str).collect()).collect();
    batch(&images.iter().map(Vec::as_slice).collect::<Vec<_>>(), k)
}
