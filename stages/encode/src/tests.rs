//! The stage in a pipeline of three: pictures, `encode`, and a sink that writes down what comes.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use features::FeatureCache;
use items::{
    CachedSample, Encoded, Flow, Memory, Pixels, Recipe, Sample, SampleId, Shard, ShardFault, ShardPlan, Work,
};
use model::ModelOptions;
use parking_lot::Mutex;
use pipeline_engine::{
    Build, Built, Chosen, Config, Inlet, Nothing, Outlet, Pass, Pipeline, Registry, RunDir, Stage, StageError,
    StageKind, check, options,
};

use crate::chunks::Chunk;
use crate::encoder::{EncodeError, Encoder, EncoderKind, digest, fingerprint};
use crate::gather::Gather;
use crate::stage::{Encode, EncodeStage, Open, open_cache};
use crate::{OnnxEncoder, VitEncoder};

/// What each run saw and did, by its folder.
static SEEN: Mutex<BTreeMap<String, Seen>> = Mutex::new(BTreeMap::new());

#[derive(Default, Debug, Clone, PartialEq)]
struct Seen {
    /// `epoch|shard|index|key|captions|feature or reason`; the end of a shard as `epoch|shard|END n fault`.
    lines: Vec<String>,
    /// Epochs in which pictures were read.
    read: Vec<u32>,
    /// Pictures that were encoded.
    encoded: usize,
}

fn note(run: &str, what: impl FnOnce(&mut Seen)) {
    what(SEEN.lock().entry(run.to_owned()).or_default());
}

/// Run folders are unique, names are not.
fn run_of(build: &Build<'_>) -> String {
    build.path(&build.run.name).display().to_string()
}

options! {
    /// Options of the source.
    pub struct PicturesOptions {
        /// Shards.
        shards: u32 = 5;
        /// Of the shuffle buffer.
        buffer: usize = 6;
        /// Rows and columns of a picture.
        side: u32 = 2;
        /// Of every shard.
        identity: String = String::from("first");
        /// Noted in the recipe.
        recipe: String = String::from("txt");
    }
}

/// Stands for `shards` and `decode`.
struct Pictures(PicturesOptions, Arc<ShardPlan>, String);

impl StageKind for Pictures {
    const KIND: &'static str = "pictures";
    const ABOUT: &'static str = "makes pictures";
    type In = Nothing;
    type Out = Flow<Pixels>;
    type Options = PicturesOptions;

    fn build(options: PicturesOptions, build: &mut Build<'_>) -> Result<Built<Nothing, Self::Out>, StageError> {
        let shard = |number| {
            let (url, identity) = (format!("data/s-{number}.tar"), options.identity.clone());
            Arc::new(Shard { number, url, identity })
        };
        let shards = (0..options.shards).map(shard).collect();
        let plan = Arc::new(ShardPlan { shards, shuffle: true, buffer: options.buffer });
        build.services.publish(plan.clone());
        Recipe::note(build.services, Self::KIND, options.recipe.clone());
        Ok(Built::Stage(Box::new(Self(options, plan, run_of(build)))))
    }
}

impl Pictures {
    /// Nine samples a shard; one is skipped, one has a feature of NaN and one of length 0.
    fn samples(&self, shard: &Arc<Shard>) -> Vec<Sample<Pixels>> {
        let side = self.0.side;
        let sample = |index: u32| {
            let id = SampleId { shard: shard.clone(), index, key: format!("{index:03}").into() };
            let captions: Arc<[String]> = (0..index % 3 + 1).map(|i| format!("caption {i} of «{index}»")).collect();
            let work = match index {
                3 => Work::Skipped { stage: "decode".into(), reason: "no picture".into() },
                _ => {
                    let value = |at| (at * 7 + index * 31 + shard.number * 57) as u8 | 2;
                    let mut rgb: Vec<u8> = (0..side * side * 3).map(value).collect();
                    rgb[0] = if index == 5 {
                        0
                    } else if index == 6 {
                        1
                    } else {
                        rgb[0]
                    };
                    Work::Todo(Pixels { rgb, width: side, height: side })
                }
            };
            Sample { id, captions, work }
        };
        (0..if shard.number == 4 { 0 } else { 9 }).map(sample).collect()
    }
}

