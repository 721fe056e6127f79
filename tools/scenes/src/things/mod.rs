//! The things of this world: what each is called, where it can stand, which
//! colours it comes in, and how it is drawn.

mod animals;
mod indoors;
mod outdoors;
mod plants;
mod vehicles;

use crate::color::Color;
use crate::dice::Dice;
use crate::pen::Pen;
use crate::words;

/// Where a thing may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the upper half, over the horizon.
    Air,
    /// With its foot in the lower half.
    Ground,
    /// On the ground, or on a thing that carries.
    GroundOrTop,
}

/// A kind of object. Its name is a concrete noun that WordNet knows, and no name is
/// a kind of another (a duck would be a bird), so that "present" and "absent" are
/// unambiguous.
pub struct Thing {
    /// Singular, lower case.
    pub name: &'static str,
    /// What captions say it does: "a kite flying ...".
    pub doing: &'static str,
    /// Width and height in drawing units; 100 is an ordinary size.
    pub size: (f32, f32),
    /// Where it may be.
    pub place: Place,
    /// The height in drawing units on which other things may stand.
    pub top: Option<f32>,
    /// The colours of its main part.
    pub colors: &'static [Color],
    /// Draws one: the pen's units run from (0, 0) to `size`.
    pub(crate) draw: fn(&mut Pen<'_>, Color, &mut Dice),
}

impl Thing {
    /// "a cup", "an apple".
    pub fn with_article(&self) -> String {
        words::with_article(self.name)
    }
}

/// All kinds, in a fixed order (files hold names, never positions).
pub const THINGS: &[&[Thing]] = &[animals::THINGS, outdoors::THINGS, plants::THINGS, indoors::THINGS, vehicles::THINGS];

/// All things, in order.
pub fn things() -> impl Iterator<Item = &'static Thing> {
    THINGS.iter().copied().flatten()
}

/// The thing of this name.
pub fn thing(name: &str) -> Option<&'static Thing> {
    things().find(|thing| thing.name == name)
}
