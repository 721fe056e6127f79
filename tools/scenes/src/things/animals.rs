//! Animals, and one made of snow.

use super::{Place, Thing};
use crate::color::Color::{self, *};
use crate::color::{BLACK, Rgb, WHITE};
use crate::dice::Dice;
use crate::pen::Pen;

const NOSE: Rgb = Rgb::hex(0xe7839a);
const BEAK: Rgb = Rgb::hex(0xf39a1f);

pub(super) const THINGS: &[Thing] = &[
    Thing {
        name: "bird",
        doing: "flying",
        size: (105.0, 80.0),
        place: Place::Air,
        top: None,
        colors: &[Red, Blue, Yellow, White, Black],
        draw: bird,
    },
    Thing {
        name: "butterfly",
        doing: "fluttering",
        size: (95.0, 80.0),
        place: Place::Air,
        top: None,
        colors: &[Orange, Purple, Blue, Yellow, Pink],
        draw: butterfly,
    },
    Thing {
        name: "cat",
        doing: "sitting",
        size: (92.0, 98.0),
        place: Place::GroundOrTop,
        top: None,
        colors: &[Orange, Gray, Black, White],
        draw: cat,
    },
    Thing {
        name: "crab",
        doing: "crawling",
        size: (115.0, 75.0),
        place: Place::Ground,
        top: None,
        colors: &[Red, Orange, Blue],
        draw: crab,
    },
    Thing {
        name: "dog",
        doing: "standing",
        size: (118.0, 92.0),
        place: Place::Ground,
        top: None,
        colors: &[Brown, White, Black, Yellow],
        draw: dog,
    },
    Thing {
        name: "fish",
        doing: "resting",
        size: (120.0, 72.0),
        place: Place::Ground,
        top: None,
        colors: &[Orange, Blue, Green, Purple, Yellow],
        draw: fish,
    },
    Thing {
        name: "rabbit",
        doing: "sitting",
        size: (74.0, 112.0),
        place: Place::Ground,
        top: None,
        colors: &[White, Gray, Brown],
        draw: rabbit,
    },
    Thing {
        name: "snowman",
        doing: "standing",
        size: (80.0, 118.0),
        place: Place::Ground,
        top: None,
        colors: &[White],
        draw: snowman,
    },
];

fn eye(pen: &mut Pen<'_>, x: f32, y: f32, r: f32) {
    pen.spot(x, y, r, r, WHITE);
    pen.spot(x, y, r * 0.65, r * 0.65, BLACK);
}

fn bird(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let main = color.rgb();
    let raised = dice.chance(0.5);
    pen.line("M 42 64 L 40 79 M 54 64 L 56 79", 4.0, BEAK);
    pen.shape("M 24 44 L 0 28 L 4 54 Z", main.darker(0.25));
    pen.shape("M 90 20 L 105 28 L 90 34 Z", BEAK);
    pen.disc(50.0, 46.0, 34.0, 22.0, main);
    pen.disc(78.0, 26.0, 17.0, 17.0, main);
    pen.spot(54.0, 55.0, 22.0, 9.0, main.lighter(0.45));
    if raised {
        pen.shape("M 30 44 Q 18 12 34 2 Q 56 18 60 44 Z", main.darker(0.3));
    } else {
        pen.shape("M 62 38 Q 40 28 20 40 Q 32 60 62 50 Z", main.darker(0.3));
    }
    eye(pen, 82.0, 22.0, 5.5);
}

fn butterfly(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let main = color.rgb();
    let inner = if dice.chance(0.5) { main.lighter(0.6) } else { main.darker(0.4) };
    pen.line("M 47 22 Q 40 8 30 2 M 48 22 Q 55 8 65 2", 3.0, BLACK);
    pen.shape("M 47 40 Q 28 2 6 10 Q -4 34 14 46 Q 30 50 47 42 Z", main);
    pen.shape("M 48 40 Q 67 2 89 10 Q 99 34 81 46 Q 65 50 48 42 Z", main);
    pen.shape("M 47 42 Q 12 46 16 68 Q 30 86 47 50 Z", main.lighter(0.25));
    pen.shape("M 48 42 Q 83 46 79 68 Q 65 86 48 50 Z", main.lighter(0.25));
    pen.spot(20.0, 26.0, 8.0, 8.0, inner);
    pen.spot(75.0, 26.0, 8.0, 8.0, inner);
    pen.spot(47.5, 44.0, 4.5, 24.0, BLACK);
}

