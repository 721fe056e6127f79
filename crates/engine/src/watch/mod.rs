//! What a run did with its time: meters, the timeline, live views, traces.
//!
//! A thread has a [`lane`], its clock; the lanes of a stage's threads add up in its [`meter`];
//! [`timeline`] samples meters into a bounded file, [`live`] lets another thread look at them, and
//! [`trace`] streams every span to disk.

pub(crate) mod clock;
pub(crate) mod lane;
pub(crate) mod live;
pub(crate) mod meter;
pub(crate) mod thread;
pub(crate) mod timeline;
pub(crate) mod trace;

use std::sync::Arc;

pub use live::{Handle, Live, LiveStage};
pub use meter::{Gauge, Meter, Snapshot, StageReport};
pub use timeline::{Timeline, TimelineCell, TimelineRow, TimelineStage};
pub use trace::{Made, Tracer};

/// What watches a run beside its meters.
#[derive(Clone, Default)]
pub(crate) struct Watch {
    pub tracer: Option<Arc<Tracer>>,
    pub on_step: Option<Arc<OnStep>>,
    /// For benchmarks: no meters.
    pub off: bool,
}

/// Called with what a step gave: loss, learning rate.
pub type OnStep = dyn Fn(&StepValues<'_>) + Send + Sync;

/// What a step gave.
#[derive(Debug, Clone, Copy)]
pub struct StepValues<'a> {
    /// Counted from 1.
    pub epoch: u32,
    /// Steps in all, this one included.
    pub step: u64,
    /// Name and value.
    pub values: &'a [(&'static str, f64)],
}
