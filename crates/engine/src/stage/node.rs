//! A stage with its types erased: how it is wired and started.

use std::any::{Any, TypeId};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::Scope;

use super::behaviour::{Map, Position, Stage};
use super::kind::Built;
use super::ordered::Ordered;
use super::pass::Pass;
use super::probe::Each;
use crate::edge::{Capacity, Inlet, Item, Nothing, Outlet, Stop, edge};
use crate::error::StageError;
use crate::watch::Meter;
use crate::watch::thread;

/// An [`Inlet`] whose type only the two stages beside it know.
pub(crate) type AnyInlet = Box<dyn Any + Send>;

/// What a node needs to be started in one epoch.
pub(crate) struct Wiring {
    pub index: usize,
    pub kind: &'static str,
    pub meter: Arc<Meter>,
    /// The meter of the stage behind, and the room between; none behind the last stage.
    pub next: Option<(Arc<Meter>, Capacity)>,
    pub stop: Arc<Stop>,
    /// The number of the first item that leaves; see [`edge`].
    pub flows: u64,
}

/// A stage in a pipeline.
pub(crate) trait Node: Send {
    /// Its threads, as the engine knows them.
    fn workers(&self) -> usize {
        1
    }
    /// Whether the engine runs it [`workers`](Self::workers) wide.
    fn is_map(&self) -> bool {
        false
    }
    /// As [`Stage::starts`].
    fn starts(&mut self, _pass: &Pass<'_>) -> Result<bool, StageError> {
        Ok(false)
    }
    /// As [`Stage::position`].
    fn position(&self) -> Option<Position> {
        None
    }
    /// As [`Stage::subject`].
    fn subject(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }
    /// As [`Stage::finish`].
    fn finish(&mut self, _pass: &Pass<'_>) -> Result<(), StageError> {
        Ok(())
    }
    /// Starts the stage's threads and returns the inlet for the stage behind it.
    fn spawn<'scope>(
        &'scope mut self,
        scope: &'scope Scope<'scope, '_>,
        pass: Pass<'scope>,
        wiring: Wiring,
        input: Option<AnyInlet>,
    ) -> Option<AnyInlet>;
    /// Whether anything leaves it.
    fn gives(&self) -> bool;
    /// Keeps what leaves it in memory, for the profiler.
    fn collector(&self) -> Collect;
    /// Hands what leaves it to a side run.
    fn drain(&self) -> Drain;
}

pub(crate) fn node<I: Item, O: Item>(built: Built<I, O>) -> Box<dyn Node> {
    match built {
        Built::Stage(stage) => Box::new(StageNode { stage }),
        Built::Map { workers, map } => Box::new(MapNode { workers: workers.max(1), map }),
    }
}

struct StageNode<I, O> {
    stage: Box<dyn Stage<I, O>>,
}

struct MapNode<I, O> {
    workers: usize,
    map: Box<dyn Map<I, O>>,
}

/// Both ends of a stage. The edges were checked, so the types fit.
fn ends<I: Item, O: Item>(wiring: &Wiring, input: Option<AnyInlet>) -> (Inlet<I>, Outlet<O>, Option<AnyInlet>) {
    let inlet = input
        .and_then(|any| any.downcast::<Inlet<I>>().ok())
        .map_or_else(|| Inlet::closed(wiring.meter.clone(), wiring.stop.clone()), |inlet| *inlet);
    match &wiring.next {
        Some((meter, capacity)) => {
            let (outlet, next) =
                edge::<O>(*capacity, wiring.meter.clone(), meter.clone(), wiring.stop.clone(), wiring.flows);
            (inlet, outlet, Some(Box::new(next)))
        }
        None => (inlet, Outlet::nowhere(wiring.meter.clone()), None),
    }
}

/// Runs a thread's work. Whatever ends it early is reported before its channels close, so that no
/// neighbour takes a cut stream for a whole one.
///
/// `number` is that of one of several workers, else 0. A stage that runs as it
/// likes has work before anything comes in (`open`).
fn guarded(pass: &Pass<'_>, wiring: &Wiring, number: usize, open: bool, work: impl FnOnce() -> Result<(), StageError>) {
    let lane = thread::enter(pass.meter, false, number, pass.place(), open);
    let result = catch_unwind(AssertUnwindSafe(work));
    drop(lane);
    let error = match result {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error,
        Err(panic) => StageError::panicked(&*panic),
    };
    wiring.stop.fail(wiring.index, error);
}

impl<I: Item, O: Item> Node for StageNode<I, O> {
    fn starts(&mut self, pass: &Pass<'_>) -> Result<bool, StageError> {
        self.stage.starts(pass)
    }

    fn spawn<'scope>(
        &'scope mut self,
        scope: &'scope Scope<'scope, '_>,
        pass: Pass<'scope>,
        wiring: Wiring,
        input: Option<AnyInlet>,
    ) -> Option<AnyInlet> {
        let (inlet, outlet, next) = ends::<I, O>(&wiring, input);
        let name = wiring.kind.to_owned();
        let work = move || {
            let keep_open = outlet.clone();
            guarded(&pass, &wiring, 0, true, || self.stage.run(&pass, inlet, outlet));
            drop(keep_open);
        };
        spawn_named(scope, name, work);
        next
    }

    fn gives(&self) -> bool {
        TypeId::of::<O>() != TypeId::of::<Nothing>()
    }

    fn collector(&self) -> Collect {
        collect::<O>
    }

    fn drain(&self) -> Drain {
        drain::<O>
    }

    fn position(&self) -> Option<Position> {
        self.stage.position()
    }

    fn subject(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.stage.subject()
    }

    fn finish(&mut self, pass: &Pass<'_>) -> Result<(), StageError> {
        self.stage.finish(pass)
    }
}

