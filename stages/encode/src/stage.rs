//! The stage: encodes an epoch, or replays one from the cache.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clip::checkpoint::Tower;
use clip::{Checkpoint, Preprocess};
use pipeline_engine::{Build, Built, Inlet, Outlet, Pass, Stage, StageError, StageKind, choice, options};
use features::FeatureCache;
use items::{
    Encoded, Flow, Memory, ModelOptions, Pixels, Products, Recipe, Sample, SampleId, Shard, ShardPlan, Work,
};

use crate::encoder::{EncodeError, Encoder};
use crate::gather::{self, Gather};
use crate::onnx::OnnxEncoder;
use crate::ordered::encode_in_order;
use crate::vit::VitEncoder;

pub(crate) const KIND: &str = "encode";
/// Bytes of cached features that stay in memory from epoch to epoch.
const HELD_BYTES: usize = 1 << 30;
const ONNX_FILE: &str = "vision_model.onnx";

choice! {
    /// What the image encoder is made of.
    pub enum EncoderKind {
        /// "onnx" if the model folder has a vision_model.onnx, else "clip".
        Auto = "auto",
        /// CLIP's ViT from the checkpoint, on the device of the run.
        Clip = "clip",
        /// vision_model.onnx of the model folder, on the CPU.
        Onnx = "onnx",
    }
}

