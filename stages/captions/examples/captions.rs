//! Writes texts for a file of captions, and prints how fast:
//! `cargo run --release -p stage-captions --example captions -- FILE [SHOW]`
//!
//! FILE holds one caption per line, five lines per image. Batches have 128 images, and the neighbours
//! are random. SHOW texts of the first batch are printed.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use items::{Batch, BatchItem, Paired};
use pipeline_engine::rng::Draw;
use rand::Rng;
use stage_captions::cache::Analyser;
use stage_captions::counts::Counts;
use stage_captions::guard::Guards;
use stage_captions::reading::Reader;
use stage_captions::wordnet::WordNet;
use stage_captions::writer::{TngWriter, TwinsWriter};

const B: usize = 128;
const DIM: usize = 256;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().ok_or("usage: captions FILE [SHOW]")?;
    let show = arguments.next().map_or(Ok(0), |n| n.parse())?;
    let captions: Vec<String> = std::fs::read_to_string(file)?.lines().map(str::to_owned).collect();
    let images: Vec<&[String]> = captions.chunks_exact(5).collect();
    let batches: Vec<Paired> = images.chunks_exact(B).enumerate().map(batch).collect();

    let reader = Reader::new(Analyser::new(WordNet::embedded()?, 100_000), Guards::usual());
    let (negations, twins) = (TngWriter::usual()?, TwinsWriter::usual()?);
    for pass in ["first epoch", "second epoch"] {
        let mut counts = Counts::default();
        let start = Instant::now();
        for (n, paired) in batches.iter().enumerate() {
            let draw = |i: usize| Draw::new(1, pass).number((n * B + i) as u64);
            let made = negations.negations(&reader.read(paired, None).map_err(|e| e.to_string())?, draw, &mut counts);
            if n == 0 {
                made.iter().take(show).for_each(|m| println!("{}\n    {}", m.compositional, m.full));
            }
        }
        let time = start.elapsed();
        let per_second = (batches.len() * B * 2) as f64 / time.as_secs_f64();
        println!(
            "{pass}: {per_second:.0} captions per second, {:?} per batch of {B}",
            time / batches.len().max(1) as u32
        );
        println!("{counts:?}");
    }
    if let Some(paired) = batches.first() {
        let draw = |i: usize| Draw::new(1, "twins").number(i as u64);
        let made = twins.twins(&reader.read(paired, None).map_err(|e| e.to_string())?, draw, &mut Counts::default());
        made.iter().take(show).for_each(|pair| println!("true:  {}\nfalse: {}", pair.true_text, pair.false_text));
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