impl Stage<Nothing, Flow<Pixels>> for Pictures {
    fn run(&mut self, pass: &Pass<'_>, _: Inlet<Nothing>, mut output: Outlet<Flow<Pixels>>) -> Result<(), StageError> {
        note(&self.2, |seen| seen.read.push(pass.epoch));
        let memory = pass.services.get::<Memory>();
        let mut buffer = self.1.shuffle_buffer(pass.seed, pass.epoch);
        for position in self.1.order(pass.seed, pass.epoch) {
            let shard = &self.1.shards[position];
            let mut samples = self.samples(shard);
            let count = samples.len() as u32;
            if let Some((known, _)) = memory.as_ref().and_then(|memory| memory.0.recall(shard).unwrap()) {
                assert_eq!(known.len(), samples.len());
                for (sample, CachedSample { key, captions, work }) in samples.iter_mut().zip(known) {
                    assert_eq!((&sample.id.key, &sample.captions), (&key, &captions));
                    sample.work = work.settled();
                }
            }
            for sample in samples {
                if let Some(leaving) = buffer.push(sample) {
                    output.send(Flow::Sample(leaving))?;
                }
            }
            let fault = ShardFault { reason: "cut".into() };
            let fault = (shard.number == 3).then_some(fault);
            output.send(Flow::ShardEnd { shard: shard.clone(), samples: count, fault })?;
        }
        while let Some(leaving) = buffer.pop() {
            output.send(Flow::Sample(leaving))?;
        }
        Ok(())
    }
}

options! {
    /// Options of the stage with a fake encoder.
    pub struct FakeOptions {
        /// As those of `encode`.
        workers: usize = 1;
        /// As those of `encode`.
        chunk: usize = 1;
        /// As those of `encode`.
        cache: Option<PathBuf> = None;
        /// Stands for the weights.
        weights: String = String::from("first");
        /// Bytes of entries in memory.
        held: usize = 1 << 20;
    }
}

/// The stage `encode` with an encoder that is quick.
struct Fake {
    chunk: usize,
    run: String,
}

impl StageKind for Fake {
    const KIND: &'static str = "fake";
    const ABOUT: &'static str = "encode with a fake encoder";
    type In = Flow<Pixels>;
    type Out = Flow<Encoded>;
    type Options = FakeOptions;

    fn build(options: FakeOptions, build: &mut Build<'_>) -> Result<Built<Self::In, Self::Out>, StageError> {
        let (run, chunk) = (run_of(build), options.chunk);
        let open: Open = Box::new(move || Ok(Box::new(Fake { chunk, run: run.clone() })));
        let cache = match &options.cache {
            Some(dir) => Some(open_cache(&build.path(dir), &options.weights, options.held, build)?),
            None => None,
        };
        Ok(Built::Stage(Box::new(EncodeStage::new(options.workers, open, cache))))
    }
}

impl Encoder for Fake {
    fn dim(&self) -> usize {
        4
    }

    fn chunk(&self) -> usize {
        self.chunk
    }

    fn encode(&self, pictures: &[Pixels]) -> Result<Vec<f32>, EncodeError> {
        assert!((1..=self.chunk).contains(&pictures.len()));
        note(&self.run, |seen| seen.encoded += pictures.len());
        let feature = |picture: &Pixels| match picture.rgb[0] {
            0 => [1.0, f32::NAN, 0.0, 0.0],
            1 => [0.0; 4],
            _ => [0, 1, 2, 3].map(|i| f32::from(picture.rgb[i])),
        };
        Ok(pictures.iter().flat_map(feature).collect())
    }
}

options! {
    /// Options of the sink.
    pub struct SinkOptions {
        /// Samples after which it fails; 0: never.
        fail_after: u64 = 0;
    }
}

struct Sink(SinkOptions, String);

