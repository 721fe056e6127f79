//! The stage in a pipeline of two: `shards`, and a sink that writes down what comes.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use items::{CachedSample, FeatureMemory, Flow, ImageBytes, Memory, Shard, ShardFault, ShardPlan, Work};
use parking_lot::Mutex;
use pipeline_engine::{
    Build, Built, Config, Inlet, Nothing, Outlet, Pass, Pipeline, Registry, RunDir, Stage, StageError, StageKind,
    check, options,
};
use stage_shards::Shards;

options! {
    /// Options of the sink.
    pub struct SinkOptions {
        /// A part of a shard's name; such shards count as cached.
        cached: String = String::from("nothing is");
    }
}

struct Sink;

/// What came in which epoch: `epoch|shard|key|captions or reason`; the end of a shard as `epoch|shard|END n fault`.
static SEEN: Mutex<BTreeMap<String, Vec<String>>> = Mutex::new(BTreeMap::new());

struct Writer {
    run: String,
    /// What the memory knows: the samples of cached shards, as they were seen in this test.
    cached: String,
}

impl StageKind for Sink {
    const KIND: &'static str = "sink";
    const ABOUT: &'static str = "writes down what comes";
    type In = Flow<ImageBytes>;
    type Out = Nothing;
    type Options = SinkOptions;

    fn build(options: SinkOptions, build: &mut Build<'_>) -> Result<Built<Self::In, Nothing>, StageError> {
        let plan = build.services.get::<ShardPlan>().unwrap();
        let known = |shard: &Arc<Shard>| shard.identity.contains("mtime=") || shard.url.starts_with("pipe:");
        assert!(plan.shards.iter().all(known));
        build.services.publish(Arc::new(Memory(Arc::new(Fake { cached: options.cached.clone() }))));
        Ok(Built::Stage(Box::new(Writer { run: build.run.name.clone(), cached: options.cached })))
    }
}

impl Stage<Flow<ImageBytes>, Nothing> for Writer {
    fn run(
        &mut self,
        pass: &Pass<'_>,
        mut input: Inlet<Flow<ImageBytes>>,
        _: Outlet<Nothing>,
    ) -> Result<(), StageError> {
        while let Some(flow) = input.recv()? {
            let line = match flow {
                Flow::Sample(sample) => {
                    let shard = &sample.id.shard.url;
                    assert_eq!(matches!(sample.work, Work::Done(_)), shard.contains(&self.cached));
                    let told = match &sample.work {
                        Work::Todo(_) | Work::Done(_) => sample.captions.join("+"),
                        Work::Skipped { stage, reason } => format!("{stage}: {reason}"),
                    };
                    format!("{}|{shard}|{}|{told}", pass.epoch, sample.id.key)
                }
                Flow::ShardEnd { shard, samples, fault } => {
                    let fault = fault.map(|fault| fault.reason).unwrap_or_default();
                    format!("{}|{}|END {samples} {fault}", pass.epoch, shard.url)
                }
            };
            SEEN.lock().entry(self.run.clone()).or_default().push(line);
        }
        Ok(())
    }
}

/// A memory that knows what `shards_of` packs.
struct Fake {
    cached: String,
}

impl FeatureMemory for Fake {
    fn recall(&self, shard: &Shard) -> Result<Option<(Vec<CachedSample>, Option<ShardFault>)>, StageError> {
        if !shard.url.contains(&self.cached) {
            return Ok(None);
        }
        let remember = |(key, caption): (String, String)| CachedSample {
            key: key.into(),
            captions: [caption].into(),
            work: Work::Done([1.0].into()),
        };
        Ok(Some((contents(&shard.url).into_iter().map(remember).collect(), None)))
    }
}

/// Keys and captions of the eight samples in a shard.
fn contents(shard: &str) -> Vec<(String, String)> {
    (0..8).map(|i| (format!("{i:03}"), format!("caption {i} of {shard}"))).collect()
}

