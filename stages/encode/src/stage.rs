//! The stage: encodes an epoch, or replays one from the cache.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use features::FeatureCache;
use items::{Encoded, Flow, Memory, Pixels, Recipe, Shard, ShardPlan};
use model::Model;
use pipeline_engine::{
    Build, Built, Inlet, Look, Moved, Outlet, Pass, Several, Stage, StageError, StageKind, in_order, options,
};

use crate::KIND;
use crate::chunks::Chunk;
use crate::encoder::{EncodeError, Encoder, EncoderKind, choose, digest, fingerprint};
use crate::gather::{self, Gather};

/// Bytes of cached features that stay in memory from epoch to epoch.
const HELD_BYTES: usize = 1 << 30;

options! {
    /// Options of the stage `encode`.
    pub struct EncodeOptions {
        /// The image encoders, in order of preference: the first one that the checkpoint has is used.
        encoder: Several<dyn EncoderKind> = Several::of(&["onnx", "clip"]);
        /// Folder of the feature cache; "": none, pictures are encoded in every epoch.
        cache: Option<PathBuf> = Some(PathBuf::from(".cache/features")) => free;
    }
}

/// The kind `encode`.
#[derive(Debug)]
pub struct Encode;

impl StageKind for Encode {
    const KIND: &'static str = KIND;
    const ABOUT: &'static str = "turns pictures into image features, once, and remembers them";
    const CAPACITY: usize = 256;
    const MOVED: Moved = &[
        ("encoder = \"auto\"", "write encoder = [\"onnx\", \"clip\"], which is the default"),
        ("workers", "onnx.workers"),
        ("chunk", "clip.chunk"),
        ("precision", "clip.precision"),
    ];
    type In = Flow<Pixels>;
    type Out = Flow<Encoded>;
    type Options = EncodeOptions;

    fn verify(options: &EncodeOptions, look: &mut Look<'_>) {
        let Some(model) = Model::seen(look) else { return };
        match choose(&options.encoder, &model.checkpoint) {
            Ok(kind) => kind.verify(&model, look),
            Err(error) => look.fault(&error.option(), error.to_string(), error.help()),
        }
    }

    fn build(options: EncodeOptions, build: &mut Build<'_>) -> Result<Built<Flow<Pixels>, Flow<Encoded>>, StageError> {
        let model = Model::of(build)?;
        let preprocess = model.preprocess()?;
        let device = build.run.device.word();
        let kind = choose(&options.encoder, &model.checkpoint)?;
        let fingerprint = fingerprint(kind, &model.checkpoint, &preprocess, device)?;
        build.input("the image encoder", fingerprint.clone());
        let cache = match &options.cache {
            Some(dir) => Some(open_cache(&build.path(dir), &fingerprint, HELD_BYTES, build)?),
            None => None,
        };
        let (workers, kind) = (kind.workers(), kind.shared());
        let open = move || kind.open(&model.checkpoint, preprocess.clone(), device);
        Ok(Built::Stage(Box::new(EncodeStage::new(workers, Box::new(open), cache))))
    }
}

/// Opens the cache and offers it to the stage that reads shards.
pub(crate) fn open_cache(
    dir: &Path,
    encoder: &str,
    held_bytes: usize,
    build: &Build<'_>,
) -> Result<Arc<FeatureCache>, StageError> {
    let fingerprint = digest(&[encoder.as_bytes(), Recipe::of(build.services).as_bytes()]);
    let cache = Arc::new(FeatureCache::open(dir, build.base, fingerprint, held_bytes)?);
    build.services.publish(Arc::new(Memory(cache.clone())));
    Ok(cache)
}

/// Opens the image encoder.
pub(crate) type Open = Box<dyn Fn() -> Result<Box<dyn Encoder>, EncodeError> + Send>;

/// The stage while it runs.
pub(crate) struct EncodeStage {
    workers: usize,
    /// Called when there is something to encode: where all features are cached, the weights are
    /// never loaded.
    open: Open,
    encoder: Option<Box<dyn Encoder>>,
    cache: Option<Arc<FeatureCache>>,
    /// The plan of the epoch, when the cache has all of it.
    replay: Option<Arc<ShardPlan>>,
}

