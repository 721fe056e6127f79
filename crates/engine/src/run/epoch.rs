//! One epoch: wires the stages, runs their threads, and reports.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::session::{Failure, PassContext, Slot};
use crate::edge::Capacity;
use crate::error::StageError;
use crate::stage::Each;
use crate::stage::node::{AnyInlet, Wiring};
use crate::watch::meter::Stages;
use crate::watch::{Meter, StageReport};

/// Called with the stage that an epoch begins with, and the meters of those that run.
pub(crate) type Started<'a> = &'a mut dyn FnMut(&'static str, Stages);

/// Runs one epoch; with `each`, what leaves the last stage goes there.
pub(crate) fn run_pass(
    slots: &mut [Slot],
    context: &PassContext<'_>,
    each: Option<Each<'_>>,
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
    let drain = slots.last().map(|slot| slot.node.drain());

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
        if let (Some(each), Some(input), Some(drain)) = (each, input, drain)
            && let Err(error) = drain(input, each)
        {
            context.stop.fail(count, error);
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
