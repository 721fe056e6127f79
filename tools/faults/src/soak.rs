//! Runs a million tiny samples through every stage and measures the memory that this takes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clip::config::VisionConfig;
use clip::{Checkpoint, ClipConfig, Precision, TextConfig};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use serde::Serialize;

/// The settings of a soak.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program that is watched.
    pub pipeline: PathBuf,
    /// The working folder; the caller deletes it.
    pub folder: PathBuf,
    /// Samples in all, in one epoch.
    pub samples: usize,
    /// Number of shards that hold them.
    pub shards: usize,
}

/// The result of a soak.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Samples that went through.
    pub samples: usize,
    /// Number of shards that held them.
    pub shards: usize,
    /// Seconds.
    pub took_s: f64,
    /// Seconds since the start, and MiB of resident memory then.
    pub resident_mib: Vec<(u64, u64)>,
    /// The most files that were open at once.
    pub open_files: usize,
    /// MiB per minute, fitted to the second half.
    pub growth_mib_per_min: f64,
}

/// Number of distinct samples; the shards repeat them.
const DISTINCT: usize = 10_000;

/// Runs the soak and reports its progress to `said`. Needs `/proc`.
///
/// # Errors
/// If the run fails, or its memory cannot be read.
pub fn soak(settings: &Settings, said: &mut dyn FnMut(&str)) -> Result<Report> {
    make(settings)?;
    let log = settings.folder.join("soak.log");
    let out = std::fs::File::create(&log)?;
    let mut child = Command::new(&settings.pipeline)
        .arg("run")
        .arg(settings.folder.join("pipeline.toml"))
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .spawn()
        .with_context(|| settings.pipeline.display().to_string())?;
    let began = Instant::now();
    let mut report = Report {
        samples: settings.samples,
        shards: settings.shards,
        took_s: 0.0,
        resident_mib: Vec::new(),
        open_files: 0,
        growth_mib_per_min: 0.0,
    };
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let process = Path::new("/proc").join(child.id().to_string());
        let text = std::fs::read_to_string(process.join("status")).unwrap_or_default();
        let resident = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = resident.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        if let Some(kib) = kib {
            report.resident_mib.push((began.elapsed().as_secs(), kib >> 10));
            said(&format!("{} s: {} MiB", began.elapsed().as_secs(), kib >> 10));
        }
        let open = std::fs::read_dir(process.join("fd")).map_or(0, Iterator::count);
        report.open_files = report.open_files.max(open);
        std::thread::sleep(Duration::from_secs(5));
    };
    report.took_s = began.elapsed().as_secs_f64();
    ensure!(status.success(), "{}", std::fs::read_to_string(&log)?);
    report.growth_mib_per_min = slope(&report.resident_mib[report.resident_mib.len() / 2..]) * 60.0;
    Ok(report)
}

/// The slope by least squares, in MiB per second.
fn slope(points: &[(u64, u64)]) -> f64 {
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 as f64 / n, y + p.1 as f64 / n));
    let (over, under) = points.iter().fold((0.0, 0.0), |(over, under), p| {
        let dx = p.0 as f64 - x;
        (over + dx * (p.1 as f64 - y), under + dx * dx)
    });
    if under > 0.0 { over / under } else { 0.0 }
}

/// Writes shards, a tiny model and a config without a cache: every sample is decoded and encoded.
#[allow(clippy::too_many_lines)] // Most of it is the text of a config.
fn make(settings: &Settings) -> Result<()> {
    let Settings { folder, samples, shards, .. } = settings;
    let each = samples / shards;
    let words = ["dog", "cat", "bus", "tree", "chair", "horse", "boat", "kite", "apple", "bench"];
    let mut distinct = Vec::with_capacity(2 * DISTINCT);
    for i in 0..DISTINCT.min(each) {
        let colour = [i, i / 256, i * 7].map(|value| value as u8);
        let mut png = std::io::Cursor::new(Vec::new());
        DynamicImage::from(RgbImage::from_pixel(8, 8, Rgb(colour))).write_to(&mut png, ImageFormat::Png)?;
        let word = |by: usize| words[i / by % words.len()];
        distinct.push((png.into_inner(), format!("a {} near a {} and {} {}", word(1), word(10), i, word(100))));
    }
    let mut written: Option<PathBuf> = None;
    for shard in 0..*shards {
        let path = folder.join(format!("s-{shard:04}.tar"));
        // Hard links to the first shard, as long as the file system supports them.
        if written.as_ref().is_some_and(|first| std::fs::hard_link(first, &path).is_ok()) {
            continue;
        }
        let mut tar = tar::Builder::new(std::io::BufWriter::new(std::fs::File::create(&path)?));
        for i in 0..each {
            let (png, caption) = &distinct[i % distinct.len()];
            for (extension, bytes) in [("png", png.as_slice()), ("txt", caption.as_bytes())] {
                let mut header = tar::Header::new_gnu();
                header.set_size(bytes.len() as u64);
                header.set_mode(0o644);
                tar.append_data(&mut header, format!("{i:08}.{extension}"), bytes)?;
            }
        }
        tar.into_inner()?;
        written.get_or_insert(path);
    }
    let config = ClipConfig {
        text: Some(TextConfig {
            hidden_size: 16,
            intermediate_size: 32,
            projection_dim: 16,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            ..TextConfig::default()
        }),
        vision: Some(VisionConfig {
            hidden_size: 16,
            intermediate_size: 32,
            projection_dim: 16,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            image_size: 8,
            patch_size: 8,
            ..VisionConfig::default()
        }),
    };
    Checkpoint::create(folder.join("model"), &config, &clip::init::random(&config, 1), Precision::F32)?;
    let toml = format!(
        r#"[run]
name = "soak"
dir = {dir:?}
epochs = 1
device = "cpu"

[model]
weights = "model"

[[stage]]
kind = "shards"
urls = "s-*.tar"

[[stage]]
kind = "decode"

[[stage]]
kind = "encode"
encoder = "clip"
cache = ""
[stage.clip]
chunk = 256

[[stage]]
kind = "batch"
size = 512

[[stage]]
kind = "pairs"
on = "cpu"

[[stage]]
kind = "captions"

[[stage]]
kind = "tokenize"

[[stage]]
kind = "train"
log_every = 0
"#,
        dir = folder.join("runs").display().to_string(),
    );
    std::fs::write(folder.join("pipeline.toml"), toml)?;
    Ok(())
}
