//! `workers = n` with the order kept.

use std::collections::BTreeMap;

use parking_lot::{Condvar, Mutex};

use super::behaviour::Map;
use super::pass::Pass;
use crate::edge::{Inlet, Item, Outlet};
use crate::error::{StageError, Stopped};
use crate::watch::lane::State;
use crate::watch::thread;
use crate::watch::trace::Made;

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
    /// How many items may have been taken; a worker draws a ticket before it takes one.
    tickets: u64,
    /// The number of the item that leaves next.
    next: u64,
    waiting: BTreeMap<u64, (O, Option<Made>)>,
    /// Lent to the one worker that is sending.
    output: Option<Outlet<O>>,
    failed: bool,
}

impl<I: Item, O: Item> Ordered<I, O> {
    pub fn new(input: Inlet<I>, output: Outlet<O>, workers: usize) -> Self {
        Self {
            input: Mutex::new((input, 0)),
            done: Mutex::new(Done {
                tickets: 0,
                next: 0,
                waiting: BTreeMap::new(),
                output: Some(output),
                failed: false,
            }),
            moved: Condvar::new(),
            window: workers as u64 * AHEAD,
        }
    }

    /// One worker's loop.
    pub fn work(&self, map: &dyn Map<I, O>, pass: &Pass<'_>) -> Result<(), StageError> {
        // Whatever ends this worker early must wake the others that wait for its item.
        let mut leave = Leave { shared: self, whole: false };
        let mut worker = map.worker(pass)?;
        while let Some((number, item)) = self.take()? {
            let result = worker.map(pass, item)?;
            let made = thread::made();
            self.give(number, result, made)?;
        }
        leave.whole = true;
        Ok(())
    }

    /// The next item and its number. Waits first, each worker by itself, while
    /// the results wait that were taken too far ahead: for room, that is; then,
    /// in turn, for input.
    fn take(&self) -> Result<Option<(u64, I)>, Stopped> {
        let mut done = self.done.lock();
        if done.tickets >= done.next + self.window && !done.failed {
            thread::wait(State::WaitOut, || {
                while done.tickets >= done.next + self.window && !done.failed {
                    self.moved.wait(&mut done);
                }
            });
        }
        if done.failed {
            return Err(Stopped);
        }
        done.tickets += 1;
        drop(done);
        let mut input = match self.input.try_lock() {
            Some(input) => input,
            None => thread::wait(State::WaitIn, || self.input.lock()).0,
        };
        let Some(item) = input.0.recv()? else { return Ok(None) };
        let number = input.1;
        input.1 += 1;
        Ok(Some((number, item)))
    }

    /// Puts a result in its place and sends all that are due, unless another
    /// worker is already sending: that one will find this result.
    fn give(&self, number: u64, result: O, made: Option<Made>) -> Result<(), Stopped> {
        let mut done = self.done.lock();
        done.waiting.insert(number, (result, made));
        let Some(mut output) = done.output.take() else { return Ok(()) };
        loop {
            let next = done.next;
            let Some((due, made)) = done.waiting.remove(&next) else { break };
            drop(done);
            let sent = output.send_made(due, made);
            done = self.done.lock();
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
            self.shared.done.lock().failed = true;
            self.shared.moved.notify_all();
        }
    }
}
