//! Kills runs at random moments, resumes them, and compares how they end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use pipeline_engine::rng::{ChaCha8Rng, Draw};
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::world;

/// The settings of a campaign.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program that is killed.
    pub pipeline: PathBuf,
    /// The working folder; the caller deletes it.
    pub folder: PathBuf,
    /// Number of kills that must hit a living run.
    pub kills: usize,
    /// Seed of the moments.
    pub seed: u64,
    /// Images in the shards.
    pub samples: usize,
    /// The result so far, of campaigns with other seeds.
    pub onto: Report,
}

/// The result of a campaign.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// Seeds of the moments.
    pub seeds: Vec<u64>,
    /// Seconds.
    pub took_s: f64,
    /// Kills that hit a living run.
    pub kills: usize,
    /// Runs that were killed, once or more, and resumed to their end.
    pub runs: usize,
    /// Kills by what the run was doing.
    pub by_moment: BTreeMap<String, usize>,
    /// Runs by settings.
    pub by_settings: BTreeMap<String, usize>,
    /// What differed from the run that was never killed; must be empty.
    pub differences: Vec<String>,
}

/// Settings of the runs. Each depends on earlier state in its own way.
const VARIANTS: [(&str, &[&str]); 4] = [
    ("tng", &[]),
    ("fixed captions", &["stage.captions.mode=fixed"]),
    (
        "twins, cosine",
        &[
            "stage.captions.writer=twins",
            "stage.train.loss=contrast",
            "stage.train.schedule=cosine",
            "stage.train.contrast.keep=0.5",
        ],
    ),
    ("no cache", &["stage.encode.cache="]),
];

/// The files that must be the same at the end.
#[derive(PartialEq)]
struct End {
    files: BTreeMap<String, Vec<u8>>,
}

/// When a run is killed.
enum Moment {
    /// This long after its start.
    After(Duration),
    /// A little after a path with this ending appears under the run folder or the cache.
    Appears(&'static str, Duration),
}

/// Runs the campaign and reports its progress to `said`.
///
/// # Errors
/// If a run cannot be started, fails without being killed, or hangs.
pub fn campaign(settings: &Settings, said: &mut dyn FnMut(&str)) -> Result<Report> {
    ensure!(
        !settings.onto.seeds.contains(&settings.seed),
        "seed {} is in the results already; give another one with --seed",
        settings.seed
    );
    let began = Instant::now();
    world::make(&settings.folder, settings.samples)?;
    let mut whole = Vec::new();
    for (index, (name, sets)) in VARIANTS.iter().enumerate() {
        let run = Run::new(settings, format!("whole-{index}"), sets);
        let started = Instant::now();
        run.finish(&run.start(false, &[])?)?;
        let took = started.elapsed();
        said(&format!("{name}: {:.1} s without a kill", took.as_secs_f64()));
        whole.push((run.end()?, took));
    }

    let mut report = settings.onto.clone();
    let (wanted, took_before) = (report.kills + settings.kills, report.took_s);
    report.seeds.push(settings.seed);
    let mut case = 0;
    while report.kills < wanted {
        let variant = case % VARIANTS.len();
        let (name, sets) = VARIANTS[variant];
        let (end, took) = &whole[variant];
        let rng = &mut Draw::new(settings.seed, "kill").number(case as u64).rng();
        let run = Run::new(settings, format!("killed-{case}"), sets);
        for _ in 0..rng.random_range(1..=3u32) {
            let Some(moment) = run.kill(moment(rng, *took), &widths(rng))? else { break };
            report.kills += 1;
            *report.by_moment.entry(moment.to_owned()).or_default() += 1;
        }
        run.finish(&run.start(run.exists(), &widths(rng))?)?;
        report.runs += 1;
        *report.by_settings.entry(name.to_owned()).or_default() += 1;
        let differences = run.end()?.differences(end);
        said(&format!("run {case} ({name}), kill {} of {wanted}: {}", report.kills, verdict(&differences)));
        report.differences.extend(differences.into_iter().map(|what| format!("run {case} ({name}): {what}")));
        if report.differences.is_empty() {
            std::fs::remove_dir_all(run.dir()).ok();
        }
        case += 1;
        report.took_s = took_before + began.elapsed().as_secs_f64();
    }
    Ok(report)
}

fn verdict(differences: &[String]) -> String {
    if differences.is_empty() { "the same bytes".into() } else { format!("DIFFERS: {}", differences.join(", ")) }
}

/// Half of the moments are random; the others are when a run writes a file.
fn moment(rng: &mut ChaCha8Rng, took: Duration) -> Moment {
    let little = Duration::from_micros(rng.random_range(0..3000));
    match rng.random_range(0..8u32) {
        0 => Moment::Appears(".arrow", little),
        1 => Moment::Appears(".part", little),
        2 => Moment::Appears(".export.partial", little),
        3 => Moment::Appears("s000002", little),
        _ => Moment::After(took.mul_f64(rng.random_range(0.02..1.0))),
    }
}

/// Other numbers of threads and other capacities, which must not change the result.
fn widths(rng: &mut ChaCha8Rng) -> Vec<String> {
    vec![
        format!("stage.decode.workers={}", rng.random_range(1..5u32)),
        format!("stage.tokenize.workers={}", rng.random_range(1..4u32)),
        format!("stage.captions.capacity={}", rng.random_range(1..6u32)),
        format!("run.edge_bytes={}", 1u32 << rng.random_range(14..24u32)),
    ]
}

/// One run folder.
struct Run<'a> {
    settings: &'a Settings,
    name: String,
    sets: Vec<String>,
}

