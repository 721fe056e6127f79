//! For `pipeline profile`: each stage by itself, and all of them together.
//!
//! A stage that runs by itself gets the items that the stage before it gave when that one ran by
//! itself. They are buffered in memory, so that neither waits for the other. No item is used twice, so
//! that items need not be copied.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::epoch::run_pass;
use super::session::{Failure, Session, Slot};
use crate::edge::{Capacity, Stop};
use crate::error::{RunError, StageError};
use crate::plan::Plan;
use crate::stage::node::{Buffered, Wiring};
use crate::watch::{Meter, StageReport};

/// Items that a stage takes before its time is measured, where there are more.
const WARM_UP: u64 = 1;
/// Items that wait in front of a stage that is fed from memory: it ends soon after its time is up.
const IN_FRONT: usize = 8;
/// How often meters are read while a stage is measured.
const SAMPLING: Duration = Duration::from_micros(200);

/// How long a stage is measured, and how much of what it gives is buffered.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For each stage, and for the whole.
    pub time: Duration,
    /// Bytes of items that may be buffered between two stages.
    pub bytes: usize,
}

/// What a stage did when it ran by itself.
#[derive(Debug, Clone, serde::Serialize)]
pub struct StageProfile {
    /// Its kind.
    pub kind: String,
    /// Its threads, as the engine knows them.
    pub workers: usize,
    /// Whether more workers can be given to it: the engine runs it n-wide.
    pub is_map: bool,
    /// Items it took while it was measured; for the first stage, that it gave.
    pub items: u64,
    /// Samples in one of these items: what the first stage gave, over what came here.
    pub samples_per_item: f64,
    /// The time of the work on them.
    pub seconds: f64,
    /// CPU time of the whole process meanwhile; none where the system does not tell.
    pub cpu_seconds: Option<f64>,
}

impl StageProfile {
    /// Samples per second: no pipeline with this stage in it is faster.
    pub fn ceiling(&self) -> f64 {
        self.items as f64 * self.samples_per_item / self.seconds.max(1e-9)
    }

    /// CPU seconds that one sample costs in this stage.
    pub fn cpu_per_sample(&self) -> Option<f64> {
        self.cpu_seconds.map(|cpu| cpu / (self.items as f64 * self.samples_per_item).max(1e-9))
    }
}

/// What the stages did together.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PipelineProfile {
    /// The stage that the epoch began with.
    pub from: String,
    /// Items that the last stage took.
    pub items: u64,
    /// Items per second in the last stage, from its first item to its last; none if there were fewer than three.
    pub items_per_s: Option<f64>,
    /// Whether the epoch came to its end in the time.
    pub complete: bool,
    /// What each stage did.
    pub stages: Vec<StageReport>,
}

/// Profiles built stages; leaves nothing behind: no run folder, no probes.
pub struct Profiler {
    session: Session,
}

impl Profiler {
    /// Builds the stages of a plan.
    ///
    /// # Errors
    /// The first stage that cannot be built.
    pub fn build(mut plan: Plan) -> Result<Self, RunError> {
        let mut session = Session::new(&plan, None, None, Arc::default())?;
        let failed = |(stage, error)| RunError::Stage { stage, epoch: None, error };
        session.build_stages(&mut plan, None).map_err(failed)?;
        Ok(Self { session })
    }