fn cat(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let main = color.rgb();
    let striped = color != Color::Black && dice.chance(0.5);
    pen.rod("M 62 88 Q 90 86 86 56", 9.0, main);
    pen.disc(45.0, 72.0, 28.0, 26.0, main);
    pen.shape("M 20 30 L 18 0 L 44 14 Z", main);
    pen.shape("M 72 30 L 74 0 L 48 14 Z", main);
    pen.patch("M 24 20 L 23 8 L 34 14 Z M 68 20 L 69 8 L 58 14 Z", NOSE);
    pen.disc(46.0, 32.0, 29.0, 23.0, main);
    if striped {
        let dark = main.darker(0.45);
        pen.line("M 46 11 L 46 19 M 37 13 L 39 20 M 55 13 L 53 20", 3.5, dark);
        pen.line("M 18 70 L 30 72 M 19 80 L 31 80 M 72 70 L 60 72 M 71 80 L 59 80", 4.0, dark);
    }
    pen.spot(35.0, 31.0, 6.0, 7.0, Rgb::hex(0xc9e265));
    pen.spot(57.0, 31.0, 6.0, 7.0, Rgb::hex(0xc9e265));
    pen.spot(35.0, 31.0, 2.6, 6.0, BLACK);
    pen.spot(57.0, 31.0, 2.6, 6.0, BLACK);
    pen.patch("M 41 40 L 51 40 L 46 46 Z", NOSE);
    let whisker = if color == Color::Black { WHITE } else { BLACK };
    pen.line("M 34 44 L 8 40 M 34 47 L 9 52 M 58 44 L 84 40 M 58 47 L 83 52", 1.6, whisker);
}

fn crab(pen: &mut Pen<'_>, color: Color, _: &mut Dice) {
    let main = color.rgb();
    pen.line("M 34 56 L 14 62 L 8 73 M 40 60 L 26 68 L 22 75", 5.0, main.darker(0.3));
    pen.line("M 81 56 L 101 62 L 107 73 M 75 60 L 89 68 L 93 75", 5.0, main.darker(0.3));
    pen.rod("M 34 44 L 18 34 M 81 44 L 97 34", 6.0, main);
    pen.shape("M 18 36 Q -4 28 4 4 L 16 18 L 24 0 Q 38 20 18 36 Z", main);
    pen.shape("M 97 36 Q 119 28 111 4 L 99 18 L 91 0 Q 77 20 97 36 Z", main);
    pen.line("M 48 32 L 46 18 M 67 32 L 69 18", 4.0, main.darker(0.3));
    pen.disc(57.5, 48.0, 34.0, 20.0, main);
    pen.spot(57.5, 42.0, 24.0, 8.0, main.lighter(0.3));
    eye(pen, 46.0, 16.0, 6.5);
    eye(pen, 69.0, 16.0, 6.5);
}

fn dog(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let main = color.rgb();
    let dark = if color == Color::Black { main.lighter(0.3) } else { main.darker(0.45) };
    let spotted = dice.chance(0.4);
    pen.rod("M 20 46 Q 6 38 6 16", 8.0, main);
    for x in [18.0, 34.0, 62.0, 76.0] {
        pen.slab(x, 60.0, 10.0, 32.0, main);
    }
    pen.shape("M 14 50 Q 16 36 34 36 L 76 36 Q 92 40 88 60 Q 84 70 70 68 L 26 70 Q 14 68 14 50 Z", main);
    if spotted {
        pen.spot(40.0, 48.0, 14.0, 9.0, dark);
    }
    pen.disc(86.0, 28.0, 21.0, 20.0, main);
    pen.disc(104.0, 36.0, 14.0, 10.0, main.lighter(0.25));
    pen.spot(113.0, 31.0, 5.0, 4.5, BLACK);
    pen.shape("M 80 10 Q 62 12 66 44 Q 78 50 84 30 Z", dark);
    eye(pen, 93.0, 22.0, 5.0);
    pen.line("M 74 50 Q 84 56 94 50", 5.0, if color == Color::Brown { Color::Blue } else { Color::Red }.rgb());
}

