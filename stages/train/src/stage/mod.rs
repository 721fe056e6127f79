//! `kind = "train"`.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clip::checkpoint::Tower;
use clip::{Checkpoint, Layout, Params, TextTower, Tokenizer};
use pipeline_engine::{
    Build, Built, Inlet, LastCheckpoint, Measurement, Nothing, Options, Outlet, Pass, Phase, Position, Received,
    RunDir, Stage, StageError, StageKind, choice, options,
};
use serde_json::{Value, json};
use items::{ModelOptions, Products, ShardPlan, StartEncoder, TextEncoderHandle, TextRoles, Tokens, WantsStart};

use crate::checkpoint::{Checkpoints, Progress};
use crate::encoder::Encoder;
use crate::error::TrainError;
use crate::export::{Card, export};
use crate::loss::Contrast;
use crate::optimizer::Settings;
use crate::schedule::{Schedule, Shape};
use crate::trainer::{NoStep, Objective, Step, Trainer};

choice! {
    /// What is minimised.
    pub enum LossKind {
        /// The loss of TNG-CLIP: each of three texts finds its image.
        Tng = "tng",
        /// Captions find their images, and images the true one of two twins.
        Contrast = "contrast",
    }
}

choice! {
    /// How texts of different lengths are laid out in memory; the result is the same.
    pub enum TextLayout {
        /// A block, filled up to the longest.
        Padded = "padded",
        /// End to end, without filling.
        Packed = "packed",
        /// Packed, and what texts have in common from their start on is there once.
        Tree = "tree",
    }
}

choice! {
    /// What becomes of a step whose loss or gradient is no number.
    pub enum OnNotFinite {
        /// It ends the run.
        Stop = "stop",
        /// It is left out and written down.
        Skip = "skip",
    }
}

options! {
    /// Options of the stage `train`.
    pub struct TrainOptions {
        /// What is minimised: "tng" (needs captions.generator = "tng") or
        /// "contrast" (needs captions.generator = "twins").
        loss: LossKind = LossKind::Tng;
        /// Cosines of captions and images are divided by this.
        temperature: f64 = 0.07, 0.001..=100.0;
        /// tng: share of the images that are to find a text drawn at random
        /// instead of one of their own (0 to 1).
        noise: f64 = 1.0, 0.0..=1.0;
        /// contrast: weight of "captions and images find each other".
        w_caption: f64 = 1.0, 0.0..=1e6;
        /// contrast: weight of "the image prefers the true twin".
        w_twin: f64 = 1.0, 0.0..=1e6;
        /// contrast: cosines of twins are divided by this.
        twin_temperature: f64 = 0.07, 0.001..=100.0;
        /// contrast: weight of "captions keep the features they had at the
        /// start"; above 0 it costs a forward pass of the captions a step.
        w_keep: f64 = 0.0, 0.0..=1e6;
        /// contrast: weight of "a negation turns a text away from what it denies"
        /// (needs captions.things = true).
        w_turn: f64 = 0.0, 0.0..=1e6;
        /// contrast: an image's false twins are among the texts it must not choose.
        hard_negatives: bool = true;
        /// contrast: each true text is held against every false one of its image
        /// (true), or against its own twin alone (false).
        across: bool = true;
        /// contrast: length of the noise added to each image feature, which has length 1, in each step anew.
        /// For pictures that the image encoder was itself trained on.
        image_noise: f64 = 0.0, 0.0..=10.0;
        /// The highest learning rate.
        lr: f64 = 5e-6, 0.0..=1.0;
        /// Steps over which the learning rate rises from 0.
        warmup_steps: u64 = 0;
        /// What follows: "constant", or "cosine" down to 0, which falls from epoch to epoch.
        schedule: Shape = Shape::Constant;
        /// AdamW: the share of a weight, times lr, that a step takes off. Norms,
        /// biases and the token embedding do not decay.
        weight_decay: f64 = 0.2, 0.0..=10.0;
        /// AdamW: decay of the mean gradient.
        beta1: f64 = 0.9, 0.0..=0.9999999;
        /// AdamW: decay of the mean squared gradient.
        beta2: f64 = 0.98, 0.0..=0.9999999;
        /// AdamW: added to the root of the mean squared gradient.
        eps: f64 = 1e-6, 1e-12..=1.0;
        /// Trains only the first so many blocks of the text tower, and neither embeddings nor
        /// projection; the whole tower if left away.
        front_layers: Option<usize> = None;
        /// The gradient is scaled down to this norm; 0: it is left as it is.
        clip_norm: f64 = 0.0, 0.0..=1e9;
        /// Steps between two checkpoints; 0: as checkpoint_minutes says. There is one at the end of
        /// an epoch and of an interrupted run in any case.
        checkpoint_steps: u64 = 0 => free;
        /// Minutes after which a step is followed by a checkpoint; 0: as checkpoint_steps says.
        checkpoint_minutes: f64 = 10.0, 0.0..=1e6 => free;
        /// How many checkpoints are kept.
        keep: usize = 2, 1..=1_000_000 => free;
        /// A step whose loss or gradient is NaN or infinite ends the run ("stop"), or is left
        /// out ("skip"). Either way its samples are written to not-finite.jsonl.
        on_not_finite: OnNotFinite = OnNotFinite::Stop;
        /// How texts lie in memory: "padded", "packed", or "tree", which computes
        /// what texts have in common from their start on once. The result is the same.
        layout: TextLayout = TextLayout::Tree;
        /// Texts that the tower holds for the backward pass at once; 0: all. The
        /// result is the same, for less memory and a second forward pass.
        chunk: usize = 0;
        /// What matrices are multiplied in: "f32", or "f16" on a GPU that has it.
        /// Weights and their updates are f32 either way.
        precision: Products = Products::F32;
        /// Steps between two lines of the log; 0: none.
        log_every: u64 = 20 => free;
    }
}

