//! What is in a file or a folder: for `inspect`, which shows it, and `init`, which builds on it.

pub mod checkpoint;
pub mod shard;

/// Bytes for people: `1.4 GB`.
pub fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        b if b >= 1e9 => format!("{:.1} GB", b / 1e9),
        b if b >= 1e6 => format!("{:.1} MB", b / 1e6),
        b if b >= 1e3 => format!("{:.1} kB", b / 1e3),
        b => format!("{b} bytes"),
    }
}

/// Of one, on average.
pub fn per(all: u64, count: u64) -> u64 {
    all / count.max(1)
}
