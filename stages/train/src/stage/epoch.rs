//! The end of an epoch: its loss in `results.jsonl`.

use items::metric;
use pipeline_engine::{Measurement, Pass, Phase, Position, StageError};

use super::Training;
use crate::error::TrainError;

impl Training {
    /// Writes the means of the epoch's losses, and counts the epoch as finished.
    pub(super) fn end_epoch(&mut self, pass: &Pass<'_>) -> Result<(), StageError> {
        let position = self.progress.position;
        let made = position.steps - self.progress.left_out;
        if made == 0 {
            let (epoch, steps, checkpoint) = (pass.epoch, position.steps, self.last_good());
            return Err(TrainError::NothingFinite { epoch, steps, checkpoint }.into());
        }
        let measurement = |metric: &str, part: &str, value: f64, n: u64| Measurement {
            phase: Phase::Epoch,
            epoch: pass.epoch,
            step: position.total_steps,
            eval: metric::TRAIN.into(),
            metric: metric.into(),
            part: part.into(),
            value,
            low: None,
            high: None,
            n,
        };
        if let Some(dir) = &self.dir {
            let losses = self.progress.losses.iter();
            let mut lines: Vec<Measurement> =
                losses.map(|(name, sum)| measurement(metric::LOSS, name, sum / made as f64, made)).collect();
            let lr = self.schedule.lr(pass.epoch, position.total_steps.saturating_sub(1));
            lines.push(measurement(metric::LR, metric::ALL, lr, 1));
            dir.append("results.jsonl", &lines)?;
        }
        for (role, steps) in std::mem::take(&mut self.lacking) {
            if 2 * steps > made {
                tracing::warn!(
                    "in {steps} of {made} steps of epoch {} no image had the text `{role}`: the loss leaves it out there; \
                     give data that has it (paraphrases need several captions per image), or choose another loss",
                    pass.epoch
                );
            }
        }
        self.progress.losses.clear();
        self.progress.left_out = 0;
        self.progress.position = Position { epochs: pass.epoch, steps: 0, total_steps: position.total_steps };
        Ok(())
    }
}