fn fish(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let main = color.rgb();
    pen.shape("M 80 36 L 119 6 Q 108 36 119 66 Z", main.darker(0.2));
    pen.shape("M 34 14 Q 52 -4 72 16 Z", main.darker(0.2));
    pen.disc(47.0, 37.0, 45.0, 27.0, main);
    if dice.chance(0.6) {
        pen.patch("M 42 11 Q 54 37 42 63 L 52 63 Q 64 37 52 11 Z", WHITE);
        pen.patch("M 64 15 Q 74 37 64 59 L 71 56 Q 80 37 71 18 Z", WHITE);
    } else {
        pen.spot(50.0, 48.0, 26.0, 10.0, main.lighter(0.5));
    }
    pen.line("M 30 20 Q 40 37 30 54", 2.5, main.darker(0.4));
    eye(pen, 19.0, 31.0, 7.0);
    pen.line("M 3 44 Q 10 48 14 44", 2.5, BLACK);
}

fn rabbit(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let main = color.rgb();
    let bent = dice.chance(0.3);
    pen.disc(24.0, 24.0, 9.0, 24.0, main);
    pen.spot(24.0, 26.0, 4.5, 17.0, NOSE);
    if bent {
        pen.shape("M 42 42 Q 40 8 52 8 Q 74 14 72 30 Q 60 26 56 44 Z", main);
    } else {
        pen.disc(48.0, 24.0, 9.0, 24.0, main);
        pen.spot(48.0, 26.0, 4.5, 17.0, NOSE);
    }
    pen.disc(62.0, 98.0, 9.0, 9.0, WHITE);
    pen.disc(37.0, 88.0, 27.0, 24.0, main);
    pen.spot(36.0, 92.0, 15.0, 15.0, main.lighter(0.5));
    pen.disc(36.0, 54.0, 24.0, 20.0, main);
    pen.spot(27.0, 50.0, 3.6, 4.6, BLACK);
    pen.spot(45.0, 50.0, 3.6, 4.6, BLACK);
    pen.spot(36.0, 59.0, 4.0, 3.0, NOSE);
    pen.disc(22.0, 108.0, 12.0, 5.0, main);
    pen.disc(50.0, 108.0, 12.0, 5.0, main);
}

fn snowman(pen: &mut Pen<'_>, _: Color, dice: &mut Dice) {
    let snow = Rgb::hex(0xf4f8ff);
    let scarf = dice.pick(&[Red, Green, Blue, Purple]).rgb();
    pen.line("M 22 58 L 2 40 M 58 58 L 78 40 M 8 46 L 2 50 M 72 46 L 78 50", 4.0, Color::Brown.rgb());
    pen.disc(40.0, 90.0, 31.0, 27.0, snow);
    pen.disc(40.0, 54.0, 22.0, 19.0, snow);
    pen.disc(40.0, 22.0, 17.0, 17.0, snow);
    pen.spot(34.0, 17.0, 3.0, 3.0, BLACK);
    pen.spot(46.0, 17.0, 3.0, 3.0, BLACK);
    pen.patch("M 40 21 L 62 27 L 40 28 Z", BEAK);
    pen.line("M 24 36 Q 40 44 56 36 M 50 40 L 54 58", 7.0, scarf);
    for y in [52.0, 62.0, 80.0] {
        pen.spot(40.0, y, 3.2, 3.2, BLACK);
    }
}
