//! Memory for intermediate values, reused instead of returned to the system.
//!
//! A large allocation comes from the system as pages without memory behind them, and the first touch of
//! each page is a trap into the kernel. A step needs the same few hundred buffers every time, so they
//! are kept from one use to the next.

use std::fmt::{self, Debug};
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// For fewer numbers than this the allocator is good enough.
const SMALL: usize = 1 << 14;

static POOL: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

fn pool() -> MutexGuard<'static, Vec<Vec<f32>>> {
    // The pool holds only memory whose content does not matter, so a panic elsewhere cannot spoil it.
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A slice of f32 that goes back to the pool when dropped.
pub(super) struct Buffer {
    values: Vec<f32>,
    len: usize,
}

impl Buffer {
    /// `len` numbers left over from an earlier use: write them before reading them.
    pub(super) fn dirty(len: usize) -> Self {
        Self { values: take(len).unwrap_or_else(|| vec![0.0; capacity(len)]), len }
    }

    /// `len` zeros.
    pub(super) fn zeroed(len: usize) -> Self {
        match take(len) {
            Some(mut values) => {
                values[..len].fill(0.0);
                Self { values, len }
            }
            None => Self { values: vec![0.0; capacity(len)], len },
        }
    }
}

/// The smallest buffer of the pool that is long enough and not far too long. If there is none, the
/// pool frees as much memory as the caller will allocate, so that changing sizes do not pile up.
fn take(len: usize) -> Option<Vec<f32>> {
    if len < SMALL {
        return None;
    }
    let mut pool = pool();
    let fits = |values: &Vec<f32>| values.len() >= len && values.len() <= len + len / 2;
    let best = pool.iter().enumerate().filter(|(_, values)| fits(values)).min_by_key(|(_, values)| values.len());
    if let Some((at, _)) = best {
        return Some(pool.swap_remove(at));
    }
    let mut released = 0;
    while released < len {
        match pool.pop() {
            Some(values) => released += values.len(),
            None => break,
        }
    }
    None
}

/// Rounds a length up by at most an eighth, so that batches of about the same size share buffers.
fn capacity(len: usize) -> usize {
    if len < SMALL { len } else { len.next_multiple_of((len.next_power_of_two() / 16).max(1)) }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.values.len() >= SMALL {
            pool().push(std::mem::take(&mut self.values));
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[..self.len]
    }
}

impl Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} numbers]", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_have_the_length_asked_for_and_zeros_where_promised() {
        for len in [0, 3, SMALL, SMALL + 1, 5 * SMALL - 7] {
            for _ in 0..3 {
                let mut buffer = Buffer::dirty(len);
                assert_eq!(buffer.len(), len);
                buffer.fill(f32::NAN);
            }
            assert!(Buffer::zeroed(len).iter().all(|value| *value == 0.0));
            assert_eq!(Buffer::zeroed(len).len(), len);
        }
    }

    #[test]
    fn rounding_up_wastes_little() {
        for len in (SMALL..100 * SMALL).step_by(999) {
            let found = capacity(len);
            assert!(found >= len && found - len <= len / 8, "{len}: {found}");
        }
    }
}