impl TrainOptions {
    /// The loss with its settings.
    pub fn objective(&self) -> Objective {
        match self.loss {
            LossKind::Tng => Objective::Tng { noise: self.noise, temperature: self.temperature },
            LossKind::Contrast => Objective::Contrast(Contrast {
                temperature: self.temperature,
                twin_temperature: self.twin_temperature,
                caption: self.w_caption,
                twin: self.w_twin,
                keep: self.w_keep,
                turn: self.w_turn,
                hard_negatives: self.hard_negatives,
                across: self.across,
                image_noise: self.image_noise,
            }),
        }
    }

    /// The optimizer's settings.
    pub fn settings(&self) -> Settings {
        Settings {
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            weight_decay: self.weight_decay,
            clip_norm: self.clip_norm,
        }
    }

    fn layout(&self) -> Layout {
        match self.layout {
            TextLayout::Padded => Layout::Padded,
            TextLayout::Packed => Layout::Packed,
            TextLayout::Tree => Layout::Tree,
        }
    }
}

/// The kind `train`.
pub struct TrainKind;

impl StageKind for TrainKind {
    const KIND: &'static str = "train";
    const ABOUT: &'static str = "trains the text tower on batches of texts and image features";
    type In = Tokens;
    type Out = Nothing;
    type Options = TrainOptions;

    fn build(options: TrainOptions, build: &mut Build<'_>) -> Result<Built<Tokens, Nothing>, StageError> {
        Ok(Built::Stage(Box::new(Training::build(options, build)?)))
    }

    fn paced_by_epochs(options: &TrainOptions) -> bool {
        options.schedule != Shape::Constant
    }
}

/// The stage: a trainer, and what surrounds it.
struct Training {
    options: TrainOptions,
    /// As the config names it.
    weights: String,
    start: Checkpoint,
    device: String,
    trainer: Trainer,
    tokenizer: Arc<Tokenizer>,
    schedule: Schedule,
    dir: Option<RunDir>,
    checkpoints: Option<Checkpoints>,
    last_checkpoint: Option<String>,
    /// When that was written, or the run began.
    saved: Instant,
    progress: Progress,
    log: Log,
}

