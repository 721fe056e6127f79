//! Makes the stage: from nothing, or from the checkpoint of a run that is resumed.

use std::sync::Arc;
use std::time::Instant;

use clip::checkpoint::Tower;
use clip::{Params, TextTower};
use items::{StartEncoder, contract};
use model::{Model, ModelOptions, Products};
use pipeline_engine::{Build, LastCheckpoint, StageError};

use super::{Log, TrainOptions, Training};
use crate::checkpoint::{Checkpoints, Progress};
use crate::encoder::Encoder;
use crate::error::TrainError;
use crate::loss::Sum;
use crate::schedule::Schedule;
use crate::trainer::Trainer;

impl Training {
    pub(super) fn build(options: TrainOptions, build: &Build<'_>) -> Result<Self, StageError> {
        let weights = build.section::<ModelOptions>("model")?.weights.display().to_string();
        let model = Model::of(build)?;
        let start = &model.checkpoint;
        if !start.text_config()?.projected {
            return Err(TrainError::NoProjection(start.dir().to_owned()).into());
        }
        build.input("the text tower's weights", start.fingerprint(Tower::Text));
        let picked = clip::device::pick(build.run.device.word())?;
        let half = options.precision == Products::F16;
        if half {
            clip::device::half(&picked)?;
        }
        let tower = TextTower::load(start, &picked.device)?;
        let tokenizer = model.tokenizer()?;
        if build.is_needed(&contract::START_TOWER) {
            let encoder = Encoder::new(tower.frozen(), tokenizer.clone());
            build.services.publish(Arc::new(StartEncoder(Arc::new(encoder))));
        }
        let trainer = Trainer::new(&tower, Arc::new(Sum::of(&options.loss)), options.settings(), options.layout());
        let mut training = Self {
            lacking: Vec::new(),
            schedule: Schedule {
                lr: options.lr,
                warmup_steps: options.warmup_steps,
                shape: options.schedule,
                epochs: build.run.epochs,
            },
            trainer: trainer.in_chunks(options.chunk).in_half(half).front_layers(options.front_layers)?,
            checkpoints: build.dir.map(|dir| Checkpoints::new(dir.join("checkpoints"), options.keep)),
            options,
            weights,
            model,
            device: picked.description,
            tokenizer,
            dir: build.dir.cloned(),
            last_checkpoint: None,
            saved: Instant::now(),
            progress: Progress::default(),
            log: Log::default(),
        };
        if let Some(dir) = &build.resume {
            training.resume(&Checkpoints::new(dir.clone(), 1), build)?;
        }
        Ok(training)
    }

    fn resume(&mut self, from: &Checkpoints, build: &Build<'_>) -> Result<(), StageError> {
        from.tidy()?;
        let Some(loaded) = from.newest()? else {
            tracing::warn!("the run was stopped before its first checkpoint; training starts at the beginning");
            return Ok(());
        };
        let (path, position) = (loaded.path, loaded.progress.position);
        self.trainer.restore(loaded.optimizer_steps, loaded.parameters).map_err(|misfit| {
            let message = format!("{misfit}; it was made from another model than [model] weights");
            TrainError::Checkpoint { path: path.clone(), message }
        })?;
        self.progress = loaded.progress;
        tracing::info!(
            "resumed from {}: {} epochs and {} steps are done",
            path.display(),
            position.epochs,
            position.steps
        );
        self.last_checkpoint = Some(path.display().to_string());
        build.services.publish(Arc::new(LastCheckpoint(path)));
        Ok(())
    }
}
