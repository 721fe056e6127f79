//! The colours that captions can name.

/// 8-bit sRGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rgb(pub u8, pub u8, pub u8);

impl Rgb {
    /// From 0xRRGGBB.
    pub const fn hex(code: u32) -> Self {
        Self((code >> 16) as u8, (code >> 8) as u8, code as u8)
    }

    /// The colour that is `share` of the way to `other`; 0 gives `self`.
    pub fn toward(self, other: Self, share: f32) -> Self {
        let mix = |a: u8, b: u8| (f32::from(a) + (f32::from(b) - f32::from(a)) * share).round() as u8;
        Self(mix(self.0, other.0), mix(self.1, other.1), mix(self.2, other.2))
    }

    /// Toward black.
    pub fn darker(self, share: f32) -> Self {
        self.toward(BLACK, share)
    }

    /// Toward white.
    pub fn lighter(self, share: f32) -> Self {
        self.toward(WHITE, share)
    }
}

pub(crate) const BLACK: Rgb = Rgb::hex(0x16161a);
pub(crate) const WHITE: Rgb = Rgb::hex(0xfafafa);
pub(crate) const CREAM: Rgb = Rgb::hex(0xf3e6c8);
pub(crate) const WOOD: Rgb = Rgb::hex(0x8a5a2b);
pub(crate) const LEAF: Rgb = Rgb::hex(0x3f9a3a);
pub(crate) const STEEL: Rgb = Rgb::hex(0x9aa2ac);
pub(crate) const GLASS: Rgb = Rgb::hex(0xbfe3f5);
pub(crate) const GOLD: Rgb = Rgb::hex(0xf2b82e);

/// A colour with an English name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Color {
    Red,
    Orange,
    Yellow,
    Green,
    Blue,
    Purple,
    Pink,
    Brown,
    Black,
    White,
    Gray,
}

impl Color {
    /// The word used in captions.
    pub fn name(self) -> &'static str {
        match self {
            Self::Red => "red",
            Self::Orange => "orange",
            Self::Yellow => "yellow",
            Self::Green => "green",
            Self::Blue => "blue",
            Self::Purple => "purple",
            Self::Pink => "pink",
            Self::Brown => "brown",
            Self::Black => "black",
            Self::White => "white",
            Self::Gray => "gray",
        }
    }

    /// The middle of the range it is drawn in.
    pub fn rgb(self) -> Rgb {
        match self {
            Self::Red => Rgb::hex(0xd92b2b),
            Self::Orange => Rgb::hex(0xf08a1d),
            Self::Yellow => Rgb::hex(0xf5d327),
            Self::Green => Rgb::hex(0x2f9e44),
            Self::Blue => Rgb::hex(0x2563d6),
            Self::Purple => Rgb::hex(0x8438b8),
            Self::Pink => Rgb::hex(0xf283b6),
            Self::Brown => WOOD,
            Self::Black => Rgb::hex(0x2b2b31),
            Self::White => Rgb::hex(0xf2f2f0),
            Self::Gray => Rgb::hex(0x8b8f96),
        }
    }
}
