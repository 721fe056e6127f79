//! Any texts as the captions of a batch, a line each: all generators, all sources.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use pipeline_engine::rng::Draw;
use stage_captions::cache::Analyser;
use stage_captions::generator::{Counts, FullSource, Generator, Rule};
use stage_captions::templates::{Source, Template, Twin, compositional, full, twins};
use stage_captions::wordnet::WordNet;
use stage_items::{Batch, BatchItem, NO_NEIGHBOUR, Paired};

type Parts = (Generator, Vec<Template>, Vec<Template>, Vec<Twin>);

static PARTS: LazyLock<Parts> = LazyLock::new(|| {
    let rule = Rule { min_distance: Some(4), known_captions: true, implied: true, people: true };
    let own = Source { file: None, first: None };
    let generator = Generator::new(Analyser::new(WordNet::embedded().unwrap(), 100), rule);
    (generator, compositional(own).unwrap(), full(own).unwrap(), twins(own).unwrap())
});

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let captions: Vec<&str> = text.lines().take(6).collect();
    let count = captions.len();
    if count == 0 {
        return;
    }
    let (generator, compositional, full, twins) = &*PARTS;
    let item = |(i, caption): (usize, &&str)| BatchItem {
        key: i.to_string().into(),
        shard: "s".into(),
        captions: Arc::from(vec![(*caption).to_owned(), captions[(i + 1) % count].to_owned()]),
        drawn: 0,
        image: i as u32,
    };
    let items: Arc<[BatchItem]> = captions.iter().enumerate().map(item).collect();
    let batch = Batch { epoch: 1, step: 0, items, dim: 1, features: vec![1.0; count].into() };
    let neighbours = (0..count as u32).map(|i| if i == 0 { NO_NEIGHBOUR } else { i - 1 }).collect();
    let paired = Paired { batch, k: 1, neighbours, cosines: vec![0.5; count] };
    let draw = |i: usize| Draw::new(data.len() as u64, "fuzz").number(i as u64);
    for source in [FullSource::Mirror, FullSource::Neighbour, FullSource::Other { below: 0.7 }] {
        let made = generator.negations(&paired, compositional, full, source, draw, &mut Counts::default());
        assert_eq!(made.len(), count);
    }
    assert_eq!(generator.twins(&paired, twins, 2, draw, &mut Counts::default()).len(), 2 * count);
});
