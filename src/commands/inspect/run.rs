//! Run folders.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::anyhow;
use items::metric;
use pipeline_engine::{MARK, Measurement, Skip, StageReport, Summary};
use serde_json::{Value, json};

use crate::print;

/// True if a folder is one of a run.
pub fn is_one(path: &Path) -> bool {
    std::fs::read_to_string(path.join("pipeline.toml")).is_ok_and(|text| text.starts_with(MARK))
}

/// A run as JSON and as text.
///
/// # Errors
/// A stages.json that is damaged.
pub fn run(path: &Path) -> anyhow::Result<(Value, String)> {
    let read = |name: &str| std::fs::read_to_string(path.join(name)).unwrap_or_default();
    fn lines<T: serde::de::DeserializeOwned>(text: &str) -> Vec<T> {
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
    let measurements: Vec<Measurement> = lines(&read("results.jsonl"));
    let skips: Vec<Skip> = lines(&read("skipped.jsonl"));
    let stages: Vec<StageReport> = match read("stages.json") {
        text if text.is_empty() => Vec::new(),
        text => serde_json::from_str(&text).map_err(|e| anyhow!("{}: {e}", path.join("stages.json").display()))?,
    };
    let mut skipped: BTreeMap<(String, String), u64> = BTreeMap::new();
    let (lost_shards, skips): (Vec<Skip>, Vec<Skip>) = skips.into_iter().partition(Skip::is_shard);
    for skip in skips {
        *skipped.entry((skip.stage, skip.reason)).or_default() += 1;
    }
    let epochs = stages.iter().map(|stage| stage.epoch).max().unwrap_or(0);
    let mut text = format!("{}: a run, {epochs} epochs finished\n", path.display());
    for line in read("pipeline.toml").lines().take_while(|line| line.starts_with('#')) {
        let _ = writeln!(text, "  {}", line.trim_start_matches(['#', ' ']));
    }
    for stage in stages.iter().filter(|stage| stage.limiting && (stage.epoch == 1 || stage.epoch == epochs)) {
        let _ = writeln!(
            text,
            "  epoch {}: `{}` limits, {:.0} % busy, {:.1} items/s, {:.1} s",
            stage.epoch,
            stage.kind,
            stage.utilisation() * 100.0,
            stage.items_per_s,
            stage.wall_s
        );
    }
    let summary = Summary {
        dir: path.to_owned(),
        measurements: measurements.into_iter().filter(|m| m.eval != metric::TRAIN).collect(),
        stages,
        skipped: skipped.into_iter().map(|((stage, reason), n)| (stage, reason, n)).collect(),
        lost_shards,
    };
    let limiting: Vec<Value> = summary
        .stages
        .iter()
        .filter(|stage| stage.limiting)
        .map(|stage| json!({ "epoch": stage.epoch, "stage": stage.kind, "utilisation": stage.utilisation() }))
        .collect();
    let value = json!({
        "what": "run",
        "path": path,
        "epochs": epochs,
        "limiting": limiting,
        "results": summary.measurements,
        "skipped": summary.skipped,
        "lost_shards": summary.lost_shards,
        "exported": path.join("export").is_dir(),
    });
    text.push('\n');
    text.push_str(&print::summary(&summary));
    Ok((value, text))
}
