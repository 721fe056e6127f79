//! Reads what a checkpoint or a shard holds: for `inspect`, which prints it, and `init`, which builds a config on it.

pub mod checkpoint;
pub mod shard;