impl StageKind for Sink {
    const KIND: &'static str = "sink";
    const ABOUT: &'static str = "writes down what comes";
    type In = Flow<Encoded>;
    type Out = Nothing;
    type Options = SinkOptions;

    fn build(options: SinkOptions, build: &mut Build<'_>) -> Result<Built<Self::In, Nothing>, StageError> {
        Ok(Built::Stage(Box::new(Self(options, run_of(build)))))
    }
}

impl Stage<Flow<Encoded>, Nothing> for Sink {
    fn run(&mut self, pass: &Pass<'_>, mut input: Inlet<Flow<Encoded>>, _: Outlet<Nothing>) -> Result<(), StageError> {
        let mut count = 0;
        while let Some(flow) = input.recv()? {
            let line = match flow {
                Flow::Sample(sample) => {
                    let outcome = match &sample.work {
                        Work::Done(feature) => {
                            let norm: f32 = feature.iter().map(|x| x * x).sum();
                            assert!((norm - 1.0).abs() < 1e-5);
                            format!("{feature:?}")
                        }
                        Work::Skipped { stage, reason } => format!("{stage}: {reason}"),
                        Work::Todo(encoded) => match *encoded {},
                    };
                    let SampleId { shard, index, key } = &sample.id;
                    format!("{}|{}|{index}|{key}|{}|{outcome}", pass.epoch, shard.url, sample.captions.join("+"))
                }
                Flow::ShardEnd { shard, samples, fault } => {
                    let fault = fault.map(|fault| fault.reason).unwrap_or_default();
                    format!("{}|{}|END {samples} {fault}", pass.epoch, shard.url)
                }
            };
            note(&self.1, |seen| seen.lines.push(line));
            count += 1;
            if count == self.0.fail_after {
                return Err(StageError::msg("the sink is full"));
            }
        }
        Ok(())
    }
}

fn registry() -> Arc<Registry> {
    let registry = Registry::new().stage::<Pictures>().stage::<Fake>().stage::<Encode>().stage::<Sink>();
    Arc::new(registry.section::<ModelOptions>())
}

/// A config of three epochs.
fn config(dir: &Path, name: &str, pictures: &str, encode: &str, sink: &str) -> Config {
    let text = format!(
        "[run]\nname = \"{name}\"\nseed = 7\nepochs = 3\ndevice = \"cpu\"\n[model]\nweights = \"model\"\n\
         [[stage]]\nkind = \"pictures\"\n{pictures}\n[[stage]]\n{encode}\n[[stage]]\nkind = \"sink\"\n{sink}\n"
    );
    Config::parse("test.toml", text, dir.to_owned()).unwrap()
}

/// What `check` finds in the table of the stage `encode`, each fault without its place.
fn faults(dir: &Path, encode: &str) -> Vec<String> {
    let Err(faults) = check(&config(dir, "checked", "", encode, ""), &registry()) else { return Vec::new() };
    faults.into_iter().map(|fault| format!("{}; {}", fault.message, fault.help.unwrap_or_default())).collect()
}

/// Runs three epochs in a folder; what was seen, or the error.
fn run(dir: &Path, name: &str, pictures: &str, encode: &str, sink: &str) -> Result<Seen, String> {
    // `[model]` is verified, whoever uses it.
    if !dir.join("model").exists() {
        tiny_clip(dir);
    }
    let registry = registry();
    let config = config(dir, name, pictures, encode, sink);
    let plan = check(&config, &registry).map_err(|faults| faults[0].to_string())?;
    let run = dir.join(name);
    let run_dir = RunDir::open(&run, false, false).unwrap();
    let run = run.display().to_string();
    let pipeline = Pipeline::build(plan, &registry, run_dir, "", false).map_err(|error| error.to_string())?;
    pipeline.run(&mut |_| {}).map_err(|error| error.to_string())?;
    Ok(SEEN.lock().remove(&run).unwrap_or_default())
}

const FAKE: &str = "kind = \"fake\"";
const CACHED: &str = "kind = \"fake\"\ncache = \"cache\"";

