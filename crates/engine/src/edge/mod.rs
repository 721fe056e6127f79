//! The edges between stages: bounded in items and in bytes, metered at both ends.

mod channel;
mod item;
mod stop;

pub(crate) use channel::{Capacity, edge};
pub use channel::{Inlet, Outlet, Received};
pub use item::{Item, Nothing};
pub(crate) use stop::Stop;