fn pack(dir: &Path, shard: &str) {
    let mut tar = tar::Builder::new(Vec::new());
    for (key, caption) in contents(shard) {
        for (extension, bytes) in [("jpg", "picture".as_bytes()), ("txt", caption.as_bytes())] {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, format!("{key}.{extension}"), bytes).unwrap();
        }
    }
    std::fs::write(dir.join(shard), tar.into_inner().unwrap()).unwrap();
}

fn folder(shards: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    (0..shards).for_each(|i| pack(dir.path(), &format!("s-{i}.tar")));
    dir
}

/// Runs two epochs over a folder; what the sink saw, or the error.
fn run(dir: &Path, name: &str, shards: &str, sink: &str) -> Result<Vec<String>, String> {
    let registry = Arc::new(Registry::new().stage::<Shards>().stage::<Sink>());
    let text = format!(
        "[run]\nname = \"{name}\"\nseed = 7\nepochs = 2\n[[stage]]\nkind = \"shards\"\n{shards}\n[[stage]]\nkind = \"sink\"\n{sink}\n"
    );
    let config = Config::parse("test.toml", text, dir.to_owned()).unwrap();
    let plan = check(&config, &registry).map_err(|faults| faults[0].to_string())?;
    let run_dir = RunDir::open(&dir.join(name), false, false).unwrap();
    let pipeline = Pipeline::build(plan, &registry, run_dir, "", false).map_err(|error| error.to_string())?;
    pipeline.run(&mut |_| {}).map_err(|error| error.to_string())?;
    Ok(SEEN.lock().remove(name).unwrap_or_default())
}

fn of_epoch(lines: &[String], epoch: u32) -> Vec<&str> {
    lines.iter().filter_map(|line| line.strip_prefix(&format!("{epoch}|"))).collect()
}

fn samples<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    lines.iter().copied().filter(|line| !line.contains("|END ")).collect()
}

#[test]
fn what_a_command_prints_is_a_shard_if_the_config_says_so() {
    let dir = folder(2);
    let files = run(dir.path(), "files", "urls = \"s-{0..1}.tar\"", "").unwrap();
    let piped = "urls = \"pipe:cat s-{0..1}.tar\"\nallow_pipes = true";
    let piped = run(dir.path(), "piped", piped, "").unwrap();
    assert_eq!(piped.iter().map(|line| line.replace("pipe:cat ", "")).collect::<Vec<_>>(), files);
    let error = run(dir.path(), "refused", "urls = \"pipe:touch ran\"", "").unwrap_err();
    assert!(error.contains("pipe:touch ran") && error.contains("allow_pipes = true"), "{error}");
    assert!(!dir.path().join("ran").exists());
    let half = "urls = \"pipe:head -c 3000 s-0.tar; echo no bucket >&2; exit 3\"\nallow_pipes = true";
    let error = run(dir.path(), "half", half, "").unwrap_err();
    assert!(error.contains("head -c 3000 s-0.tar") && error.contains("it said: no bucket"), "{error}");
}

#[test]
fn every_epoch_has_each_sample_once_in_an_order_of_its_own() {
    let dir = folder(5);
    let urls = "urls = \"s-{0..4}.tar\"\nbuffer = 10";
    let lines = run(dir.path(), "order-a", urls, "").unwrap();
    assert_eq!(lines, run(dir.path(), "order-b", urls, "").unwrap());
    let (first, second) = (of_epoch(&lines, 1), of_epoch(&lines, 2));
    assert_ne!(first, second);
    assert_eq!(first.iter().filter(|line| line.ends_with("|END 8 ")).count(), 5);
    let sorted = |lines: &[&str]| {
        let mut lines: Vec<String> = samples(lines).into_iter().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&first).len(), 40);
    assert_eq!(sorted(&first), sorted(&second));
    let want: Vec<String> = (0..5)
        .flat_map(|s| contents(&format!("s-{s}.tar")).into_iter().map(move |(k, c)| format!("s-{s}.tar|{k}|{c}")))
        .collect();
    assert_eq!(sorted(&first), want);
}

