//! Settings: which things are seen together, and against which background.
//!
//! Things of one theme appear together, so an object that is absent from a scene is
//! one that could well have been there.

use crate::color::Rgb;

/// One setting.
pub struct Theme {
    /// The background's name.
    pub name: &'static str,
    /// How captions say where the scene is.
    pub wheres: &'static [&'static str],
    /// The things that are usual here, the most usual first.
    pub usual: &'static [&'static str],
    pub(crate) backdrop: Backdrop,
}

/// How a background is drawn: an upper and a lower gradient, and marks on them.
pub(crate) struct Backdrop {
    /// Top and bottom of the upper part.
    pub upper: [Rgb; 2],
    /// Top and bottom of the lower part.
    pub lower: [Rgb; 2],
    /// Where the two meet, as a share of the height.
    pub horizon: f32,
    pub texture: Texture,
}

/// Marks that are not objects, so that "something is there" does not imply an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Texture {
    /// Hills at the back, blades of grass in front.
    Grass,
    /// A strip of sea, ripples in the sand.
    Shore,
    /// Dots of light above, dark tufts below.
    Stars,
    /// Stripes above, boards below.
    Boards,
    /// Squares above, squares below.
    Tiles,
    /// A kerb and a dashed line.
    Road,
    /// Flakes and drifts.
    Flakes,
    /// Dunes.
    Dunes,
    /// A hedge and a lawn.
    Hedge,
    /// Waves.
    Waves,
}

const fn rgb(top: u32, bottom: u32) -> [Rgb; 2] {
    [Rgb::hex(top), Rgb::hex(bottom)]
}

/// All settings.
pub const THEMES: &[Theme] = &[
    Theme {
        name: "meadow",
        wheres: &["in a meadow", "in the meadow", "in a green meadow"],
        usual: &[
            "tree",
            "kite",
            "dog",
            "butterfly",
            "rabbit",
            "sun",
            "flower",
            "fence",
            "balloon",
            "bicycle",
            "ball",
            "bird",
            "tent",
        ],
        backdrop: Backdrop {
            upper: rgb(0x8cc6f0, 0xd5ecf8),
            lower: rgb(0x9ccf74, 0x6fae4c),
            horizon: 0.5,
            texture: Texture::Grass,
        },
    },
    Theme {
        name: "beach",
        wheres: &["on the beach", "on a beach", "on a sunny beach"],
        usual: &["umbrella", "boat", "ball", "bucket", "crab", "sun", "kite", "bird", "fish", "hat", "chair", "bottle"],
        backdrop: Backdrop {
            upper: rgb(0x9ad4f2, 0xdff2fb),
            lower: rgb(0xf4dfa8, 0xe3c47e),
            horizon: 0.5,
            texture: Texture::Shore,
        },
    },
    Theme {
        name: "night",
        wheres: &["at night", "on a dark night", "late at night"],
        usual: &["moon", "house", "tent", "cat", "rocket", "tree", "lamp", "car", "bench", "pumpkin"],
        backdrop: Backdrop {
            upper: rgb(0x1b2148, 0x3a4580),
            lower: rgb(0x3c5a50, 0x2f463f),
            horizon: 0.55,
            texture: Texture::Stars,
        },
    },
    Theme {
        name: "hall",
        wheres: &["in a hall", "in the hall", "in a bright hall"],
        usual: &[
            "chair", "lamp", "book", "clock", "guitar", "table", "hat", "key", "drum", "cat", "umbrella", "ladder",
        ],
        backdrop: Backdrop {
            upper: rgb(0xe6d3b8, 0xd9c2a1),
            lower: rgb(0xb58a5e, 0x9a7148),
            horizon: 0.58,
            texture: Texture::Boards,
        },
    },
    Theme {
        name: "kitchen",
        wheres: &["in a kitchen", "in the kitchen", "in a clean kitchen"],
        usual: &[
            "table", "cup", "apple", "cake", "bottle", "chair", "clock", "pumpkin", "bucket", "cat", "mushroom", "fish",
        ],
        backdrop: Backdrop {
            upper: rgb(0xdff0ee, 0xcfe4e2),
            lower: rgb(0xc9bfae, 0xb3a794),
            horizon: 0.58,
            texture: Texture::Tiles,
        },
    },
    Theme {
        name: "street",
        wheres: &["in the street", "on a street", "on a quiet street"],
        usual: &["car", "bus", "bicycle", "house", "bench", "dog", "lamp", "tree", "balloon", "ladder", "airplane"],
        backdrop: Backdrop {
            upper: rgb(0xc4d3df, 0xe8eef2),
            lower: rgb(0x8e9197, 0x74777d),
            horizon: 0.5,
            texture: Texture::Road,
        },
    },
    Theme {
        name: "snow",
        wheres: &["in the snow", "in deep snow", "in fresh snow"],
        usual: &["snowman", "house", "tree", "rabbit", "fence", "hat", "bird", "dog", "bench", "car"],
        backdrop: Backdrop {
            upper: rgb(0xb3c6dc, 0xdce6f0),
            lower: rgb(0xeef3f9, 0xd8e2ee),
            horizon: 0.5,
            texture: Texture::Flakes,
        },
    },
    Theme {
        name: "desert",
        wheres: &["in the desert", "in a desert", "in a hot desert"],
        usual: &["cactus", "sun", "tent", "car", "rocket", "airplane", "key", "bottle", "guitar", "drum"],
        backdrop: Backdrop {
            upper: rgb(0xf7c98b, 0xfbe6c2),
            lower: rgb(0xe2a75c, 0xc98742),
            horizon: 0.52,
            texture: Texture::Dunes,
        },
    },
    Theme {
        name: "garden",
        wheres: &["in a garden", "in the garden", "in a small garden"],
        usual: &[
            "flower",
            "bucket",
            "ladder",
            "mushroom",
            "butterfly",
            "apple",
            "cat",
            "fence",
            "table",
            "bird",
            "chair",
            "pumpkin",
        ],
        backdrop: Backdrop {
            upper: rgb(0xbfe3f2, 0xe6f5f5),
            lower: rgb(0xb7c983, 0x8ea35a),
            horizon: 0.52,
            texture: Texture::Hedge,
        },
    },
    Theme {
        name: "lake",
        wheres: &["on the lake", "on a lake", "on a calm lake"],
        usual: &["boat", "fish", "bird", "sun", "airplane", "balloon", "crab", "bottle", "moon"],
        backdrop: Backdrop {
            upper: rgb(0xa9d6ee, 0xe3f3fa),
            lower: rgb(0x5ba3cf, 0x2f74a8),
            horizon: 0.45,
            texture: Texture::Waves,
        },
    },
];
