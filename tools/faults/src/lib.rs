//! Deliberate faults, and checks of what follows from them.
//!
//! - [`kill`]: runs killed at random moments end like one that was never killed.
//! - [`rubbish`]: broken tars, pictures, captions, checkpoints and caches lead to a
//!   used sample, a named skip or a clear error.
//! - [`soak`]: memory does not grow with the number of samples.
//!
//! Each is a command of the program `faults`, and a short version of it a test.

pub mod kill;
pub mod rubbish;
pub mod soak;
pub mod world;