impl Training {
    fn build(options: TrainOptions, build: &Build<'_>) -> Result<Self, StageError> {
        let objective = options.objective();
        if let Some(roles) = build.services.get::<TextRoles>() {
            objective.check(&roles.0)?;
        }
        let model = build.section::<ModelOptions>("model")?;
        let start = Checkpoint::open(clip_hub::resolve(&model.weights, build.base)?)?;
        if !start.text_config()?.projected {
            return Err(TrainError::NoProjection(start.dir().to_owned()).into());
        }
        build.input("the text tower's weights", start.fingerprint(Tower::Text));
        let (device, words) = clip::device::pick(build.run.device.word())?;
        let half = options.precision == Products::F16;
        if half {
            clip::device::half(&device, &words)?;
        }
        let tower = TextTower::load(&start, &device)?;
        let tokenizer = Tokenizer::open(start.dir())?.with_context(tower.config().max_position_embeddings);
        let tokenizer = Arc::new(tokenizer);
        if build.services.get::<WantsStart>().is_some() {
            let encoder = Encoder::new(tower.frozen(), tokenizer.clone());
            build.services.publish(Arc::new(StartEncoder(Arc::new(encoder))));
        }
        let trainer = Trainer::new(&tower, objective, options.settings(), options.layout());
        let mut training = Self {
            schedule: Schedule {
                lr: options.lr,
                warmup_steps: options.warmup_steps,
                shape: options.schedule,
                epochs: build.run.epochs,
            },
            trainer: trainer.in_chunks(options.chunk).in_half(half).front_layers(options.front_layers)?,
            checkpoints: build.dir.map(|dir| Checkpoints::new(dir.join("checkpoints"), options.keep)),
            options,
            weights: model.weights.display().to_string(),
            start,
            device: words,
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
        self.trainer.restore(loaded.optimizer_steps, loaded.parameters).map_err(|message| {
            let message = format!("{message}; it was made from another model than [model] weights");
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

    fn step(&mut self, pass: &Pass<'_>, tokens: &Tokens) -> Result<(), StageError> {
        let (position, batch) = (self.progress.position, &tokens.batch);
        if batch.step != position.steps {
            let (expected, found) = (position.steps, batch.step);
            return Err(TrainError::Order { epoch: pass.epoch, expected, found }.into());
        }
        let lr = self.schedule.lr(pass.epoch, position.total_steps);
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
        for (name, value) in &step.losses {
            *self.progress.losses.entry((*name).to_owned()).or_default() += value;
        }
        let mut at = began;
        for (name, time) in [("forward", step.forward), ("backward", step.backward), ("update", step.update)] {
            pass.meter.part(name, at, time);
            at += time;
        }
        let loss = step.losses.first().map_or(f64::NAN, |(_, value)| *value);
        let values = [("loss", loss), ("lr", lr), ("gradient_norm", step.norm)];
        pass.step(self.progress.position.total_steps, &values);
        self.log.step(&step, lr, pass.epoch, self.progress.position, self.options.log_every);
        Ok(())
    }

    /// Writes the samples of a step that cannot be made down; ends the run unless such steps are skipped.
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
            tracing::warn!("{what} is {value} in step {step} of epoch {epoch}, at the samples {keys}: it is left out");
            pass.meter.note("steps left out, not finite", 1);
            return Ok(());
        }
        let checkpoint = self.last_good();
        Err(TrainError::NotFinite { what, value, epoch, step, keys, checkpoint }.into())
    }

    /// The last checkpoint, in words.
    fn last_good(&self) -> String {
        match &self.last_checkpoint {
            Some(path) => format!("The last good checkpoint is {path}"),
            None => "There is no checkpoint yet".into(),
        }
    }

    /// Writes the loss of the epoch down and counts it as finished.
    fn end_epoch(&mut self, pass: &Pass<'_>) -> Result<(), StageError> {
        let position = self.progress.position;
        let made = position.steps - self.progress.left_out;
        if made == 0 {
            let (epoch, steps, checkpoint) = (pass.epoch, position.steps, self.last_good());
            return Err(TrainError::NothingFinite { epoch, steps, checkpoint }.into());
        }
        let measurement = |(name, sum): (&String, &f64)| Measurement {
            phase: Phase::Epoch,
            epoch: pass.epoch,
            step: position.total_steps,
            eval: "train".into(),
            metric: "loss".into(),
            part: name.clone(),
            value: sum / made as f64,
            low: None,
            high: None,
            n: made,
        };
        if let Some(dir) = &self.dir {
            let mut lines: Vec<Measurement> = self.progress.losses.iter().map(measurement).collect();
            lines.push(Measurement {
                metric: "lr".into(),
                value: self.schedule.lr(pass.epoch, position.total_steps.saturating_sub(1)),
                n: 1,
                ..measurement((&"all".to_owned(), &0.0))
            });
            dir.append("results.jsonl", &lines)?;
        }
        self.progress.losses.clear();
        self.progress.left_out = 0;
        self.progress.position = Position { epochs: pass.epoch, steps: 0, total_steps: position.total_steps };
        Ok(())
    }

    /// Whether the options ask for one after this step. When there is one never changes what is trained.
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
        let Some(dir) = &self.dir else { return Ok(()) };
        let card = Card {
            weights: self.weights.clone(),
            config: read_config(dir)?,
            options: self.options.resolved(),
            device: self.device.clone(),
            seed: pass.seed,
            shards: pass
                .services
                .get::<ShardPlan>()
                .map(|plan| plan.shards.iter().map(|shard| (shard.url.clone(), shard.identity.clone())).collect()),
            epochs: self.progress.position.epochs,
            steps: self.progress.position.total_steps,
            results: read_results(dir)?,
        };
        let parameters = self.trainer.optimizer().parameters().iter();
        let trained = parameters.map(|(name, p)| (name.clone(), (p.shape.clone(), p.values.clone()))).collect();
        Ok(export(&self.start, &dir.join("export"), &trained, &card)?)
    }
}

/// The run's resolved config.
fn read_config(dir: &RunDir) -> Result<String, TrainError> {
    let path = dir.join("pipeline.toml");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(TrainError::io(&path)(error)),
    }
}

