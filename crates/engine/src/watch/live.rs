//! A run as another thread sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::meter::{Snapshot, Stages};
use super::timeline::TimelineStage;

/// A way to a running pipeline from another thread.
#[derive(Clone, Default)]
pub struct Handle {
    pub(crate) interrupt: Arc<AtomicBool>,
    pub(crate) stages: Arc<Mutex<Stages>>,
    pub(crate) state: Arc<Mutex<State>>,
}

/// What of a run changes from epoch to epoch.
#[derive(Default)]
pub(crate) struct State {
    pub list: Vec<TimelineStage>,
    pub began: Option<Instant>,
    pub epoch: u32,
    pub epochs: u32,
    pub epoch_began: Option<Instant>,
    /// Items that reached the last stage in the last whole epoch, and how long
    /// epoch and measurement took.
    pub past: Option<(u64, Duration)>,
    pub measuring: Option<String>,
    pub skipped: u64,
    /// The newest value of what changes from step to step.
    pub gauges: BTreeMap<&'static str, f64>,
}

/// A run at a moment.
#[derive(Debug, Clone)]
pub struct Live {
    /// Since the run began.
    pub elapsed: Duration,
    /// The epoch that runs or ran last; 0 before the first.
    pub epoch: u32,
    /// Epochs in all.
    pub epochs: u32,
    /// What is being measured, when something is.
    pub measuring: Option<String>,
    /// Every stage of the config.
    pub stages: Vec<LiveStage>,
    /// How far the epoch is, 0 to 1, as far as it is known.
    pub progress: Option<f64>,
    /// Steps of this epoch: those that are done, and all of them, if that is known.
    pub steps: (u64, Option<u64>),
    /// About how long the rest of the run will take.
    pub left: Option<Duration>,
    /// Samples skipped up to the last epoch.
    pub skipped: u64,
    /// The newest value of what changes from step to step.
    pub gauges: BTreeMap<&'static str, f64>,
}

/// A stage of a run at a moment.
#[derive(Debug, Clone)]
pub struct LiveStage {
    /// Its kind.
    pub kind: String,
    /// Items that the edge behind it holds; 0 for the last stage.
    pub capacity: usize,
    /// What it did in this epoch; none when it does not run.
    pub now: Option<Snapshot>,
}

impl Handle {
    /// Asks the run to finish its step, save and end. Says whether it was asked before.
    pub fn interrupt(&self) -> bool {
        self.interrupt.swap(true, Relaxed)
    }

    /// Whether the run was asked to end.
    pub fn interrupted(&self) -> bool {
        self.interrupt.load(Relaxed)
    }

    /// The run as it is now.
    pub fn look(&self) -> Live {
        let running = self.stages.lock().clone();
        let mut state = self.state.lock();
        let mut stages: Vec<LiveStage> = state
            .list
            .iter()
            .map(|stage| LiveStage { kind: stage.kind.clone(), capacity: stage.capacity, now: None })
            .collect();
        for (index, meter) in &running {
            if let Some(stage) = stages.get_mut(*index) {
                let snapshot = meter.snapshot();
                state.gauges.extend(snapshot.gauges.iter().map(|(name, gauge)| (*name, gauge.last)));
                stage.now = Some(snapshot);
            }
        }
        let last = stages.last().and_then(|stage| stage.now.as_ref()).map_or(0, |now| now.items);
        let total = state.past.map(|(items, _)| items).filter(|items| *items > 0 && *items >= last);
        let read = || stages.iter().filter_map(|stage| stage.now.as_ref()?.progress).reduce(f64::min);
        let progress = match total {
            _ if running.is_empty() => None,
            Some(total) => Some(last as f64 / total as f64),
            None => read(),
        };
        let in_epoch = state.epoch_began.map(|began| began.elapsed());
        // The epochs to come are taken to last as long as the one before; in the first, as its part so far says.
        let epoch_time = state.past.map(|(_, time)| time.as_secs_f64()).or_else(|| {
            let (share, time) = (progress.filter(|share| *share > 0.05)?, in_epoch?);
            Some(time.as_secs_f64() / share)
        });
        let ahead = f64::from(state.epochs.saturating_sub(state.epoch.max(1)));
        let this = if running.is_empty() && state.epoch > 0 { 0.0 } else { 1.0 - progress.unwrap_or(0.0) };
        Live {
            elapsed: state.began.map(|began| began.elapsed()).unwrap_or_default(),
            epoch: state.epoch,
            epochs: state.epochs,
            measuring: state.measuring.clone(),
            progress,
            steps: (last, total),
            left: epoch_time.map(|time| Duration::from_secs_f64(time * (ahead + this).max(0.0))),
            skipped: state.skipped,
            gauges: state.gauges.clone(),
            stages,
        }
    }
}