/// The cache's files with their content, by name.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(dir.join("cache")) else { return BTreeMap::new() };
    let read =
        |entry: std::fs::DirEntry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap());
    entries.map(|entry| read(entry.unwrap())).collect()
}

fn ledger(dir: &Path, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join(name).join("skipped.jsonl")).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_cached_epoch_is_the_epoch_that_it_stands_for() {
    let dir = tempfile::tempdir().unwrap();
    let plain = run(dir.path(), "plain", "", FAKE, "").unwrap();
    assert_eq!(plain.read, [1, 2, 3]);
    assert_eq!(plain.lines.len(), 3 * (4 * 9 + 5));
    let cached = run(dir.path(), "cached", "", CACHED, "").unwrap();
    assert_eq!(cached.lines, plain.lines);
    assert_eq!((cached.read, cached.encoded), (vec![1], 4 * 8));
    assert_eq!(files(dir.path()).len(), 5);
    // A later run, once with all entries in memory and once with room for one only.
    for (name, held) in [("later", 1 << 20), ("little-memory", 4000)] {
        let later = run(dir.path(), name, "", &format!("{CACHED}\nheld = {held}"), "").unwrap();
        assert_eq!(later.lines, plain.lines);
        assert_eq!((later.read, later.encoded), (vec![], 0));
        assert_eq!(ledger(dir.path(), name), ledger(dir.path(), "plain"));
    }
    // In each of four shards three samples, and the fault of one shard.
    assert_eq!(ledger(dir.path(), "plain").len(), 4 * 3 + 1);
}

#[test]
fn neither_workers_nor_chunks_change_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let plain = run(dir.path(), "one", "", FAKE, "").unwrap();
    for (workers, chunk) in [(1, 2), (3, 1), (2, 5), (4, 1000)] {
        let name = format!("w{workers}c{chunk}");
        let seen = run(dir.path(), &name, "", &format!("{FAKE}\nworkers = {workers}\nchunk = {chunk}"), "").unwrap();
        assert_eq!(seen, plain);
    }
}

#[test]
fn a_shard_that_is_not_cached_is_encoded_among_those_that_are() {
    let dir = tempfile::tempdir().unwrap();
    let plain = run(dir.path(), "all", "", CACHED, "").unwrap();
    let before = files(dir.path());
    let name = before.keys().find(|name| name.starts_with("s-1-")).unwrap().clone();
    let path = dir.path().join("cache").join(&name);
    let mut damaged = before[&name].clone();
    damaged[700] ^= 1;
    for damage in [None, Some(damaged), Some(before[&name][..900].to_vec()), Some(b"ARROW1".to_vec()), Some(vec![])] {
        match damage {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let again = run(dir.path(), "again", "", CACHED, "").unwrap();
        std::fs::remove_dir_all(dir.path().join("again")).unwrap();
        assert_eq!(again.lines, plain.lines);
        assert_eq!((again.read, again.encoded), (vec![1], 8));
        assert_eq!(files(dir.path()), before);
    }
}

#[test]
fn other_weights_recipes_and_shards_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), "first", "", CACHED, "").unwrap();
    let read = |name: &str, pictures: &str, encode: &str| {
        run(dir.path(), name, pictures, &format!("{CACHED}\n{encode}"), "").unwrap().read
    };
    assert!(read("same", "", "").is_empty());
    assert_eq!(read("weights", "", "weights = \"other\""), [1]);
    assert_eq!(read("recipe", "recipe = \"json:caption\"", ""), [1]);
    assert_eq!(files(dir.path()).len(), 15);
    // A new version of a shard takes the place of the old one.
    assert_eq!(read("identity", "identity = \"second\"", ""), [1]);
    assert_eq!(files(dir.path()).len(), 15);
    assert!(read("identity-again", "identity = \"second\"", "").is_empty());
    assert!(read("weights-again", "", "weights = \"other\"").is_empty());
}

