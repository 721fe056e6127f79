//! Builds a pipeline and runs its epochs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::channel::{Capacity, Inlet, Stop, lock};
use crate::check::Plan;
use crate::error::{RunError, StageError};
use crate::lane::now;
use crate::ledger::Ledger;
use crate::live::{Handle, Stages};
use crate::meter::{Meter, StageReport};
use crate::probe::{Measurement, Moment, Phase, Probe, SideRun};
use crate::registry::{EvalKeys, Registry};
use crate::resume::{Inputs, check_settings};
use crate::run_dir::RunDir;
use crate::services::Services;
use crate::stage::{Build, Item, Nothing, OnStep, Pass, Position, Watch};
use crate::timeline::{Recorder, TimelineStage, Watching};
use crate::trace::{Tracer, Track};
use crate::{choice, options};

pub(crate) mod node;

use node::{AnyInlet, Node, Wiring, panicked};

choice! {
    /// Where tensors live.
    pub enum DeviceChoice {
        /// A real GPU if there is one, else the CPU.
        Auto = "auto",
        /// The CPU.
        Cpu = "cpu",
        /// The best adapter that wgpu finds, be it a software one.
        Wgpu = "wgpu",
        /// CUDA, where the program was built with it.
        Cuda = "cuda",
    }
}

choice! {
    /// What a resumed run does when its settings or its data are not those it began with.
    pub enum OnChange {
        /// It says which, and does not go on.
        Refuse = "refuse",
        /// It says which, and goes on with the new ones.
        Accept = "accept",
    }
}

options! {
    /// `[run]`: what concerns the run as a whole.
    pub struct RunOptions {
        /// Folder that run folders go into.
        dir: PathBuf = PathBuf::from("runs") => free;
        /// Name of the run folder; nothing: date, time and preset.
        name: String = String::new() => free;
        /// Every random draw follows from it.
        seed: u64 = 0;
        /// Passes over the data.
        epochs: u32 = 10, 1..=100_000;
        /// Where tensors live.
        device: DeviceChoice = DeviceChoice::Auto;
        /// Samples that may be unusable before the run stops.
        max_skipped: u64 = 1000 => free;
        /// Bytes that may wait in one edge.
        edge_bytes: usize = 256 << 20, 1 << 10..=usize::MAX => free;
        /// Where Prometheus may read the run's metrics while it runs, as
        /// "127.0.0.1:9090" or "9090" (this machine only); "": nowhere.
        metrics: String = String::new() => free;
        /// With --resume, when settings or data are not those the run began with: say which and
        /// stop (refuse), or say which and go on (accept).
        on_change: OnChange = OnChange::Refuse => free;
        /// A named set of settings that hold where this file says nothing else.
        preset: String = String::new() => free;
        /// Folder that relative paths of inputs start from; nothing: the folder of this file.
        base: Option<PathBuf> = None => free;
    }
}

/// A stage in its place.
pub(crate) struct Slot {
    pub kind: &'static str,
    pub capacity: usize,
    pub node: Box<dyn Node>,
    pub meter: Arc<Meter>,
}

struct ProbeSlot {
    name: String,
    every: u32,
    probe: Box<dyn Probe>,
}

/// Something happened that people may want to see.
#[derive(Debug)]
pub enum Event<'a> {
    /// The run folder is there; the first measurements begin.
    Started {
        /// The run folder.
        dir: &'a std::path::Path,
    },
    /// Measurements were taken.
    Measured(&'a [Measurement]),
    /// An epoch begins, at the first of these stages.
    EpochStarted {
        /// Counted from 1.
        epoch: u32,
        /// The first stage that runs: not the first of the config when a cache starts it.
        from: &'static str,
    },
    /// An epoch is over.
    EpochDone {
        /// What each stage did.
        stages: &'a [StageReport],
        /// Samples skipped in the run so far.
        skipped: u64,
    },
}

