//! `batch`: gathers image features into batches of B.
//!
//! Skipped samples end here. For each item one of the image's captions is drawn
//! as T_i (TNG-CLIP, section 3): keyed by epoch and sample, so that it depends on
//! neither the place in the batch nor on how the samples were read.

use std::collections::HashMap;

use pipeline_engine::{Build, Built, Inlet, Outlet, Pass, Stage, StageError, StageKind, choice, options};
use rand::RngExt;
use items::{Batch, BatchItem, Encoded, EveryStep, Feature, Flow, Sample, Work};

choice! {
    /// What becomes of the samples at the end of an epoch that fill no batch.
    pub enum Partial {
        /// They are left out of this epoch; the next one shuffles others to the end.
        Drop = "drop",
        /// They are a smaller batch.
        Keep = "keep",
    }
}

options! {
    /// Options of the stage `batch`.
    pub struct BatchOptions {
        /// B, images a training step.
        size: usize = 128, 1..=65_536;
        /// What becomes of the last samples of an epoch that fill no batch: "drop" or "keep".
        partial: Partial = Partial::Drop;
    }
}

/// The kind `batch`.
pub struct BatchKind;

impl StageKind for BatchKind {
    const KIND: &'static str = "batch";
    const ABOUT: &'static str = "gathers image features into batches and draws a caption for each image";
    type In = Flow<Encoded>;
    type Out = Batch;
    type Options = BatchOptions;

    fn build(options: BatchOptions, _build: &mut Build<'_>) -> Result<Built<Flow<Encoded>, Batch>, StageError> {
        Ok(Built::Stage(Box::new(Batcher { options })))
    }
}

struct Batcher {
    options: BatchOptions,
}

/// The epoch gave less than one batch.
#[derive(Debug, thiserror::Error)]
#[error(
    "the epoch has {samples} usable samples, fewer than batch.size = {size}: nothing would be trained. \
     Lower batch.size, set batch.partial = \"keep\", or read more shards (skipped so far: {skipped})"
)]
struct NoBatch {
    samples: usize,
    size: usize,
    skipped: u64,
}

impl Stage<Flow<Encoded>, Batch> for Batcher {
    fn run(
        &mut self,
        pass: &Pass<'_>,
        mut input: Inlet<Flow<Encoded>>,
        mut output: Outlet<Batch>,
    ) -> Result<(), StageError> {
        let size = self.options.size;
        let mut waiting: Vec<(Sample<Encoded>, Feature)> = Vec::with_capacity(size);
        let mut step = 0;
        while let Some(flow) = input.recv()? {
            let Flow::Sample(sample) = flow else { continue };
            let Work::Done(feature) = &sample.work else { continue };
            let feature = feature.clone();
            waiting.push((sample, feature));
            if waiting.len() == size {
                send(pass, &mut step, &mut waiting, &mut output)?;
            }
        }
        if step == 0 && (waiting.is_empty() || self.options.partial == Partial::Drop) {
            return Err(NoBatch { samples: waiting.len(), size, skipped: pass.ledger.count() }.into());
        }
        match self.options.partial {
            Partial::Keep if !waiting.is_empty() => send(pass, &mut step, &mut waiting, &mut output)?,
            Partial::Drop if !waiting.is_empty() => {
                tracing::info!(
                    "{} samples at the end of epoch {} filled no batch and were left out",
                    waiting.len(),
                    pass.epoch
                );
            }
            _ => {}
        }
        Ok(())
    }
}

/// Makes a batch of the waiting samples and sends it, unless a resumed run has
/// trained on it already and no stage asks for it all the same.
fn send(
    pass: &Pass<'_>,
    step: &mut u64,
    waiting: &mut Vec<(Sample<Encoded>, Feature)>,
    output: &mut Outlet<Batch>,
) -> Result<(), StageError> {
    let batch = make(pass, *step, waiting)?;
    waiting.clear();
    *step += 1;
    if batch.step >= pass.skip_steps || pass.services.get::<EveryStep>().is_some() {
        output.send(batch)?;
    }
    Ok(())
}

fn make(pass: &Pass<'_>, step: u64, samples: &[(Sample<Encoded>, Feature)]) -> Result<Batch, StageError> {
    let dim = samples.first().map_or(0, |(_, feature)| feature.len());
    let mut features = Vec::with_capacity(samples.len() * dim);
    let mut items = Vec::with_capacity(samples.len());
    // Some data sets repeat an image, once for each caption: the same bits, the same image.
    let mut images: HashMap<Vec<u32>, u32> = HashMap::new();
    for (sample, feature) in samples {
        if feature.len() != dim {
            return Err(StageError::msg(format!(
                "features of different widths in one batch: {dim}, and {} for {} of {}; remove the feature cache and run again",
                feature.len(),
                sample.id.key,
                sample.id.shard.url
            )));
        }
        features.extend_from_slice(feature);
        let next = images.len() as u32;
        let image = *images.entry(feature.iter().map(|x| x.to_bits()).collect()).or_insert(next);
        let mut rng = pass.draw("batch.caption").text(&sample.id.shard.url).number(sample.id.index.into()).rng();
        let drawn = if sample.captions.len() > 1 { rng.random_range(0..sample.captions.len()) } else { 0 };
        items.push(BatchItem {
            key: sample.id.key.clone(),
            shard: sample.id.shard.url.as_str().into(),
            captions: sample.captions.clone(),
            drawn,
            image,
        });
    }
    Ok(Batch { epoch: pass.epoch, step, items: items.into(), dim, features: features.into() })
}
