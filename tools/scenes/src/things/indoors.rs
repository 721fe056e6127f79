//! Furniture and what lies on it.

use super::{Place, Thing};
use crate::color::Color::{self, *};
use crate::color::{BLACK, CREAM, GOLD, Rgb, STEEL, WHITE, WOOD};
use crate::dice::Dice;
use crate::pen::Pen;

pub(super) const THINGS: &[Thing] = &[
    Thing {
        name: "book",
        doing: "lying open",
        size: (98.0, 70.0),
        place: Place::GroundOrTop,
        top: None,
        colors: &[Red, Blue, Green, Purple, Brown],
        draw: book,
    },
    Thing {
        name: "bottle",
        doing: "standing",
        size: (44.0, 106.0),
        place: Place::GroundOrTop,
        top: None,
        colors: &[Green, Blue, Brown, Red],
        draw: bottle,
    },
    Thing {
        name: "bucket",
        doing: "standing",
        size: (76.0, 88.0),
        place: Place::GroundOrTop,
        top: None,
        colors: &[Blue, Red, Yellow, Gray],
        draw: bucket,
    },
    Thing {
        name: "cake",
        doing: "standing",
        size: (98.0, 86.0),
        place: Place::GroundOrTop,
        top: None,
        colors: &[Pink, White, Brown, Yellow],
        draw: cake,
    },
    Thing {
        name: "chair",
        doing: "standing",
        size: (72.0, 106.0),
        place: Place::Ground,
        top: Some(56.0),
        colors: &[Brown, Red, Blue, White, Green],
        draw: chair,
    },
    Thing {
        name: "clock",
        doing: "ticking",
        size: (86.0, 86.0),
        place: Place::GroundOrTop,
        top: None,
        colors: &[Red, Blue, Brown, Black, Green],
        draw: clock,
    },
    Thing {
        name: "cup",
        doing: "standing",
        size: (92.0, 80.0),
        place: Place::GroundOrTop,
        top: None,
        colors: &[Red, Blue, White, Yellow, Green],
        draw: cup,
    },
    Thing {
        name: "drum",
        doing: "standing",
        size: (88.0, 88.0),
        place: Place::GroundOrTop,
        top: None,
        colors: &[Red, Blue, Green, Yellow],
        draw: drum,
    },
    Thing {
        name: "guitar",
        doing: "standing",
        size: (62.0, 130.0),
        place: Place::Ground,
        top: None,
        colors: &[Brown, Orange, Red, Black],
        draw: guitar,
    },
    Thing {
        name: "hat",
        doing: "lying",
        size: (104.0, 66.0),
        place: Place::GroundOrTop,
        top: None,
        colors: &[Black, Brown, Red, Purple, Yellow],
        draw: hat,
    },
    Thing {
        name: "key",
        doing: "lying",
        size: (112.0, 52.0),
        place: Place::GroundOrTop,
        top: None,
        colors: &[Yellow, Gray],
        draw: key,
    },
    Thing {
        name: "lamp",
        doing: "standing",
        size: (64.0, 116.0),
        place: Place::GroundOrTop,
        top: None,
        colors: &[Yellow, White, Orange, Pink, Green],
        draw: lamp,
    },
    Thing {
        name: "table",
        doing: "standing",
        size: (124.0, 78.0),
        place: Place::Ground,
        top: Some(8.0),
        colors: &[Brown, White, Blue],
        draw: table,
    },
];

fn book(pen: &mut Pen<'_>, color: Color, _: &mut Dice) {
    pen.shape("M 49 14 L 2 6 L 2 64 L 49 70 L 96 64 L 96 6 Z", color.rgb());
    pen.shape("M 49 12 Q 30 -2 8 4 L 8 56 Q 30 50 49 62 Z", WHITE);
    pen.shape("M 49 12 Q 68 -2 90 4 L 90 56 Q 68 50 49 62 Z", WHITE);
    pen.line("M 15 16 Q 30 12 42 20 M 15 28 Q 30 24 42 32 M 15 40 Q 30 36 42 44", 3.0, STEEL);
    pen.line("M 83 16 Q 68 12 56 20 M 83 28 Q 68 24 56 32 M 83 40 Q 68 36 56 44", 3.0, STEEL);
}

