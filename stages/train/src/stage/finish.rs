//! The end of a run: the export with its model card.

use items::ShardPlan;
use pipeline_engine::{Options, Pass, RunDir, StageError};
use serde_json::Value;

use super::Training;
use crate::error::TrainError;
use crate::export::{Card, export};

impl Training {
    /// Exports the trained checkpoint into the run folder, if there is one.
    pub(super) fn export(&self, pass: &Pass<'_>) -> Result<(), StageError> {
        let Some(dir) = &self.dir else { return Ok(()) };
        let card = Card {
            weights: self.weights.clone(),
            config: read(dir, "pipeline.toml")?,
            options: self.card_options(),
            device: self.device.clone(),
            seed: pass.seed,
            shards: pass
                .services
                .get::<ShardPlan>()
                .map(|plan| plan.shards.iter().map(|shard| (shard.url.clone(), shard.identity.clone())).collect()),
            epochs: self.progress.position.epochs,
            steps: self.progress.position.total_steps,
            results: results(dir)?,
        };
        let parameters = self.trainer.optimizer().parameters().iter();
        let trained = parameters.map(|(name, p)| (name.clone(), (p.shape.clone(), p.values.clone()))).collect();
        Ok(export(&self.model.checkpoint, &dir.join("export"), &trained, self.options.export, &card)?)
    }

    /// All options with their values, those of the loss as `contrast.keep`.
    fn card_options(&self) -> Vec<(String, String)> {
        let own = self.options.resolved().into_iter().map(|(name, value)| (name.to_owned(), value));
        let parts =
            self.options.tables().into_iter().flat_map(|(part, values)| {
                values.into_iter().map(move |(name, value)| (format!("{part}.{name}"), value))
            });
        own.chain(parts).collect()
    }
}

/// A file of the run; empty if there is none.
fn read(dir: &RunDir, name: &str) -> Result<String, TrainError> {
    let path = dir.join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(TrainError::io(&path)(error)),
    }
}

/// All measurements of the run, those before a resume too.
fn results(dir: &RunDir) -> Result<Vec<Value>, TrainError> {
    Ok(read(dir, "results.jsonl")?.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