/// A run that takes longer counts as hung.
const PATIENCE: Duration = Duration::from_secs(240);

impl<'a> Run<'a> {
    fn new(settings: &'a Settings, name: String, sets: &[&str]) -> Self {
        let mut all = vec![format!("run.name={name}"), format!("stage.encode.cache=cache-{name}")];
        all.extend(sets.iter().map(|&set| set.to_owned()));
        Self { settings, name, sets: all }
    }

    fn dir(&self) -> PathBuf {
        self.settings.folder.join("runs").join(&self.name)
    }

    fn cache(&self) -> PathBuf {
        self.settings.folder.join(format!("cache-{}", self.name))
    }

    fn exists(&self) -> bool {
        self.dir().exists()
    }

    fn start(&self, resume: bool, more: &[String]) -> Result<Process> {
        let mut command = Command::new(&self.settings.pipeline);
        command.arg("run").arg(self.settings.folder.join("pipeline.toml"));
        command.args(self.sets.iter().chain(more).map(|set| format!("--set={set}")));
        if resume {
            command.arg("--resume");
        }
        // Into a file: a pipe that nobody reads would block a run with many messages.
        let log = self.settings.folder.join(format!("{}.log", self.name));
        let out = std::fs::File::create(&log)?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        command.env_remove("RUST_LOG").env_remove("RANK").env_remove("WORLD_SIZE");
        let child = command.spawn().with_context(|| format!("cannot start {}", self.settings.pipeline.display()))?;
        Ok(Process { child: std::cell::RefCell::new(child), log })
    }