fn bottle(pen: &mut Pen<'_>, color: Color, _: &mut Dice) {
    let main = color.rgb();
    pen.shape("M 15 10 L 29 10 L 29 32 Q 42 42 42 56 L 42 104 L 2 104 L 2 56 Q 2 42 15 32 Z", main);
    pen.band(7.0, 44.0, 5.0, 54.0, main.lighter(0.5));
    pen.slab(2.0, 62.0, 40.0, 22.0, CREAM);
    pen.slab(13.0, 1.0, 18.0, 10.0, BLACK.lighter(0.2));
}

fn bucket(pen: &mut Pen<'_>, color: Color, _: &mut Dice) {
    let main = color.rgb();
    pen.line("M 6 28 Q 38 -24 70 28", 3.5, BLACK.lighter(0.2));
    pen.shape("M 4 28 L 72 28 L 61 86 L 15 86 Z", main);
    pen.patch("M 14 34 L 24 34 L 28 80 L 22 80 Z", main.lighter(0.4));
    pen.disc(38.0, 28.0, 34.0, 8.0, main.darker(0.4));
}

fn cake(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let main = color.rgb();
    let sponge = Rgb::hex(0xe2b878);
    pen.disc(49.0, 80.0, 48.0, 6.0, WHITE);
    pen.slab(8.0, 48.0, 82.0, 32.0, sponge);
    pen.shape("M 8 44 L 90 44 L 90 58 Q 80 72 72 58 Q 62 70 54 58 Q 44 74 36 58 Q 26 68 18 58 Q 12 66 8 58 Z", main);
    if dice.chance(0.6) {
        pen.slab(24.0, 24.0, 50.0, 22.0, main.lighter(0.25));
        pen.disc(49.0, 13.0, 9.0, 9.0, Color::Red.rgb());
    } else {
        for x in [22.0, 40.0, 58.0, 76.0] {
            pen.disc(x, 38.0, 7.5, 7.5, Color::Red.rgb());
        }
    }
}

fn chair(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let main = color.rgb();
    let dark = main.darker(0.2);
    pen.slab(8.0, 64.0, 9.0, 42.0, dark);
    pen.slab(55.0, 64.0, 9.0, 42.0, dark);
    if dice.chance(0.5) {
        pen.slab(9.0, 2.0, 54.0, 11.0, main);
        pen.slab(9.0, 22.0, 54.0, 11.0, main);
        pen.slab(7.0, 0.0, 9.0, 58.0, main);
        pen.slab(56.0, 0.0, 9.0, 58.0, main);
    } else {
        pen.shape("M 10 58 L 8 8 Q 36 -8 64 8 L 62 58 Z", main);
    }
    pen.slab(2.0, 56.0, 68.0, 13.0, main.lighter(0.15));
}

fn clock(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    pen.disc(43.0, 43.0, 42.0, 42.0, color.rgb());
    pen.disc(43.0, 43.0, 32.0, 32.0, WHITE);
    pen.line("M 43 14 L 43 20 M 43 66 L 43 72 M 14 43 L 20 43 M 66 43 L 72 43", 4.0, BLACK);
    let minute = dice.pick(&["43 19", "66 38", "56 64", "22 54"]);
    let hour = dice.pick(&["58 52", "30 30", "43 58", "58 34"]);
    pen.line(&format!("M 43 43 L {minute}"), 4.0, BLACK);
    pen.line(&format!("M 43 43 L {hour}"), 5.5, BLACK);
}

fn cup(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let main = color.rgb();
    pen.rod("M 64 24 Q 92 20 86 42 Q 80 60 60 58", 7.0, main);
    pen.shape("M 4 12 L 70 12 Q 70 60 56 78 L 18 78 Q 4 60 4 12 Z", main);
    pen.disc(37.0, 12.0, 33.0, 9.0, WHITE);
    pen.spot(37.0, 13.0, 26.0, 6.0, Rgb::hex(0x5a3414));
    if dice.chance(0.4) {
        pen.band(8.0, 38.0, 59.0, 8.0, main.lighter(0.6));
    }
}