#[test]
fn a_shard_with_more_than_there_is_room_for_is_not_cached_but_passes() {
    let dir = tempfile::tempdir().unwrap();
    let cache = FeatureCache::open(dir.path(), dir.path(), "f".into(), 1 << 20).unwrap();
    let mut gather = Gather::new(&cache, 4000);
    // Two shards in turn; the second has longer captions.
    let shard = |number| Arc::new(Shard { number, url: format!("s-{number}.tar"), identity: String::new() });
    for index in 0..8 {
        for number in 0..2 {
            let id = SampleId { shard: shard(number), index, key: format!("{index}").into() };
            let captions = ["x".repeat(if number == 1 { 1000 } else { 10 })].into();
            gather.note(&Flow::Sample(Sample { id, captions, work: Work::Done([1.0].into()) }));
        }
    }
    for number in 0..2 {
        gather.note(&Flow::ShardEnd { shard: shard(number), samples: 8, fault: None });
    }
    assert!(cache.has(&shard(0)) && !cache.has(&shard(1)));
}

#[test]
fn a_run_that_fails_leaves_whole_entries_only() {
    let dir = tempfile::tempdir().unwrap();
    let error = run(dir.path(), "fails", "buffer = 0", CACHED, "fail_after = 25").unwrap_err();
    assert!(error.contains("the sink is full"), "{error}");
    let left = files(dir.path());
    assert!(!left.is_empty() && left.keys().all(|name| name.ends_with(".arrow")), "{:?}", left.keys());
    let plain = run(dir.path(), "plain", "buffer = 0", FAKE, "").unwrap();
    let after = run(dir.path(), "after", "buffer = 0", CACHED, "").unwrap();
    assert_eq!(after.lines, plain.lines);
    let whole = files(dir.path());
    assert!(left.iter().all(|(name, bytes)| whole[name] == *bytes));
}

/// A random CLIP of 16-pixel pictures in `dir/model`.
fn tiny_clip(dir: &Path) {
    let json = r#"{"model_type": "clip_vision_model", "architectures": ["CLIPVisionModelWithProjection"], "hidden_size": 48, "intermediate_size": 96, "projection_dim": 24,
        "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 16, "patch_size": 4}"#;
    let config = clip::ClipConfig::parse(Path::new("config.json"), json).unwrap();
    let tensors = clip::init::random(&config, 3);
    clip::Checkpoint::create(dir.join("model"), &config, &tensors, clip::Precision::F32).unwrap();
}

#[test]
fn a_feature_does_not_depend_on_its_company() {
    let dir = tempfile::tempdir().unwrap();
    tiny_clip(dir.path());
    let checkpoint = clip::Checkpoint::open(dir.path().join("model")).unwrap();
    let encoder = |chunk| {
        let preprocess = clip::Preprocess::openai(16);
        VitEncoder::open(&checkpoint, preprocess, &clip::device::pick("cpu").unwrap().device, chunk).unwrap()
    };
    let picture = |n: usize| Pixels {
        rgb: (0..16 * 16 * 3).map(|i| (i * (n + 3) + n * 77) as u8).collect(),
        width: 16,
        height: 16,
    };
    let pictures: Vec<Pixels> = (0..7).map(picture).collect();
    let seven = encoder(7);
    let all = seven.encode(&pictures).unwrap();
    assert_eq!((all.len(), seven.dim()), (7 * 24, 24));
    // The tower itself, without chunks or padding.
    let device = clip::device::pick("cpu").unwrap().device;
    let tower = clip::VisionTower::load(&checkpoint, &device).unwrap();
    let preprocess = clip::Preprocess::openai(16);
    for (n, picture) in pictures.iter().enumerate() {
        let row = &all[n * 24..][..24];
        assert_eq!(seven.encode(&pictures[n..=n]).unwrap(), row, "picture {n} alone");
        let input = burn::tensor::TensorData::new(preprocess.normalise(&picture.rgb), [1, 3, 16, 16]);
        let plain = tower.forward(burn::tensor::Tensor::from_data(input, &device)).unwrap().into_data();
        assert!(plain.iter::<f32>().zip(row).all(|(a, b)| (a - b).abs() < 1e-5), "picture {n}");
    }
    let small = Pixels { rgb: vec![0; 12], width: 2, height: 2 };
    let error = seven.encode(&[small]).unwrap_err().to_string();
    assert_eq!(error, "a picture is 2x2 pixels, but the image encoder takes 16x16");
}

