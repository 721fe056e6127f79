//! Things found out of doors: what is built, what is played with, what shines.

use super::{Place, Thing};
use crate::color::Color::{self, *};
use crate::color::{BLACK, GLASS, Rgb, WHITE, WOOD};
use crate::dice::Dice;
use crate::pen::Pen;

pub(super) const THINGS: &[Thing] = &[
    Thing {
        name: "ball",
        doing: "lying",
        size: (84.0, 84.0),
        place: Place::Ground,
        top: None,
        colors: &[Red, Blue, Yellow, Green, Purple, Orange],
        draw: ball,
    },
    Thing {
        name: "balloon",
        doing: "floating",
        size: (64.0, 118.0),
        place: Place::Air,
        top: None,
        colors: &[Red, Blue, Yellow, Pink, Green, Purple],
        draw: balloon,
    },
    Thing {
        name: "bench",
        doing: "standing",
        size: (124.0, 72.0),
        place: Place::Ground,
        top: Some(36.0),
        colors: &[Brown, Green, Red, Gray],
        draw: bench,
    },
    Thing {
        name: "fence",
        doing: "standing",
        size: (132.0, 68.0),
        place: Place::Ground,
        top: None,
        colors: &[White, Brown, Gray],
        draw: fence,
    },
    Thing {
        name: "house",
        doing: "standing",
        size: (112.0, 108.0),
        place: Place::Ground,
        top: None,
        colors: &[Red, Yellow, White, Blue, Pink],
        draw: house,
    },
    Thing {
        name: "kite",
        doing: "flying",
        size: (76.0, 116.0),
        place: Place::Air,
        top: None,
        colors: &[Red, Blue, Yellow, Green, Pink, Purple],
        draw: kite,
    },
    Thing {
        name: "ladder",
        doing: "standing",
        size: (58.0, 124.0),
        place: Place::Ground,
        top: None,
        colors: &[Brown, Yellow, Gray, Red],
        draw: ladder,
    },
    Thing {
        name: "moon",
        doing: "shining",
        size: (62.0, 80.0),
        place: Place::Air,
        top: None,
        colors: &[Yellow, White],
        draw: moon,
    },
    Thing {
        name: "sun",
        doing: "shining",
        size: (96.0, 96.0),
        place: Place::Air,
        top: None,
        colors: &[Yellow, Orange],
        draw: sun,
    },
    Thing {
        name: "tent",
        doing: "pitched",
        size: (124.0, 88.0),
        place: Place::Ground,
        top: None,
        colors: &[Green, Orange, Blue, Red, Yellow],
        draw: tent,
    },
    Thing {
        name: "umbrella",
        doing: "standing open",
        size: (104.0, 104.0),
        place: Place::Ground,
        top: None,
        colors: &[Red, Blue, Yellow, Pink, Purple, Green],
        draw: umbrella,
    },
];

fn ball(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let main = color.rgb();
    pen.disc(42.0, 42.0, 41.0, 41.0, main);
    if dice.chance(0.6) {
        pen.patch("M 42 2 Q 14 42 42 82 Q 30 82 18 75 Q -8 42 18 9 Q 30 2 42 2 Z", WHITE);
        pen.patch("M 44 2 Q 76 42 44 82 L 50 82 Q 72 78 78 62 Q 90 34 72 13 Q 60 2 44 2 Z", main);
        pen.patch("M 60 6 Q 86 42 60 78 Q 70 74 76 66 Q 90 40 74 16 Z", WHITE);
    } else {
        pen.patch("M 2 36 Q 42 50 82 36 L 82 48 Q 42 62 2 48 Z", WHITE);
    }
    pen.spot(27.0, 22.0, 8.0, 6.0, main.lighter(0.7));
}

fn balloon(pen: &mut Pen<'_>, color: Color, _: &mut Dice) {
    let main = color.rgb();
    pen.line("M 32 76 Q 22 92 33 100 Q 40 108 32 118", 2.5, BLACK.lighter(0.25));
    pen.shape("M 26 80 L 38 80 L 32 70 Z", main);
    pen.shape("M 32 74 Q 2 56 2 34 Q 4 1 32 1 Q 60 1 62 34 Q 62 56 32 74 Z", main);
    pen.spot(20.0, 22.0, 6.0, 11.0, main.lighter(0.65));
}

fn bench(pen: &mut Pen<'_>, color: Color, _: &mut Dice) {
    let main = color.rgb();
    for x in [14.0, 100.0] {
        pen.slab(x, 2.0, 9.0, 70.0, main.darker(0.45));
    }
    pen.slab(2.0, 4.0, 120.0, 10.0, main);
    pen.slab(2.0, 19.0, 120.0, 10.0, main);
    pen.slab(0.0, 36.0, 124.0, 13.0, main.lighter(0.12));
}

