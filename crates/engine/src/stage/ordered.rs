//! `workers = n` with the order kept.
//!
//! The workers of a stage meet in [`Ordered`]: each takes the next piece of the input, works on it
//! beside the others, and the results leave in the order in which the pieces were taken. The pieces
//! of a [`Map`](super::Map) are single items; a stage with a thread of its own cuts pieces as it
//! likes and hands them to [`in_order`].

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::{Condvar, Mutex};

use super::pass::Pass;
use crate::error::{StageError, Stopped};
use crate::watch::Made;
use crate::watch::lane::State;
use crate::watch::thread;

/// Results that may wait for an earlier one, for each worker. More hides uneven
/// pieces better; each one is a result in memory.
const AHEAD: u64 = 4;

/// The place where the workers of one stage meet: pieces are numbered as they are
/// taken, and leave in the order of their numbers.
pub(crate) struct Ordered<In, Out, R> {
    /// Gives the next piece, and its number.
    input: Mutex<(In, u64)>,
    done: Mutex<Done<Out, R>>,
    moved: Condvar,
    window: u64,
}

struct Done<Out, R> {
    /// How many pieces may have been taken; a worker draws a ticket before it takes one.
    tickets: u64,
    /// The number of the piece that leaves next.
    next: u64,
    waiting: BTreeMap<u64, (R, Option<Made>)>,
    /// Takes a result. Lent to the one worker that is sending.
    output: Option<Out>,
    failed: bool,
}

impl<P, R, In, Out> Ordered<In, Out, R>
where
    In: FnMut() -> Result<Option<P>, StageError>,
    Out: FnMut(R, Option<Made>) -> Result<(), StageError>,
{
    pub fn new(input: In, output: Out, workers: usize) -> Self {
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
    pub fn work(&self, mut map: impl FnMut(P) -> Result<R, StageError>) -> Result<(), StageError> {
        // Whatever ends this worker early must wake the others that wait for its piece.
        let mut leave = Leave { shared: self, whole: false };
        while let Some((number, piece)) = self.take()? {
            let result = map(piece)?;
            let made = thread::made();
            self.give(number, result, made)?;
        }
        leave.whole = true;
        Ok(())
    }

    /// The next piece and its number. First waits, each worker by itself, while too many pieces are
    /// ahead of the one that leaves next: that is waiting for room. Then waits, in turn, for input.
    fn take(&self) -> Result<Option<(u64, P)>, StageError> {
        let mut done = self.done.lock();
        if done.tickets >= done.next + self.window && !done.failed {
            thread::wait(State::WaitOut, || {
                while done.tickets >= done.next + self.window && !done.failed {
                    self.moved.wait(&mut done);
                }
            });
        }
        if done.failed {
            return Err(Stopped.into());
        }
        done.tickets += 1;
        drop(done);
        let mut input = match self.input.try_lock() {
            Some(input) => input,
            None => thread::wait(State::WaitIn, || self.input.lock()).0,
        };
        let Some(piece) = input.0()? else { return Ok(None) };
        let number = input.1;
        input.1 += 1;
        Ok(Some((number, piece)))
    }

    /// Puts a result in its place and sends all that are due, unless another
    /// worker is already sending: that one will find this result.
    fn give(&self, number: u64, result: R, made: Option<Made>) -> Result<(), StageError> {
        let mut done = self.done.lock();
        done.waiting.insert(number, (result, made));
        let Some(mut output) = done.output.take() else { return Ok(()) };
        loop {
            let next = done.next;
            let Some((due, made)) = done.waiting.remove(&next) else { break };
            drop(done);
            let sent = output(due, made);
            done = self.done.lock();
            done.next += 1;
            self.moved.notify_all();
            if sent.is_err() {
                done.failed = true;
                return sent;
            }
        }
        done.output = Some(output);
        Ok(())
    }
}

struct Leave<'a, In, Out, R> {
    shared: &'a Ordered<In, Out, R>,
    whole: bool,
}

impl<In, Out, R> Drop for Leave<'_, In, Out, R> {
    fn drop(&mut self) {
        if !self.whole {
            self.shared.done.lock().failed = true;
            self.shared.moved.notify_all();
        }
    }
}

/// Lets `workers` threads do the work of the stage that calls, and returns when the input is at its
/// end. `pull` cuts the next piece from the input, `work` turns it into a result, on any thread, and
/// `push` hands the result on. Both `pull` and `push` are called by one thread at a time, in the same
/// order: what a piece is, and what becomes of it, depends on the stream alone, not on the number of
/// workers. `label` says what a piece is, for traces; [`Made`] is for
/// [`Outlet::send_made`](crate::Outlet::send_made).
///
/// # Errors
/// [`StageError::Stopped`] once anything failed: the first error of `pull`, `work` or `push` is
/// reported at once, also while other workers wait for input.
pub fn in_order<P: Send, R: Send>(
    pass: &Pass<'_>,
    workers: usize,
    pull: impl FnMut() -> Result<Option<P>, StageError> + Send,
    label: impl Fn(&P) -> String + Sync,
    work: impl Fn(P) -> Result<R, StageError> + Sync,
    push: impl FnMut(R, Option<Made>) -> Result<(), StageError> + Send,
) -> Result<(), StageError> {
    let (stage, kind) = pass.stage;
    let ordered = Ordered::new(pull, push, workers.max(1));
    let whole = AtomicBool::new(true);
    let fail = |error| {
        whole.store(false, Relaxed);
        pass.stop.fail(stage, error);
    };
    let helper = &|number| {
        let lane = pass.helper(number);
        let map = |piece| {
            thread::begin(|| label(&piece));
            work(piece)
        };
        let result = catch_unwind(AssertUnwindSafe(|| ordered.work(map)));
        drop(lane);
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => fail(error),
            Err(panic) => fail(StageError::panicked(&*panic)),
        }
    };
    // This thread only waits: its span ends here.
    thread::made();
    let run = || {
        std::thread::scope(|scope| {
            for number in 1..=workers.max(1) {
                let thread = std::thread::Builder::new().name(format!("{kind} {number}"));
                if let Err(error) = thread.spawn_scoped(scope, move || helper(number)) {
                    fail(error.into());
                }
            }
        });
    };
    thread::wait(State::WaitIn, run);
    if whole.into_inner() { Ok(()) } else { Err(StageError::Stopped) }
}
