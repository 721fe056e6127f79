//! Measures this pipeline and a PyTorch program of the same semantics (`reference.py`) in turn, on
//! the same shards and the same random ViT-B/32, and prints medians and their ratios.
//!
//! Each measurement is a process of its own, so that its peak of resident memory is its own too.

mod ours;
mod samples;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

/// Measures this pipeline and a PyTorch program of the same semantics in turn.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Part>,
    #[command(flatten)]
    options: Options,
    /// What to measure; default: all except `large`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<What>,
    /// The interpreter of the PyTorch program; "none": measure only this pipeline.
    #[arg(long, default_value = "python3")]
    python: String,
    /// A file of results. The measurements in it are not repeated; new ones are added.
    #[arg(long)]
    results: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Part {
    /// Make one measurement of this pipeline and print it as a line of JSON.
    #[command(hide = true)]
    Part {
        what: What,
        #[command(flatten)]
        options: Options,
    },
}

/// The options of both sides.
#[derive(Args, Clone, Debug)]
struct Options {
    /// Images per batch.
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Measured steps, after one to warm up.
    #[arg(long, default_value_t = 3)]
    steps: usize,
    /// Shards of pictures (.jpg) with captions (.txt), in order.
    #[arg(long, value_delimiter = ',', default_value = "assets/world/train-000.tar")]
    shards: Vec<PathBuf>,
    /// A picture on which the decoders are also measured.
    #[arg(long)]
    picture: Option<PathBuf>,
    /// The folder of the random ViT-B/32, 300 MB; created if it is missing.
    #[arg(long, default_value = ".cache/bench")]
    dir: PathBuf,
    /// This pipeline only: how texts lie in memory.
    #[arg(long, value_enum, default_value_t = Layout::Tree)]
    layout: Layout,
    /// This pipeline only: texts per part of the backward pass; 0: all.
    #[arg(long, default_value_t = 0)]
    chunk: usize,
    /// This pipeline only: the loss and its texts; "tng" has 3 texts per image, "contrast" 5.
    #[arg(long, value_enum, default_value_t = Preset::Tng)]
    preset: Preset,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum What {
    /// JPEG bytes to pixels of the tower's size, on one core.
    Decode,
    /// The image tower.
    Encode,
    /// The nearest other images of a batch.
    Pairs,
    /// Texts with negation.
    Captions,
    /// The text tower, forward and backward, on the texts of a batch.
    Text,
    /// Whole steps with pictures, as in epoch 1.
    Step,
    /// Whole steps from cached features, as from epoch 2. The reference has no cache.
    Cached,
    /// Whole steps from cached features while captions are made, and with captions made beforehand.
    Generation,
    /// A step of 4096 images from cached features, in chunks of texts: its time and memory. Measured
    /// only if it is named.
    Large,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Layout {
    Padded,
    Packed,
    Tree,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Preset {
    Tng,
    Contrast,
}

/// Seconds of each repetition by name, and the peak of resident memory.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Measured {
    seconds: BTreeMap<String, Vec<f64>>,
    peak_bytes: u64,
    /// The amount of work in one repetition, by name, for rates.
    #[serde(default)]
    counts: BTreeMap<String, f64>,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    if let Some(Part::Part { what, options }) = &cli.command {
        println!("{}", serde_json::to_string(&ours::measure(*what, options)?)?);
        return Ok(());
    }
    samples::checkpoint(&cli.options.dir)?;
    samples::nouns(&cli.options.dir)?;
    let mut results = Results::open(cli.results.clone())?;
    let all = [
        What::Decode,
        What::Encode,
        What::Pairs,
        What::Captions,
        What::Text,
        What::Step,
        What::Cached,
        What::Generation,
        What::Large,
    ];
    let wanted = |what: &What| if cli.only.is_empty() { *what != What::Large } else { cli.only.contains(what) };
    for what in all.into_iter().filter(wanted) {
        results.measure(&format!("ours {what:?}"), || ours_apart(what, &cli.options))?;
        if cli.python != "none" && !matches!(what, What::Cached | What::Generation | What::Large) {
            results.measure(&format!("reference {what:?}"), || reference(&cli.python, what, &cli.options))?;
        }
    }
    print!("{}", table::table(&results.all, &cli.options));
    Ok(())
}

/// All measurements, kept in a file if one is named.
struct Results {
    path: Option<PathBuf>,
    all: BTreeMap<String, Measured>,
}

impl Results {
    fn open(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let all = match &path {
            Some(path) if path.exists() => serde_json::from_str(&std::fs::read_to_string(path)?)
                .with_context(|| format!("{} is not a file of results", path.display()))?,
            _ => BTreeMap::new(),
        };
        Ok(Self { path, all })
    }

    fn measure(&mut self, name: &str, f: impl FnOnce() -> anyhow::Result<Measured>) -> anyhow::Result<()> {
        if self.all.contains_key(name) {
            return Ok(());
        }
        eprintln!("measuring: {name}");
        self.all.insert(name.to_owned(), f()?);
        if let Some(path) = &self.path {
            let text = serde_json::to_string_pretty(&self.all)?;
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

fn ours_apart(what: What, options: &Options) -> anyhow::Result<Measured> {
    let value = |what: &dyn ValueEnumName| what.name();
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("part").arg(value(&what)).args(shared(options));
    command.args(["--layout", &value(&options.layout), "--preset", &value(&options.preset)]);
    command.args(["--chunk", &options.chunk.to_string()]);
    run(command)
}

fn reference(python: &str, what: What, options: &Options) -> anyhow::Result<Measured> {
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("reference.py")).arg(what.name());
    command.args(shared(options));
    run(command)
}

fn shared(options: &Options) -> Vec<String> {
    let path = |path: &Path| path.display().to_string();
    let shards: Vec<String> = options.shards.iter().map(|shard| path(shard)).collect();
    let mut words = vec!["--batch".into(), options.batch.to_string(), "--steps".into(), options.steps.to_string()];
    words.extend(["--shards".into(), shards.join(","), "--dir".into(), path(&options.dir)]);
    if let Some(picture) = &options.picture {
        words.extend(["--picture".into(), path(picture)]);
    }
    words
}

fn run(mut command: Command) -> anyhow::Result<Measured> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}", output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("{:?} printed {line:?}", command.get_program()))
}

/// The word of a value on the command line.
trait ValueEnumName {
    fn name(&self) -> String;
}

impl<T: ValueEnum> ValueEnumName for T {
    fn name(&self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}
