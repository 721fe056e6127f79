//! `pipeline inspect`

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use pipeline_engine::{MARK, Measurement, Skip, StageReport, Summary};
use serde::Serialize;
use serde_json::{Value, json};
use features::EntryInfo;

use super::{Context, Failure};
use crate::look::checkpoint::{CheckpointInfo, TowerInfo};
use crate::look::shard::ShardInfo;
use crate::look::size;
use crate::show;

/// Say what is in a shard, a feature cache, a checkpoint or a run folder.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline inspect data/train-000.tar
  pipeline inspect models/clip-vit-base-patch32
  pipeline inspect logs/checkpoints/epoch_10.pt      # open_clip_config.json lies beside it
  pipeline inspect .cache/features
  pipeline inspect runs/first --json")]
pub struct Arguments {
    /// A .tar, an .arrow file or a folder of them; a checkpoint (a folder, a file of weights, hf:owner/name); a run folder.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// As JSON, one object a path.
    #[arg(long)]
    json: bool,
}

/// Lines of a list before the rest is only counted.
const SHOWN: usize = 10;

impl Arguments {
    pub fn run(&self, _: &Context) -> Result<(), Failure> {
        for (index, path) in self.paths.iter().enumerate() {
            // What is on the hub is looked at in the hub's cache.
            let path = clip_hub::resolve(path, Path::new("")).map_err(anyhow::Error::from)?;
            let (value, text) = look(&path)?;
            if self.json {
                show::say(&format!("{value}\n"));
            } else {
                show::say(&format!("{}{text}", if index == 0 { "" } else { "\n" }));
            }
        }
        Ok(())
    }
}

/// What a path is, as JSON and in words.
fn look(path: &Path) -> anyhow::Result<(Value, String)> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).with_context(|| format!("cannot look into {shown}"))?;
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    if metadata.is_file() {
        return match extension {
            "tar" => {
                let info = ShardInfo::read(path)?;
                Ok((tagged("shard", &info)?, shard(&info)))
            }
            "arrow" => cache(path, &[path.to_owned()]),
            "safetensors" | "pt" | "pth" | "bin" => a_checkpoint(path),
            "onnx" | "json" => match path.parent() {
                Some(folder) if CheckpointInfo::is_one(folder) => {
                    bail!("{shown} is a part of a checkpoint; inspect its folder, {}", folder.display())
                }
                _ => bail!("{shown} is no folder of a checkpoint: config.json, weights and tokenizer belong together"),
            },
            "toml" => bail!("{shown} looks like a config; `pipeline check` and `pipeline graph` read it"),
            _ => bail!("{shown} is no .tar, no .arrow and no file of weights; {WHAT}"),
        };
    }
    if is_run(path) {
        return run(path);
    }
    if CheckpointInfo::is_one(path) {
        return a_checkpoint(path);
    }
    let files = files(path)?;
    let with = |wanted: &str| -> Vec<PathBuf> {
        files.iter().filter(|file| file.extension().is_some_and(|e| e == wanted)).cloned().collect()
    };
    let (arrows, tars) = (with("arrow"), with("tar"));
    if !arrows.is_empty() {
        return cache(path, &arrows);
    }
    if !tars.is_empty() {
        return shards(path, &tars);
    }
    if files.is_empty() {
        bail!("{shown} is an empty folder; {WHAT}");
    }
    bail!("nothing in {shown} is known here; {WHAT}")
}

const WHAT: &str = "this looks into shards (.tar), feature caches (.arrow), checkpoints (a folder, or a file of weights \
                    with its config beside it) and run folders";

fn a_checkpoint(path: &Path) -> anyhow::Result<(Value, String)> {
    let info = CheckpointInfo::read(path)?;
    Ok((tagged("checkpoint", &info)?, checkpoint(&info)))
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let broken = || format!("cannot read the folder {}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(broken)? {
        files.push(entry.with_context(broken)?.path());
    }
    files.sort();
    Ok(files)
}

fn tagged(what: &str, info: &impl Serialize) -> anyhow::Result<Value> {
    let mut value = serde_json::to_value(info)?;
    value["what"] = json!(what);
    Ok(value)
}

