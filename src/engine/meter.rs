//! What a stage did with its time.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::Serialize;

use crate::channel::lock;

/// Counters of one stage in one epoch, written by its threads and read by anyone.
///
/// All times are sums over the workers of the stage, in nanoseconds.
#[derive(Debug, Default)]
pub struct Meter {
    pub(crate) items_in: AtomicU64,
    pub(crate) items: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) alive: AtomicU64,
    pub(crate) wait_in: AtomicU64,
    pub(crate) first_wait: AtomicU64,
    pub(crate) wait_out: AtomicU64,
    pub(crate) queued: AtomicU64,
    notes: Mutex<BTreeMap<&'static str, u64>>,
}

pub(crate) fn add(counter: &AtomicU64, time: Duration) {
    counter.fetch_add(time.as_nanos() as u64, Relaxed);
}

impl Meter {
    /// Items that left the stage so far (for a sink: that came in).
    pub fn items(&self) -> u64 {
        match self.items.load(Relaxed) {
            0 => self.items_in.load(Relaxed),
            sent => sent,
        }
    }

    /// Adds `count` to what the stage's report says under `name`: what it made,
    /// what it had to do without.
    pub fn note(&self, name: &'static str, count: u64) {
        *lock(&self.notes).entry(name).or_default() += count;
    }

    /// Items waiting in the edge after the stage.
    pub fn queued(&self) -> u64 {
        self.queued.load(Relaxed)
    }

    /// The figures of the epoch, `wall` after it began.
    pub(crate) fn report(&self, kind: &str, epoch: u32, workers: usize, wall: Duration) -> StageReport {
        let seconds = |c: &AtomicU64| c.load(Relaxed) as f64 / 1e9;
        let (wait_in, wait_out) = (seconds(&self.wait_in), seconds(&self.wait_out));
        let items = self.items();
        StageReport {
            epoch,
            kind: kind.to_owned(),
            workers,
            items,
            bytes: self.bytes.load(Relaxed),
            busy_s: (seconds(&self.alive) - wait_in - wait_out).max(0.0),
            wait_in_s: wait_in,
            first_wait_s: seconds(&self.first_wait),
            wait_out_s: wait_out,
            wall_s: wall.as_secs_f64(),
            items_per_s: if wall.is_zero() { 0.0 } else { items as f64 / wall.as_secs_f64() },
            limiting: false,
            notes: lock(&self.notes).iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
        }
    }
}

/// One line of `stages.json`: one stage in one epoch.
#[derive(Debug, Clone, Serialize, serde::Deserialize)]
pub struct StageReport {
    /// Counted from 1.
    pub epoch: u32,
    /// The stage's kind.
    pub kind: String,
    /// How many threads ran it.
    pub workers: usize,
    /// Items that left it (for the last stage: that reached it).
    pub items: u64,
    /// Bytes that left it, as the items themselves count them.
    pub bytes: u64,
    /// Seconds its workers worked, summed over them.
    pub busy_s: f64,
    /// Seconds its workers waited for input.
    pub wait_in_s: f64,
    /// The part of `wait_in_s` before the first item came: the pipeline filling.
    pub first_wait_s: f64,
    /// Seconds its workers waited for room in the next edge.
    pub wait_out_s: f64,
    /// Seconds the epoch took.
    pub wall_s: f64,
    /// `items` over `wall_s`.
    pub items_per_s: f64,
    /// Whether this stage set the pace: the one whose workers were busiest.
    pub limiting: bool,
    /// What else the stage counted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<String, u64>,
}

impl StageReport {
    /// The share of its workers' time that the stage worked, 0 to 1.
    pub fn utilisation(&self) -> f64 {
        let whole = self.wall_s * self.workers as f64;
        if whole > 0.0 { (self.busy_s / whole).min(1.0) } else { 0.0 }
    }

    /// Marks the stage that set the pace.
    pub(crate) fn mark_limiting(reports: &mut [Self]) {
        let busiest = reports.iter().enumerate().max_by(|(_, a), (_, b)| a.utilisation().total_cmp(&b.utilisation()));
        if let Some((index, _)) = busiest {
            reports[index].limiting = true;
        }
    }
}