/// How a run ended.
#[derive(Debug)]
pub struct Summary {
    /// The run folder.
    pub dir: PathBuf,
    /// All measurements.
    pub measurements: Vec<Measurement>,
    /// All stage reports.
    pub stages: Vec<StageReport>,
    /// Skipped samples: stage, reason, count.
    pub skipped: Vec<(String, String, u64)>,
}

/// A pipeline that is built and can run.
pub struct Pipeline {
    run: RunOptions,
    dir: RunDir,
    slots: Vec<Slot>,
    probes: Vec<ProbeSlot>,
    services: Services,
    ledger: Ledger,
    handle: Handle,
    watch: Watch,
}

impl Pipeline {
    /// Builds every stage and probe, and makes the run folder.
    ///
    /// `header` is written as comments on top of the resolved config.
    ///
    /// # Errors
    /// The first stage that cannot be built, or a run folder that cannot be made.
    pub fn build(
        plan: Plan,
        registry: &Arc<Registry>,
        dir: RunDir,
        header: &str,
        resume: bool,
    ) -> Result<Self, RunError> {
        let folder = dir.clone();
        let built = unpanicked("pipeline", None, || Self::assemble(plan, registry, dir, header, resume));
        built.inspect(|_| folder.begun()).inspect_err(|_| folder.discard())
    }

    fn assemble(
        mut plan: Plan,
        registry: &Arc<Registry>,
        dir: RunDir,
        header: &str,
        resume: bool,
    ) -> Result<Self, RunError> {
        if resume {
            check_settings(&dir, &plan, registry)?;
        }
        let interrupt = Arc::new(AtomicBool::new(false));
        let inputs = Inputs::default();
        let services = Services::default();
        let side = SideRun { config: plan.config.clone(), registry: registry.clone(), interrupt: interrupt.clone() };
        let checkpoint = resume.then(|| dir.join("checkpoints"));
        let named = |(stage, error): (String, StageError)| RunError::Stage { stage, epoch: None, error };
        let slots =
            build_stages(&mut plan, &services, &inputs, Some(&dir), checkpoint, Some(side.clone())).map_err(named)?;
        let start: Position = slots.iter().find_map(|slot| slot.node.position()).unwrap_or_default();
        if start.epochs + u32::from(start.steps > 0) > plan.run.epochs {
            return Err(RunError::Folder(format!(
                "the run in {} has done {} epochs and {} steps of the next, more than run.epochs = {}; its checkpoints \
                 and its export stay as they are",
                dir.path().display(),
                start.epochs,
                start.steps,
                plan.run.epochs
            )));
        }
        if start != Position::default() {
            inputs.check(&dir, &plan.run)?;
        }
        let mut probes = Vec::new();
        for eval in std::mem::take(&mut plan.evals) {
            let mut build = Build {
                run: &plan.run,
                base: &plan.base,
                services: &services,
                dir: Some(&dir),
                resume: None,
                side: Some(side.clone()),
                sections: &plan.sections,
                inputs: &inputs,
            };
            let EvalKeys { name, every } = eval.ready.common;
            let built = (eval.ready.build)(&name, &mut build);
            let probe = built.map_err(|error| RunError::Stage { stage: format!("eval {name}"), epoch: None, error })?;
            probes.push(ProbeSlot { name, every, probe });
        }
        let ledger = Ledger::open(Some(&dir.join("skipped.jsonl")), plan.run.max_skipped)
            .map_err(|e| RunError::Folder(e.to_string()))?;
        inputs.write(&dir)?;
        let comments: String = header.lines().map(|line| format!("# {line}\n")).collect();
        dir.write("pipeline.toml", format!("{comments}\n{}", plan.resolved()).as_bytes())?;
        let handle = Handle { interrupt, ..Handle::default() };
        let last = slots.len().saturating_sub(1);
        let list = slots.iter().enumerate().map(|(index, slot)| TimelineStage {
            kind: slot.kind.to_owned(),
            capacity: if index == last { 0 } else { slot.capacity },
        });
        {
            let mut state = lock(&handle.state);
            state.list = list.collect();
            state.epochs = plan.run.epochs;
        }
        let watch = Watch::default();
        Ok(Self { run: plan.run, dir, slots, probes, services, ledger, handle, watch })
    }

