//! How well the tagger finds the things that captions name, on captions labelled by hand (`docs/tagger.md`):
//! `cargo run --release -p stage-captions --example things`
//!
//! - Without an argument: precision, recall and F1 with 95 % intervals, and the most frequent errors.
//! - `errors`: also every caption with an error.
//! - `draw`: the captions that the golden set takes, without running the tagger.
//!
//! The captions are read from `../shared/data/flickr8k`.

mod golden;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::Path;

use golden::{Found, Score};
use pipeline_engine::rng::Draw;
use rand::Rng;
use stage_captions::wordnet::WordNet;

/// A share, from 0 to 1, of what was counted.
type Measure = fn(&Score) -> f64;

/// Resamples of the bootstrap.
const RESAMPLES: usize = 10_000;
/// Errors that are listed.
const MOST: usize = 15;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = golden::shards().ok_or("../shared/data/flickr8k does not exist: it holds the captions")?;
    match std::env::args().nth(1).as_deref() {
        None => report(&folder, false),
        Some("errors") => report(&folder, true),
        Some("draw") => {
            for drawn in golden::draw(&folder)? {
                println!("{}\t{}", drawn.row(), drawn.caption);
            }
            Ok(())
        }
        Some(other) => Err(format!("unknown argument `{other}`: `errors` and `draw` exist").into()),
    }
}

fn report(folder: &Path, every_error: bool) -> Result<(), Box<dyn Error>> {
    let (wordnet, labelled) = (WordNet::embedded()?, golden::read(folder, golden::TABLE)?);
    let found: Vec<Found> = labelled.iter().map(|caption| golden::compare(wordnet, caption)).collect();
    if every_error {
        let list = |things: &BTreeSet<String>| things.iter().cloned().collect::<Vec<_>>().join(", ");
        for (caption, found) in labelled.iter().zip(&found).filter(|(_, f)| f.missed.len() + f.wrong.len() > 0) {
            println!("{}", caption.drawn.caption);
            println!("    missed: {}; false: {}", list(&found.missed), list(&found.wrong));
        }
        println!();
    }
    let scores: Vec<Score> = found.iter().map(Score::from).collect();
    let all: Score = scores.iter().copied().sum();
    let without = found.iter().filter(|f| f.missed.len() + f.wrong.len() == 0).count();
    println!("{} captions, {} without an error", found.len(), without);
    print!("{} things labelled, {} found: ", all.right + all.missed, all.right + all.wrong);
    println!("{} right, {} missed, {} false\n", all.right, all.missed, all.wrong);
    let resampled = resample(&scores);
    let measures: [(&str, Measure); 3] =
        [("precision", Score::precision), ("recall", Score::recall), ("F1", Score::f1)];
    for (name, measure) in measures {
        let (low, high) = interval(resampled.iter().map(measure).collect());
        println!("{name:9}  {:5.1} %  [{:.1}, {:.1}]", 100.0 * measure(&all), 100.0 * low, 100.0 * high);
    }
    println!("\nmost missed: {}", most(found.iter().flat_map(|f| &f.missed)));
    println!("most falsely found: {}", most(found.iter().flat_map(|f| &f.wrong)));
    Ok(())
}

/// Scores of as many captions, drawn with replacement; always the same draws.
fn resample(scores: &[Score]) -> Vec<Score> {
    let rng = &mut Draw::new(14, "things").rng();
    let mut one = || (0..scores.len()).map(|_| scores[(rng.next_u64() % scores.len() as u64) as usize]).sum();
    (0..RESAMPLES).map(|_| one()).collect()
}

/// The middle 95 % of the values.
fn interval(mut values: Vec<f64>) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() * 25 / 1000], values[values.len() * 975 / 1000])
}

/// The most frequent words, with their counts.
fn most<'a>(words: impl Iterator<Item = &'a String>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for word in words {
        *counts.entry(word).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts.iter().take(MOST).map(|(word, count)| format!("{word} {count}")).collect::<Vec<_>>().join(", ")
}
