//! `[run]`.

use std::path::PathBuf;

use crate::{choice, options};

choice! {
    /// Where tensors live.
    pub enum DeviceChoice {
        /// A real GPU if there is one, else the CPU.
        Auto = "auto",
        /// The CPU.
        Cpu = "cpu",
        /// The best adapter that wgpu finds, be it a software one.
        Wgpu = "wgpu",
        /// CUDA, where the program was built with it.
        Cuda = "cuda",
    }
}

choice! {
    /// What a resumed run does when its settings or its data are not those it began with.
    pub enum OnChange {
        /// It says which, and does not go on.
        Refuse = "refuse",
        /// It says which, and goes on with the new ones.
        Accept = "accept",
    }
}

options! {
    /// `[run]`: what concerns the run as a whole.
    pub struct RunOptions {
        /// Folder that run folders go into.
        dir: PathBuf = PathBuf::from("runs") => free;
        /// Name of the run folder; nothing: date, time and preset.
        name: String = String::new() => free;
        /// Every random draw follows from it.
        seed: u64 = 0;
        /// Passes over the data.
        epochs: u32 = 10, 1..=100_000;
        /// Where tensors live.
        device: DeviceChoice = DeviceChoice::Auto;
        /// Samples that may be unusable before the run stops.
        max_skipped: u64 = 1000 => free;
        /// Bytes that may wait in one edge.
        edge_bytes: usize = 256 << 20, 1 << 10..=usize::MAX => free;
        /// Where Prometheus may read the run's metrics while it runs, as
        /// "127.0.0.1:9090" or "9090" (this machine only); "": nowhere.
        metrics: String = String::new() => free;
        /// With --resume, when settings or data are not those the run began with: say which and
        /// stop (refuse), or say which and go on (accept).
        on_change: OnChange = OnChange::Refuse => free;
        /// A named set of settings that hold where this file says nothing else.
        preset: String = String::new() => free;
        /// Folder that relative paths of inputs start from; nothing: the folder of this file.
        base: Option<PathBuf> = None => free;
    }
}