options! {
    /// Options of the stage `encode`.
    pub struct EncodeOptions {
        /// The image encoder: "onnx" (vision_model.onnx of the model folder), "clip" (the checkpoint's ViT), or "auto", the first that is there.
        encoder: EncoderKind = EncoderKind::Auto;
        /// Threads of an "onnx" encoder; 0: one a core.
        workers: usize = 0, 0..=256 => free;
        /// Pictures in one forward pass of "clip".
        chunk: usize = 32, 1..=4096;
        /// What the matrices of "clip" are multiplied in: "f32", or "f16" on a GPU that has it.
        precision: Products = Products::F32;
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
    type In = Flow<Pixels>;
    type Out = Flow<Encoded>;
    type Options = EncodeOptions;

    fn build(options: EncodeOptions, build: &mut Build<'_>) -> Result<Built<Flow<Pixels>, Flow<Encoded>>, StageError> {
        let model = build.section::<ModelOptions>("model")?;
        let weights = clip_hub::resolve(&model.weights, build.base)?;
        let source = Source::find(&options, &weights, build.run.device.word())?;
        build.input("the image encoder", source.fingerprint.clone());
        let cache = match &options.cache {
            Some(dir) => Some(open_cache(&build.path(dir), &source.fingerprint, HELD_BYTES, build)?),
            None => None,
        };
        Ok(Built::Stage(Box::new(EncodeStage::new(source, cache))))
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

fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    hasher.finalize().to_hex().to_string()
}

type Open = Box<dyn Fn() -> Result<Box<dyn Encoder>, EncodeError> + Send>;

/// An image encoder that is opened when there is something to encode: where all
/// features are cached, its weights never take memory.
pub(crate) struct Source {
    pub workers: usize,
    /// Tells weights and preprocessing.
    pub fingerprint: String,
    /// What makes the pictures that the encoder takes.
    pub preprocess: Preprocess,
    pub open: Open,
}

impl Source {
    fn find(options: &EncodeOptions, weights: &Path, device: &str) -> Result<Self, EncodeError> {
        let checkpoint = Checkpoint::open(weights)?;
        let dir = checkpoint.dir();
        let onnx = dir.join(ONNX_FILE);
        let image_size = checkpoint.config().vision.as_ref().map(|vision| vision.image_size as u32);
        let preprocess = Preprocess::open(dir, image_size)?;
        let fingerprint = |kind: EncoderKind, weights: &str| {
            digest(&[kind.word().as_bytes(), weights.as_bytes(), &preprocess.fingerprint()])
        };
        let kept = preprocess.clone();
        let kind = match options.encoder {
            EncoderKind::Auto if onnx.is_file() => EncoderKind::Onnx,
            EncoderKind::Auto => EncoderKind::Clip,
            named => named,
        };
        if kind == EncoderKind::Onnx {
            if options.precision == Products::F16 {
                return Err(EncodeError::OnnxHalf { path: onnx });
            }
            let fault = |source| EncodeError::Read { path: onnx.clone(), source };
            let file = std::fs::File::open(&onnx).map_err(fault)?;
            let weights = blake3::Hasher::new().update_reader(file).map_err(fault)?.finalize().to_hex();
            let workers = match options.workers {
                0 => std::thread::available_parallelism().map_or(1, usize::from),
                workers => workers,
            };
            let fingerprint = fingerprint(kind, &weights);
            let open: Open = Box::new(move || Ok(Box::new(OnnxEncoder::open(&onnx, preprocess.clone())?)));
            return Ok(Self { workers, fingerprint, preprocess: kept, open });
        }
        checkpoint.vision_config()?;
        // The last bits of a feature depend on the device and on the height of the matrices, but
        // not on the number of threads.
        let (there, words) = clip::device::pick(device)?;
        let place = if words.starts_with("cpu") { "cpu" } else { &words };
        let half = options.precision == Products::F16;
        if half {
            clip::device::half(&there, &words)?;
        }
        let weights = format!(
            "{} on {place}, {} at once{}",
            checkpoint.fingerprint(Tower::Vision),
            options.chunk,
            if half { ", f16" } else { "" }
        );
        let fingerprint = fingerprint(kind, &weights);
        let (device, chunk) = (device.to_owned(), options.chunk);
        let open: Open = Box::new(move || {
            let (device, words) = clip::device::pick(&device)?;
            tracing::debug!("images are encoded on {words}");
            let tower = VitEncoder::open(&checkpoint, preprocess.clone(), &device, chunk)?;
            Ok(Box::new(if half { tower.half() } else { tower }))
        });
        Ok(Self { workers: 1, fingerprint, preprocess: kept, open })
    }
}

/// The image encoder of a checkpoint and its preprocessing, for use outside a pipeline.
///
/// # Errors
/// A checkpoint without an image encoder, or a damaged one; a device that is not there.
pub fn open_encoder(
    options: &EncodeOptions,
    weights: &Path,
    device: &str,
) -> Result<(Box<dyn Encoder>, Preprocess), EncodeError> {
    let source = Source::find(options, weights, device)?;
    Ok(((source.open)()?, source.preprocess))
}

/// The stage while it runs.
pub(crate) struct EncodeStage {
    source: Source,
    encoder: Option<Box<dyn Encoder>>,
    cache: Option<Arc<FeatureCache>>,
    /// What the epoch is replayed by, when the cache has all of it.
    replay: Option<Arc<ShardPlan>>,
}

impl EncodeStage {
    pub fn new(source: Source, cache: Option<Arc<FeatureCache>>) -> Self {
        Self { source, encoder: None, cache, replay: None }
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
        let mut emit = |flow: Flow<Encoded>| {
            write_down(&flow, pass)?;
            Ok(output.send(flow)?)
        };
        if let (Some(plan), Some(cache)) = (&self.replay, &self.cache) {
            self.encoder = None;
            return replay(plan, cache, pass, &mut emit);
        }
        let mut gather = self.cache.as_deref().map(|cache| Gather::new(cache, gather::HELD_BYTES));
        let encoder = match &mut self.encoder {
            Some(encoder) => encoder,
            none => none.insert((self.source.open)()?),
        };
        encode_in_order(
            &**encoder,
            self.source.workers,
            &|number| Some(pass.helper(number)),
            || Ok(input.recv()?),
            |flow| {
                if let Some(gather) = &mut gather {
                    gather.note(&flow);
                }
                emit(flow)
            },
        )
    }
}

/// Everything that was given up, here or before, is in the ledger when it has
/// passed; the ledger writes each line once.
fn write_down(flow: &Flow<Encoded>, pass: &Pass<'_>) -> Result<(), StageError> {
    let skip = match flow {
        Flow::Sample(sample) => sample.skip(),
        Flow::ShardEnd { shard, fault, .. } => fault.as_ref().map(|fault| fault.skip(shard)),
    };
    Ok(skip.map_or(Ok(()), |skip| pass.ledger.skip(skip))?)
}

/// Gives an epoch from the cache, as reading and encoding it would have.
fn replay(
    plan: &ShardPlan,
    cache: &FeatureCache,
    pass: &Pass<'_>,
    emit: &mut impl FnMut(Flow<Encoded>) -> Result<(), StageError>,
) -> Result<(), StageError> {
    let mut buffer = plan.shuffle_buffer(pass.seed, pass.epoch);
    for (read, position) in plan.order(pass.seed, pass.epoch).into_iter().enumerate() {
        pass.meter.progress(read, plan.shards.len());
        let shard = &plan.shards[position];
        let entry = cache.load(shard).ok_or_else(|| gone(shard, cache))?;
        for (index, sample) in (0..).zip(&entry.samples) {
            let work = match sample.outcome.clone() {
                Ok(feature) => Work::Done(feature),
                Err((stage, reason)) => Work::Skipped { stage, reason },
            };
            let id = SampleId { shard: shard.clone(), index, key: sample.key.clone() };
            if let Some(leaving) = buffer.push(Sample { id, captions: sample.captions.clone(), work }) {
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
