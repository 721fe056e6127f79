//! Training from random weights, in two parts. First the image tower learns to
//! name what each patch and the whole picture show. Then both towers learn
//! together by contrast (CLIP, arXiv 2103.00020, section 2.3).
//!
//! The first part replaces the hundreds of thousands of pairs that contrast
//! alone would need before it distinguishes things and not only backgrounds.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Tensor, TensorData};
use clip::{ClipConfig, Layout, Mapper, Params, TextConfig, TextTower, VisionConfig, VisionTower};
use scenes::{SIDE, things};

use crate::batches::{Batch, CAPTIONS, PATCH, Vocabulary, batches};
use crate::folder;
use crate::optimizer::AdamW;
use crate::score::{HeldOut, Scorer};

/// The largest logit scale, as in CLIP.
const MAX_SCALE: f64 = 100.0;

/// Settings of a training run.
#[derive(clap::Args)]
pub struct Args {
    /// The checkpoint folder to write; an existing one is replaced.
    #[arg(long)]
    out: PathBuf,
    /// Number of steps in which the image tower learns to name things.
    #[arg(long, default_value_t = 1800)]
    naming_steps: u64,
    /// Number of steps of contrast.
    #[arg(long, default_value_t = 450)]
    steps: u64,
    /// Scenes per step of naming things. Each scene has dozens of labels: many small
    /// steps learn more than a few large ones.
    #[arg(long, default_value_t = 32)]
    naming_batch: u64,
    /// Scenes per step of contrast.
    #[arg(long, default_value_t = 128)]
    batch: u64,
    /// The highest learning rate.
    #[arg(long, default_value_t = 1e-3)]
    rate: f32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps between two measurements on held-out scenes; each also writes the checkpoint.
    #[arg(long, default_value_t = 100)]
    every: u64,
    /// A CLIP tokenizer.json to write vocab.json and merges.txt from.
    #[arg(long)]
    tokenizer: Option<PathBuf>,
}

/// Both towers and the learned temperature.
#[derive(Clone)]
pub struct Model {
    /// The text tower.
    pub text: TextTower,
    /// The image tower.
    pub vision: VisionTower,
    /// Natural logarithm of the factor of the cosines.
    pub logit_scale: Tensor<1>,
}

impl Params for Model {
    fn map_params<M: Mapper>(&mut self, prefix: &str, mapper: &mut M) {
        self.text.map_params(prefix, mapper);
        self.vision.map_params(prefix, mapper);
        self.logit_scale = mapper.map(&format!("{prefix}logit_scale"), self.logit_scale.clone());
    }
}

/// The image tower with a head that names things; the head is not saved.
#[derive(Clone)]
struct Namer {
    vision: VisionTower,
    /// `[W, things + 1]`.
    head: Tensor<2>,
}

impl Params for Namer {
    fn map_params<M: Mapper>(&mut self, prefix: &str, mapper: &mut M) {
        self.vision.map_params(prefix, mapper);
        self.head = mapper.map(&format!("{prefix}head"), self.head.clone());
    }
}

/// The shape of the small CLIP, for a vocabulary of `tokens`.
fn shape(tokens: usize, end: u32) -> ClipConfig {
    let text = TextConfig {
        vocab_size: tokens,
        hidden_size: 64,
        intermediate_size: 256,
        projection_dim: 64,
        num_hidden_layers: 4,
        num_attention_heads: 4,
        eos_token_id: end,
        ..TextConfig::default()
    };
    let vision = VisionConfig {
        hidden_size: 128,
        intermediate_size: 512,
        projection_dim: 64,
        num_hidden_layers: 4,
        num_attention_heads: 4,
        image_size: SIDE as usize,
        patch_size: PATCH as usize,
        ..VisionConfig::default()
    };
    ClipConfig { text: Some(text), vision: Some(vision) }
}

/// Trains from random weights and writes the checkpoint.
///
/// # Errors
/// If a file cannot be read or written.
pub fn train(args: &Args) -> anyhow::Result<()> {
    let vocabulary = Arc::new(Vocabulary::new(args.seed));
    let ids = vocabulary.ids();
    let config = shape(ids.len(), vocabulary.end());
    let (text, vision) = (config.text.clone().context("text tower")?, config.vision.clone().context("image tower")?);
    println!("{} of the vocabulary's tokens are in use", ids.len());

    // The rows of words that no caption has keep these values.
    let full = TextConfig { vocab_size: folder::ROWS, num_hidden_layers: 0, ..text.clone() };
    let full = clip::init::random(&ClipConfig { text: Some(full), vision: None }, args.seed);
    let (_, start) = &full[folder::TABLE];

    let device = Device::flex();
    let mut tensors = clip::init::random(&config, args.seed);
    if let Some((_, positions)) = tensors.get_mut("vision_model.embeddings.position_embedding.weight") {
        *positions = waves(vision.grid(), vision.hidden_size);
    }
    let vision = VisionTower::from_tensors(&vision, &tensors, &device)?;
    let vision = name_things(vision, &vocabulary, args)?;
    let mut model = Model {
        text: TextTower::from_tensors(&text, &tensors, &device)?,
        vision,
        logit_scale: Tensor::from_data(TensorData::new(vec![(1.0f32 / 0.07).ln()], [1]), &device),
    }
    .trainable();
    let held_out = HeldOut::draw(args.seed, 200)?;
    let mut optimizer = AdamW::default();
    let mut log = Log::new(args.batch);
    let first = args.naming_steps * args.naming_batch;
    for (step, batch) in (1..).zip(batches(&vocabulary, args.seed, first, args.batch, args.steps)) {
        let loss = contrast(&model, &batch?, &device)?;
        log.add(&loss);
        let gradients = loss.backward();
        let rate = args.rate * schedule(step, args.steps);
        model.map_params("", &mut optimizer.step(&gradients, rate));
        if step % args.every == 0 || step == args.steps {
            let mut weights = model.frozen().tensors();
            if let Some((shape, _)) = weights.get_mut("logit_scale") {
                shape.clear();
            }
            folder::write(&args.out, &config, weights, ids, start, args.tokenizer.as_deref())?;
            log.print("contrast", step, &Scorer::open(&args.out)?.score(&held_out)?.to_string());
        }
    }
    Ok(())
}

