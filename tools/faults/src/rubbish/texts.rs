//! Captions that say nothing, or too much.

use std::sync::Arc;

use anyhow::Result;
use clip::Tokenizer;
use items::{Batch, BatchItem, NO_NEIGHBOUR, Paired};
use pipeline_engine::rng::{ChaCha8Rng, Draw};
use rand::RngExt;
use stage_captions::cache::Analyser;
use stage_captions::counts::Counts;
use stage_captions::guard::Guards;
use stage_captions::reading::Reader;
use stage_captions::wordnet::WordNet;
use stage_captions::writer::{FullSource, TngWriter, TwinsWriter};

use super::{Outcome, Victim, noise};

pub struct Texts {
    reader: Reader,
    negations: TngWriter,
    twins: TwinsWriter,
    tokenizer: Tokenizer,
}

impl Texts {
    pub fn new() -> Result<Self> {
        let wordnet = WordNet::embedded().map_err(|e| anyhow::anyhow!("{e}"))?;
        Ok(Self {
            reader: Reader::new(Analyser::new(wordnet, 1000), Guards::usual()),
            negations: TngWriter::usual()?,
            twins: TwinsWriter::usual()?,
            tokenizer: Tokenizer::clip(),
        })
    }
}

/// One caption, at most as long as the stage `shards` lets through, or a little longer.
fn caption(rng: &mut ChaCha8Rng) -> String {
    let words = [
        "a",
        "dog",
        "no",
        "not",
        "without",
        "never",
        "cat",
        "on",
        "the",
        "grass",
        "nothing",
        "{object}",
        "{caption}",
        "%s",
        "none",
        "isn't",
        "neither",
        "nor",
        "running",
        "red",
        "🐕",
        "ß",
        "İ",
        "\u{301}",
        "\u{202e}",
        "n't",
        "<|endoftext|>",
        "&amp;",
        "--",
        ".",
        ",",
        "\t",
        "\u{0}",
        "\u{feff}",
        "e\u{301}",
        "中文",
        "people",
    ];
    let some = |rng: &mut ChaCha8Rng, most: usize| {
        (0..rng.random_range(0..=most)).map(|_| words[rng.random_range(0..words.len())]).collect::<Vec<_>>().join(" ")
    };
    match rng.random_range(0..9u32) {
        0 => String::new(),
        1 => "x".repeat(rng.random_range(1..5000usize)),
        2 => ["no", "not", "no no no", "without", "nothing"][rng.random_range(0..5usize)].to_owned(),
        3 => "running quickly and very".to_owned(),
        4 => String::from_utf8_lossy(&noise(rng, 300)).into_owned(),
        5 => "a dog ".repeat(rng.random_range(1..800usize)),
        6 => some(rng, 600),
        _ => some(rng, 14),
    }
}

impl Victim for Texts {
    fn kind(&self) -> &'static str {
        "captions"
    }

    fn swallow(&self, rng: &mut ChaCha8Rng) -> Result<Outcome> {
        let count = rng.random_range(1..8usize);
        let items: Vec<BatchItem> = (0..count)
            .map(|i| {
                let captions: Arc<[String]> = (0..rng.random_range(1..4u32)).map(|_| caption(rng)).collect();
                let (drawn, image) = (rng.random_range(0..captions.len()), rng.random_range(0..count as u32));
                BatchItem { key: format!("{i}").into(), shard: "s".into(), captions, drawn, image }
            })
            .collect();
        let k = 2;
        let neighbour = |rng: &mut ChaCha8Rng| {
            if rng.random_bool(0.2) { NO_NEIGHBOUR } else { rng.random_range(0..count as u32) }
        };
        let neighbours = (0..count * k).map(|_| neighbour(rng)).collect();
        let batch = Batch { epoch: 1, step: 0, items: items.into(), dim: 1, features: vec![1.0; count].into() };
        let paired = Paired { batch, k, neighbours, cosines: vec![0.5; count * k] };
        let draw = |i: usize| Draw::new(1, "rubbish").number(i as u64);
        let mut counts = Counts::default();
        let sources = [FullSource::Mirror, FullSource::Neighbour, FullSource::Other];
        let full_source = sources[rng.random_range(0..3usize)];
        let reading = self.reader.read(&paired, None).map_err(|error| anyhow::anyhow!("{error}"))?;
        let writer = TngWriter { full_source, ..self.negations.clone() };
        let made = writer.negations(&reading, draw, &mut counts);
        let pairs = self.twins.twins(&reading, draw, &mut counts);
        if made.len() != count || pairs.len() != 2 * count {
            return Ok(Outcome::Wrong(format!("{} and {} texts of {count} items", made.len(), pairs.len())));
        }
        let texts = made.iter().flat_map(|made| [&made.compositional, &made.full]);
        let texts = texts.chain(pairs.iter().flat_map(|pair| [&pair.true_text, &pair.false_text]));
        for text in texts {
            let ids = self.tokenizer.encode(text);
            if ids.len() > self.tokenizer.context() || ids.last() != Some(&self.tokenizer.end()) {
                return Ok(Outcome::Wrong(format!("{} tokens of {} bytes", ids.len(), text.len())));
            }
        }
        Ok(Outcome::Used)
    }
}
