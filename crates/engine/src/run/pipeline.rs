//! Builds a pipeline and runs its epochs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use parking_lot::Mutex;

use super::epoch::run_pass;
use super::event::{Event, Summary};
use super::results::take_up;
use super::resume::{check_inputs, check_settings, write_inputs};
use super::session::Session;
use super::side::SideRun;
use crate::edge::Stop;
use crate::error::{RunError, StageError};
use crate::ledger::Ledger;
use crate::plan::{EvalKeys, Plan, Registry};
use crate::stage::{Measurement, Moment, Phase, Position, Probe, RunDir};
use crate::watch::clock::now;
use crate::watch::timeline::{Recorder, Watching};
use crate::watch::trace::Track;
use crate::watch::{Handle, OnStep, StageReport, TimelineStage, Tracer};

struct ProbeSlot {
    name: String,
    every: u32,
    probe: Box<dyn Probe>,
}

/// A pipeline that is built and can run.
pub struct Pipeline {
    session: Session,
    dir: RunDir,
    probes: Vec<ProbeSlot>,
    handle: Handle,
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
        let side = SideRun::new(&plan, registry, interrupt.clone());
        let mut session = Session::new(&plan, Some(dir.clone()), Some(Arc::new(side)), interrupt.clone())?;
        let checkpoint = resume.then(|| dir.join("checkpoints"));
        session.build_stages(&mut plan, checkpoint).map_err(|(stage, error)| failed(stage, None, error))?;
        let start: Position = session.slots.iter().find_map(|slot| slot.node.position()).unwrap_or_default();
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
            check_inputs(&session.inputs, &dir, &plan.run)?;
        }
        let mut probes = Vec::new();
        for eval in std::mem::take(&mut plan.evals) {
            let EvalKeys { name, every } = eval.ready.common;
            let built = (eval.ready.build)(&name, &mut session.build(None));
            let probe = built.map_err(|error| failed(format!("eval {name}"), None, error))?;
            probes.push(ProbeSlot { name, every, probe });
        }
        session.ledger = Ledger::open(Some(&dir.join("skipped.jsonl")), plan.run.max_skipped)?;
        write_inputs(&session.inputs, &dir)?;
        let comments: String = header.lines().map(|line| format!("# {line}\n")).collect();
        dir.write("pipeline.toml", format!("{comments}\n{}", plan.resolved()).as_bytes())?;
        let handle = Handle { interrupt, ..Handle::default() };
        let last = session.slots.len().saturating_sub(1);
        let list = session.slots.iter().enumerate().map(|(index, slot)| TimelineStage {
            kind: slot.kind.to_owned(),
            capacity: if index == last { 0 } else { slot.capacity },
        });
        {
            let mut state = handle.state.lock();
            state.list = list.collect();
            state.epochs = plan.run.epochs;
        }
        Ok(Self { session, dir, probes, handle })
    }

    /// For Ctrl-C and live views.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Writes a trace of the run.
    pub fn trace(&mut self, tracer: Arc<Tracer>) {
        self.session.watch.tracer = Some(tracer);
    }

    /// Calls `on_step` with what each training step gave, on the thread that trains.
    pub fn on_step(&mut self, on_step: Arc<OnStep>) {
        self.session.watch.on_step = Some(on_step);
    }

    /// Takes no time of anything: what a benchmark of the meters compares with.
    #[doc(hidden)]
    pub fn unmetered(&mut self) {
        self.session.watch.off = true;
    }

    /// Runs all epochs, measuring before, between and after.
    ///
    /// # Errors
    /// The first failure of a stage or probe; [`RunError::Interrupted`] after Ctrl-C.
    pub fn run(self, watch: &mut dyn FnMut(Event<'_>)) -> Result<Summary, RunError> {
        let dir = self.dir.clone();
        let past = std::fs::read(dir.join("timeline.json")).ok().and_then(|json| serde_json::from_slice(&json).ok());
        let list = self.handle.state.lock().list.clone();
        let recorder = Arc::new(Mutex::new(Recorder::new(list, past, self.session.watch.tracer.clone())));
        let watching = match self.session.watch.off {
            true => None,
            false => {
                Some(Watching::start(&recorder, &self.handle.stages).map_err(|e| RunError::Folder(e.to_string()))?)
            }
        };
        self.handle.state.lock().began = Some(Instant::now());
        let result = self.run_all(&recorder, watch);
        drop(watching);
        let written = write_timeline(&dir, &recorder);
        // Report why the run ended rather than that its timeline could not be written: a full disk
        // causes both.
        let summary = result?;
        written.map(|()| summary)
    }

    fn run_all(
        mut self,
        recorder: &Arc<Mutex<Recorder>>,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<Summary, RunError> {
        let mut track = self.session.watch.tracer.as_ref().map(Tracer::run_track);
        watch(Event::Started { dir: self.dir.path() });
        let start = self.position();
        let keeps = |eval: &str| self.probes.iter().any(|probe| probe.name == eval);
        let mut measurements = take_up(&self.dir, start, self.session.run.epochs, keeps)?;
        if start.epochs < self.session.run.epochs {
            // The run goes on, so these are no longer its last answers.
            self.write_answers(AFTER, &[])?;
        }
        let mut stages: Vec<StageReport> = match std::fs::read(self.dir.join("stages.json")) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        if start == Position::default() {
            self.measure(Phase::Before, 0, &mut measurements, &mut track, watch)?;
        } else if start.steps == 0 {
            self.measure(self.phase(start.epochs), start.epochs, &mut measurements, &mut track, watch)?;
        }
        for epoch in start.epochs + 1..=self.session.run.epochs {
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
            self.handle.state.lock().skipped = self.session.ledger.count();
            let reports = &stages[stages.len() - stages.iter().rev().take_while(|r| r.epoch == epoch).count()..];
            watch(Event::EpochDone { stages: reports, skipped: self.session.ledger.count() });
            self.measure(self.phase(epoch), epoch, &mut measurements, &mut track, watch)?;
            // An epoch that was resumed within says nothing of the next ones.
            if skip_steps == 0 {
                self.handle.state.lock().past = Some((steps, began.elapsed()));
            }
        }
        self.finish()?;
        let (skipped, lost_shards) = (self.session.ledger.by_reason(), self.session.ledger.lost_shards());
        Ok(Summary { dir: self.dir.path().to_owned(), measurements, stages, skipped, lost_shards })
    }

    fn phase(&self, epoch: u32) -> Phase {
        if epoch == self.session.run.epochs { Phase::After } else { Phase::Epoch }
    }

    fn position(&self) -> Position {
        self.session.slots.iter().find_map(|slot| slot.node.position()).unwrap_or_default()
    }

    /// Lets every stage export and close its files.
    fn finish(&mut self) -> Result<(), RunError> {
        let stop = Arc::new(Stop::default());
        self.session.with_slots(|session, slots| {
            let context = session.context(session.run.epochs, 0, &stop);
            for slot in slots {
                let pass = context.pass(&slot.meter, (0, slot.kind));
                unpanicked(slot.kind, None, || {
                    slot.node.finish(&pass).map_err(|error| failed(slot.kind.to_owned(), None, error))
                })?;
            }
            Ok(())
        })
    }

    fn epoch(
        &mut self,
        epoch: u32,
        skip_steps: u64,
        recorder: &Arc<Mutex<Recorder>>,
        watch: &mut dyn FnMut(Event<'_>),
    ) -> Result<Vec<StageReport>, RunError> {
        let stop = Arc::new(Stop::default());
        let handle = &self.handle;
        let result = self.session.with_slots(|session, slots| {
            let context = session.context(epoch, skip_steps, &stop);
            run_pass(slots, &context, None, &mut |from, stages| {
                {
                    let mut state = handle.state.lock();
                    state.epoch = epoch;
                    state.epoch_began = Some(Instant::now());
                }
                // The order of locks is that of the thread that samples the meters.
                let mut recorder = recorder.lock();
                let mut running = handle.stages.lock();
                recorder.turn(&running, Some(epoch));
                *running = stages;
                drop((recorder, running));
                watch(Event::EpochStarted { epoch, from });
            })
        });
        {
            // The last values stay to be seen while something is measured.
            self.handle.look();
            let mut recorder = recorder.lock();
            let mut running = self.handle.stages.lock();
            recorder.turn(&running, None);
            running.clear();
        }
        result.map_err(|(stage, error)| match error {
            StageError::Interrupted => RunError::Interrupted {
                checkpoint: self.session.services.get::<LastCheckpoint>().map(|c| c.0.display().to_string()),
            },
            error => failed(stage, Some(epoch), error),
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
        let Some(subject) = self.session.slots.iter().find_map(|slot| slot.node.subject()) else { return Ok(()) };
        let moment = Moment { phase, epoch, step: self.position().total_steps, seed: self.session.run.seed };
        let (mut taken, mut answers) = (Vec::new(), Vec::new());
        for slot in &mut self.probes {
            if phase == Phase::Epoch && (slot.every == 0 || !epoch.is_multiple_of(slot.every)) {
                continue;
            }
            let (stage, at_epoch) = (format!("eval {}", slot.name), (epoch > 0).then_some(epoch));
            self.handle.state.lock().measuring = Some(slot.name.clone());
            let at = now();
            let measured = unpanicked(&stage, at_epoch, || {
                slot.probe.measure(&*subject, &moment).map_err(|error| match error {
                    StageError::Interrupted => RunError::Interrupted { checkpoint: None },
                    error => failed(stage.clone(), at_epoch, error),
                })
            });
            self.handle.state.lock().measuring = None;
            if let Some(track) = track {
                track.part(&format!("measure {}", slot.name), at, now());
            }
            let found = measured?;
            taken.extend(found.measurements);
            answers.extend(found.answers);
        }
        self.dir.append("results.jsonl", &taken)?;
        if let Some(file) = answers_file(phase) {
            self.write_answers(file, &answers)?;
        }
        if !taken.is_empty() {
            watch(Event::Measured(&taken));
        }
        all.extend(taken);
        Ok(())
    }

    /// Replaces a file of answers; if there are none, removes it.
    fn write_answers(&self, file: &str, answers: &[String]) -> Result<(), RunError> {
        if !answers.is_empty() {
            return self.dir.write(file, (answers.join("\n") + "\n").as_bytes());
        }
        match std::fs::remove_file(self.dir.join(file)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(RunError::Folder(format!("cannot remove {}: {error}", self.dir.join(file).display())))
            }
            _ => Ok(()),
        }
    }
}

const AFTER: &str = "answers-after.jsonl";

/// The file with the answers of a phase. It is replaced as a whole, so a resumed run does not add lines twice.
fn answers_file(phase: Phase) -> Option<&'static str> {
    match phase {
        Phase::Before => Some("answers-before.jsonl"),
        Phase::Epoch => None,
        Phase::After => Some(AFTER),
    }
}

fn failed(stage: String, epoch: Option<u32>, error: StageError) -> RunError {
    RunError::Stage { stage, epoch, error }
}

fn write_timeline(dir: &RunDir, recorder: &Mutex<Recorder>) -> Result<(), RunError> {
    let json = serde_json::to_vec(recorder.lock().timeline()).map_err(|e| RunError::Folder(e.to_string()))?;
    dir.write("timeline.json", &json)
}

/// Runs what a stage or a probe does on the engine's own thread; a panic is an error like any other.
fn unpanicked<T>(stage: &str, epoch: Option<u32>, work: impl FnOnce() -> Result<T, RunError>) -> Result<T, RunError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(failed(stage.to_owned(), epoch, StageError::panicked(&*panic))))
}

/// Published by the stage that writes checkpoints: the newest whole one.
#[derive(Debug)]
pub struct LastCheckpoint(pub PathBuf);