#[test]
fn the_kind_encodes_with_the_checkpoint_of_the_config() {
    let dir = tempfile::tempdir().unwrap();
    tiny_clip(dir.path());
    let encode = |chunk| format!("kind = \"encode\"\ncache = \"cache\"\n[stage.clip]\nchunk = {chunk}");
    let first = run(dir.path(), "vit", "side = 16\nshards = 2", &encode(5), "").unwrap();
    assert_eq!(first.read, [1]);
    let again = run(dir.path(), "vit-again", "side = 16\nshards = 2", &encode(5), "").unwrap();
    assert_eq!((again.lines, again.read), (first.lines, vec![]));
    // The height of the matrices can change the last bits of a feature, so it is part of the recipe.
    let other = run(dir.path(), "vit-other", "side = 16\nshards = 2", &encode(3), "").unwrap();
    assert_eq!(other.read, [1]);
    let error = run(dir.path(), "size", "side = 8\nshards = 1", "kind = \"encode\"\ncache = \"\"", "").unwrap_err();
    assert!(error.contains("a picture is 8x8 pixels, but the image encoder takes 16x16"), "{error}");
    std::fs::write(dir.path().join("file"), "").unwrap();
    let error = run(dir.path(), "no-folder", "", "kind = \"encode\"\ncache = \"file/cache\"", "").unwrap_err();
    assert!(error.contains("set `cache` of stage `encode` to another folder"), "{error}");
    std::fs::write(dir.path().join("model/vision_model.onnx"), "no model").unwrap();
    let error = run(dir.path(), "bad-onnx", "", "kind = \"encode\"\ncache = \"\"", "").unwrap_err();
    assert!(error.contains("model/vision_model.onnx: "), "{error}");
}

#[test]
fn keys_of_cached_features_stay() {
    let dir = tempfile::tempdir().unwrap();
    tiny_clip(dir.path());
    let checkpoint = clip::Checkpoint::open(dir.path().join("model")).unwrap();
    std::fs::write(dir.path().join("model/vision_model.onnx"), "a model").unwrap();
    let preprocess = clip::Preprocess::openai(16);
    let key = |kind: &Chosen<dyn EncoderKind>| fingerprint(kind, &checkpoint, &preprocess, "cpu").unwrap();
    let known = |name: &str, own: String| digest(&[name.as_bytes(), own.as_bytes(), &preprocess.fingerprint()]);
    let weights = checkpoint.fingerprint(clip::checkpoint::Tower::Vision);
    assert_eq!(key(&Chosen::of("clip")), known("clip", format!("{weights} on cpu, 32 at once")));
    assert_eq!(key(&Chosen::of("onnx")), known("onnx", blake3::hash(b"a model").to_hex().to_string()));
}

#[test]
fn check_finds_what_an_encoder_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let encode = |more: &str| faults(dir.path(), &format!("kind = \"encode\"\n{more}"));
    // Without a checkpoint there is one fault, that of [model].
    let found = encode("encoder = \"onnx\"");
    assert!(found.len() == 1 && found[0].contains("model: No such file or folder"), "{found:?}");
    tiny_clip(dir.path());
    assert_eq!(encode("").len(), 0);
    let found = encode("encoder = \"onnx\"");
    assert!(found[0].contains("has no image encoder that `encoder` lists (onnx); `onnx` is a file"), "{found:?}");
    let found = encode("encoder = \"auto\"");
    assert!(found.len() == 1 && found[0].contains("encoder = [\"onnx\", \"clip\"]"), "{found:?}");
    let found = encode("workers = 2\nchunk = 5\nprecision = \"f16\"");
    let lines = ["`workers = 2` under [stage.onnx]", "`chunk = 5` under [stage.clip]", "under [stage.clip]"];
    assert!(found.len() == 3 && lines.iter().all(|line| found.iter().any(|fault| fault.contains(line))), "{found:?}");
    let half = "[stage.clip]\nprecision = \"f16\"";
    let found = encode(half);
    assert!(found.len() == 1 && found[0].contains("its kernels compute in f32"), "{found:?}");
    std::fs::write(dir.path().join("model/preprocessor_config.json"), "{\"size\": 8, \"crop_size\": 8}").unwrap();
    let found = encode("");
    assert!(found.len() == 1 && found[0].contains("makes pictures of 8x8 pixels"), "{found:?}");
    // The encoder that comes first does not know `precision`.
    std::fs::write(dir.path().join("model/vision_model.onnx"), "no model").unwrap();
    assert_eq!(encode("").len(), 0);
    let found = encode(half);
    assert!(
        found[0].contains("the image encoder is `onnx`") && found[0].contains("set encoder = \"clip\""),
        "{found:?}"
    );
}

