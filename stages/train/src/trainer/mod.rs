//! One training step: texts and image features in, better weights out. Knows nothing of pipelines.
//!
//! - `texts` picks texts by role, `forward` sends them through a tower in chunks.
//! - `start` is the tower before training, for losses that compare with it.
//! - `gradients` sums gradients and copies them to the host, `weights` updates weights there and
//!   brings them back to the device.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor};
use clip::text::{TextTower, TokenRows};
use clip::{Layout, Params, TextConfig};
use items::{Role, Tokens};
use pipeline_engine::rng::Draw;

use crate::error::TrainError;
use crate::loss::{Images, Loss, Needs, RoleTexts, StartTower, StepView, total};
use crate::optimizer::{AdamW, Misfit, Parameter, Settings};

#[cfg(test)]
#[path = "../../tests/common/mod.rs"]
mod common;
mod forward;
mod gradients;
mod start;
mod texts;
mod weights;

use forward::{Chunk, Forward};
pub(crate) use gradients::read;
use gradients::{LOSS_SCALE, Sums};
use start::Start;
use texts::{EMPTY, Texts};
use weights::{Weights, leaf};

/// Values with their names in logs and results.
pub type Losses = Vec<(&'static str, f64)>;

/// What a step did.
#[derive(Debug, Clone)]
pub struct Step {
    /// The loss, named `all`, then its terms as they were before weighting.
    pub losses: Losses,
    /// The norm of the gradient.
    pub norm: f64,
    /// Time for features and loss.
    pub forward: Duration,
    /// Time for the gradients, until they are on the host.
    pub backward: Duration,
    /// Time for weights and moments, until the weights are on the device.
    pub update: Duration,
    /// Texts that the loss reads and that no image of the batch has.
    pub lacking: Vec<Role>,
}

/// Why a step was not made; the weights are as before it.
#[derive(Debug)]
pub enum NoStep {
    /// Something (`the loss`) has this value, which is not finite.
    NotFinite(&'static str, f64),
    /// Anything else.
    Failed(TrainError),
}

impl<E: Into<TrainError>> From<E> for NoStep {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// A text tower and its optimizer.
#[derive(Debug)]
pub struct Trainer {
    /// On the device, but for the token embedding, see [`Weights::upload`].
    tower: TextTower,
    /// The tower before training, if the loss compares with it.
    start: Option<TextTower>,
    weights: Weights,
    loss: Arc<dyn Loss>,
    needs: Needs,
    forward: Forward,
    /// Without autodiff.
    device: Device,
}

impl Trainer {
    /// Trains `tower` from where it is.
    pub fn new(tower: &TextTower, loss: Arc<dyn Loss>, settings: Settings, layout: Layout) -> Self {
        let needs = loss.needs();
        let start = needs.start.then(|| tower.frozen());
        let device = tower.device().inner();
        let weights = Weights::new(AdamW::new(settings, tower.tensors()), device.clone());
        let forward = Forward { layout, chunk: usize::MAX, device: device.clone() };
        let mut trainer = Self { tower: tower.frozen(), start, weights, loss, needs, forward, device };
        trainer.upload();
        trainer
    }

    /// Lets the tower hold no more than `chunk` texts for the backward pass at once; 0: all.
    ///
    /// The loss needs the features of all texts, but the tower's intermediate values only of those
    /// texts whose gradient is taken (GradCache, arXiv 2101.06983, section 3): first the features are
    /// computed, then the loss and its gradient at the features, then each chunk once more with its
    /// share of that gradient. Exact, for a second forward pass.
    #[must_use]
    pub fn in_chunks(mut self, chunk: usize) -> Self {
        self.forward.chunk = if chunk == 0 { usize::MAX } else { chunk };
        self
    }

    /// Lets the tower multiply in f16, on a GPU that can ([`clip::device::half`]). Weights, moments
    /// and updates stay f32.
    #[must_use]
    pub fn in_half(mut self, half: bool) -> Self {
        if half {
            self.weights.half = true;
            self.start = self.start.map(|start| start.half());
            self.upload();
        }
        self
    }

    /// Trains only this many blocks of the tower, from the front; `None`: all of it, embeddings and
    /// projection too.
    ///
    /// That negation is lost in the front layers of the text tower, and best trained there, is a
    /// finding of Omni-NegCLIP. Weights and moments of everything else stay as they are, bit by bit.
    ///
    /// # Errors
    /// [`TrainError::FrontLayers`] when the tower has fewer blocks than that, or for 0.
    pub fn front_layers(mut self, blocks: Option<usize>) -> Result<Self, TrainError> {
        check_front_layers(blocks, self.config())?;
        self.weights.front_layers = blocks;
        Ok(self)
    }

    /// Weights and moments.
    pub fn optimizer(&self) -> &AdamW {
        self.weights.optimizer()
    }

    /// The tower's shape.
    pub fn config(&self) -> &TextConfig {
        self.tower.config()
    }

    /// Continues from a checkpoint.
    ///
    /// # Errors
    /// A tensor that does not fit; nothing is changed then.
    pub fn restore(&mut self, steps: u64, parameters: BTreeMap<String, Parameter>) -> Result<(), Misfit> {
        self.weights.restore(steps, parameters)?;
        self.upload();
        Ok(())
    }

    /// The tower as it is now, without gradients.
    pub fn snapshot(&self) -> TextTower {
        self.weights.snapshot(&self.tower)
    }

    /// One step. `draw` is the address of the random numbers of this very step.
    ///
    /// # Errors
    /// [`NoStep`]; the weights are unchanged then.
    pub fn step(&mut self, tokens: &Tokens, lr: f64, draw: Draw) -> Result<Step, NoStep> {
        self.needs.check(&tokens.roles)?;
        let (images, texts) = (tokens.batch.dim, self.config().projection_dim);
        if images != texts {
            return Err(TrainError::Width { images, texts }.into());
        }

        let began = Instant::now();
        let texts = Texts::of(tokens, |role| self.loss.reads(role));
        if texts.lens.is_empty() {
            return Err(TrainError::NoGradient("reads none of the texts of the batch").into());
        }
        let config = self.config();
        let rows = self.weights.token_rows(&texts.ids, config.vocab_size, config.hidden_size);
        let chunks = self.forward.chunks(&texts);
        let features = match &chunks[..] {
            [all] => self.tower.forward_rows(&rows, &all.ids, &all.lens, self.forward.layout)?,
            chunks => leaf(self.forward.features(&self.tower.frozen(), Some(&rows), chunks)?),
        };
        let there: Vec<bool> = texts.lens.iter().map(|&len| len > EMPTY).collect();
        let lacking = lacking(&texts.roles, &there);
        let (total, losses) =
            self.loss(tokens, RoleTexts::new(texts.roles, features.clone()).with_gaps(there), draw)?;
        let forward = began.elapsed();

        let began = Instant::now();
        let sums = self.backward(total, features, &rows, &chunks)?;
        let gradients = sums.read(rows, |name| self.weights.trains(name))?;
        let backward = began.elapsed();

        let began = Instant::now();
        let norm = self.weights.update(lr, &gradients);
        let norm = norm.map_err(|error| NoStep::NotFinite("the norm of the gradient", error.0))?;
        self.upload();
        Ok(Step { losses, norm, forward, backward, update: began.elapsed(), lacking })
    }

    /// The weighted sum of the loss's terms, and the values of both: the sum, named `all`, first.
    fn loss(&self, tokens: &Tokens, texts: RoleTexts, draw: Draw) -> Result<(Tensor<1>, Losses), NoStep> {
        let start = self.start.as_ref().map(|tower| Start::new(tower, tokens, &self.forward));
        let images = Images::new(&tokens.batch.features, tokens.batch.dim, &self.device);
        let same: Vec<u32> = tokens.batch.items.iter().map(|item| item.image).collect();
        let step = StepView::new(texts, images, &same, draw);
        let step = step.with_start(start.as_ref().map(|start| start as &dyn StartTower));
        let terms = self.loss.terms(&step)?;
        let Some(total) = total(&terms) else { return Err(TrainError::NoGradient("has no terms").into()) };
        let values = [total.clone()].into_iter().chain(terms.iter().map(|term| term.value.clone())).collect();
        let values = read(Tensor::<1>::cat(values, 0).inner())?;
        let names = ["all"].into_iter().chain(terms.iter().map(|term| term.name));
        let losses: Losses = names.zip(values.into_iter().map(f64::from)).collect();
        if let Some((_, value)) = losses.iter().find(|(_, value)| !value.is_finite()) {
            return Err(NoStep::NotFinite("the loss", *value));
        }
        Ok((total, losses))
    }

    /// The gradients of `total`. With several chunks, `features` is a leaf, and each chunk goes through
    /// the tower once more.
    fn backward(
        &self,
        total: Tensor<1>,
        features: Tensor<2>,
        rows: &TokenRows,
        chunks: &[Chunk],
    ) -> Result<Sums, TrainError> {
        let scale = self.weights.half.then_some(LOSS_SCALE);
        let total = scale.map_or(total.clone(), |scale| total.mul_scalar(scale));
        let mut sums = Sums::new(scale);
        if chunks.len() == 1 {
            drop(features);
            sums.add(&self.tower, rows, total.backward());
            return Ok(sums);
        }
        let mut gradients = total.backward();
        let slopes = features.grad_remove(&mut gradients);
        let slopes = slopes.ok_or(TrainError::NoGradient("does not depend on the texts"))?;
        drop((gradients, features));
        for chunk in chunks {
            let features = self.tower.forward_rows(rows, &chunk.ids, &chunk.lens, self.forward.layout)?;
            let slopes = slopes.clone().select(0, chunk.places(&self.device));
            sums.add(&self.tower, rows, (features * Tensor::from_inner(slopes)).sum().backward());
        }
        Ok(sums)
    }

    /// Puts the optimizer's weights on the device.
    fn upload(&mut self) {
        self.weights.upload(&mut self.tower);
    }
}

/// The roles whose text no image has; `there` is `[B R]`, image by image.
fn lacking(roles: &[Role], there: &[bool]) -> Vec<Role> {
    let images = || there.chunks(roles.len().max(1));
    let nowhere = |place: &usize| images().all(|image| !image[*place]);
    (0..roles.len()).filter(nowhere).map(|place| roles[place]).collect()
}

/// Checks that a tower of this shape has at least `asked` blocks, and that `asked` is not 0.
///
/// # Errors
/// [`TrainError::FrontLayers`].
pub(crate) fn check_front_layers(asked: Option<usize>, config: &TextConfig) -> Result<(), TrainError> {
    let there = config.num_hidden_layers;
    match asked {
        Some(asked) if !(1..=there).contains(&asked) => Err(TrainError::FrontLayers { asked, there }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clip::TextTower;
    use pipeline_engine::rng::Draw;
    use pipeline_engine::{Alternatives, Chosen};

    use super::*;

    const SETTINGS: Settings = Settings { beta1: 0.9, beta2: 0.98, eps: 1e-6, weight_decay: 0.2, clip_norm: 0.0 };

    fn tower() -> TextTower {
        let (config, tensors) = common::tiny();
        TextTower::from_tensors(&config.text.unwrap(), &tensors, &Device::flex()).unwrap()
    }

    /// Every loss of the list, that of docs/extending/loss.rs included, with the texts that it needs.
    #[test]
    fn every_loss_makes_steps_and_falls() {
        for part in <dyn Loss>::list() {
            let loss = Chosen::<dyn Loss>::of(part.name).shared();
            let mut roles: Vec<Role> = Vec::new();
            for role in loss.needs().texts.into_iter().flat_map(|need| need.roles) {
                if !roles.contains(&role) {
                    roles.push(role);
                }
            }
            let mut trainer = Trainer::new(&tower(), loss, SETTINGS, Layout::Tree);
            let draw = || Draw::new(5, "test");
            let tokens = common::batch(6, &roles, 1, 0, draw());
            let losses: Vec<f64> = (0..20).map(|_| trainer.step(&tokens, 3e-3, draw()).unwrap().losses[0].1).collect();
            assert!(losses[19] < 0.9 * losses[0], "{}: {losses:?}", part.name);
            assert_ne!(trainer.snapshot().tensors(), tower().tensors());
        }
    }
}
