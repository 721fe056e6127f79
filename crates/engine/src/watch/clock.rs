//! The clock of all measurements.

use std::sync::OnceLock;
use std::time::Instant;

/// Nanoseconds since the program began to measure.
pub(crate) fn now() -> u64 {
    stamp(Instant::now())
}

/// The same for a moment that was noted elsewhere.
pub(crate) fn stamp(at: Instant) -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    at.saturating_duration_since(*START.get_or_init(Instant::now)).as_nanos() as u64
}
