//! The edges: bounded in items and in bytes, metered at both ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError};
use parking_lot::{Condvar, Mutex};

use super::item::Item;
use super::stop::Stop;
use crate::error::Stopped;
use crate::watch::Meter;
use crate::watch::clock::now;
use crate::watch::lane::State;
use crate::watch::thread;
use crate::watch::trace::Made;

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
    fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, state: Mutex::default(), changed: Condvar::new() })
    }

    /// Takes the bytes if there is room for them now.
    fn try_take(&self, bytes: usize) -> Result<bool, Stopped> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Stopped);
        }
        let room = state.used == 0 || state.used.saturating_add(bytes) <= self.limit;
        if room {
            state.used += bytes;
        }
        Ok(room)
    }

    fn take(&self, bytes: usize) -> Result<(), Stopped> {
        let mut state = self.state.lock();
        while state.used > 0 && state.used.saturating_add(bytes) > self.limit && !state.closed {
            self.changed.wait(&mut state);
        }
        if state.closed {
            return Err(Stopped);
        }
        state.used += bytes;
        Ok(())
    }

    fn give(&self, bytes: usize) {
        self.state.lock().used -= bytes;
        self.changed.notify_all();
    }

    fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }
}

/// How much an edge holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capacity {
    pub items: usize,
    pub bytes: usize,
}

/// An item on its way.
#[derive(Debug)]
struct Parcel<T> {
    item: T,
    bytes: usize,
    /// Which item of which edge: both ends of its arrow in the trace.
    flow: u64,
}

/// An edge, before its two ends go to their stages. `flows` is the number that
/// its first item gets; the trace tells all items of a run apart by theirs.
pub(crate) fn edge<T: Item>(
    capacity: Capacity,
    from: Arc<Meter>,
    to: Arc<Meter>,
    stop: Arc<Stop>,
    flows: u64,
) -> (Outlet<T>, Inlet<T>) {
    let (sender, receiver) = crossbeam_channel::bounded(capacity.items.max(1));
    let budget = Budget::new(capacity.bytes);
    let flows = Arc::new(AtomicU64::new(flows));
    let outlet = Outlet { sender: Some(sender), budget: budget.clone(), meter: from.clone(), flows };
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
    receiver: Option<Receiver<Parcel<T>>>,
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
        Self { receiver: None, budget: Budget::new(0), _guard: None, meter, from: None, stop, seen: false }
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
        thread::made();
        let (got, waited) = match receiver.try_recv() {
            Ok(got) => (Some(got), 0),
            Err(TryRecvError::Disconnected) => (None, 0),
            Err(TryRecvError::Empty) => thread::wait(State::WaitIn, || receiver.recv().ok()),
        };
        self.receive(got, waited)
    }

    /// As [`recv`](Self::recv), but gives up waiting once `give_up` says so: how the
    /// last stage hears of Ctrl-C while the first picture is still being encoded.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_unless(&mut self, give_up: impl Fn() -> bool) -> Result<Received<T>, Stopped> {
        let Some(receiver) = &self.receiver else { return self.recv().map(|_| Received::End) };
        thread::made();
        let (got, waited) = thread::wait(State::WaitIn, || {
            loop {
                match receiver.recv_timeout(PATIENCE) {
                    Ok(got) => break Ok(Some(got)),
                    Err(RecvTimeoutError::Disconnected) => break Ok(None),
                    Err(RecvTimeoutError::Timeout) if give_up() => break Err(()),
                    Err(RecvTimeoutError::Timeout) => {}
                }
            }
        });
        let Ok(got) = got else { return Ok(Received::GaveUp) };
        Ok(self.receive(got, waited)?.map_or(Received::End, Received::Item))
    }

    /// Counts what came, after `waited` nanoseconds.
    fn receive(&mut self, got: Option<Parcel<T>>, waited: u64) -> Result<Option<T>, Stopped> {
        if !self.seen {
            self.seen = true;
            self.meter.first_wait.fetch_add(waited, Relaxed);
        }
        if self.stop.raised() {
            return Err(Stopped);
        }
        let Some(Parcel { item, bytes, flow }) = got else { return Ok(None) };
        self.budget.give(bytes);
        self.meter.items_in.fetch_add(1, Relaxed);
        if let Some(from) = &self.from {
            from.queued.fetch_sub(1, Relaxed);
        }
        thread::trace(|track| track.receive(now(), item.label(), flow));
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
    sender: Option<Sender<Parcel<T>>>,
    budget: Arc<Budget>,
    meter: Arc<Meter>,
    flows: Arc<AtomicU64>,
}

impl<T> Clone for Outlet<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            budget: self.budget.clone(),
            meter: self.meter.clone(),
            flows: self.flows.clone(),
        }
    }
}

impl<T: Item> Outlet<T> {
    /// An outlet with nothing behind it: for the last stage.
    pub(crate) fn nowhere(meter: Arc<Meter>) -> Self {
        Self { sender: None, budget: Budget::new(usize::MAX), meter, flows: Arc::default() }
    }

    /// Hands an item on; waits while the edge is full.
    ///
    /// # Errors
    /// [`Stopped`] when nobody will read it any more.
    pub fn send(&mut self, item: T) -> Result<(), Stopped> {
        let made = thread::trace(|track| track.sending(now(), item.label())).flatten();
        self.send_made(item, made)
    }

    /// As [`send`](Self::send), for an item that another thread made.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub fn send_made(&mut self, item: T, made: Option<Made>) -> Result<(), Stopped> {
        let bytes = item.bytes();
        if let Some(sender) = &self.sender {
            let parcel = Parcel { item, bytes, flow: self.flows.fetch_add(1, Relaxed) };
            let flow = parcel.flow;
            let since = thread::trace(|_| now());
            let budget = &self.budget;
            let sent = if budget.try_take(bytes)? {
                self.meter.queued.fetch_add(1, Relaxed);
                match sender.try_send(parcel) {
                    Ok(()) => Ok(()),
                    Err(TrySendError::Disconnected(_)) => Err(Stopped),
                    Err(TrySendError::Full(parcel)) => {
                        thread::wait(State::WaitOut, || sender.send(parcel).map_err(|_| Stopped)).0
                    }
                }
            } else {
                self.meter.queued.fetch_add(1, Relaxed);
                let send = || budget.take(bytes).and_then(|()| sender.send(parcel).map_err(|_| Stopped));
                thread::wait(State::WaitOut, send).0
            };
            thread::trace(|track| track.sent(made, flow, since.unwrap_or_default(), now()));
            sent?;
        }
        self.meter.items.fetch_add(1, Relaxed);
        self.meter.bytes.fetch_add(bytes as u64, Relaxed);
        Ok(())
    }
}