impl EncodeStage {
    pub fn new(workers: usize, open: Open, cache: Option<Arc<FeatureCache>>) -> Self {
        Self { workers, open, encoder: None, cache, replay: None }
    }
}

impl Stage<Flow<Pixels>, Flow<Encoded>> for EncodeStage {
    fn starts(&mut self, pass: &Pass<'_>) -> Result<bool, StageError> {
        let cached = |plan: &Arc<ShardPlan>| {
            self.cache.as_ref().is_some_and(|cache| plan.shards.iter().all(|shard| cache.has(shard)))
        };
        self.replay = pass.services.get::<ShardPlan>().filter(cached);
        Ok(self.replay.is_some())
    }

    fn run(
        &mut self,
        pass: &Pass<'_>,
        mut input: Inlet<Flow<Pixels>>,
        mut output: Outlet<Flow<Encoded>>,
    ) -> Result<(), StageError> {
        if let (Some(plan), Some(cache)) = (&self.replay, &self.cache) {
            self.encoder = None;
            return replay(plan, cache, pass, &mut |flow| {
                log_skip(&flow, pass)?;
                Ok(output.send(flow)?)
            });
        }
        let mut gather = self.cache.as_deref().map(|cache| Gather::new(cache, gather::HELD_BYTES));
        let encoder: &dyn Encoder = match &mut self.encoder {
            Some(encoder) => &**encoder,
            none => &**none.insert((self.open)()?),
        };
        in_order(
            pass,
            self.workers,
            || Chunk::cut(encoder.chunk(), || Ok(input.recv()?)),
            Chunk::label,
            |chunk| chunk.encode(encoder),
            |flows, made| {
                for flow in flows {
                    if let Some(gather) = &mut gather {
                        gather.note(&flow);
                    }
                    log_skip(&flow, pass)?;
                    output.send_made(flow, made)?;
                }
                Ok(())
            },
        )
    }
}

/// Writes a skipped sample, or the fault of a shard, to the skip ledger. Everything that was skipped,
/// here or before, is in the ledger once it has passed; the ledger writes each line once.
fn log_skip(flow: &Flow<Encoded>, pass: &Pass<'_>) -> Result<(), StageError> {
    let skip = match flow {
        Flow::Sample(sample) => sample.skip(),
        Flow::ShardEnd { shard, samples, fault } => fault.as_ref().map(|fault| fault.skip(shard, *samples)),
    };
    Ok(skip.map_or(Ok(()), |skip| pass.ledger.skip(skip))?)
}

/// Gives an epoch from the cache, in the order in which it would have been read and encoded.
fn replay(
    plan: &ShardPlan,
    cache: &FeatureCache,
    pass: &Pass<'_>,
    emit: &mut dyn FnMut(Flow<Encoded>) -> Result<(), StageError>,
) -> Result<(), StageError> {
    let mut buffer = plan.shuffle_buffer(pass.seed, pass.epoch);
    for (read, position) in plan.order(pass.seed, pass.epoch).into_iter().enumerate() {
        pass.meter.progress(read, plan.shards.len());
        let shard = &plan.shards[position];
        let entry = cache.load(shard).ok_or_else(|| gone(shard, cache))?;
        for (index, sample) in (0..).zip(&entry.samples) {
            if let Some(leaving) = buffer.push(sample.clone().recalled(shard, index)) {
                emit(Flow::Sample(leaving))?;
            }
        }
        let samples = entry.samples.len() as u32;
        emit(Flow::ShardEnd { shard: shard.clone(), samples, fault: entry.fault.clone() })?;
    }
    while let Some(leaving) = buffer.pop() {
        emit(Flow::Sample(leaving))?;
    }
    Ok(())
}

fn gone(shard: &Shard, cache: &FeatureCache) -> StageError {
    StageError::msg(format!(
        "{}, the cached features of shard `{}`, was removed or damaged while the run used it; \
         go on with --resume, which encodes the shard again",
        cache.path(shard).display(),
        shard.url
    ))
}
