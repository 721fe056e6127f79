//! Shards.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::SHOWN;
use crate::inspect::shard::ShardInfo;
use crate::text::size;

/// A shard as text.
pub fn one(info: &ShardInfo) -> String {
    let mut text = format!("{}: a shard of {}\n", info.path.display(), size(info.bytes));
    let _ = writeln!(text, "  members    {}", members(info));
    let _ = writeln!(text, "  samples    {}, {} usable", info.samples, info.usable);
    match &info.captions {
        Some(source) => {
            let mean = info.captions_in_all as f64 / info.usable.max(1) as f64;
            let _ = writeln!(
                text,
                "  captions   {} in all, {mean:.1} per sample; captions = {source:?}",
                info.captions_in_all
            );
        }
        None => text.push_str("  captions   none: neither .txt members nor .json members with a text\n"),
    }
    if let (Some(small), Some(large)) = (info.smallest, info.largest) {
        let _ = writeln!(
            text,
            "  pictures   {} x {} to {} x {}, {} on average",
            small.0,
            small.1,
            large.0,
            large.1,
            size(info.mean_picture_bytes())
        );
    }
    if let Some((key, caption)) = &info.example {
        let _ = writeln!(text, "  example    {key}: {caption}");
    }
    faults(&mut text, info.faults.iter().map(|(key, reason)| format!("{key}: {reason}")));
    if let Some(ended) = &info.ended {
        let _ = writeln!(text, "  fault      {ended}");
    }
    text
}

/// How many members there are by extension, the commonest first; names with dots may give thousands of extensions.
fn members(info: &ShardInfo) -> String {
    let mut extensions: Vec<_> = info.extensions.iter().collect();
    extensions.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let mut members: Vec<String> =
        extensions.iter().take(SHOWN).map(|(extension, count)| format!("{count} .{extension}")).collect();
    if extensions.len() > SHOWN {
        members.push(format!("{} other extensions", extensions.len() - SHOWN));
    }
    if info.passed_over > 0 {
        members.push(format!("{} hidden or without a dot, which belong to no sample", info.passed_over));
    }
    members.join(", ")
}

/// The first unusable samples; the rest is only counted.
fn faults(text: &mut String, all: impl ExactSizeIterator<Item = String>) {
    let count = all.len();
    for line in all.take(SHOWN) {
        let _ = writeln!(text, "  unusable   {line}");
    }
    if count > SHOWN {
        let _ = writeln!(text, "  unusable   and {} more", count - SHOWN);
    }
}

/// A folder of shards, as JSON and as text.
///
/// # Errors
/// A shard that cannot be opened.
pub fn all(folder: &Path, tars: &[PathBuf]) -> anyhow::Result<(Value, String)> {
    let infos = tars.iter().map(|tar| ShardInfo::read(tar)).collect::<anyhow::Result<Vec<_>>>()?;
    let sum = |of: fn(&ShardInfo) -> u64| infos.iter().map(of).sum::<u64>();
    let mut text = format!("{}: {} shards, {}\n", folder.display(), infos.len(), size(sum(|i| i.bytes)));
    let _ = writeln!(
        text,
        "  samples    {}, {} usable, {} captions",
        sum(|i| i.samples.into()),
        sum(|i| i.usable as u64),
        sum(|i| i.captions_in_all as u64)
    );
    for info in &infos {
        let name = info.path.file_name().unwrap_or_default().to_string_lossy();
        let state = match (&info.ended, info.faults.len()) {
            (Some(ended), _) => format!(", {ended}"),
            (None, 0) => String::new(),
            (None, n) => format!(", {n} unusable"),
        };
        let captions = info.captions.as_deref().unwrap_or("no captions");
        let _ = writeln!(text, "  {name:<24} {:>7} samples, {:>9}, {captions}{state}", info.samples, size(info.bytes));
    }
    Ok((json!({ "what": "shards", "path": folder, "shards": infos }), text))
}
