//! Makes texts from a file of captions and says how fast:
//! `cargo run --release -p stage-captions --example captions -- FILE [SHOW]`
//!
//! FILE holds one caption a line, five lines an image. Batches are of 128
//! images, the neighbours random; SHOW texts are printed of the first.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use pipeline_engine::rng::Draw;
use rand::Rng;
use stage_captions::cache::Analyser;
use stage_captions::generator::{Counts, FullSource, Generator, Rule};
use stage_captions::templates::{Source, compositional, full, twins};
use stage_captions::wordnet::WordNet;
use items::{Batch, BatchItem, Paired};

const B: usize = 128;
const DIM: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("usage: captions FILE [SHOW]")?;
    let show = arguments.next().map_or(Ok(0), |n| n.parse())?;
    let captions: Vec<String> = std::fs::read_to_string(file)?.lines().map(str::to_owned).collect();
    let images: Vec<&[String]> = captions.chunks_exact(5).collect();
    let batches: Vec<Paired> = images.chunks_exact(B).enumerate().map(batch).collect();

    let rule = Rule { min_distance: Some(4), known_captions: true, implied: true, people: true };
    let generator = Generator::new(Analyser::new(WordNet::embedded()?, 100_000), rule);
    let (compositional, full) = (compositional(Source::default())?, full(Source::default())?);
    let source = FullSource::Other { below: 0.7 };
    for pass in ["first epoch", "second epoch"] {
        let mut counts = Counts::default();
        let start = Instant::now();
        for (n, paired) in batches.iter().enumerate() {
            let draw = |i: usize| Draw::new(1, pass).number((n * B + i) as u64);
            let made = generator.negations(paired, &compositional, &full, source, draw, &mut counts);
            if n == 0 {
                made.iter().take(show).for_each(|m| println!("{}\n    {}", m.compositional, m.full));
            }
        }
        let time = start.elapsed();
        let per_second = (batches.len() * B * 2) as f64 / time.as_secs_f64();
        println!("{pass}: {per_second:.0} captions a second, {:?} a batch of {B}", time / batches.len().max(1) as u32);
        println!("{counts:?}");
    }
    let pairs = twins(Source::default())?;
    for (n, paired) in batches.iter().take(1).enumerate() {
        let draw = |i: usize| Draw::new(1, "twins").number((n * B + i) as u64);
        let made = generator.twins(paired, &pairs, 2, draw, &mut Counts::default());
        made.iter().take(show).for_each(|pair| println!("true:  {}\nfalse: {}", pair.truth, pair.lie));
    }
    Ok(())
}

fn batch((n, images): (usize, &[&[String]])) -> Paired {
    let mut rng = Draw::new(n as u64, "batch").rng();
    let item = |(i, captions): (usize, &&[String])| BatchItem {
        key: i.to_string().into(),
        shard: n.to_string().into(),
        captions: captions.iter().cloned().collect(),
        drawn: i % 5,
        image: i as u32,
    };
    let items: Vec<BatchItem> = images.iter().enumerate().map(item).collect();
    let features: Vec<f32> = (0..B * DIM).map(|_| (rng.next_u32() as f32 / u32::MAX as f32 - 0.5) / 4.0).collect();
    Paired {
        neighbours: (0..B as u32).map(|i| (i + 1 + rng.next_u32() % 127) % B as u32).collect(),
        cosines: vec![0.0; B],
        k: 1,
        batch: Batch { epoch: 1, step: n as u64, items: items.into(), dim: DIM, features: Arc::from(features) },
    }
}
