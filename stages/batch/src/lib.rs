//! `batch`: gathers image features into batches of B.
//!
//! Skipped samples end here. For each item one of the image's captions is drawn as T_i (TNG-CLIP,
//! section 3). The draw is keyed by epoch and sample, so that it depends neither on the place in the
//! batch nor on how the samples were read.

use std::collections::HashMap;

use items::contract::EVERY_STEP;
use items::{Batch, BatchItem, Encoded, Feature, Flow, Sample, Work, shard_name};
use pipeline_engine::{Build, Built, Fact, Inlet, Ledger, Outlet, Pass, Stage, StageError, StageKind, choice, options};
use rand::RngExt;

choice! {
    /// What happens to the samples at the end of an epoch that do not fill a batch.
    pub enum Partial {
        /// This epoch skips them; the next one shuffles others to the end.
        Drop = "drop",
        /// They make a smaller batch.
        Keep = "keep",
    }
}

options! {
    /// Options of the stage `batch`.
    pub struct BatchOptions {
        /// B, images per training step.
        size: usize = 128, 1..=65_536;
        /// What happens to the last samples of an epoch that do not fill a batch: "drop" or "keep".
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

    fn build(options: BatchOptions, build: &mut Build<'_>) -> Result<Built<Flow<Encoded>, Batch>, StageError> {
        Ok(Built::Stage(Box::new(Batcher { options, every_step: build.is_needed(&EVERY_STEP) })))
    }

    fn gives(_: &BatchOptions) -> Vec<Fact> {
        vec![EVERY_STEP]
    }
}

struct Batcher {
    options: BatchOptions,
    /// Whether a stage needs the steps that a resumed run has already trained on.
    every_step: bool,
}

/// The epoch gave less than one batch.
#[derive(Debug, thiserror::Error)]
enum NoBatch {
    #[error("the epoch has no usable sample, so that there is no step to train; {0}")]
    Nothing(Skipped),
    #[error(
        "the epoch has {samples} usable samples, fewer than batch.size = {size}, so that there is no step to train. \
         Lower batch.size, set batch.partial = \"keep\", or read more shards ({skipped})"
    )]
    TooFew { samples: usize, size: usize, skipped: Skipped },
}

/// What was skipped so far, by the commonest reasons.
#[derive(Debug)]
struct Skipped {
    count: u64,
    /// Stage, reason, count.
    reasons: Vec<(String, String, u64)>,
}

impl Skipped {
    /// Reasons that are named.
    const NAMED: usize = 3;

    fn of(ledger: &Ledger) -> Self {
        let mut reasons = ledger.by_reason();
        reasons.extend(
            ledger.lost_shards().into_iter().map(|skip| (skip.stage, format!("{}: {}", skip.shard, skip.reason), 1)),
        );
        reasons.sort_by_key(|(_, _, count)| std::cmp::Reverse(*count));
        Self { count: ledger.count(), reasons }
    }
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "skipped so far: {}", self.count)?;
        for (place, (stage, reason, count)) in self.reasons.iter().take(Self::NAMED).enumerate() {
            write!(f, "{} {count} by `{stage}`: {reason}", if place == 0 { "," } else { ";" })?;
        }
        if self.reasons.len() > Self::NAMED {
            write!(f, "; and for {} more reasons, see skipped.jsonl", self.reasons.len() - Self::NAMED)?;
        }
        Ok(())
    }
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
                self.send(pass, &mut step, &mut waiting, &mut output)?;
            }
        }
        if step == 0 && (waiting.is_empty() || self.options.partial == Partial::Drop) {
            let skipped = Skipped::of(pass.ledger);
            return Err(match waiting.len() {
                0 => NoBatch::Nothing(skipped),
                samples => NoBatch::TooFew { samples, size, skipped },
            }
            .into());
        }
        match self.options.partial {
            Partial::Keep if !waiting.is_empty() => self.send(pass, &mut step, &mut waiting, &mut output)?,
            Partial::Drop if !waiting.is_empty() => {
                tracing::info!(
                    "{} samples at the end of epoch {} did not fill a batch and were skipped",
                    waiting.len(),
                    pass.epoch
                );
            }
            _ => {}
        }
        Ok(())
    }
}

impl Batcher {
    /// Makes a batch of the waiting samples and sends it, unless a resumed run has already trained on
    /// it and no stage needs such steps.
    fn send(
        &self,
        pass: &Pass<'_>,
        step: &mut u64,
        waiting: &mut Vec<(Sample<Encoded>, Feature)>,
        output: &mut Outlet<Batch>,
    ) -> Result<(), StageError> {
        let batch = make(pass, *step, waiting)?;
        waiting.clear();
        *step += 1;
        if batch.step >= pass.skip_steps || self.every_step {
            output.send(batch)?;
        }
        Ok(())
    }
}

fn make(pass: &Pass<'_>, step: u64, samples: &[(Sample<Encoded>, Feature)]) -> Result<Batch, StageError> {
    let dim = samples.first().map_or(0, |(_, feature)| feature.len());
    let mut features = Vec::with_capacity(samples.len() * dim);
    let mut items = Vec::with_capacity(samples.len());
    // Some data sets repeat an image, once per caption: equal features mean the same image.
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
        let shard = shard_name(&sample.id.shard.url);
        let mut rng = pass.draw("batch.caption").text(shard).number(sample.id.index.into()).rng();
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
