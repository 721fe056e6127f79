//! How durations, sizes and names of measurements are written for people.

use std::time::Duration;

use items::metric;

/// A duration: `1 h 02 min`, `3 min 05 s`, `12 s`.
pub fn duration(time: Duration) -> String {
    let s = time.as_secs();
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, min, s) => format!("{min} min {s:02} s"),
        (h, min, _) => format!("{h} h {min:02} min"),
    }
}

/// A number of bytes: `1.4 GB`, `512 bytes`.
pub fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        b if b >= 1e9 => format!("{:.1} GB", b / 1e9),
        b if b >= 1e6 => format!("{:.1} MB", b / 1e6),
        b if b >= 1e3 => format!("{:.1} kB", b / 1e3),
        b => format!("{b} bytes"),
    }
}

/// The name of a measurement: `demo-mcq accuracy (negative)`, or without the part if that is everything.
pub fn measurement(eval: &str, metric: &str, part: &str) -> String {
    if part == metric::ALL { format!("{eval} {metric}") } else { format!("{eval} {metric} ({part})") }
}

/// `count` of something: `1 fault`, `2 faults`.
pub fn count(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}
