//! One epoch of a run, as a stage sees it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::services::Services;
use crate::edge::Stop;
use crate::ledger::Ledger;
use crate::rng::Draw;
use crate::watch::clock::stamp;
use crate::watch::thread::{self, Entered, Place};
use crate::watch::{Meter, StepValues, Watch};

/// One epoch of a run, as its stages see it.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// Counted from 1.
    pub epoch: u32,
    /// Epochs in all.
    pub epochs: u32,
    /// Steps at the start of this epoch that a resumed run has already done:
    /// make them, do not train them.
    pub skip_steps: u64,
    /// The run's seed.
    pub seed: u64,
    /// Where samples that cannot be used are written down.
    pub ledger: &'a Ledger,
    /// What stages offer to one another.
    pub services: &'a Services,
    /// The meter of the stage that runs.
    pub meter: &'a Meter,
    pub(crate) stop: &'a Stop,
    pub(crate) interrupt: &'a AtomicBool,
    pub(crate) watch: &'a Watch,
    /// The stage's place in the config, and its kind.
    pub(crate) stage: (usize, &'static str),
}

impl Pass<'_> {
    /// Random numbers for `purpose` in this epoch; narrow the address further as needed.
    pub fn draw(&self, purpose: &str) -> Draw {
        Draw::new(self.seed, purpose).number(u64::from(self.epoch))
    }

    /// Whether the user asked for a stop. The last stage finishes its step, saves
    /// what it has and returns [`StageError::Interrupted`].
    pub fn interrupted(&self) -> bool {
        self.interrupt.load(Relaxed)
    }

    /// Says what a step gave, `step` being the number of steps in all: live views
    /// show it, TensorBoard files and timelines keep it.
    pub fn step(&self, step: u64, values: &[(&'static str, f64)]) {
        for (name, value) in values {
            self.meter.gauge(name, *value);
        }
        if let Some(on_step) = &self.watch.on_step {
            on_step(&StepValues { epoch: self.epoch, step, values });
        }
    }

    /// Records that `name` took `time` from `began` on: a part of the stage's work that reports and
    /// traces show by itself.
    pub fn part(&self, name: &'static str, began: Instant, time: Duration) {
        self.meter.part(name, time);
        thread::trace(|track| track.part(name, stamp(began), stamp(began + time)));
    }

    /// Makes the thread that calls a helper of the stage; `number` counts from 1.
    pub(crate) fn helper(&self, number: usize) -> Entered {
        thread::enter(self.meter, true, number, self.place(), false)
    }

    pub(crate) fn place(&self) -> Option<Place<'_>> {
        let (stage, kind) = self.stage;
        self.watch.tracer.as_ref().map(|tracer| Place { tracer, stage, kind })
    }

    /// Whether another stage failed. A stage that works long between two items asks now and then.
    pub fn stopped(&self) -> bool {
        self.stop.raised()
    }
}
