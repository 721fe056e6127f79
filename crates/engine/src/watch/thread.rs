//! The lane and the trace of the thread that calls.
//!
//! A lane is found through the thread, not through the channel, so that time is booked on the
//! worker that spent it, whoever's item it was. A wait that ends at once does not read the clock.

use std::cell::RefCell;
use std::sync::Arc;

use super::clock::now;
use super::lane::{Lane, State};
use super::meter::Meter;
use super::trace::{Made, Tracer, Track};

struct Current {
    lane: Arc<Lane>,
    track: Option<Track>,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// Where a thread's spans go in the trace.
pub(crate) struct Place<'a> {
    pub tracer: &'a Arc<Tracer>,
    pub stage: usize,
    pub kind: &'a str,
}

/// While it lives, this thread's time is booked on a lane of `meter`.
#[must_use]
pub(crate) struct Entered {
    lane: Option<Arc<Lane>>,
}

/// Gives this thread a lane; `number` tells it from the stage's other workers, 0
/// is the stage's own thread. A thread that begins with work it took from
/// nowhere has a span from the start (`open`).
pub(crate) fn enter(meter: &Meter, helper: bool, number: usize, place: Option<Place<'_>>, open: bool) -> Entered {
    let Some(lane) = meter.lane(helper) else { return Entered { lane: None } };
    let at = now().max(1);
    lane.change(State::Busy, at);
    let track = place.map(|place| {
        let mut track = place.tracer.track(place.stage, number, place.kind);
        if open {
            track.open(at, String::new());
        }
        track
    });
    CURRENT.set(Some(Current { lane: lane.clone(), track }));
    Entered { lane: Some(lane) }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(lane) = &self.lane {
            let at = now();
            lane.change(State::Gone, at);
            if let Some(Current { track: Some(mut track), .. }) = CURRENT.take() {
                track.close(at);
                track.flush();
            }
        }
    }
}

/// Does `f`, which waits; returns how long, in nanoseconds.
pub(crate) fn wait<R>(state: State, f: impl FnOnce() -> R) -> (R, u64) {
    let lane = CURRENT.with_borrow(|current| current.as_ref().map(|c| c.lane.clone()));
    let Some(lane) = lane else { return (f(), 0) };
    let began = now();
    lane.change(state, began);
    let result = f();
    let ended = now();
    lane.change(State::Busy, ended);
    (result, ended.saturating_sub(began))
}

/// Does `f` with this thread's track, if the run is traced.
pub(crate) fn trace<R>(f: impl FnOnce(&mut Track) -> R) -> Option<R> {
    CURRENT.with_borrow_mut(|current| current.as_mut().and_then(|c| c.track.as_mut()).map(f))
}

/// The work on an item is over, though the thread may go on to hand on others:
/// where an arrow to its receiver begins.
pub(crate) fn made() -> Option<Made> {
    trace(|track| track.close(now())).flatten()
}

/// A span begins for what this thread does now; one that is open ends.
pub(crate) fn begin(label: impl FnOnce() -> String) {
    trace(|track| {
        let at = now();
        track.close(at);
        track.open(at, label());
    });
}
