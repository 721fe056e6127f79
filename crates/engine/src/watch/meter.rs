//! What a stage did with its time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use super::clock;
use super::lane::{Lane, Spent};

/// The stages that run now, each with its place in the config.
pub(crate) type Stages = Vec<(usize, Arc<Meter>)>;

/// Counters of one stage in one epoch, written by its threads and read by anyone.
#[derive(Debug, Default)]
pub struct Meter {
    pub(crate) items_in: AtomicU64,
    pub(crate) items: AtomicU64,
    pub(crate) bytes: AtomicU64,
    /// Nanoseconds before the first item came, summed over the workers.
    pub(crate) first_wait: AtomicU64,
    pub(crate) queued: AtomicU64,
    /// One a thread.
    lanes: Mutex<Vec<Arc<Lane>>>,
    /// Whether no time is taken: what a benchmark compares with.
    pub(crate) off: bool,
    /// How far the epoch is, in millionths, if the stage knows.
    progress: AtomicU64,
    notes: Mutex<BTreeMap<&'static str, u64>>,
    parts: Mutex<BTreeMap<&'static str, Duration>>,
    gauges: Mutex<BTreeMap<&'static str, Gauge>>,
}

/// A value that changes, as the loss does.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Gauge {
    /// The newest value.
    pub last: f64,
    /// The sum of all values of the epoch.
    pub sum: f64,
    /// How many there were.
    pub count: u64,
}

/// A stage at a moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Items that left the stage so far (a sink: that came in).
    pub items: u64,
    /// Bytes that left it.
    pub bytes: u64,
    /// Threads that do its work.
    pub workers: usize,
    /// Seconds they worked, summed over them.
    pub busy_s: f64,
    /// Seconds they waited for input.
    pub wait_in_s: f64,
    /// Seconds they waited for room in the edge behind.
    pub wait_out_s: f64,
    /// Items that wait in the edge behind.
    pub queued: u64,
    /// How far the epoch is, 0 to 1, if the stage knows.
    pub progress: Option<f64>,
    /// What changes from step to step: loss, learning rate.
    pub gauges: BTreeMap<&'static str, Gauge>,
}

impl Meter {
    pub(crate) fn new(off: bool) -> Self {
        Self { off, ..Self::default() }
    }

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
        *self.notes.lock().entry(name).or_default() += count;
    }

    /// Adds to the time of `name`, a part of the stage's work that its report shows by itself.
    pub(crate) fn part(&self, name: &'static str, time: Duration) {
        *self.parts.lock().entry(name).or_default() += time;
    }

    /// Says that `name` is `value` from now on.
    pub fn gauge(&self, name: &'static str, value: f64) {
        let mut gauges = self.gauges.lock();
        let gauge = gauges.entry(name).or_default();
        *gauge = Gauge { last: value, sum: gauge.sum + value, count: gauge.count + 1 };
    }

    /// Says that `done` of `all` of the epoch's input is read; live views show it
    /// while nobody knows yet how many items an epoch has.
    pub fn progress(&self, done: usize, all: usize) {
        // One above, so that 0 stands for "not known".
        self.progress.store(1 + (done as u64 * 1_000_000) / (all as u64).max(1), Relaxed);
    }

    /// A lane for the thread that calls.
    pub(crate) fn lane(&self, helper: bool) -> Option<Arc<Lane>> {
        if self.off {
            return None;
        }
        let lane = Arc::new(Lane::new(helper));
        self.lanes.lock().push(lane.clone());
        Some(lane)
    }

    /// What its workers spent up to now, and how many they are. Where helpers do
    /// the work, the stage's own thread, which waits for them, does not count.
    fn spent(&self, at: u64) -> (Spent, usize) {
        let lanes = self.lanes.lock();
        let helped = lanes.iter().any(|lane| lane.is_helper());
        let mut sum = Spent::default();
        let mut workers = 0;
        for lane in lanes.iter().filter(|lane| lane.is_helper() == helped && lane.has_begun()) {
            let spent = lane.spent(at);
            sum.busy += spent.busy;
            sum.wait_in += spent.wait_in;
            sum.wait_out += spent.wait_out;
            workers += 1;
        }
        (sum, workers)
    }

    /// The stage as it is now.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot_at(clock::now())
    }

    pub(crate) fn snapshot_at(&self, at: u64) -> Snapshot {
        let (spent, workers) = self.spent(at);
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        let progress = self.progress.load(Relaxed);
        Snapshot {
            items: self.items(),
            bytes: self.bytes.load(Relaxed),
            workers,
            busy_s: seconds(spent.busy),
            wait_in_s: seconds(spent.wait_in),
            wait_out_s: seconds(spent.wait_out),
            queued: self.queued.load(Relaxed),
            progress: (progress > 0).then(|| (progress - 1) as f64 / 1e6),
            gauges: self.gauges.lock().clone(),
        }
    }

    /// The figures of the epoch, `wall` after it began.
    pub(crate) fn report(&self, kind: &str, epoch: u32, workers: usize, wall: Duration) -> StageReport {
        let now = self.snapshot();
        StageReport {
            epoch,
            kind: kind.to_owned(),
            workers: if now.workers == 0 { workers } else { now.workers },
            items: now.items,
            bytes: now.bytes,
            busy_s: now.busy_s,
            wait_in_s: now.wait_in_s,
            first_wait_s: self.first_wait.load(Relaxed) as f64 / 1e9,
            wait_out_s: now.wait_out_s,
            wall_s: wall.as_secs_f64(),
            items_per_s: if wall.is_zero() { 0.0 } else { now.items as f64 / wall.as_secs_f64() },
            limiting: false,
            notes: self.notes.lock().iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            parts: self.parts.lock().iter().map(|(name, time)| ((*name).to_owned(), time.as_secs_f64())).collect(),
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
    /// How many threads did its work.
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
    /// Seconds that parts of its work took.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, f64>,
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