fn shard(info: &ShardInfo) -> String {
    let mut text = format!("{}: a shard of {}\n", info.path.display(), size(info.bytes));
    let members: Vec<String> = info.extensions.iter().map(|(e, count)| format!("{count} .{e}")).collect();
    let _ = writeln!(text, "  members    {}", members.join(", "));
    let _ = writeln!(text, "  samples    {}, {} usable", info.samples, info.usable);
    match &info.captions {
        Some(source) => {
            let mean = info.captions_in_all as f64 / info.usable.max(1) as f64;
            let _ = writeln!(
                text,
                "  captions   {} in all, {mean:.1} a sample; captions = {source:?}",
                info.captions_in_all
            );
        }
        None => text.push_str("  captions   none: no .txt, and no .json with a text in it\n"),
    }
    if let (Some(small), Some(large)) = (info.smallest, info.largest) {
        let mean = info.picture_bytes / info.usable.max(1) as u64;
        let _ = writeln!(
            text,
            "  pictures   {} x {} to {} x {}, {} on average",
            small.0,
            small.1,
            large.0,
            large.1,
            size(mean)
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

/// A list that may be long.
fn faults(text: &mut String, all: impl ExactSizeIterator<Item = String>) {
    let count = all.len();
    for line in all.take(SHOWN) {
        let _ = writeln!(text, "  unusable   {line}");
    }
    if count > SHOWN {
        let _ = writeln!(text, "  unusable   and {} more", count - SHOWN);
    }
}

fn shards(folder: &Path, tars: &[PathBuf]) -> anyhow::Result<(Value, String)> {
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

fn cache(path: &Path, files: &[PathBuf]) -> anyhow::Result<(Value, String)> {
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

fn checkpoint(info: &CheckpointInfo) -> String {
    let mut text = format!("{}: a checkpoint, {}\n", info.path.display(), info.layout);
    let tower = |text: &mut String, name: &str, tower: &Option<TowerInfo>| {
        let _ = match tower {
            None => writeln!(text, "  {name:<10} none"),
            Some(t) => writeln!(
                text,
                "  {name:<10} width {}, {} layers, {} heads, features of {}; {:.1} M parameters in {} tensors, {}\n  {:<10} {}",
                t.width,
                t.layers,
                t.heads,
                t.projection,
                t.parameters as f64 / 1e6,
                t.tensors,
                t.dtypes.iter().cloned().collect::<Vec<_>>().join(" and "),
                "",
                t.fingerprint
            ),
        };
    };
    tower(&mut text, "text", &info.text);
    tower(&mut text, "vision", &info.vision);
    if let Some(bytes) = info.onnx_bytes {
        let _ = writeln!(text, "  onnx       vision_model.onnx, {}", size(bytes));
    }
    let _ = match &info.picture {
        Ok((width, height)) => writeln!(text, "  pictures   {width} x {height}"),
        Err(fault) => writeln!(text, "  pictures   {fault}"),
    };
    let _ = match &info.vocabulary {
        Ok(tokens) => writeln!(text, "  tokenizer  {tokens} tokens"),
        Err(fault) => writeln!(text, "  tokenizer  {fault}"),
    };
    let _ = match info.encoder() {
        Some(kind) => writeln!(text, "  encode     takes it as \"{kind}\""),
        None => writeln!(text, "  encode     has no image encoder here: neither a vision tower nor vision_model.onnx"),
    };
    text
}

fn is_run(path: &Path) -> bool {
    std::fs::read_to_string(path.join("pipeline.toml")).is_ok_and(|text| text.starts_with(MARK))
}

fn run(path: &Path) -> anyhow::Result<(Value, String)> {
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
        measurements: measurements.into_iter().filter(|m| m.eval != "train").collect(),
        stages,
        skipped: skipped.into_iter().map(|((stage, reason), n)| (stage, reason, n)).collect(),
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
        "exported": path.join("export").is_dir(),
    });
    text.push('\n');
    text.push_str(&show::summary(&summary));
    Ok((value, text))
}
