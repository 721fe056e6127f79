//! A table of medians and ratios.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::{Measured, Options};

/// A line of the table: its name, the names of the two measurements, and the parts of them that are
/// added up (all, if none is named).
type Line = (&'static str, &'static str, &'static str, &'static [&'static str]);

const LINES: [Line; 16] = [
    ("step, epoch 1", "ours Step", "reference Step", &["whole"]),
    ("step, from epoch 2", "ours Cached", "reference Step", &["whole"]),
    ("text forward + backward", "ours Text", "reference Text", &["forward", "backward"]),
    ("text forward", "ours Text", "reference Text", &["forward"]),
    ("text backward", "ours Text", "reference Text", &["backward"]),
    ("decode, shards", "ours Decode", "reference Decode", &["shards"]),
    ("decode, picture", "ours Decode", "reference Decode", &["picture"]),
    ("image tower, 32 images", "ours Encode", "reference Encode", &["images"]),
    ("captions", "ours Captions", "reference Captions", &["texts"]),
    ("tokens", "ours Captions", "reference Captions", &["tokens"]),
    ("pair search, B = 128", "ours Pairs", "reference Pairs", &["B = 128"]),
    ("pair search, B = 1024", "ours Pairs", "reference Pairs", &["B = 1024"]),
    ("pair search, B = 4096", "ours Pairs", "reference Pairs", &["B = 4096"]),
    ("step, captions made beforehand", "ours Generation", "", &["captions beforehand"]),
    ("step, captions made meanwhile", "ours Generation", "", &["captions meanwhile"]),
    ("step of 4096 images, in chunks", "ours Large", "", &["whole"]),
];

const PEAKS: [Line; 3] = [
    ("peak memory, epoch 1", "ours Step", "reference Step", &[]),
    ("peak memory, from epoch 2", "ours Cached", "reference Step", &[]),
    ("peak memory, 4096 images", "ours Large", "", &[]),
];

/// The median; for an even number of values the upper of the two in the middle.
fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn seconds(measured: Option<&Measured>, parts: &[&str]) -> Option<f64> {
    parts.iter().map(|part| median(measured?.seconds.get(*part)?)).sum()
}

/// The table of all results.
pub fn table(results: &BTreeMap<String, Measured>, options: &Options) -> String {
    let mut out = format!(
        "B = {}, preset {:?}, layout {:?}, chunk {}, medians of {} steps\n\n",
        options.batch, options.preset, options.layout, options.chunk, options.steps
    );
    let _ = writeln!(out, "| | ours | PyTorch | ratio |\n|---|---|---|---|");
    let mut line = |name: &str, ours: Option<f64>, theirs: Option<f64>, unit: &dyn Fn(f64) -> String| {
        if ours.is_some() || theirs.is_some() {
            let [left, right] = [ours, theirs].map(|value| value.map_or("-".into(), unit));
            let ratio = ours.zip(theirs).map_or("-".into(), |(ours, theirs)| format!("{:.2}", theirs / ours));
            let _ = writeln!(out, "| {name} | {left} | {right} | {ratio} |");
        }
    };
    for (name, ours, theirs, parts) in LINES {
        let [ours, theirs] = [ours, theirs].map(|name| seconds(results.get(name), parts));
        line(name, ours, theirs, &time);
    }
    for (name, ours, theirs, _) in PEAKS {
        let [ours, theirs] = [ours, theirs].map(|name| results.get(name).map(|measured| measured.peak_bytes as f64));
        line(name, ours, theirs, &|bytes| format!("{:.2} GB", bytes / 1e9));
    }
    if let Some(generation) = results.get("ours Generation") {
        let of = |part: &str| generation.seconds.get(part).map_or(&[][..], Vec::as_slice);
        let rounds = of("captions beforehand").iter().zip(of("captions meanwhile"));
        let added: Vec<f64> = rounds.map(|(before, meanwhile)| 100.0 * (meanwhile / before - 1.0)).collect();
        let (least, most) = added.iter().fold((f64::MAX, f64::MIN), |(least, most), x| (least.min(*x), most.max(*x)));
        if let Some(middle) = median(&added) {
            let rounds = added.len();
            let _ = writeln!(
                out,
                "\nGeneration adds {middle:.2} % to a step (median of {rounds} rounds, {least:.2} to {most:.2} %)."
            );
        }
        if let Some((alone, step)) = median(of("generation alone")).zip(median(of("captions beforehand"))) {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let share = 100.0 * alone / (step * cores as f64);
            let took = time(alone);
            let _ = writeln!(
                out,
                "By itself it takes {took} of one core per step: {share:.2} % of the time that {cores} cores have."
            );
        }
    }
    for name in ["ours Step", "ours Cached", "reference Step"] {
        if let Some(measured) = results.get(name) {
            let parts: Vec<String> = measured
                .seconds
                .iter()
                .filter_map(|(part, values)| Some(format!("{part} {}", time(median(values)?))))
                .collect();
            let _ = writeln!(out, "\n{name}: {}", parts.join(", "));
        }
    }
    if let Some(measured) = results.get("ours Text") {
        let counts: Vec<String> = measured.counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let _ = writeln!(out, "\nours Text: {}", counts.join(", "));
    }
    out
}

fn time(seconds: f64) -> String {
    if seconds < 0.1 { format!("{:.2} ms", seconds * 1e3) } else { format!("{seconds:.2} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn parts_are_added_up_and_what_is_missing_is_missing() {
        let measured = Measured {
            seconds: [("forward".into(), vec![1.0, 9.0, 2.0]), ("backward".into(), vec![4.0])].into(),
            ..Measured::default()
        };
        assert_eq!(seconds(Some(&measured), &["forward", "backward"]), Some(6.0));
        assert_eq!(seconds(Some(&measured), &["forward", "update"]), None);
        assert_eq!(seconds(None, &["forward"]), None);
    }
}
