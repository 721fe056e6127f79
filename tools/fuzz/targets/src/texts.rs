//! Captions and templates.

use std::sync::{Arc, OnceLock};

use clip::Tokenizer;
use items::{Batch, BatchItem, NO_NEIGHBOUR, Paired};
use pipeline_engine::rng::Draw;
use stage_captions::cache::Analyser;
use stage_captions::counts::{Count, Counts};
use stage_captions::guard::Guards;
use stage_captions::reading::Reader;
use stage_captions::templates::{Source, compositional, full, twins};
use stage_captions::wordnet::WordNet;
use stage_captions::writer::{FullSource, TngWriter, TwinsWriter};

use crate::in_folder;

struct Texts {
    strict: Reader,
    lax: Reader,
    negations: TngWriter,
    twins: TwinsWriter,
    tokenizer: Tokenizer,
}

fn texts() -> &'static Texts {
    static TEXTS: OnceLock<Texts> = OnceLock::new();
    TEXTS.get_or_init(|| {
        let reader = |guards| Reader::new(Analyser::new(WordNet::embedded().unwrap(), 1000), guards);
        Texts {
            strict: reader(Guards::usual()),
            lax: reader(Guards::default()),
            negations: TngWriter::usual().unwrap(),
            twins: TwinsWriter { pairs: 3, ..TwinsWriter::usual().unwrap() },
            tokenizer: Tokenizer::clip(),
        }
    })
}

/// The most images per batch here.
const MOST: usize = 8;

/// A batch of images with these captions, two neighbours each.
fn batch(captions: Vec<Vec<String>>, how: u8) -> Paired {
    let count = captions.len();
    let items: Vec<BatchItem> = captions
        .into_iter()
        .enumerate()
        .map(|(i, captions)| BatchItem {
            key: format!("{i}").into(),
            shard: "s".into(),
            drawn: usize::from(how >> 4) % captions.len(),
            captions: captions.into(),
            // Some images have more than one caption in the batch.
            image: (i / (1 + usize::from(how >> 6 & 1))) as u32,
        })
        .collect();
    let neighbour = |n: usize| if n % 5 == 4 { NO_NEIGHBOUR } else { ((n * 3 + 1) % count) as u32 };
    let neighbours = (0..2 * count).map(neighbour).collect();
    let batch = Batch { epoch: 1, step: 0, items: items.into(), dim: 1, features: vec![1.0; count].into() };
    Paired { batch, k: 2, neighbours, cosines: vec![0.5; 2 * count] }
}

/// Captions, one per line, with an empty line between two images. The first byte chooses the reader
/// and the options of the writers, the second is the seed.
pub fn captions(data: &[u8]) {
    let [how, seed, text @ ..] = data else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let images: Vec<Vec<String>> = text
        .split("\n\n")
        .take(MOST)
        .map(|image| image.lines().filter(|line| !line.is_empty() && line.len() <= 4096).map(str::to_owned).collect())
        .filter(|captions: &Vec<String>| !captions.is_empty())
        .collect();
    if images.is_empty() {
        return;
    }
    let own = texts();
    let reader = if how & 1 == 0 { &own.strict } else { &own.lax };
    made(reader, &batch(images, *how), &own.negations, &own.twins, *how, *seed);
}

/// A file of templates. The first byte chooses its kind.
pub fn templates(data: &[u8]) {
    let Some((how, text)) = data.split_first() else { return };
    let own = texts();
    in_folder(|folder| {
        let file = folder.join("templates.txt");
        std::fs::write(&file, text).unwrap();
        let source = Source { file: Some(&file), first: (how & 4 != 0).then_some(usize::from(how >> 3)) };
        let images = ["a dog runs on the grass", "A man near two buses.", "no", "water"];
        let paired = batch(images.iter().map(|caption| vec![(*caption).to_owned()]).collect(), 0);
        let (negations, pairs) = (own.negations.clone(), own.twins.clone());
        let writers = match how & 3 {
            0 => compositional(source).map(|compositional| (TngWriter { compositional, ..negations }, pairs)),
            1 => full(source).map(|full| (TngWriter { full, ..negations }, pairs)),
            _ => twins(source).map(|templates| (negations, TwinsWriter { templates, ..pairs })),
        };
        let error = writers.map(|(negations, pairs)| made(&own.strict, &paired, &negations, &pairs, *how, 1));
        if let Err(error) = error {
            assert!(error.to_string().contains("templates.txt"), "{error}");
        }
    });
}

/// Makes all texts of a batch, twice, and reads them as the text tower would.
fn made(reader: &Reader, paired: &Paired, negations: &TngWriter, twins: &TwinsWriter, how: u8, seed: u8) {
    let count = paired.batch.items.len();
    let full_source = [FullSource::Mirror, FullSource::Neighbour, FullSource::Other][usize::from(how >> 1) % 3];
    let writer = TngWriter { full_source, ..negations.clone() };
    let draw = |i: usize| Draw::new(u64::from(seed), "fuzz").number(i as u64);
    let make = || {
        let mut counts = Counts::default();
        let reading = reader.read(paired, None).unwrap();
        let negations = writer.negations(&reading, draw, &mut counts);
        let pairs = twins.twins(&reading, draw, &mut counts);
        (negations, pairs, counts)
    };
    let (negations, pairs, counts) = make();
    assert_eq!((negations.len(), pairs.len(), counts[Count::Images]), (count, 3 * count, 2 * count as u64));
    let (again, pairs_again, counts_again) = make();
    assert!(again == negations && pairs_again == pairs && counts_again == counts, "the same draws gave other texts");
    let tokenizer = &texts().tokenizer;
    let negations: Arc<[_]> = negations.into();
    let all = negations.iter().flat_map(|made| [&made.compositional, &made.full]);
    for text in
        all.chain(pairs.iter().flat_map(|pair| [&pair.true_text, &pair.false_text, &pair.present, &pair.absent]))
    {
        let ids = tokenizer.encode(text);
        assert!((2..=tokenizer.context()).contains(&ids.len()));
        assert_eq!((ids[0], ids[ids.len() - 1]), (tokenizer.start(), tokenizer.end()));
    }
}