#[test]
fn without_shuffle_an_epoch_is_the_shards_as_they_lie() {
    let dir = folder(2);
    let lines = run(dir.path(), "plain", "urls = [\"s-1.tar\", \"s-0.tar\"]\nshuffle = false", "").unwrap();
    let first = of_epoch(&lines, 1);
    assert_eq!(first, of_epoch(&lines, 2));
    assert_eq!(first.len(), 18);
    assert_eq!(first[0], "s-1.tar|000|caption 0 of s-1.tar");
    assert_eq!(first[8], "s-1.tar|END 8 ");
    assert_eq!(first[16], "s-0.tar|007|caption 7 of s-0.tar");
}

#[test]
fn what_is_cached_comes_from_the_memory_in_the_same_order() {
    let dir = folder(4);
    let urls = "urls = \"*.tar\"\nbuffer = 6";
    let read = run(dir.path(), "memory-a", urls, "").unwrap();
    assert_eq!(read, run(dir.path(), "memory-b", urls, "cached = \"s-2\"").unwrap());
    assert_eq!(read, run(dir.path(), "memory-c", urls, "cached = \"tar\"").unwrap());
}

#[test]
fn broken_shards_give_what_they_have_and_are_written_down() {
    let dir = folder(3);
    let cut = dir.path().join("s-1.tar");
    let bytes = std::fs::read(&cut).unwrap();
    std::fs::write(&cut, &bytes[..2048 * 2 + 700]).unwrap();
    std::fs::write(dir.path().join("s-2.tar"), "<html>404</html>").unwrap();
    let lines = run(dir.path(), "broken", "urls = \"s-*.tar\"\nshuffle = false", "").unwrap();
    let first = of_epoch(&lines, 1);
    assert_eq!(
        first[9..12],
        [
            "s-1.tar|000|caption 0 of s-1.tar",
            "s-1.tar|001|caption 1 of s-1.tar",
            "s-1.tar|002|shards: the shard is cut or damaged inside this sample",
        ]
    );
    assert!(first[12].starts_with("s-1.tar|END 3 truncated"), "{}", first[12]);
    assert!(first[13].starts_with("s-2.tar|END 0 not a tar"), "{}", first[13]);
    let ledger = std::fs::read_to_string(dir.path().join("broken/skipped.jsonl")).unwrap();
    assert_eq!(ledger.lines().count(), 2, "{ledger}");
    assert!(
        ledger
            .contains(r#""shard":"s-1.tar","key":"","stage":"shards","reason":"the shard is lost in part: truncated"#),
        "{ledger}"
    );
    assert!(
        ledger.contains(r#""shard":"s-2.tar","key":"","stage":"shards","reason":"the whole shard is lost: not a tar"#),
        "{ledger}"
    );
}

#[test]
fn faults_of_the_config_are_told_before_the_run() {
    let dir = folder(1);
    let error = |name: &str, shards: &str| run(dir.path(), name, shards, "").unwrap_err();
    assert!(error("e1", "urls = \"s-{0..1}.tar\"").contains("shard `s-1.tar` is missing"));
    assert!(error("e2", "").contains("needs `urls`"));
    assert!(error("e3", "urls = \"s-0.tar\"\ncaptions = \"json\"").contains("json:FIELD"));
    assert!(error("e4", "urls = \"s-0.tar\"\nimages = \"\"").contains("`images` is empty"));
    assert!(error("e5", "urls = \"s-0.tar\"\nbuffer_bytes = 20").contains("set buffer = 2 or less"));
    assert!(run(dir.path(), "e6", "urls = \"s-0.tar\"\nbuffer_bytes = 20\nbuffer = 2", "").is_ok());
    assert!(run(dir.path(), "e7", "urls = \"s-0.tar\"\nimages = \"PNG;.jpg\"", "").is_ok());
}
