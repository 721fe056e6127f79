//! `timeline.json`: what each stage did, over time.
//!
//! A thread looks at the meters ten times a second. However long a run is, at
//! most [`MOST_ROWS`] rows are kept: when there are more, neighbours are added up
//! and the thread looks less often.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::clock::now;
use super::meter::{Gauge, Snapshot, Stages};
use super::trace::Tracer;

/// Rows of a timeline.
const MOST_ROWS: usize = 600;
/// How often the meters are read at first.
const FIRST_INTERVAL: f64 = 0.1;

/// A run over time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Timeline {
    /// The stages of the config, in order.
    pub stages: Vec<TimelineStage>,
    /// Spans of time, one after the other.
    pub rows: Vec<TimelineRow>,
}

/// A stage of a timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineStage {
    /// Its kind.
    pub kind: String,
    /// Items that the edge behind it holds.
    pub capacity: usize,
}

/// A span of time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TimelineRow {
    /// When it began, in seconds since the run did.
    pub t: f64,
    /// How long it is, in seconds.
    pub dt: f64,
    /// The newest epoch in it; 0 before the first.
    pub epoch: u32,
    /// The part of `dt` in which no epoch ran: measuring, mostly.
    pub between: f64,
    /// What each stage did, in the order of [`Timeline::stages`].
    pub stages: Vec<TimelineCell>,
    /// What changes from step to step, each as its mean and the number of values.
    pub gauges: BTreeMap<String, (f64, u64)>,
}

/// A stage in a span of time. In the file: a list of these fields in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "CellFields", from = "CellFields")]
pub struct TimelineCell {
    /// Threads; 0 when it did not run.
    pub workers: usize,
    /// Items that left it.
    pub items: u64,
    /// Seconds its workers worked.
    pub busy_s: f64,
    /// Seconds they waited for input.
    pub wait_in_s: f64,
    /// Seconds they waited for room.
    pub wait_out_s: f64,
    /// Items in the edge behind it at the end of the span.
    pub queued: u64,
}

type CellFields = (usize, u64, f64, f64, f64, u64);

impl From<TimelineCell> for CellFields {
    fn from(cell: TimelineCell) -> Self {
        (cell.workers, cell.items, short(cell.busy_s), short(cell.wait_in_s), short(cell.wait_out_s), cell.queued)
    }
}

impl From<CellFields> for TimelineCell {
    fn from((workers, items, busy_s, wait_in_s, wait_out_s, queued): CellFields) -> Self {
        Self { workers, items, busy_s, wait_in_s, wait_out_s, queued }
    }
}

/// To the tenth of a millisecond; a file of full doubles is three times as long.
fn short(seconds: f64) -> f64 {
    (seconds * 1e4).round() / 1e4
}

impl TimelineRow {
    /// Adds the span that follows.
    fn absorb(&mut self, next: &Self) {
        self.dt += next.dt;
        self.between += next.between;
        self.epoch = next.epoch;
        for (cell, more) in self.stages.iter_mut().zip(&next.stages) {
            *cell = TimelineCell {
                workers: cell.workers.max(more.workers),
                items: cell.items + more.items,
                busy_s: cell.busy_s + more.busy_s,
                wait_in_s: cell.wait_in_s + more.wait_in_s,
                wait_out_s: cell.wait_out_s + more.wait_out_s,
                queued: more.queued,
            };
        }
        for (name, (mean, count)) in &next.gauges {
            let (old, n) = self.gauges.get(name).copied().unwrap_or((0.0, 0));
            let all = n + count;
            let value = if all == 0 { 0.0 } else { (old * n as f64 + mean * *count as f64) / all as f64 };
            self.gauges.insert(name.clone(), (value, all));
        }
    }
}

impl Timeline {
    /// Adds a span; keeps the number of rows bounded. Returns how long a span should be from now on.
    fn push(&mut self, row: TimelineRow, mut interval: f64) -> f64 {
        match self.rows.last_mut() {
            // What is cut at the begin and the end of an epoch joins what was before it.
            Some(last) if last.dt + row.dt <= interval => last.absorb(&row),
            _ => self.rows.push(row),
        }
        while self.rows.len() > MOST_ROWS {
            interval *= 2.0;
            let mut kept: Vec<TimelineRow> = Vec::with_capacity(MOST_ROWS);
            for row in self.rows.drain(..) {
                match kept.last_mut() {
                    Some(last) if last.dt + row.dt <= interval => last.absorb(&row),
                    _ => kept.push(row),
                }
            }
            self.rows = kept;
        }
        interval
    }
}

/// Reads the meters and remembers.
pub(crate) struct Recorder {
    timeline: Timeline,
    interval: f64,
    /// When the run began, on our clock, and how long it had run before (`--resume`).
    start: u64,
    before: f64,
    /// When the last span ended, and how the stages stood then.
    last: u64,
    seen: Vec<Option<Snapshot>>,
    gauges: BTreeMap<&'static str, Gauge>,
    epoch: u32,
    tracer: Option<Arc<Tracer>>,
}

impl Recorder {
    /// Goes on where `past`, the timeline of a run that is resumed, ends.
    pub fn new(stages: Vec<TimelineStage>, past: Option<Timeline>, tracer: Option<Arc<Tracer>>) -> Self {
        let timeline = past.filter(|past| past.stages == stages).unwrap_or(Timeline { stages, rows: Vec::new() });
        let before = timeline.rows.last().map_or(0.0, |row| row.t + row.dt);
        let seen = vec![None; timeline.stages.len()];
        let at = now();
        Self {
            timeline,
            interval: FIRST_INTERVAL,
            start: at,
            before,
            last: at,
            seen,
            gauges: BTreeMap::new(),
            epoch: 0,
            tracer,
        }
    }

    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// An epoch begins, or is over: the meters are new.
    pub fn turn(&mut self, stages: &Stages, epoch: Option<u32>) {
        self.look(stages);
        self.seen.fill(None);
        self.gauges.clear();
        self.epoch = epoch.unwrap_or(self.epoch);
    }