fn drum(pen: &mut Pen<'_>, color: Color, _: &mut Dice) {
    pen.shape("M 4 32 L 4 74 Q 44 100 84 74 L 84 32 Z", color.rgb());
    pen.line("M 5 44 L 20 80 L 34 50 L 48 86 L 62 50 L 74 78 L 83 44", 3.5, GOLD);
    pen.disc(44.0, 32.0, 40.0, 15.0, CREAM);
    pen.line("M 6 4 L 46 30 M 82 4 L 54 34", 5.0, WOOD);
    pen.spot(47.0, 31.0, 5.0, 4.0, WOOD);
    pen.spot(53.0, 35.0, 5.0, 4.0, WOOD);
}

fn guitar(pen: &mut Pen<'_>, color: Color, _: &mut Dice) {
    let main = color.rgb();
    pen.shape("M 20 8 L 24 0 L 38 0 L 42 8 L 38 18 L 24 18 Z", BLACK.lighter(0.15));
    pen.shape("M 31 54 Q 52 50 50 70 Q 48 80 56 88 Q 66 110 50 124 Q 31 134 12 124 Q -4 110 6 88 Q 14 80 12 70 Q 10 50 31 54 Z", main);
    pen.slab(26.0, 16.0, 10.0, 56.0, WOOD.darker(0.35));
    pen.disc(31.0, 82.0, 10.0, 10.0, BLACK);
    pen.slab(18.0, 106.0, 26.0, 6.0, BLACK.lighter(0.15));
    pen.line("M 29 18 L 29 106 M 33 18 L 33 106", 1.2, CREAM);
}

fn hat(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let main = color.rgb();
    let band = if matches!(color, Red | Purple) { GOLD } else { Color::Red.rgb() };
    pen.disc(52.0, 54.0, 51.0, 11.0, main);
    if dice.chance(0.5) {
        pen.shape("M 26 54 L 22 4 Q 52 -4 82 4 L 78 54 Q 52 62 26 54 Z", main);
    } else {
        pen.shape("M 24 54 Q 24 2 52 8 Q 80 2 80 54 Q 52 62 24 54 Z", main);
    }
    pen.patch("M 25 40 Q 52 48 79 40 L 79 52 Q 52 60 25 52 Z", band);
}

fn key(pen: &mut Pen<'_>, color: Color, _: &mut Dice) {
    let main = if color == Yellow { GOLD } else { STEEL };
    pen.rod("M 48 25 L 108 25", 7.0, main);
    pen.rod("M 90 27 L 90 44 M 104 27 L 104 48", 6.0, main);
    pen.ring(26.0, 25.0, 19.0, 19.0, 15.0, main.darker(0.55));
    pen.ring(26.0, 25.0, 19.0, 19.0, 9.5, main);
}

fn lamp(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let foot = *dice.pick(&[WOOD, STEEL, BLACK.lighter(0.2)]);
    pen.rod("M 32 50 L 32 106", 6.0, foot);
    pen.disc(32.0, 109.0, 24.0, 7.0, foot);
    pen.shape("M 16 2 L 48 2 L 63 52 Q 32 60 1 52 Z", color.rgb());
    pen.patch("M 20 8 L 30 8 L 24 50 L 9 48 Z", color.rgb().lighter(0.5));
}

fn table(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let main = color.rgb();
    for x in [10.0, 102.0] {
        pen.slab(x, 18.0, 12.0, 60.0, main.darker(0.2));
    }
    if dice.chance(0.4) {
        pen.slab(20.0, 20.0, 84.0, 14.0, main.darker(0.1));
        pen.spot(62.0, 27.0, 4.0, 4.0, GOLD);
    }
    pen.slab(0.0, 8.0, 124.0, 13.0, main.lighter(0.1));
}