/// All measurements of the run, those before a resume too.
fn read_results(dir: &RunDir) -> Result<Vec<Value>, TrainError> {
    let path = dir.join("results.jsonl");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(TrainError::io(&path)(error)),
    }
}

fn first_keys(tokens: &Tokens) -> String {
    let items = &tokens.batch.items;
    let mut keys: Vec<&str> = items.iter().take(5).map(|item| &*item.key).collect();
    if items.len() > keys.len() {
        keys.push("…");
    }
    keys.join(", ")
}

/// Says every few steps how training goes.
#[derive(Default)]
struct Log {
    since: Option<Instant>,
    steps: u32,
    loss: f64,
    forward: Duration,
    backward: Duration,
    update: Duration,
}

impl Log {
    fn step(&mut self, step: &Step, lr: f64, epoch: u32, position: Position, every: u64) {
        self.steps += 1;
        self.loss += step.losses.first().map_or(f64::NAN, |(_, value)| *value);
        self.forward += step.forward;
        self.backward += step.backward;
        self.update += step.update;
        let since = *self.since.get_or_insert_with(|| Instant::now() - step.forward - step.backward - step.update);
        if every > 0 && position.steps.is_multiple_of(every) {
            let count = f64::from(self.steps);
            let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3 / count);
            tracing::info!(
                epoch,
                step = position.steps,
                loss = %format_args!("{:.4}", self.loss / count),
                lr = %format_args!("{lr:.2e}"),
                steps_per_s = %format_args!("{:.2}", count / since.elapsed().as_secs_f64()),
                forward_ms = ms(self.forward),
                backward_ms = ms(self.backward),
                update_ms = ms(self.update),
                "train"
            );
            *self = Self { since: Some(Instant::now()), ..Self::default() };
        }
    }
}