    /// For Ctrl-C and live views.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Writes a trace of the run.
    pub fn trace(&mut self, tracer: Arc<Tracer>) {
        self.watch.tracer = Some(tracer);
    }

    /// Tells `told` what each training step gave, on the thread that trains.
    pub fn on_step(&mut self, told: Arc<OnStep>) {
        self.watch.on_step = Some(told);
    }

    /// Takes no time of anything: what a benchmark of the meters compares with.
    #[doc(hidden)]
    pub fn unmetered(&mut self) {
        self.watch.off = true;
    }

    /// Runs all epochs, measuring before, between and after.
    ///
    /// # Errors
    /// The first failure of a stage or probe; [`RunError::Interrupted`] after Ctrl-C.
    pub fn run(self, watch: &mut dyn FnMut(Event<'_>)) -> Result<Summary, RunError> {
        let dir = self.dir.clone();
        let past = std::fs::read(dir.join("timeline.json")).ok().and_then(|json| serde_json::from_slice(&json).ok());
        let list = lock(&self.handle.state).list.clone();
        let recorder = Arc::new(Mutex::new(Recorder::new(list, past, self.watch.tracer.clone())));
        let watching = match self.watch.off {
            true => None,
            false => {
                Some(Watching::start(&recorder, &self.handle.stages).map_err(|e| RunError::Folder(e.to_string()))?)
            }
        };
        lock(&self.handle.state).began = Some(Instant::now());
        let result = self.run_all(&recorder, watch);
        drop(watching);
        let written = write_timeline(&dir, &recorder);
        // What ended the run goes before what could not be written of it: a full disk causes both.
        let summary = result?;
        written.map(|()| summary)
    }

    fn run_all(
        mut self,
        recorder: &Arc<Mutex<Recorder>>,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<Summary, RunError> {
        let mut track = self.watch.tracer.as_ref().map(Tracer::run_track);
        watch(Event::Started { dir: self.dir.path() });
        let start = self.position();
        let mut measurements = self.take_up(start)?;
        let mut stages: Vec<StageReport> = match std::fs::read(self.dir.join("stages.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        if start == Position::default() {
            self.measure(Phase::Before, 0, &mut measurements, &mut track, watch)?;
        } else if start.steps == 0 {
            self.measure(self.phase(start.epochs), start.epochs, &mut measurements, &mut track, watch)?;
        }
        for epoch in start.epochs + 1..=self.run.epochs {
            let skip_steps = if epoch == start.epochs + 1 { start.steps } else { 0 };
            let began = Instant::now();
            let at = now();
            let reports = self.epoch(epoch, skip_steps, recorder, watch)?;
            if let Some(track) = &mut track {
                let from = reports.first().map_or("", |first| &first.kind);
                track.part(&format!("epoch {epoch}, from {from}"), at, now());
                track.flush();
            }
            let steps = reports.last().map_or(0, |last| last.items);
            stages.retain(|report| report.epoch != epoch);
            stages.extend(reports);
            let json = serde_json::to_vec_pretty(&stages).map_err(|e| RunError::Folder(e.to_string()))?;
            self.dir.write("stages.json", &json)?;
            write_timeline(&self.dir, recorder)?;
            lock(&self.handle.state).skipped = self.ledger.count();
            let reports = &stages[stages.len() - stages.iter().rev().take_while(|r| r.epoch == epoch).count()..];
            watch(Event::EpochDone { stages: reports, skipped: self.ledger.count() });
            self.measure(self.phase(epoch), epoch, &mut measurements, &mut track, watch)?;
            // An epoch that was resumed within says nothing of the next ones.
            if skip_steps == 0 {
                lock(&self.handle.state).past = Some((steps, began.elapsed()));
            }
        }
        let stop = Arc::new(Stop::default());
        let mut slots = std::mem::take(&mut self.slots);
        let context = self.context(self.run.epochs, 0, &stop);
        for slot in &mut slots {
            let pass = context.pass(&slot.meter, (0, slot.kind));
            unpanicked(slot.kind, None, || {
                let failed = |error| RunError::Stage { stage: slot.kind.to_owned(), epoch: None, error };
                slot.node.finish(&pass).map_err(failed)
            })?;
        }
        Ok(Summary { dir: self.dir.path().to_owned(), measurements, stages, skipped: self.ledger.by_reason() })
    }

    /// What a resumed run measured up to `start`, in results.jsonl and here. What is beyond, a
    /// run wrote that was killed before its next checkpoint; it comes again. So does what stands
    /// between two epochs, since nobody knows whether all of it was written.
    fn take_up(&self, start: Position) -> Result<Vec<Measurement>, RunError> {
        let path = self.dir.join("results.jsonl");
        let past = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(RunError::Folder(format!("cannot read {}: {error}", path.display()))),
        };
        let stays = |m: &Measurement| {
            let between = start.steps == 0 && m.epoch == start.epochs;
            m.epoch <= start.epochs && !(between && self.probes.iter().any(|probe| probe.name == m.eval))
        };
        let (mut kept, mut text) = (Vec::new(), String::new());
        for line in String::from_utf8_lossy(&past).lines() {
            // Half a line, of a kill while it was written, is none.
            let Ok(mut measurement) = serde_json::from_str::<Measurement>(line) else { continue };
            if !stays(&measurement) {
                continue;
            }
            if measurement.phase == Phase::After && measurement.epoch < self.run.epochs {
                // It was the last epoch when it was measured.
                measurement.phase = Phase::Epoch;
                text += &serde_json::to_string(&measurement).map_err(|e| RunError::Folder(e.to_string()))?;
            } else {
                text += line;
            }
            text.push('\n');
            kept.push(measurement);
        }
        self.dir.write("results.jsonl", text.as_bytes())?;
        Ok(kept)
    }

    fn phase(&self, epoch: u32) -> Phase {
        if epoch == self.run.epochs { Phase::After } else { Phase::Epoch }
    }

    fn position(&self) -> Position {
        self.slots.iter().find_map(|slot| slot.node.position()).unwrap_or_default()
    }

    fn context<'a>(&'a self, epoch: u32, skip_steps: u64, stop: &'a Arc<Stop>) -> PassContext<'a> {
        PassContext {
            epoch,
            skip_steps,
            run: &self.run,
            ledger: &self.ledger,
            services: &self.services,
            stop,
            interrupt: &self.handle.interrupt,
            watch: &self.watch,
        }
    }

    fn epoch(
        &mut self,
        epoch: u32,
        skip_steps: u64,
        recorder: &Arc<Mutex<Recorder>>,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<Vec<StageReport>, RunError> {
        let mut slots = std::mem::take(&mut self.slots);
        let stop = Arc::new(Stop::default());
        let context = self.context(epoch, skip_steps, &stop);
        let result = run_pass::<Nothing>(&mut slots, &context, None, &mut |from, stages| {
            {
                let mut state = lock(&self.handle.state);
                state.epoch = epoch;
                state.epoch_began = Some(Instant::now());
            }
            // The order of locks is that of the thread that looks.
            let mut recorder = lock(recorder);
            let mut running = lock(&self.handle.stages);
            recorder.turn(&running, Some(epoch));
            *running = stages;
            drop((recorder, running));
            watch(Event::EpochStarted { epoch, from });
        });
        {
            // The last values stay to be seen while something is measured.
            self.handle.look();
            let mut recorder = lock(recorder);
            let mut running = lock(&self.handle.stages);
            recorder.turn(&running, None);
            running.clear();
        }
        self.slots = slots;
        result.map_err(|(stage, error)| match error {
            StageError::Interrupted => RunError::Interrupted {
                checkpoint: self.services.get::<LastCheckpoint>().map(|c| c.0.display().to_string()),
            },
            error => RunError::Stage { stage, epoch: Some(epoch), error },
        })
    }

    fn measure(
        &mut self,
        phase: Phase,
        epoch: u32,
        all: &mut Vec<Measurement>,
        track: &mut Option<Track>,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), RunError> {
        let Some(subject) = self.slots.iter().find_map(|slot| slot.node.subject()) else { return Ok(()) };
        let moment = Moment { phase, epoch, step: self.position().total_steps, seed: self.run.seed };
        let mut taken = Vec::new();
        for slot in &mut self.probes {
            if phase == Phase::Epoch && (slot.every == 0 || !epoch.is_multiple_of(slot.every)) {
                continue;
            }
            let (stage, at_epoch) = (format!("eval {}", slot.name), (epoch > 0).then_some(epoch));
            lock(&self.handle.state).measuring = Some(slot.name.clone());
            let at = now();
            let measured = unpanicked(&stage, at_epoch, || {
                slot.probe.measure(&*subject, &moment).map_err(|error| match error {
                    StageError::Interrupted => RunError::Interrupted { checkpoint: None },
                    error => RunError::Stage { stage: stage.clone(), epoch: at_epoch, error },
                })
            });
            lock(&self.handle.state).measuring = None;
            if let Some(track) = track {
                track.part(&format!("measure {}", slot.name), at, now());
            }
            taken.extend(measured?);
        }
        self.dir.append("results.jsonl", &taken)?;
        if !taken.is_empty() {
            watch(Event::Measured(&taken));
        }
        all.extend(taken);
        Ok(())
    }
}

fn write_timeline(dir: &RunDir, recorder: &Mutex<Recorder>) -> Result<(), RunError> {
    let json = serde_json::to_vec(lock(recorder).timeline()).map_err(|e| RunError::Folder(e.to_string()))?;
    dir.write("timeline.json", &json)
}

/// Runs what a stage or a probe does on the engine's own thread; a panic is an error like any other.
fn unpanicked<T>(stage: &str, epoch: Option<u32>, work: impl FnOnce() -> Result<T, RunError>) -> Result<T, RunError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(RunError::Stage { stage: stage.to_owned(), epoch, error: panicked(&*panic) }))
}

/// Published by the stage that writes checkpoints: the newest whole one.
#[derive(Debug)]
pub struct LastCheckpoint(pub PathBuf);

/// What all stages of an epoch share.
pub(crate) struct PassContext<'a> {
    pub epoch: u32,
    pub skip_steps: u64,
    pub run: &'a RunOptions,
    pub ledger: &'a Ledger,
    pub services: &'a Services,
    pub stop: &'a Arc<Stop>,
    pub interrupt: &'a AtomicBool,
    pub watch: &'a Watch,
}

