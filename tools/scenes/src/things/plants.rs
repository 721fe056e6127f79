//! What grows.

use super::{Place, Thing};
use crate::color::Color::{self, *};
use crate::color::{CREAM, LEAF, Rgb, WHITE, WOOD};
use crate::dice::Dice;
use crate::pen::Pen;

pub(super) const THINGS: &[Thing] = &[
    Thing {
        name: "apple",
        doing: "lying",
        size: (80.0, 90.0),
        place: Place::GroundOrTop,
        top: None,
        colors: &[Red, Green, Yellow],
        draw: apple,
    },
    Thing {
        name: "cactus",
        doing: "growing",
        size: (84.0, 108.0),
        place: Place::Ground,
        top: None,
        colors: &[Green],
        draw: cactus,
    },
    Thing {
        name: "flower",
        doing: "growing",
        size: (64.0, 104.0),
        place: Place::Ground,
        top: None,
        colors: &[Red, Yellow, Pink, Purple, White, Blue],
        draw: flower,
    },
    Thing {
        name: "mushroom",
        doing: "growing",
        size: (84.0, 86.0),
        place: Place::Ground,
        top: None,
        colors: &[Red, Brown, Purple, Orange],
        draw: mushroom,
    },
    Thing {
        name: "pumpkin",
        doing: "lying",
        size: (96.0, 84.0),
        place: Place::GroundOrTop,
        top: None,
        colors: &[Orange],
        draw: pumpkin,
    },
    Thing {
        name: "tree",
        doing: "growing",
        size: (100.0, 130.0),
        place: Place::Ground,
        top: None,
        colors: &[Green, Green, Orange],
        draw: tree,
    },
];

fn apple(pen: &mut Pen<'_>, color: Color, _: &mut Dice) {
    let main = color.rgb();
    pen.shape("M 40 28 Q 20 12 7 34 Q 0 60 22 84 Q 32 92 40 85 Q 48 92 58 84 Q 80 60 73 34 Q 60 12 40 28 Z", main);
    pen.spot(20.0, 44.0, 6.0, 11.0, main.lighter(0.55));
    pen.line("M 40 30 Q 40 14 46 4", 5.0, WOOD);
    pen.shape("M 45 16 Q 58 0 74 8 Q 64 24 45 16 Z", LEAF);
}

fn cactus(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let main = color.rgb();
    let (left, right) = if dice.chance(0.5) { (60.0, 72.0) } else { (74.0, 56.0) };
    pen.rod(&format!("M 40 {left} L 15 {left} L 15 34"), 14.0, main);
    pen.rod(&format!("M 42 {right} L 68 {right} L 68 28"), 14.0, main);
    pen.rod("M 41 98 L 41 14", 22.0, main);
    pen.line("M 36 20 L 36 98 M 46 20 L 46 98", 2.0, main.lighter(0.5));
    if dice.chance(0.5) {
        pen.disc(41.0, 5.0, 7.0, 6.0, Color::Pink.rgb());
    }
}

fn flower(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let main = color.rgb();
    pen.line("M 32 34 Q 28 70 33 104", 5.0, LEAF);
    pen.shape("M 31 88 Q 6 84 4 64 Q 28 66 31 88 Z", LEAF);
    pen.shape("M 33 80 Q 54 78 60 58 Q 36 60 33 80 Z", LEAF);
    let six = [(0.0, -20.0), (17.0, -10.0), (17.0, 10.0), (0.0, 20.0), (-17.0, 10.0), (-17.0, -10.0)];
    for (x, y) in six {
        pen.disc(32.0 + x, 32.0 + y, 12.0, 12.0, main);
    }
    let heart = if dice.chance(0.5) && color != Yellow { Yellow.rgb() } else { Rgb::hex(0x7a4a16) };
    pen.disc(32.0, 32.0, 11.0, 11.0, heart);
}

fn mushroom(pen: &mut Pen<'_>, color: Color, _: &mut Dice) {
    pen.shape("M 30 42 Q 32 66 24 82 Q 42 90 60 82 Q 52 66 54 42 Z", CREAM);
    pen.shape("M 2 48 Q 4 2 42 2 Q 80 2 82 48 Q 42 60 2 48 Z", color.rgb());
    for (x, y, r) in [(24.0, 28.0, 7.0), (48.0, 16.0, 7.5), (62.0, 36.0, 7.0), (41.0, 40.0, 5.0)] {
        pen.spot(x, y, r, r, WHITE);
    }
}

fn pumpkin(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let main = color.rgb();
    pen.rod("M 48 22 Q 48 8 58 4", 7.0, LEAF);
    pen.disc(24.0, 52.0, 23.0, 29.0, main);
    pen.disc(72.0, 52.0, 23.0, 29.0, main);
    pen.disc(34.0, 52.0, 22.0, 31.0, main);
    pen.disc(62.0, 52.0, 22.0, 31.0, main);
    pen.disc(48.0, 52.0, 18.0, 32.0, main.lighter(0.12));
    if dice.chance(0.3) {
        let dark = Rgb::hex(0x402008);
        pen.patch("M 26 46 L 42 46 L 34 34 Z M 54 46 L 70 46 L 62 34 Z", dark);
        pen.patch("M 22 58 L 36 62 L 48 58 L 60 62 L 74 58 Q 48 86 22 58 Z", dark);
    }
}

fn tree(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let main = color.rgb();
    pen.slab(43.0, 82.0, 15.0, 48.0, WOOD);
    if dice.chance(0.4) {
        pen.shape("M 50 44 L 98 104 L 2 104 Z", main.darker(0.25));
        pen.shape("M 50 22 L 88 78 L 12 78 Z", main.darker(0.15));
        pen.shape("M 50 0 L 78 50 L 22 50 Z", main);
    } else {
        pen.disc(26.0, 66.0, 25.0, 24.0, main.darker(0.1));
        pen.disc(74.0, 66.0, 25.0, 24.0, main.darker(0.1));
        pen.disc(50.0, 38.0, 36.0, 37.0, main);
        pen.spot(40.0, 28.0, 14.0, 12.0, main.lighter(0.25));
    }
}