    /// Kills the run at `moment`. Returns what it was doing, or `None` if it had ended before.
    fn kill(&self, moment: Moment, more: &[String]) -> Result<Option<&'static str>> {
        let process = self.start(self.exists(), more)?;
        let began = Instant::now();
        let old = self.paths();
        loop {
            if let Some(status) = process.child.borrow_mut().try_wait()? {
                ensure!(status.success(), "{} failed by itself:\n{}", self.name, process.said());
                return Ok(None);
            }
            match moment {
                Moment::After(time) if began.elapsed() >= time => break,
                Moment::Appears(end, little) if self.paths().iter().any(|p| p.ends_with(end) && !old.contains(p)) => {
                    std::thread::sleep(little);
                    break;
                }
                _ if began.elapsed() > PATIENCE => bail!("{} hangs:\n{}", self.name, process.said()),
                Moment::After(_) => std::thread::sleep(Duration::from_millis(1)),
                Moment::Appears(..) => std::thread::sleep(Duration::from_micros(200)),
            }
        }
        let at = self.at();
        process.child.borrow_mut().kill()?;
        let status = process.child.borrow_mut().wait()?;
        // It may have ended between the last look and the kill.
        Ok(if status.success() { None } else { Some(at) })
    }

    fn finish(&self, process: &Process) -> Result<()> {
        let began = Instant::now();
        let status: ExitStatus = loop {
            if let Some(status) = process.child.borrow_mut().try_wait()? {
                break status;
            }
            ensure!(began.elapsed() < PATIENCE, "{} hangs:\n{}", self.name, process.said());
            std::thread::sleep(Duration::from_millis(5));
        };
        ensure!(status.success(), "{} failed:\n{}", self.name, process.said());
        Ok(())
    }

    /// Names under the run folder and the cache.
    fn paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        for folder in [self.dir(), self.dir().join("checkpoints"), self.cache()] {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                found.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        found
    }

    /// What the run is doing, judged by the files that exist.
    fn at(&self) -> &'static str {
        let paths = self.paths();
        let has = |end: &str| paths.iter().any(|path| path.ends_with(end));
        let cached = |path: &String| path.contains(".arrow.") && path.ends_with(".part");
        let checkpoint = paths.iter().any(|path| path.starts_with('e') && path.contains("-s"));
        if has(".export.partial") {
            "export"
        } else if has("export") {
            "after the export"
        } else if paths.iter().any(|path| path.starts_with('e') && path.ends_with(".part")) {
            "a checkpoint"
        } else if paths.iter().any(cached) {
            "writing the cache"
        } else if has(".arrow") && !checkpoint {
            "the cache and the first steps"
        } else if checkpoint {
            "training"
        } else {
            "the start"
        }
    }

    fn end(&self) -> Result<End> {
        let mut files = BTreeMap::new();
        read_all(&self.dir().join("export"), "export", &mut files)?;
        // The card ends with the configuration, in which the run's name and its workers differ.
        if let Some(card) = files.get_mut("export/MODEL_CARD.md") {
            let text = String::from_utf8_lossy(card).into_owned();
            let (scores, _) = text.split_once("## Configuration").context("a model card has its configuration")?;
            *card = scores.as_bytes().to_vec();
        }
        let newest = self.paths().into_iter().filter(|path| path.starts_with('e') && path.contains("-s")).max();
        let newest = newest.context("a finished run has a checkpoint")?;
        read_all(&self.dir().join("checkpoints").join(&newest), &newest, &mut files)?;
        files.insert("results.jsonl".into(), std::fs::read(self.dir().join("results.jsonl"))?);
        // Two threads write it, so the order of its lines may differ.
        let mut skipped: Vec<String> =
            std::fs::read_to_string(self.dir().join("skipped.jsonl"))?.lines().map(str::to_owned).collect();
        skipped.sort();
        files.insert("skipped.jsonl".into(), skipped.join("\n").into_bytes());
        let litter: Vec<String> =
            self.paths().into_iter().filter(|p| p.contains(".part") || p.contains(".old")).collect();
        files.insert("left behind".into(), litter.join(" ").into_bytes());
        Ok(End { files })
    }
}

struct Process {
    child: std::cell::RefCell<Child>,
    log: PathBuf,
}

impl Process {
    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl End {
    fn differences(&self, whole: &Self) -> Vec<String> {
        let names: std::collections::BTreeSet<&String> = self.files.keys().chain(whole.files.keys()).collect();
        names.into_iter().filter(|name| self.files.get(*name) != whole.files.get(*name)).cloned().collect()
    }
}

fn read_all(folder: &Path, name: &str, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_file() {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.insert(format!("{name}/{file}"), std::fs::read(&path)?);
        }
    }
    Ok(())
}