/// Initial position embeddings of the image tower: sines and cosines of the row and
/// the column (arXiv 2205.01580). From random ones, a tower of this size takes far
/// longer to learn which patches are neighbours.
fn waves(grid: usize, width: usize) -> Vec<f32> {
    let quarter = width / 4;
    let mut positions = vec![0.0; width];
    for patch in 0..grid * grid {
        for place in [patch / grid, patch % grid] {
            let angles = (0..quarter).map(|i| place as f32 / 100f32.powf(i as f32 / quarter as f32));
            let (sines, cosines): (Vec<_>, Vec<_>) = angles.map(f32::sin_cos).unzip();
            positions.extend(sines);
            positions.extend(cosines);
        }
    }
    positions
}

/// Trains the image tower to name what each patch shows and, at the class token,
/// what the whole picture shows.
fn name_things(vision: VisionTower, vocabulary: &Arc<Vocabulary>, args: &Args) -> anyhow::Result<VisionTower> {
    let device = vision.device();
    let (width, classes) = (vision.config().hidden_size, things().count() + 1);
    let head = Tensor::zeros([width, classes], &device);
    let mut namer = Namer { vision, head }.trainable();
    let mut optimizer = AdamW::default();
    let mut log = Log::new(args.naming_batch);
    for (step, batch) in (1..).zip(batches(vocabulary, args.seed, 0, args.naming_batch, args.naming_steps)) {
        let batch = batch?;
        let hidden = namer.vision.hidden(images(&batch, &device))?;
        let [size, length, _] = hidden.dims();
        let names = hidden.reshape([size * length, width]).matmul(namer.head.clone());
        let target = Tensor::from_data(TensorData::new(batch.names, [size, length, classes]), &device);
        let right = log_softmax(names, 1).reshape([size, length, classes]).mul(target);
        let whole = right.clone().slice_dim(1, 0..1).sum();
        let patches = right.slice_dim(1, 1..length).sum().div_scalar((length - 1) as f64);
        let loss = (whole + patches).div_scalar(-(size as f64));
        log.add(&loss);
        let gradients = loss.backward();
        let rate = args.rate * schedule(step, args.naming_steps);
        namer.map_params("", &mut optimizer.step(&gradients, rate));
        if step % args.every == 0 {
            log.print("naming", step, "");
        }
    }
    Ok(namer.vision.frozen())
}

/// Prints progress while training runs.
struct Log {
    begun: Instant,
    images_a_step: u64,
    loss: f32,
    steps: u16,
}

impl Log {
    fn new(images_a_step: u64) -> Self {
        Self { begun: Instant::now(), images_a_step, loss: 0.0, steps: 0 }
    }

    fn add(&mut self, loss: &Tensor<1>) {
        self.loss += loss.clone().inner().into_scalar::<f32>();
        self.steps += 1;
    }

    /// Prints the mean loss since the last line.
    fn print(&mut self, part: &str, step: u64, more: &str) {
        let loss = self.loss / f32::from(self.steps.max(1));
        let rate = (step * self.images_a_step) as f64 / self.begun.elapsed().as_secs_f64();
        println!("{part} {step}: loss {loss:.3}, {rate:.0} images/s {more}");
        (self.loss, self.steps) = (0.0, 0);
    }
}

fn images(batch: &Batch, device: &Device) -> Tensor<4> {
    let side = SIDE as usize;
    let size = batch.pixels.len() / (3 * side * side);
    Tensor::from_data(TensorData::new(batch.pixels.clone(), [size, 3, side, side]), device)
}

/// InfoNCE in both directions over the batch, averaged over the captions of an
/// image.
fn contrast(model: &Model, batch: &Batch, device: &Device) -> anyhow::Result<Tensor<1>> {
    let images = normalised(model.vision.forward(images(batch, device))?);
    let texts = normalised(model.text.forward(&batch.ids, &batch.lens, Layout::Padded)?);
    let scale = model.logit_scale.clone().exp().clamp_max(MAX_SCALE).unsqueeze::<2>();
    let [size, _] = images.dims();
    let own = Tensor::<2>::eye(size, device);
    let mut likelihood = Tensor::zeros([1], device);
    for texts in texts.chunk(CAPTIONS, 0) {
        let logits = images.clone().matmul(texts.transpose()) * scale.clone();
        let both = log_softmax(logits.clone(), 1) + log_softmax(logits, 0);
        likelihood = likelihood + both.mul(own.clone()).sum();
    }
    Ok(likelihood.div_scalar(-2.0 * (CAPTIONS * size) as f64))
}

fn normalised(x: Tensor<2>) -> Tensor<2> {
    let length = x.clone().square().sum_dim(1).add_scalar(1e-12).sqrt();
    x / length
}

/// A short linear rise, then half a cosine down to zero.
fn schedule(step: u64, steps: u64) -> f32 {
    let rise = (steps / 20).clamp(1, 100);
    if step < rise {
        return step as f32 / rise as f32;
    }
    let share = (step - rise) as f32 / (steps - rise).max(1) as f32;
    0.5 * (1.0 + (std::f32::consts::PI * share).cos())
}