impl<'a> PassContext<'a> {
    pub fn pass(&self, meter: &'a Meter, stage: (usize, &'static str)) -> Pass<'a> {
        Pass {
            epoch: self.epoch,
            epochs: self.run.epochs,
            skip_steps: self.skip_steps,
            seed: self.run.seed,
            ledger: self.ledger,
            services: self.services,
            meter,
            stop: self.stop,
            interrupt: self.interrupt,
            watch: self.watch,
            stage,
        }
    }
}

/// Builds the stages of a plan; an error comes with the stage's kind.
pub(crate) fn build_stages(
    plan: &mut Plan,
    services: &Services,
    inputs: &Inputs,
    dir: Option<&RunDir>,
    resume: Option<PathBuf>,
    side: Option<SideRun>,
) -> Result<Vec<Slot>, (String, StageError)> {
    let mut slots = Vec::new();
    for stage in std::mem::take(&mut plan.stages) {
        let mut build = Build {
            run: &plan.run,
            base: &plan.base,
            services,
            dir,
            resume: resume.clone(),
            side: side.clone(),
            sections: &plan.sections,
            inputs,
        };
        let node = (stage.ready.build)(stage.kind, &mut build).map_err(|error| (stage.kind.to_owned(), error))?;
        slots.push(Slot { kind: stage.kind, capacity: stage.ready.common.capacity, node, meter: Arc::default() });
    }
    Ok(slots)
}