#[test]
fn chunks_are_cut_by_the_stream_alone() {
    let shard = Arc::new(Shard { number: 0, url: "s.tar".into(), identity: String::new() });
    let flow = |index: u32, work| {
        let id = SampleId { shard: shard.clone(), index, key: format!("{index}").into() };
        Flow::Sample(Sample { id, captions: [].into(), work })
    };
    // p: a picture, d: a sample whose feature is known.
    let cut = |stream: &str, size| {
        let mut flows = (0..).zip(stream.chars()).map(|(index, what)| match what {
            'p' => flow(index, Work::Todo(Pixels { rgb: vec![9; 12], width: 2, height: 2 })),
            _ => flow(index, Work::Done([1.0].into())),
        });
        let mut labels = Vec::new();
        while let Some(chunk) = Chunk::cut(size, || Ok(flows.next())).unwrap() {
            labels.push(chunk.label());
        }
        labels
    };
    assert_eq!(cut("ddppdp", 2), ["0", "1", "2 pictures", "4", "5"]);
    assert_eq!(cut("pdpdpdd", 2), ["2 pictures", "3", "4"]);
    assert_eq!(cut("", 2), [""; 0]);
    assert_eq!(cut(&format!("p{}p", "d".repeat(1200)), 2).len(), 1 + (1200 - 1023) + 1);
}

/// A folder of the shared material beside the repository; says so when it is not there.
fn shared(path: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")).join(path);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

/// The first `count` photos of a tar.
fn photos(tar: &Path, preprocess: &clip::Preprocess, count: usize) -> Vec<Pixels> {
    let mut archive = tar::Archive::new(std::fs::File::open(tar).unwrap());
    let mut photos = Vec::new();
    for file in archive.entries().unwrap() {
        let mut file = file.unwrap();
        if photos.len() < count && file.path().unwrap().extension().is_some_and(|extension| extension == "jpg") {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
            let limits = clip::Limits { max_pixels: 1 << 24 };
            let clip::Pixels { rgb, width, height } = preprocess.decode(&bytes, &limits).unwrap();
            photos.push(Pixels { rgb, width: width as u32, height: height as u32 });
        }
    }
    photos
}

#[test]
fn the_onnx_encoder_tells_photos_apart() {
    let Some(model) = shared("models/flickr8k-lite0") else { return };
    let Some(tar) = shared("data/flickr8k/test-000.tar") else { return };
    let preprocess = clip::Preprocess::open(&model, None).unwrap();
    let photos = photos(&tar, &preprocess, 6);
    let encoder = OnnxEncoder::open(&model.join("vision_model.onnx"), preprocess).unwrap();
    assert_eq!(encoder.dim(), 256);
    let encode = |photo: &Pixels| {
        let feature = encoder.encode(std::slice::from_ref(photo)).unwrap();
        crate::encoder::normalised(&feature).unwrap()
    };
    let features: Vec<_> = photos.iter().map(encode).collect();
    let beside: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = photos.iter().map(|photo| scope.spawn(|| encode(photo))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(features, beside);
    let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    for (i, a) in features.iter().enumerate() {
        assert!((cosine(a, a) - 1.0).abs() < 1e-5);
        assert!(features[..i].iter().all(|b| cosine(a, b) < 0.98));
    }
}
