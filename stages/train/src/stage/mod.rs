//! `kind = "train"`: the trainer in a pipeline.
//!
//! - `options` are the options, `verify` what `check` says about them, `build` makes the stage.
//! - `step` makes a step and keeps count; a step that is not finite ends the run or is skipped.
//! - `epoch` writes the loss of an epoch, `finish` exports the result, `log` says how it goes.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use clip::Tokenizer;
use items::{Role, TextEncoderHandle, Tokens, contract};
use model::Model;
use pipeline_engine::{
    Build, Built, Fact, Inlet, LastCheckpoint, Look, Moved, Need, Nothing, Outlet, Pass, Position, Received, RunDir,
    Stage, StageError, StageKind,
};

use crate::checkpoint::{Checkpoints, Progress};
use crate::encoder::Encoder;
use crate::schedule::{Schedule, Shape};
use crate::trainer::Trainer;

mod build;
mod epoch;
mod finish;
mod log;
mod options;
mod step;
mod verify;

use log::Log;
pub use options::{OnNotFinite, TextLayout, TrainOptions};

/// The kind `train`.
pub struct TrainKind;

impl StageKind for TrainKind {
    const KIND: &'static str = "train";
    const ABOUT: &'static str = "trains the text tower on batches of texts and image features";
    const MOVED: Moved = options::MOVED;
    type In = Tokens;
    type Out = Nothing;
    type Options = TrainOptions;

    fn build(options: TrainOptions, build: &mut Build<'_>) -> Result<Built<Tokens, Nothing>, StageError> {
        Ok(Built::Stage(Box::new(Training::build(options, build)?)))
    }

    fn gives(_: &TrainOptions) -> Vec<Fact> {
        vec![contract::START_TOWER]
    }

    fn needs(options: &TrainOptions) -> Vec<Need> {
        options.loss.iter().flat_map(|loss| loss.needs().facts(loss.name())).collect()
    }

    fn verify(options: &TrainOptions, look: &mut Look<'_>) {
        verify::verify(options, look);
    }

    fn paced_by_epochs(options: &TrainOptions) -> bool {
        options.schedule != Shape::Constant
    }
}

/// The stage: a trainer, and what surrounds it.
struct Training {
    options: TrainOptions,
    /// `weights` of `[model]`, as the config has it.
    weights: String,
    model: Arc<Model>,
    /// Description of the device.
    device: String,
    trainer: Trainer,
    tokenizer: Arc<Tokenizer>,
    schedule: Schedule,
    /// Texts that no image of a step had, with the number of such steps of this epoch.
    lacking: Vec<(Role, u64)>,
    dir: Option<RunDir>,
    checkpoints: Option<Checkpoints>,
    last_checkpoint: Option<String>,
    /// When the last checkpoint was written, or the run began.
    saved: Instant,
    progress: Progress,
    log: Log,
}

impl Training {
    /// Whether the options ask for a checkpoint after this step. Checkpoints never change what is
    /// trained.
    fn checkpoint_is_due(&self) -> bool {
        let (steps, minutes) = (self.options.checkpoint_steps, self.options.checkpoint_minutes);
        let steps = steps > 0 && self.progress.position.total_steps.is_multiple_of(steps);
        steps || (minutes > 0.0 && self.saved.elapsed().as_secs_f64() >= minutes * 60.0)
    }

    fn save(&mut self, pass: &Pass<'_>) -> Result<(), StageError> {
        if let Some(checkpoints) = &self.checkpoints {
            let path = checkpoints.save(&self.progress, self.trainer.optimizer())?;
            self.last_checkpoint = Some(path.display().to_string());
            self.saved = Instant::now();
            pass.services.publish(Arc::new(LastCheckpoint(path)));
        }
        Ok(())
    }

    /// A sentence about the last checkpoint.
    fn last_good(&self) -> String {
        match &self.last_checkpoint {
            Some(path) => format!("The last good checkpoint is {path}"),
            None => "There is no checkpoint yet".into(),
        }
    }
}

impl Stage<Tokens, Nothing> for Training {
    fn run(&mut self, pass: &Pass<'_>, mut input: Inlet<Tokens>, _output: Outlet<Nothing>) -> Result<(), StageError> {
        self.log = Log::default();
        loop {
            let tokens = match input.recv_unless(|| pass.interrupted())? {
                Received::Item(tokens) => tokens,
                Received::End => break,
                Received::GaveUp => {
                    self.save(pass)?;
                    return Err(StageError::Interrupted);
                }
            };
            self.step(pass, &tokens)?;
            let interrupted = pass.interrupted();
            if interrupted || self.checkpoint_is_due() {
                self.save(pass)?;
            }
            if interrupted {
                return Err(StageError::Interrupted);
            }
        }
        self.end_epoch(pass)?;
        self.save(pass)
    }

    fn position(&self) -> Option<Position> {
        Some(self.progress.position)
    }

    fn subject(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        let encoder = Encoder::new(self.trainer.snapshot(), self.tokenizer.clone());
        Some(Arc::new(TextEncoderHandle(Arc::new(encoder))))
    }

    fn finish(&mut self, pass: &Pass<'_>) -> Result<(), StageError> {
        self.export(pass)
    }
}
