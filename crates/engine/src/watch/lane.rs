//! What each thread of a stage does at a moment: it works, waits for input or
//! waits for room.
//!
//! A thread has one *lane*; [`thread`](super::thread) finds it.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Busy = 0,
    WaitIn = 1,
    WaitOut = 2,
    /// The thread has ended, or not begun.
    Gone = 3,
}

const CHANGING: u64 = 4;

/// Seconds of a lane, or of all lanes of a stage: as nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    pub busy: u64,
    pub wait_in: u64,
    pub wait_out: u64,
}

impl Spent {
    fn add(&mut self, state: State, time: u64) {
        match state {
            State::Busy => self.busy += time,
            State::WaitIn => self.wait_in += time,
            State::WaitOut => self.wait_out += time,
            State::Gone => {}
        }
    }
}

/// The clock of one thread, written by it and read by anyone.
#[derive(Debug)]
pub(crate) struct Lane {
    /// What it does, in the low three bits, and since when.
    now: AtomicU64,
    busy: AtomicU64,
    wait_in: AtomicU64,
    wait_out: AtomicU64,
    /// Whether its thread helps that of the stage.
    helper: bool,
}

impl Lane {
    pub fn new(helper: bool) -> Self {
        Self {
            now: AtomicU64::new(State::Gone as u64),
            busy: AtomicU64::new(0),
            wait_in: AtomicU64::new(0),
            wait_out: AtomicU64::new(0),
            helper,
        }
    }

    pub fn is_helper(&self) -> bool {
        self.helper
    }

    /// Whether its thread has begun.
    pub fn has_begun(&self) -> bool {
        self.now.load(Ordering::Relaxed) >> 3 > 0
    }

    /// Books what was done since the last change.
    pub fn change(&self, to: State, at: u64) {
        let word = self.now.swap(CHANGING, Ordering::AcqRel);
        let time = at.saturating_sub(word >> 3);
        let spent = split(word, time);
        self.busy.fetch_add(spent.busy, Ordering::Relaxed);
        self.wait_in.fetch_add(spent.wait_in, Ordering::Relaxed);
        self.wait_out.fetch_add(spent.wait_out, Ordering::Relaxed);
        self.now.store(at << 3 | to as u64, Ordering::Release);
    }

    /// All that was spent up to `at`, the state that still lasts included.
    pub fn spent(&self, at: u64) -> Spent {
        loop {
            let word = self.now.load(Ordering::Acquire);
            if word == CHANGING {
                // A few instructions, unless the thread lost its processor within them.
                std::thread::yield_now();
                continue;
            }
            let mut spent = split(word, at.saturating_sub(word >> 3));
            spent.busy += self.busy.load(Ordering::Relaxed);
            spent.wait_in += self.wait_in.load(Ordering::Relaxed);
            spent.wait_out += self.wait_out.load(Ordering::Relaxed);
            std::sync::atomic::fence(Ordering::Acquire);
            if self.now.load(Ordering::Relaxed) == word {
                return spent;
            }
        }
    }
}

/// `time` in the state of `word`.
fn split(word: u64, time: u64) -> Spent {
    let mut spent = Spent::default();
    match word & 7 {
        0 => spent.add(State::Busy, time),
        1 => spent.add(State::WaitIn, time),
        2 => spent.add(State::WaitOut, time),
        _ => {}
    }
    spent
}
