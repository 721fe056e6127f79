//! `workers = n` with the order kept.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::channel::{Inlet, Outlet, Stopped, lock};
use crate::error::StageError;
use crate::meter::add;
use crate::stage::{Item, Map, Pass};

/// Results that may wait for an earlier one, for each worker. More hides uneven
/// items better; each one is an item in memory.
const AHEAD: u64 = 4;

/// The place where the workers of one stage meet: items are numbered as they are
/// taken, and leave in the order of their numbers.
pub(crate) struct Ordered<I, O> {
    input: Mutex<(Inlet<I>, u64)>,
    done: Mutex<Done<O>>,
    moved: Condvar,
    window: u64,
}

struct Done<O> {
    next: u64,
    waiting: BTreeMap<u64, O>,
    /// Lent to the one worker that is sending.
    output: Option<Outlet<O>>,
    failed: bool,
}

impl<I: Item, O: Item> Ordered<I, O> {
    pub fn new(input: Inlet<I>, output: Outlet<O>, workers: usize) -> Self {
        Self {
            input: Mutex::new((input, 0)),
            done: Mutex::new(Done { next: 0, waiting: BTreeMap::new(), output: Some(output), failed: false }),
            moved: Condvar::new(),
            window: workers as u64 * AHEAD,
        }
    }

    /// One worker's loop.
    pub fn work(&self, map: &dyn Map<I, O>, pass: &Pass<'_>) -> Result<(), StageError> {
        // Whatever ends this worker early must wake the others that wait for its item.
        let mut leave = Leave { shared: self, whole: false };
        let mut worker = map.worker(pass)?;
        while let Some((number, item)) = self.take(pass)? {
            let result = worker.map(pass, item)?;
            self.give(pass, number, result)?;
        }
        leave.whole = true;
        Ok(())
    }

    /// The next item and its number. Waits while this worker's siblings are too
    /// far ahead of the slowest of them.
    fn take(&self, pass: &Pass<'_>) -> Result<Option<(u64, I)>, Stopped> {
        let began = Instant::now();
        let mut input = lock(&self.input);
        add(&pass.meter.wait_in, began.elapsed());
        let began = Instant::now();
        let mut done = lock(&self.done);
        while input.1 >= done.next + self.window && !done.failed {
            done = self.moved.wait(done).unwrap_or_else(PoisonError::into_inner);
        }
        let failed = done.failed;
        drop(done);
        add(&pass.meter.wait_out, began.elapsed());
        if failed {
            return Err(Stopped);
        }
        let Some(item) = input.0.recv()? else { return Ok(None) };
        let number = input.1;
        input.1 += 1;
        Ok(Some((number, item)))
    }

    /// Puts a result in its place and sends all that are due, unless another
    /// worker is already sending: that one will find this result.
    fn give(&self, _pass: &Pass<'_>, number: u64, result: O) -> Result<(), Stopped> {
        let mut done = lock(&self.done);
        done.waiting.insert(number, result);
        let Some(mut output) = done.output.take() else { return Ok(()) };
        loop {
            let next = done.next;
            let Some(due) = done.waiting.remove(&next) else { break };
            drop(done);
            let sent = output.send(due);
            done = lock(&self.done);
            done.next += 1;
            self.moved.notify_all();
            if sent.is_err() {
                done.failed = true;
                return Err(Stopped);
            }
        }
        done.output = Some(output);
        Ok(())
    }
}

struct Leave<'a, I, O> {
    shared: &'a Ordered<I, O>,
    whole: bool,
}

impl<I, O> Drop for Leave<'_, I, O> {
    fn drop(&mut self) {
        if !self.whole {
            lock(&self.shared.done).failed = true;
            self.shared.moved.notify_all();
        }
    }
}
