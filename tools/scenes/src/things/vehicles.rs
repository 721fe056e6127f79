//! What moves people.

use super::{Place, Thing};
use crate::color::Color::{self, *};
use crate::color::{BLACK, GLASS, GOLD, STEEL, WHITE, WOOD};
use crate::dice::Dice;
use crate::pen::Pen;

pub(super) const THINGS: &[Thing] = &[
    Thing {
        name: "airplane",
        doing: "flying",
        size: (136.0, 82.0),
        place: Place::Air,
        top: None,
        colors: &[White, Red, Blue, Gray],
        draw: airplane,
    },
    Thing {
        name: "bicycle",
        doing: "parked",
        size: (124.0, 84.0),
        place: Place::Ground,
        top: None,
        colors: &[Red, Blue, Green, Yellow, Pink],
        draw: bicycle,
    },
    Thing {
        name: "boat",
        doing: "resting",
        size: (110.0, 110.0),
        place: Place::Ground,
        top: None,
        colors: &[Red, Blue, Green, Brown, White],
        draw: boat,
    },
    Thing {
        name: "bus",
        doing: "parked",
        size: (138.0, 88.0),
        place: Place::Ground,
        top: None,
        colors: &[Yellow, Red, Blue, Green],
        draw: bus,
    },
    Thing {
        name: "car",
        doing: "parked",
        size: (128.0, 74.0),
        place: Place::Ground,
        top: None,
        colors: &[Red, Blue, Green, White, Purple, Yellow],
        draw: car,
    },
    Thing {
        name: "rocket",
        doing: "flying",
        size: (66.0, 128.0),
        place: Place::Air,
        top: None,
        colors: &[White, Red, Gray, Blue],
        draw: rocket,
    },
];

fn wheel(pen: &mut Pen<'_>, x: f32, y: f32, r: f32) {
    pen.disc(x, y, r, r, BLACK);
    pen.spot(x, y, r * 0.5, r * 0.5, STEEL);
}

fn airplane(pen: &mut Pen<'_>, color: Color, _: &mut Dice) {
    let main = color.rgb();
    pen.shape("M 12 40 L 2 6 L 20 6 L 40 34 Z", main.darker(0.2));
    pen.shape("M 62 36 L 50 4 L 62 4 L 88 36 Z", main.darker(0.3));
    pen.shape("M 6 34 Q 70 26 112 30 Q 134 36 134 46 Q 130 56 106 56 L 30 54 Q 8 48 6 34 Z", main);
    pen.shape("M 60 48 L 36 80 L 50 80 L 92 50 Z", main.darker(0.3));
    pen.patch("M 112 33 Q 124 35 128 42 L 110 42 Z", GLASS.darker(0.25));
    for x in [46.0, 62.0, 78.0, 94.0] {
        pen.spot(x, 40.0, 4.5, 4.5, GLASS.darker(0.45));
    }
}

fn bicycle(pen: &mut Pen<'_>, color: Color, _: &mut Dice) {
    let main = color.rgb();
    for x in [27.0, 97.0] {
        pen.ring(x, 58.0, 23.0, 23.0, 6.0, BLACK);
        pen.line(&format!("M {x} 36 L {x} 80"), 1.5, STEEL);
        let (left, right) = (x - 22.0, x + 22.0);
        pen.line(&format!("M {left} 58 L {right} 58"), 1.5, STEEL);
    }
    pen.line("M 27 58 L 56 58 L 86 22 L 44 22 L 27 58 M 56 58 L 42 12", 6.5, main);
    pen.line("M 97 58 L 84 6 L 98 2", 6.0, main);
    pen.line("M 32 11 L 52 11", 8.0, BLACK);
    pen.spot(56.0, 58.0, 7.0, 7.0, STEEL);
}

fn boat(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let sail = *dice.pick(&[WHITE, GOLD.lighter(0.5)]);
    pen.line("M 54 2 L 54 80", 4.0, WOOD.darker(0.2));
    pen.shape("M 58 4 Q 100 40 102 72 L 58 72 Z", sail);
    pen.shape("M 50 16 Q 24 44 14 72 L 50 72 Z", sail.darker(0.08));
    pen.shape("M 2 78 L 108 78 Q 102 102 84 108 L 24 108 Q 6 100 2 78 Z", color.rgb());
    pen.band(8.0, 84.0, 94.0, 5.0, color.rgb().lighter(0.5));
}

fn bus(pen: &mut Pen<'_>, color: Color, _: &mut Dice) {
    let main = color.rgb();
    pen.shape("M 2 16 Q 2 4 14 4 L 124 4 Q 136 6 136 22 L 136 74 L 2 74 Z", main);
    for x in [10.0, 36.0, 62.0, 88.0] {
        pen.slab(x, 16.0, 21.0, 22.0, GLASS);
    }
    pen.slab(114.0, 14.0, 20.0, 28.0, GLASS);
    pen.band(4.0, 48.0, 131.0, 6.0, main.darker(0.35));
    wheel(pen, 34.0, 74.0, 14.0);
    wheel(pen, 104.0, 74.0, 14.0);
}

fn car(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let main = color.rgb();
    if dice.chance(0.6) {
        pen.shape(
            "M 2 44 Q 4 32 26 30 L 42 8 Q 46 3 56 3 L 80 3 Q 88 4 94 12 L 106 30 Q 126 32 126 48 L 126 60 L 2 60 Z",
            main,
        );
        pen.shape("M 36 29 L 48 10 L 62 10 L 62 29 Z", GLASS);
        pen.shape("M 68 10 L 82 10 L 96 29 L 68 29 Z", GLASS);
    } else {
        pen.shape("M 2 24 Q 2 8 20 8 L 82 8 L 100 32 Q 126 34 126 48 L 126 60 L 2 60 Z", main);
        pen.shape("M 10 14 L 38 14 L 38 31 L 10 31 Z", GLASS);
        pen.shape("M 46 14 L 79 14 L 92 31 L 46 31 Z", GLASS);
    }
    pen.spot(121.0, 43.0, 4.5, 5.0, GOLD.lighter(0.4));
    wheel(pen, 30.0, 59.0, 15.0);
    wheel(pen, 98.0, 59.0, 15.0);
}

fn rocket(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let main = color.rgb();
    let trim = if color == Red { WHITE } else { Color::Red.rgb() };
    if dice.chance(0.7) {
        pen.shape("M 20 92 Q 22 116 33 128 Q 44 116 46 92 Z", Color::Orange.rgb());
        pen.patch("M 26 92 Q 28 108 33 116 Q 38 108 40 92 Z", Color::Yellow.rgb());
    }
    pen.shape("M 14 60 Q 0 74 2 98 L 18 86 Z M 52 60 Q 66 74 64 98 L 48 86 Z", trim);
    pen.shape("M 33 1 Q 58 30 50 92 L 16 92 Q 8 30 33 1 Z", main);
    pen.shape("M 33 1 Q 46 14 49 30 L 17 30 Q 20 14 33 1 Z", trim);
    pen.disc(33.0, 48.0, 9.0, 9.0, GLASS);
}
