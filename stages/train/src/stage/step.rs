//! One step, with its bookkeeping, and steps whose loss or gradient is not finite.

use std::time::Instant;

use items::{Tokens, metric};
use pipeline_engine::{Pass, StageError};
use serde_json::{Value, json};

use super::{OnNotFinite, Training};
use crate::error::TrainError;
use crate::trainer::NoStep;

impl Training {
    pub(super) fn step(&mut self, pass: &Pass<'_>, tokens: &Tokens) -> Result<(), StageError> {
        let (position, batch) = (self.progress.position, &tokens.batch);
        if batch.step != position.steps {
            let (expected, found) = (position.steps, batch.step);
            return Err(TrainError::Order { epoch: pass.epoch, expected, found }.into());
        }
        let lr = self.schedule.lr(pass.epoch, position.total_steps);
        // The purpose is part of the address of every draw: results change with it.
        let draw = pass.draw("train.labels").number(batch.step);
        let began = Instant::now();
        let step = match self.trainer.step(tokens, lr, draw) {
            Ok(step) => Some(step),
            Err(NoStep::Failed(error)) => return Err(error.into()),
            Err(NoStep::NotFinite(what, value)) => {
                self.not_finite(pass, tokens, what, value)?;
                None
            }
        };
        self.progress.position.steps += 1;
        self.progress.position.total_steps += 1;
        let Some(step) = step else {
            self.progress.left_out += 1;
            return Ok(());
        };
        for role in &step.lacking {
            match self.lacking.iter_mut().find(|(other, _)| other == role) {
                Some((_, steps)) => *steps += 1,
                None => self.lacking.push((*role, 1)),
            }
        }
        for (name, value) in &step.losses {
            *self.progress.losses.entry((*name).to_owned()).or_default() += value;
        }
        let mut at = began;
        let times = [(metric::FORWARD, step.forward), (metric::BACKWARD, step.backward), (metric::UPDATE, step.update)];
        for (name, time) in times {
            pass.part(name, at, time);
            at += time;
        }
        let loss = step.losses.first().map_or(f64::NAN, |(_, value)| *value);
        let values = [(metric::LOSS, loss), (metric::LR, lr), (metric::GRADIENT_NORM, step.norm)];
        pass.step(self.progress.position.total_steps, &values);
        self.log.step(&step, lr, pass.epoch, self.progress.position, self.options.log_every);
        Ok(())
    }

    /// Writes the samples of a step that cannot be made to a file; ends the run unless such steps
    /// are skipped.
    fn not_finite(&self, pass: &Pass<'_>, tokens: &Tokens, what: &'static str, value: f64) -> Result<(), StageError> {
        let (epoch, step) = (pass.epoch, tokens.batch.step);
        if let Some(dir) = &self.dir {
            let items = tokens.batch.items.iter();
            let samples: Vec<Value> = items.map(|item| json!({"shard": &*item.shard, "key": &*item.key})).collect();
            let line = json!({
                "epoch": epoch, "step": step, "what": what, "value": value.to_string(), "samples": samples,
            });
            dir.append("not-finite.jsonl", &[line])?;
        }
        let keys = first_keys(tokens);
        if self.options.on_not_finite == OnNotFinite::Skip {
            tracing::warn!(
                "{what} is {value} in step {step} of epoch {epoch}, at the samples {keys}: the step is skipped"
            );
            pass.meter.note(metric::STEPS_NOT_FINITE, 1);
            return Ok(());
        }
        let checkpoint = self.last_good();
        Err(TrainError::NotFinite { what, value, epoch, step, keys, checkpoint }.into())
    }
}

/// The keys of the first few samples of a batch.
fn first_keys(tokens: &Tokens) -> String {
    let items = &tokens.batch.items;
    let mut keys: Vec<&str> = items.iter().take(5).map(|item| &*item.key).collect();
    if items.len() > keys.len() {
        keys.push("…");
    }
    keys.join(", ")
}
