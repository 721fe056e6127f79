//! Feature caches.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::bail;
use features::EntryInfo;
use serde_json::{Value, json};

use super::SHOWN;
use crate::text::size;

/// A cache, or one file of it, as JSON and as text.
///
/// # Errors
/// A single file that is damaged. Damaged files of a folder are listed.
pub fn cache(path: &Path, files: &[PathBuf]) -> anyhow::Result<(Value, String)> {
    let mut entries = Vec::new();
    let mut broken = Vec::new();
    for file in files {
        match EntryInfo::open(file) {
            Ok(info) => entries.push((file, info)),
            Err(fault) => broken.push((file, fault.to_string())),
        }
    }
    if let ([], [(file, fault)]) = (entries.as_slice(), broken.as_slice()) {
        bail!("{}: {fault}", file.display());
    }
    let rows: usize = entries.iter().map(|(_, info)| info.rows).sum();
    let bytes: u64 = entries.iter().map(|(_, info)| info.bytes).sum();
    let mut text =
        format!("{}: a feature cache, {} shards, {rows} rows, {}\n", path.display(), entries.len(), size(bytes));
    let mut by_fingerprint: BTreeMap<&str, Vec<&EntryInfo>> = BTreeMap::new();
    for (_, info) in &entries {
        by_fingerprint.entry(&info.fingerprint).or_default().push(info);
    }
    for (fingerprint, infos) in &by_fingerprint {
        let dim = infos.iter().find_map(|info| info.dim).map_or("no features".into(), |dim| format!("{dim} wide"));
        let rows: usize = infos.iter().map(|info| info.rows).sum();
        let short = fingerprint.get(..16).unwrap_or(fingerprint);
        let _ = writeln!(text, "  encoder {short}…: {} shards, {rows} rows, {dim}", infos.len());
        for info in infos.iter().take(SHOWN) {
            let skipped =
                if info.skipped.is_empty() { String::new() } else { format!(", {} skipped", info.skipped.len()) };
            let fault = info.fault.as_deref().map_or(String::new(), |fault| format!(", shard {fault}"));
            let _ =
                writeln!(text, "    {} rows, {} captions{skipped}{fault}: {}", info.rows, info.captions, info.shard);
        }
        if infos.len() > SHOWN {
            let _ = writeln!(text, "    and {} more", infos.len() - SHOWN);
        }
    }
    for (file, fault) in &broken {
        let _ = writeln!(text, "  unusable   {}: {fault}", file.display());
    }
    let list: Vec<Value> = entries.iter().map(|(file, info)| json!({ "file": file, "entry": info })).collect();
    let unusable: Vec<Value> = broken.iter().map(|(file, fault)| json!({ "file": file, "fault": fault })).collect();
    Ok((json!({ "what": "cache", "path": path, "rows": rows, "entries": list, "unusable": unusable }), text))
}