fn fence(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let main = color.rgb();
    pen.slab(0.0, 24.0, 132.0, 8.0, main.darker(0.12));
    pen.slab(0.0, 48.0, 132.0, 8.0, main.darker(0.12));
    let pointed = dice.chance(0.7);
    for post in 0..5 {
        let x = 5.0 + 27.0 * post as f32;
        if pointed {
            let (middle, right) = (x + 7.0, x + 14.0);
            pen.shape(&format!("M {x} 68 L {x} 12 L {middle} 0 L {right} 12 L {right} 68 Z"), main);
        } else {
            pen.slab(x, 4.0, 14.0, 64.0, main);
        }
    }
}

fn house(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let roof = *dice.pick(&[Rgb::hex(0x8c3b2a), Rgb::hex(0x4a4f5c), Rgb::hex(0x6b4423)]);
    if dice.chance(0.6) {
        pen.slab(78.0, 8.0, 13.0, 34.0, roof.lighter(0.2));
    }
    pen.slab(12.0, 48.0, 88.0, 60.0, color.rgb());
    pen.shape("M 0 52 L 56 2 L 112 52 Z", roof);
    pen.slab(46.0, 72.0, 20.0, 36.0, WOOD.darker(0.25));
    pen.slab(20.0, 60.0, 18.0, 18.0, GLASS);
    pen.slab(74.0, 60.0, 18.0, 18.0, GLASS);
}

fn kite(pen: &mut Pen<'_>, color: Color, _: &mut Dice) {
    let main = color.rgb();
    pen.line("M 38 78 Q 22 88 38 98 Q 50 106 40 115", 2.5, BLACK.lighter(0.2));
    pen.shape("M 24 84 L 36 92 L 24 96 Z M 50 98 L 38 102 L 50 110 Z", main.lighter(0.3));
    pen.shape("M 38 0 L 74 34 L 38 80 L 2 34 Z", main);
    pen.patch("M 38 2 L 38 34 L 4 34 Z M 38 34 L 72 34 L 38 78 Z", main.lighter(0.45));
    pen.line("M 38 2 L 38 78 M 4 34 L 72 34", 2.5, main.darker(0.5));
}

fn ladder(pen: &mut Pen<'_>, color: Color, _: &mut Dice) {
    let main = color.rgb();
    for rung in 0..6 {
        let y = 14.0 + 19.0 * rung as f32;
        pen.rod(&format!("M 11 {y} L 47 {y}"), 5.0, main);
    }
    pen.rod("M 12 3 L 6 121 M 46 3 L 52 121", 7.0, main);
}

fn moon(pen: &mut Pen<'_>, color: Color, _: &mut Dice) {
    let main = if color == Yellow { Rgb::hex(0xf7e38a) } else { WHITE };
    pen.shape("M 50 2 Q 4 4 3 42 Q 6 78 60 76 Q 28 64 28 38 Q 30 14 50 2 Z", main);
    pen.spot(15.0, 42.0, 4.0, 5.0, main.darker(0.15));
    pen.spot(26.0, 62.0, 3.5, 3.0, main.darker(0.15));
}

fn sun(pen: &mut Pen<'_>, color: Color, _: &mut Dice) {
    let main = color.rgb();
    pen.patch("M 48 0 L 55 26 L 41 26 Z M 48 96 L 55 70 L 41 70 Z", main);
    pen.patch("M 0 48 L 26 41 L 26 55 Z M 96 48 L 70 41 L 70 55 Z", main);
    pen.patch("M 14 14 L 37 27 L 27 37 Z M 82 14 L 59 27 L 69 37 Z", main);
    pen.patch("M 14 82 L 27 59 L 37 69 Z M 82 82 L 69 59 L 59 69 Z", main);
    pen.disc(48.0, 48.0, 26.0, 26.0, main);
    pen.spot(42.0, 42.0, 12.0, 12.0, main.lighter(0.35));
}

fn tent(pen: &mut Pen<'_>, color: Color, _: &mut Dice) {
    let main = color.rgb();
    pen.line("M 62 8 L 62 0", 3.0, WOOD);
    pen.shape("M 2 86 L 62 4 L 122 86 Z", main);
    pen.patch("M 62 6 L 120 85 L 96 85 Z", main.darker(0.25));
    pen.shape("M 42 86 L 62 34 L 82 86 Z", BLACK.lighter(0.12));
    pen.patch("M 62 36 L 62 85 L 44 85 Z", main.lighter(0.4));
}

fn umbrella(pen: &mut Pen<'_>, color: Color, dice: &mut Dice) {
    let main = color.rgb();
    let other = if dice.chance(0.5) { WHITE } else { main.lighter(0.4) };
    pen.line("M 52 44 L 52 92 Q 52 103 43 102 Q 36 101 36 93", 5.0, WOOD.darker(0.3));
    pen.shape("M 1 54 Q 8 4 52 4 Q 96 4 103 54 Q 90 42 78 54 Q 66 42 52 54 Q 38 42 26 54 Q 14 42 1 54 Z", main);
    pen.patch("M 52 5 Q 30 22 26 53 Q 38 42 52 53 Q 66 42 78 53 Q 74 22 52 5 Z", other);
    pen.patch("M 52 5 Q 44 26 52 53 Q 60 26 52 5 Z", main);
    pen.line("M 52 5 L 52 0", 4.0, WOOD.darker(0.3));
}