    /// Runs each stage alone in the order of the pipeline; `next` is called with the kind of each.
    ///
    /// # Errors
    /// What a stage says. One that got too little in the time may say so.
    pub fn alone(
        &mut self,
        limits: &Limits,
        next: &mut dyn FnMut(&'static str),
    ) -> Result<Vec<StageProfile>, RunError> {
        self.session.with_slots(|session, slots| one_by_one(session, slots, limits, next))
    }

    /// Runs an epoch of all stages for at most `time`, as a run would.
    ///
    /// # Errors
    /// What a stage says.
    pub fn whole(&mut self, epoch: u32, time: Duration) -> Result<PipelineProfile, RunError> {
        let result = self.session.with_slots(|session, slots| together(session, slots, epoch, time));
        result.map_err(|(stage, error)| RunError::Stage { stage, epoch: Some(epoch), error })
    }
}

fn one_by_one(
    session: &Session,
    slots: &mut [Slot],
    limits: &Limits,
    next: &mut dyn FnMut(&'static str),
) -> Result<Vec<StageProfile>, RunError> {
    let mut found: Vec<StageProfile> = Vec::new();
    let mut kept: Option<Buffered> = None;
    // Samples in an item of the edge before the stage.
    let mut samples_per_item = 1.0;
    for (index, slot) in slots.iter_mut().enumerate() {
        next(slot.kind);
        let fed = kept.as_ref().map(|kept| kept.count);
        let mut measured = measure(session, index, slot, kept.take(), limits).map_err(|error| {
            let error = match fed {
                Some(items) => StageError::msg(format!(
                    "{error} (alone, fed with the {items} items that came in {:.0} s; allow more with --seconds)",
                    limits.time.as_secs_f64()
                )),
                None => error,
            };
            RunError::Stage { stage: slot.kind.to_owned(), epoch: None, error }
        })?;
        measured.profile.samples_per_item = samples_per_item;
        if index > 0 && measured.gave > 0 {
            samples_per_item *= measured.took_for_them as f64 / measured.gave as f64;
        }
        kept = measured.kept;
        found.push(measured.profile);
    }
    Ok(found)
}

/// Runs one stage on what was kept.
fn measure(
    session: &Session,
    index: usize,
    slot: &mut Slot,
    input: Option<Buffered>,
    limits: &Limits,
) -> Result<Measured, StageError> {
    let meter = Arc::new(Meter::default());
    slot.meter = meter.clone();
    let stop = Arc::new(Stop::default());
    let context = session.context(1, 0, &stop);
    let last = !slot.node.gives();
    let behind = Arc::new(Meter::default());
    let room = Capacity { items: slot.capacity, bytes: session.run.edge_bytes };
    let wiring = Wiring {
        index,
        kind: slot.kind,
        meter: meter.clone(),
        next: (!last).then(|| (behind.clone(), room)),
        stop: stop.clone(),
        flows: 0,
    };
    let (kind, workers, is_map) = (slot.kind, slot.node.workers(), slot.node.is_map());
    let done = AtomicBool::new(false);
    let began = Stamp::now();
    let first: Mutex<Option<Stamp>> = Mutex::new(None);
    let mut output = None;
    std::thread::scope(|outer| {
        outer.spawn(|| {
            // A first stage has begun when something leaves it. The others are warm when
            // they take the second item: the first one may load, compile, allocate.
            let warm = || match index {
                0 => behind.items_in.load(Relaxed) > 0,
                _ => meter.items_in.load(Relaxed) > WARM_UP,
            };
            while !warm() && !done.load(Relaxed) {
                std::thread::sleep(SAMPLING);
            }
            *first.lock() = warm().then(Stamp::now);
        });
        std::thread::scope(|scope| {
            let deadline = began.at + limits.time;
            let fed = input.map(|kept| {
                let room = Capacity { items: IN_FRONT, bytes: usize::MAX };
                let (inlet, feed) = kept.feed(room, meter.clone(), stop.clone());
                scope.spawn(move || feed(&|| Instant::now() > deadline));
                inlet
            });
            let node = &slot.node;
            let collect = node.collector();
            let inlet = slot.node.spawn(scope, context.pass(&meter, (index, kind)), wiring, fed);
            if let Some(inlet) = inlet {
                // Only a source is cut by time: the others end when they are no longer fed.
                let enough = |bytes: usize| bytes > limits.bytes || (index == 0 && Instant::now() > deadline);
                output = Some(collect(inlet, &meter, &enough));
            }
        });
        done.store(true, Relaxed);
    });
    let ended = Stamp::now();
    if let Some((_, error)) = stop.take() {
        return Err(error);
    }
    let items = if index == 0 { None } else { Some(meter.items_in.load(Relaxed)) };
    // The first stage's items are counted where they leave it, all of them.
    let (first, cold) = match first.lock().take() {
        Some(first) if ended.at - first.at > SAMPLING * 25 && items.is_none_or(|items| items > WARM_UP + 1) => {
            (first, items.map_or(0, |_| WARM_UP))
        }
        // Finished before warm-up was seen: time the whole run instead, which can only
        // underestimate the throughput.
        _ => (began, 0),
    };
    let cut = output.as_ref().is_some_and(|output| output.cut);
    // A source that was cut had filled its buffers before it gave anything; one that came
    // to its end has emptied them too.
    let since = if index == 0 && !cut { began } else { first };
    let gave = output.as_ref().map_or(0, |output| output.count as u64);
    Ok(Measured {
        profile: StageProfile {
            kind: kind.to_owned(),
            workers,
            is_map,
            items: items.unwrap_or(gave) - cold,
            samples_per_item: 1.0,
            seconds: (ended.at - since.at).as_secs_f64(),
            cpu_seconds: ended.cpu.zip(since.cpu).map(|(end, start)| end - start),
        },
        gave,
        took_for_them: output.as_ref().map_or(0, |output| output.took),
        kept: output,
    })
}

fn together(session: &Session, slots: &mut [Slot], epoch: u32, time: Duration) -> Result<PipelineProfile, Failure> {
    let stop = Arc::new(Stop::default());
    let context = session.context(epoch, 0, &stop);
    let done = AtomicBool::new(false);
    let sink: Mutex<Option<Arc<Meter>>> = Mutex::new(None);
    let from: Mutex<&'static str> = Mutex::new("");
    let mut taken: Vec<(u64, Instant)> = Vec::new();
    let reports = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let began = Instant::now();
            let mut taken: Vec<(u64, Instant)> = Vec::new();
            while !done.load(Relaxed) {
                let items = sink.lock().as_ref().map_or(0, |meter| meter.items_in.load(Relaxed));
                if items > taken.last().map_or(0, |(items, _)| *items) {
                    taken.push((items, Instant::now()));
                }
                if began.elapsed() > time {
                    stop.cut();
                    break;
                }
                std::thread::sleep(SAMPLING);
            }
            taken
        });
        let reports = run_pass(slots, &context, None, &mut |kind, meters| {
            *from.lock() = kind;
            *sink.lock() = meters.last().map(|(_, meter)| meter.clone());
        });
        done.store(true, Relaxed);
        taken = watch.join().unwrap_or_default();
        reports
    })?;
    let items_per_s = match (taken.first(), taken.last()) {
        (Some((first, began)), Some((last, ended))) if last - first >= 2 => {
            Some((last - first) as f64 / (*ended - *began).as_secs_f64().max(1e-9))
        }
        _ => None,
    };
    let items = taken.last().map_or(0, |(items, _)| *items);
    let from = from.lock().to_string();
    Ok(PipelineProfile { from, items, items_per_s, complete: !stop.was_cut(), stages: reports })
}

struct Measured {
    profile: StageProfile,
    kept: Option<Buffered>,
    gave: u64,
    /// Items that the stage had taken when it gave its last one: what it still held then counts for nothing.
    took_for_them: u64,
}

/// A moment, on the wall and in CPU time of the process.
#[derive(Debug, Clone, Copy)]
struct Stamp {
    at: Instant,
    cpu: Option<f64>,
}

impl Stamp {
    fn now() -> Self {
        Self { at: Instant::now(), cpu: cpu_seconds() }
    }
}

/// CPU time of all threads of the process.
#[cfg(unix)]
fn cpu_seconds() -> Option<f64> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}

#[cfg(not(unix))]
fn cpu_seconds() -> Option<f64> {
    None
}
