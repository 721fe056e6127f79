//! A small drawn world: pictures of common things, what is true of them, and
//! what can be said about them.
//!
//! [`Scene::new`] is a pure function of a seed, a split and an index. A scene
//! knows everything in its picture, so "not in the picture" is a fact here; in a
//! data set of photographs it is a guess. The captions name only some of it.

#![warn(missing_docs)]

mod caption;
mod color;
mod dice;
mod pack;
mod pen;
mod questions;
mod render;
mod scene;
mod sheet;
mod theme;
mod things;
mod words;

pub use color::{Color, Rgb};
pub use dice::{Dice, Purpose};
pub use pack::{pack, shard_name};
pub use pen::Pen;
pub use questions::{Claim, Kind, Question, questions};
pub use scene::{Area, Object, SIDE, Scene, Split};
pub use sheet::sheet;
pub use theme::{THEMES, Theme};
pub use things::{Place, Thing, thing, things};