type Failure = (String, StageError);

/// Told which stage an epoch begins with, and the meters of those that run.
pub(crate) type Started<'a> = &'a mut dyn FnMut(&'static str, Stages);

/// Runs one epoch; with `each`, what leaves the last stage goes there.
pub(crate) fn run_pass<T: Item>(
    slots: &mut [Slot],
    context: &PassContext<'_>,
    each: Option<&mut (dyn FnMut(T) -> Result<(), StageError> + Send)>,
    started: Started<'_>,
) -> Result<Vec<StageReport>, Failure> {
    for slot in slots.iter_mut() {
        slot.meter = Arc::new(Meter::new(context.watch.off));
    }
    // The last stage that can start the epoch by itself does; those before it stay idle.
    let mut first = 0;
    for index in (0..slots.len()).rev() {
        let slot = &mut slots[index];
        let meter = slot.meter.clone();
        if slot.node.starts(&context.pass(&meter, (index, slot.kind))).map_err(|error| (slot.kind.to_owned(), error))? {
            first = index;
            break;
        }
    }
    let meters: Vec<Arc<Meter>> = slots.iter().map(|slot| slot.meter.clone()).collect();
    started(slots[first].kind, meters.iter().cloned().enumerate().skip(first).collect());
    let kinds: Vec<&'static str> = slots.iter().map(|slot| slot.kind).collect();
    let collector = Arc::new(Meter::default());
    let count = slots.len();
    let collecting = each.is_some();

    let began = Instant::now();
    std::thread::scope(|scope| {
        let mut input: Option<AnyInlet> = None;
        for (index, slot) in slots.iter_mut().enumerate().skip(first) {
            let capacity = Capacity { items: slot.capacity, bytes: context.run.edge_bytes };
            let behind = meters.get(index + 1).or(collecting.then_some(&collector));
            let wiring = Wiring {
                index,
                kind: slot.kind,
                meter: slot.meter.clone(),
                next: behind.map(|meter| (meter.clone(), capacity)),
                stop: context.stop.clone(),
                flows: u64::from(context.epoch) << 40 | (index as u64) << 32,
            };
            let pass = context.pass(&meters[index], (index, slot.kind));
            input = slot.node.spawn(scope, pass, wiring, input);
        }
        if let (Some(each), Some(input)) = (each, input) {
            let Ok(mut inlet) = input.downcast::<Inlet<T>>() else {
                context.stop.fail(count, StageError::msg("gives another type than is collected"));
                return;
            };
            while let Ok(Some(item)) = inlet.recv() {
                if let Err(error) = each(item) {
                    context.stop.fail(count, error);
                    break;
                }
            }
        }
    });
    let wall = began.elapsed();

    if context.stop.raised() {
        let failed = context.stop.take();
        if failed.is_none() && context.stop.was_cut() {
            return Ok(reports(slots, context, first, wall));
        }
        let (index, error) = failed.unwrap_or_else(|| {
            (count, StageError::msg("a stage stopped reading before its input ended; this is a fault of the program"))
        });
        return Err((kinds.get(index).or(kinds.last()).copied().unwrap_or("pipeline").to_owned(), error));
    }
    Ok(reports(slots, context, first, wall))
}

/// What each stage did in the epoch that took `wall`.
fn reports(slots: &[Slot], context: &PassContext<'_>, first: usize, wall: Duration) -> Vec<StageReport> {
    let report = |slot: &Slot| slot.meter.report(slot.kind, context.epoch, slot.node.workers(), wall);
    let mut reports: Vec<StageReport> = slots[first..].iter().map(report).collect();
    StageReport::mark_limiting(&mut reports);
    reports
}
