//! Broken data by seed: tars, pictures, captions, checkpoints and caches that are broken in many ways,
//! and the outcome of each case.

mod files;
mod pictures;
mod tars;
mod texts;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::Result;
use pipeline_engine::rng::{ChaCha8Rng, Draw};
use rand::{Rng, RngExt};
use serde::Serialize;

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It gave samples (a case of texts: sentences; a case of files: what was written).
    Used,
    /// Everything in it was skipped, with a reason.
    Skipped(String),
    /// All of it was refused, with a reason.
    Refused(String),
    /// It was accepted as something that it is not.
    Wrong(String),
}

/// The result of a corpus.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Number of cases.
    pub cases: usize,
    /// Cases by kind and by outcome.
    pub ended: BTreeMap<String, BTreeMap<&'static str, usize>>,
    /// Cases by reason, with the numbers taken out of it.
    pub reasons: BTreeMap<String, usize>,
    /// Seconds of the slowest case.
    pub slowest_s: f64,
    /// Panics, hangs, and cases that were accepted as something else; must be empty.
    pub faults: Vec<String>,
}

/// A case that takes longer counts as hung.
const PATIENCE: Duration = Duration::from_secs(20);

/// A reader that is given broken data.
trait Victim {
    fn kind(&self) -> &'static str;
    /// Makes the data of one case and reads it.
    fn swallow(&self, rng: &mut ChaCha8Rng) -> Result<Outcome>;
}

/// Runs cases `0..cases` of this seed. `before` is called with the number of each case before it begins,
/// so that an observer knows which one killed the program.
///
/// # Errors
/// If the set-up fails (a folder for temporary files); what a case does is not an error.
pub fn corpus(cases: usize, seed: u64, before: &mut dyn FnMut(usize)) -> Result<Report> {
    let folder = tempfile::tempdir()?;
    let victims: [Box<dyn Victim>; 6] = [
        Box::new(tars::Tars::new()?),
        Box::new(pictures::Pictures::new()?),
        Box::new(texts::Texts::new()?),
        Box::new(files::Weights::new(folder.path())?),
        Box::new(files::RunCheckpoints::new(folder.path())?),
        Box::new(files::Cache::new(folder.path())?),
    ];
    // Tars and pictures come from strangers, so they get more cases; the rest comes from this machine.
    let turns = [0, 1, 0, 1, 0, 1, 2, 3, 4, 5];
    // The report lists the panics; their output would only hide it.
    std::panic::set_hook(Box::new(|_| {}));
    let mut report = Report::default();
    for case in 0..cases {
        before(case);
        let victim = &victims[turns[case % turns.len()]];
        let rng = &mut Draw::new(seed, "rubbish").number(case as u64).rng();
        let began = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| victim.swallow(rng)));
        let took = began.elapsed();
        report.cases += 1;
        report.slowest_s = report.slowest_s.max(took.as_secs_f64());
        let name = format!("case {case} ({})", victim.kind());
        let (word, reason) = match outcome {
            Ok(outcome) => match outcome? {
                Outcome::Used => ("used", None),
                Outcome::Skipped(reason) => ("skipped", Some(reason)),
                Outcome::Refused(reason) => ("refused", Some(reason)),
                Outcome::Wrong(what) => {
                    report.faults.push(format!("{name}: {what}"));
                    ("wrong", None)
                }
            },
            Err(_) => {
                report.faults.push(format!("{name}: panicked"));
                ("panicked", None)
            }
        };
        if took > PATIENCE {
            report.faults.push(format!("{name}: took {:.0} s", took.as_secs_f64()));
        }
        *report.ended.entry(victim.kind().to_owned()).or_default().entry(word).or_default() += 1;
        if let Some(reason) = reason {
            if reason.trim().is_empty() {
                report.faults.push(format!("{name}: no reason"));
            }
            *report.reasons.entry(format!("{}: {}", victim.kind(), plain(&reason))).or_default() += 1;
        }
    }
    let _ = std::panic::take_hook();
    Ok(report)
}

/// A reason without the parts that differ from case to case.
fn plain(reason: &str) -> String {
    let mut text = String::new();
    for word in reason.split_whitespace().take(12) {
        let other = word.chars().any(|c| c.is_ascii_digit() || !c.is_ascii() || c.is_ascii_control());
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(if other || word.contains('/') || word.contains('`') { "…" } else { word });
    }
    text
}

/// Breaks bytes somewhere: flips, cuts, repeats, fills.
fn break_bytes(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    for _ in 0..rng.random_range(1..=4u32) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..7u32) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8u32),
            1 => bytes.truncate(at),
            2 => bytes[at] = [0, 0xff, 0x7f, 0x80][rng.random_range(0..4usize)],
            3 => {
                let end = (at + rng.random_range(1..64usize)).min(bytes.len());
                bytes[at..end].fill(rng.next_u32() as u8);
            }
            4 => {
                let end = (at + rng.random_range(1..256usize)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            5 => {
                let end = (at + rng.random_range(1..64usize)).min(bytes.len());
                bytes.drain(at..end);
            }
            _ => {
                // A false length, somewhere in the header.
                let at = at % 64.min(bytes.len());
                let lie = [u64::MAX, 1 << 40, 1 << 31, 0][rng.random_range(0..4usize)].to_le_bytes();
                let end = (at + 8).min(bytes.len());
                bytes[at..end].copy_from_slice(&lie[..end - at]);
            }
        }
    }
}

/// Random bytes, at most `most`.
fn noise(rng: &mut ChaCha8Rng, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; rng.random_range(0..=most)];
    rng.fill_bytes(&mut bytes);
    bytes
}
