//! The edges: bounded in items and in bytes, metered at both ends.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::error::StageError;
use crate::meter::{Meter, add};
use crate::stage::Item;

/// The run is being stopped; return to the engine with `?`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

/// Told once, heard by all: the first failure of a run.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    raised: AtomicBool,
    cut: AtomicBool,
    first: Mutex<Option<(usize, StageError)>>,
}

impl Stop {
    pub fn raised(&self) -> bool {
        self.raised.load(Relaxed)
    }

    /// Keeps the first error and the number of the stage it came from.
    pub fn fail(&self, stage: usize, error: StageError) {
        if !matches!(error, StageError::Stopped) {
            lock(&self.first).get_or_insert((stage, error));
        }
        self.raised.store(true, Relaxed);
    }

    /// Ends the epoch early on purpose: nobody failed.
    pub fn cut(&self) {
        self.cut.store(true, Relaxed);
        self.raised.store(true, Relaxed);
    }

    /// Whether it was ended early on purpose.
    pub fn was_cut(&self) -> bool {
        self.cut.load(Relaxed)
    }

    pub fn take(&self) -> Option<(usize, StageError)> {
        lock(&self.first).take()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The byte budget of an edge. An item larger than the whole budget passes when
/// the edge is empty, so a budget can slow a pipeline but never block it.
#[derive(Debug)]
struct Budget {
    limit: usize,
    state: Mutex<BudgetState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct BudgetState {
    used: usize,
    closed: bool,
}

impl Budget {
    fn take(&self, bytes: usize) -> Result<(), Stopped> {
        let mut state = lock(&self.state);
        while state.used > 0 && state.used.saturating_add(bytes) > self.limit && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Err(Stopped);
        }
        state.used += bytes;
        Ok(())
    }

    fn give(&self, bytes: usize) {
        lock(&self.state).used -= bytes;
        self.changed.notify_all();
    }

    fn close(&self) {
        lock(&self.state).closed = true;
        self.changed.notify_all();
    }
}

/// How much an edge holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capacity {
    pub items: usize,
    pub bytes: usize,
}

/// An edge, before its two ends go to their stages.
pub(crate) fn edge<T: Item>(
    capacity: Capacity,
    from: Arc<Meter>,
    to: Arc<Meter>,
    stop: Arc<Stop>,
) -> (Outlet<T>, Inlet<T>) {
    let (sender, receiver) = crossbeam_channel::bounded(capacity.items.max(1));
    let budget = Arc::new(Budget { limit: capacity.bytes, state: Mutex::default(), changed: Condvar::new() });
    let outlet = Outlet { sender: Some(sender), budget: budget.clone(), meter: from.clone() };
    let guard = Arc::new(CloseOnDrop(budget.clone()));
    let inlet =
        Inlet { receiver: Some(receiver), budget, _guard: Some(guard), meter: to, from: Some(from), stop, seen: false };
    (outlet, inlet)
}

/// Wakes a sender that waits for bytes when the last receiver is gone.
#[derive(Debug)]
struct CloseOnDrop(Arc<Budget>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The end of an edge that a stage reads from.
#[derive(Debug)]
pub struct Inlet<T> {
    receiver: Option<Receiver<(usize, T)>>,
    budget: Arc<Budget>,
    _guard: Option<Arc<CloseOnDrop>>,
    meter: Arc<Meter>,
    from: Option<Arc<Meter>>,
    stop: Arc<Stop>,
    seen: bool,
}

impl<T: Item> Inlet<T> {
    /// An inlet that is at its end: for a stage that starts the pipeline.
    pub(crate) fn closed(meter: Arc<Meter>, stop: Arc<Stop>) -> Self {
        let budget = Arc::new(Budget { limit: 0, state: Mutex::default(), changed: Condvar::new() });
        Self { receiver: None, budget, _guard: None, meter, from: None, stop, seen: false }
    }

    /// The next item; `None` when the stage before has sent its last one.
    ///
    /// # Errors
    /// [`Stopped`] when the stream was cut by a failure elsewhere: what came so
    /// far is not the whole epoch.
    pub fn recv(&mut self) -> Result<Option<T>, Stopped> {
        let Some(receiver) = &self.receiver else {
            return if self.stop.raised() { Err(Stopped) } else { Ok(None) };
        };
        let began = Instant::now();
        let got = receiver.recv();
        self.receive(began, got.ok())
    }

    /// As [`recv`](Self::recv), but gives up waiting once `give_up` says so: how the
    /// last stage hears of Ctrl-C while the first picture is still being encoded.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_unless(&mut self, give_up: impl Fn() -> bool) -> Result<Received<T>, Stopped> {
        let Some(receiver) = &self.receiver else { return self.recv().map(|_| Received::End) };
        let began = Instant::now();
        let got = loop {
            match receiver.recv_timeout(PATIENCE) {
                Ok(got) => break Some(got),
                Err(RecvTimeoutError::Disconnected) => break None,
                Err(RecvTimeoutError::Timeout) if give_up() => return Ok(Received::GaveUp),
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        Ok(self.receive(began, got)?.map_or(Received::End, Received::Item))
    }

    /// Books the waiting and what came of it.
    fn receive(&mut self, began: Instant, got: Option<(usize, T)>) -> Result<Option<T>, Stopped> {
        let waited = began.elapsed();
        add(&self.meter.wait_in, waited);
        if !self.seen {
            self.seen = true;
            add(&self.meter.first_wait, waited);
        }
        if self.stop.raised() {
            return Err(Stopped);
        }
        let Some((bytes, item)) = got else { return Ok(None) };
        self.budget.give(bytes);
        self.meter.items_in.fetch_add(1, Relaxed);
        if let Some(from) = &self.from {
            from.queued.fetch_sub(1, Relaxed);
        }
        Ok(Some(item))
    }
}

/// What [`Inlet::recv_unless`] came back with.
#[derive(Debug)]
pub enum Received<T> {
    /// The next item.
    Item(T),
    /// The stage before has sent its last one.
    End,
    /// Nothing came, and the caller no longer wants to wait.
    GaveUp,
}

/// How often a waiting stage asks whether it should go on waiting.
const PATIENCE: Duration = Duration::from_millis(100);

/// The end of an edge that a stage writes to.
#[derive(Debug)]
pub struct Outlet<T> {
    sender: Option<Sender<(usize, T)>>,
    budget: Arc<Budget>,
    meter: Arc<Meter>,
}

impl<T> Clone for Outlet<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), budget: self.budget.clone(), meter: self.meter.clone() }
    }
}

impl<T: Item> Outlet<T> {
    /// An outlet with nothing behind it: for the last stage.
    pub(crate) fn nowhere(meter: Arc<Meter>) -> Self {
        let budget = Arc::new(Budget { limit: usize::MAX, state: Mutex::default(), changed: Condvar::new() });
        Self { sender: None, budget, meter }
    }

    /// Hands an item on; waits while the edge is full.
    ///
    /// # Errors
    /// [`Stopped`] when nobody will read it any more.
    pub fn send(&mut self, item: T) -> Result<(), Stopped> {
        let bytes = item.bytes();
        if let Some(sender) = &self.sender {
            let began = Instant::now();
            let sent = self.budget.take(bytes).and_then(|()| {
                self.meter.queued.fetch_add(1, Relaxed);
                sender.send((bytes, item)).map_err(|_| Stopped)
            });
            add(&self.meter.wait_out, began.elapsed());
            sent?;
        }
        self.meter.items.fetch_add(1, Relaxed);
        self.meter.bytes.fetch_add(bytes as u64, Relaxed);
        Ok(())
    }
}