    /// Adds what happened since the last look.
    pub fn look(&mut self, stages: &Stages) {
        let at = now();
        let span = |nanos: u64| nanos as f64 / 1e9;
        let dt = span(at.saturating_sub(self.last));
        let mut row = TimelineRow {
            t: short(self.before + span(self.last - self.start)),
            dt: short(dt),
            epoch: self.epoch,
            between: if stages.is_empty() { short(dt) } else { 0.0 },
            stages: vec![TimelineCell::default(); self.timeline.stages.len()],
            gauges: BTreeMap::new(),
        };
        let mut curves = Vec::new();
        for (index, meter) in stages {
            let Some(stage) = self.timeline.stages.get(*index) else { continue };
            let new = meter.snapshot_at(at);
            let queued = new.queued.min(stage.capacity as u64);
            let old = self.seen[*index].as_ref();
            let since = |f: fn(&Snapshot) -> f64| (f(&new) - old.map_or(0.0, f)).max(0.0);
            row.stages[*index] = TimelineCell {
                workers: new.workers,
                items: new.items - old.map_or(0, |old| old.items.min(new.items)),
                busy_s: since(|s| s.busy_s),
                wait_in_s: since(|s| s.wait_in_s),
                wait_out_s: since(|s| s.wait_out_s),
                queued,
            };
            if index + 1 < self.timeline.stages.len() {
                curves.push((format!("waiting after {}", stage.kind), queued as f64));
            }
            for (name, gauge) in &new.gauges {
                let before = self.gauges.insert(name, *gauge).unwrap_or_default();
                let count = gauge.count.saturating_sub(before.count);
                if count > 0 {
                    row.gauges.insert((*name).to_owned(), ((gauge.sum - before.sum) / count as f64, count));
                    curves.push(((*name).to_owned(), gauge.last));
                }
            }
            self.seen[*index] = Some(new);
        }
        if let Some(tracer) = self.tracer.as_ref().filter(|_| !curves.is_empty()) {
            tracer.count(at, curves);
        }
        self.last = at;
        self.interval = self.timeline.push(row, self.interval);
    }
}

/// The thread that looks.
pub(crate) struct Watching {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watching {
    pub fn start(recorder: &Arc<Mutex<Recorder>>, stages: &Arc<Mutex<Stages>>) -> std::io::Result<Self> {
        let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
        let (recorder, stages) = (recorder.clone(), stages.clone());
        let thread = std::thread::Builder::new().name("meters".into()).spawn(move || {
            let mut interval = FIRST_INTERVAL;
            while stopped.recv_timeout(Duration::from_secs_f64(interval)) == Err(RecvTimeoutError::Timeout) {
                let mut recorder = recorder.lock();
                let stages = stages.lock();
                recorder.look(&stages);
                interval = recorder.interval.min(5.0);
            }
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It only reads; if it panicked, the run is none the worse.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn row(t: f64, dt: f64, items: u64) -> TimelineRow {
        let cell = TimelineCell { workers: 2, items, busy_s: dt, wait_in_s: dt / 2.0, wait_out_s: dt / 2.0, queued: 1 };
        let gauges = BTreeMap::from([("loss".to_owned(), (t, 1))]);
        TimelineRow { t, dt, epoch: 1, between: 0.0, stages: vec![cell], gauges }
    }

    #[test]
    fn a_long_run_takes_no_more_rows_and_loses_nothing() {
        let mut timeline = Timeline::default();
        let mut interval = FIRST_INTERVAL;
        // Ten thousand spans, every tenth cut in two by the end of an epoch.
        for n in 0..10_000u64 {
            let t = n as f64 * 0.1;
            if n % 10 == 0 {
                interval = timeline.push(row(t, 0.05, 1), interval);
                interval = timeline.push(row(t + 0.05, 0.05, 2), interval);
            } else {
                interval = timeline.push(row(t, 0.1, 3), interval);
            }
        }
        assert!((MOST_ROWS / 4..=MOST_ROWS).contains(&timeline.rows.len()), "{}", timeline.rows.len());
        let sum = |f: fn(&TimelineRow) -> f64| timeline.rows.iter().map(f).sum::<f64>();
        assert_eq!(sum(|r| r.stages[0].items as f64), 30_000.0);
        assert_eq!(sum(|r| r.gauges["loss"].1 as f64), 11_000.0);
        assert!((sum(|r| r.dt) - 1000.0).abs() < 1e-6 && (sum(|r| r.stages[0].busy_s) - 1000.0).abs() < 1e-6);
        assert!(timeline.rows.windows(2).all(|two| (two[0].t + two[0].dt - two[1].t).abs() < 1e-6), "a gap");
        // The mean loss of a row is the loss in its middle: it grows with t here.
        assert!(timeline.rows.windows(2).all(|two| two[0].gauges["loss"].0 < two[1].gauges["loss"].0));
        let back: Timeline = serde_json::from_str(&serde_json::to_string(&timeline).unwrap()).unwrap();
        assert_eq!(back.rows.len(), timeline.rows.len());
    }
}