impl<I: Item, O: Item> Node for MapNode<I, O> {
    fn workers(&self) -> usize {
        self.workers
    }

    fn spawn<'scope>(
        &'scope mut self,
        scope: &'scope Scope<'scope, '_>,
        pass: Pass<'scope>,
        wiring: Wiring,
        input: Option<AnyInlet>,
    ) -> Option<AnyInlet> {
        let (mut inlet, mut outlet, next) = ends::<I, O>(&wiring, input);
        let pull = move || Ok(inlet.recv()?);
        let push = move |item, made| Ok(outlet.send_made(item, made)?);
        let ordered = Arc::new(Ordered::new(pull, push, self.workers));
        let wiring = Arc::new(wiring);
        let map: &'scope dyn Map<I, O> = &*self.map;
        for number in 1..=self.workers {
            let (ordered, wiring) = (ordered.clone(), wiring.clone());
            let name = format!("{} {number}", wiring.kind);
            let number = if self.workers == 1 { 0 } else { number };
            let work = move || {
                guarded(&pass, &wiring, number, false, || {
                    let mut worker = map.worker(&pass)?;
                    ordered.work(|item| worker.map(&pass, item))
                });
                drop(ordered);
            };
            spawn_named(scope, name, work);
        }
        next
    }

    fn is_map(&self) -> bool {
        true
    }

    fn gives(&self) -> bool {
        TypeId::of::<O>() != TypeId::of::<Nothing>()
    }

    fn collector(&self) -> Collect {
        collect::<O>
    }

    fn drain(&self) -> Drain {
        drain::<O>
    }
}

/// Buffers what comes through an inlet until the callback, given the bytes so far, says that it is enough.
pub(crate) type Collect = fn(AnyInlet, &Meter, &dyn Fn(usize) -> bool) -> Buffered;

/// Items that left a stage and wait for the next one, in memory.
pub(crate) struct Buffered {
    /// How many.
    pub count: usize,
    /// Items that the stage had taken when it gave the last of these.
    pub took: u64,
    /// Whether the stage was stopped because this was enough.
    pub cut: bool,
    feed: Refill,
}

/// Sends the buffered items, until all are sent or the callback says to stop.
pub(crate) type Fill = Box<dyn FnOnce(&dyn Fn() -> bool) + Send>;
type Refilled = (AnyInlet, Fill);
type Refill = Box<dyn FnOnce(Capacity, Arc<Meter>, Arc<Stop>) -> Refilled + Send>;

impl Buffered {
    /// The inlet of an edge, and what fills it.
    pub fn feed(self, room: Capacity, to: Arc<Meter>, stop: Arc<Stop>) -> Refilled {
        (self.feed)(room, to, stop)
    }
}

fn collect<O: Item>(inlet: AnyInlet, from: &Meter, enough: &dyn Fn(usize) -> bool) -> Buffered {
    let (mut items, mut bytes, mut took, mut cut): (Vec<O>, usize, u64, bool) = (Vec::new(), 0, 0, false);
    if let Ok(mut inlet) = inlet.downcast::<Inlet<O>>() {
        while let Ok(Some(item)) = inlet.recv() {
            took = from.items_in.load(Relaxed);
            bytes += item.bytes();
            items.push(item);
            cut = enough(bytes);
            if cut {
                break;
            }
        }
    }
    let count = items.len();
    let feed = move |room: Capacity, to: Arc<Meter>, stop: Arc<Stop>| -> Refilled {
        let (mut outlet, inlet) = edge::<O>(room, Arc::default(), to, stop, 0);
        let feed = move |over: &dyn Fn() -> bool| {
            for item in items {
                if over() || outlet.send(item).is_err() {
                    break;
                }
            }
        };
        (Box::new(inlet), Box::new(feed))
    };
    Buffered { count, took, cut, feed: Box::new(feed) }
}

/// Hands each item that comes through an inlet to a side run.
pub(crate) type Drain = fn(AnyInlet, Each<'_>) -> Result<(), StageError>;

fn drain<O: Item>(inlet: AnyInlet, each: Each<'_>) -> Result<(), StageError> {
    let Ok(mut inlet) = inlet.downcast::<Inlet<O>>() else {
        return Err(StageError::msg("gives another type than is collected"));
    };
    // A stream that was cut has its error elsewhere.
    while let Ok(Some(item)) = inlet.recv() {
        each(Box::new(item))?;
    }
    Ok(())
}

/// A thread with the stage's name, so that profilers and debuggers show it.
fn spawn_named<'scope>(scope: &'scope Scope<'scope, '_>, name: String, work: impl FnOnce() + Send + 'scope) {
    if let Err(error) = std::thread::Builder::new().name(name.clone()).spawn_scoped(scope, work) {
        // The closure is gone with the error; nothing can run any more.
        panic!("cannot start a thread for `{name}`: {error}");
    }
}
