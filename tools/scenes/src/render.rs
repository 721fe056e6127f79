//! Draws a scene.

use tiny_skia::{Pixmap, Transform};

use crate::color::{BLACK, Rgb, WHITE};
use crate::dice::{Dice, Purpose};
use crate::pen::Pen;
use crate::scene::{Area, Object, SIDE, Scene};
use crate::theme::{Backdrop, Texture};
use crate::things::Place;

/// JPEG quality of the shards.
const QUALITY: u8 = 75;

/// Half the width of the grain, in 255ths: visible to an encoder, not to the eye.
const GRAIN: f32 = 2.0;

impl Scene {
    /// RGB, row by row, `SIDE` x `SIDE` x 3 bytes.
    pub fn pixels(&self) -> Vec<u8> {
        // A pixmap of a constant, positive size always exists.
        let Some(mut canvas) = Pixmap::new(SIDE, SIDE) else {
            return Vec::new();
        };
        let mut dice = self.dice(Purpose::Background);
        backdrop(&mut canvas, &self.theme.backdrop, &mut dice);
        for object in self.back_to_front() {
            self.draw(&mut canvas, object);
        }
        let mut pixels = Vec::with_capacity((SIDE * SIDE * 3) as usize);
        for pixel in canvas.pixels() {
            let grain = dice.between(-GRAIN, GRAIN);
            for level in [pixel.red(), pixel.green(), pixel.blue()] {
                pixels.push((f32::from(level) + grain).round().clamp(0.0, 255.0) as u8);
            }
        }
        pixels
    }

    /// The picture as a JPEG file.
    ///
    /// # Errors
    /// If the encoder fails, for which there is no known reason.
    pub fn jpeg(&self) -> image::ImageResult<Vec<u8>> {
        let mut bytes = Vec::new();
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, QUALITY).encode(
            &self.pixels(),
            SIDE,
            SIDE,
            image::ExtendedColorType::Rgb8,
        )?;
        Ok(bytes)
    }

    /// First what is in the air, then the ground from far to near; a thing on another
    /// comes right after it.
    fn back_to_front(&self) -> Vec<usize> {
        let depth = |object: &Object| {
            let ground = object.on.map_or(object, |support| &self.objects[support]);
            (ground.thing.place != Place::Air, ground.area.foot(), object.on.is_some())
        };
        let mut order: Vec<usize> = (0..self.objects.len()).collect();
        order.sort_by(|&a, &b| {
            let (a, b) = (depth(&self.objects[a]), depth(&self.objects[b]));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2))
        });
        order
    }

    fn draw(&self, canvas: &mut Pixmap, index: usize) {
        let object = &self.objects[index];
        let (seed, split, scene) = self.id;
        // Each object has its own stream: bits above any index that is used.
        let stream = scene | (index as u64 + 1) << 56;
        let mut dice = Dice::new(seed, split as u64, stream, Purpose::Drawing);
        let Area { x, y, w, .. } = object.area;
        let scale = w / object.thing.size.0;
        let (middle_x, middle_y) = (object.thing.size.0 / 2.0, object.thing.size.1 / 2.0);
        let lean = match (object.thing.place, object.on) {
            (Place::Air, _) => dice.between(-0.18, 0.18),
            (_, None) => dice.between(-0.06, 0.06),
            _ => 0.0,
        };
        let mirror = if dice.chance(0.5) { -scale } else { scale };
        // sin and cos from arithmetic that every machine rounds in the same way.
        let turn = Transform::from_row((1.0 - lean * lean).sqrt(), lean, -lean, (1.0 - lean * lean).sqrt(), 0.0, 0.0);
        let to_pixels = Transform::from_translate(-middle_x, -middle_y)
            .post_scale(mirror, scale)
            .post_concat(turn)
            .post_translate(x + middle_x * scale, y + middle_y * scale);
        (object.thing.draw)(&mut Pen::new(canvas, to_pixels, scale), object.color, &mut dice);
    }
}

/// The two gradients, then the texture; drawn in pixels.
#[allow(clippy::too_many_lines)] // One arm per texture; cutting it would move draws, and so pictures.
fn backdrop(canvas: &mut Pixmap, backdrop: &Backdrop, dice: &mut Dice) {
    let side = SIDE as f32;
    let light = dice.between(-0.12, 0.12);
    let tint = |color: Rgb| if light < 0.0 { color.darker(-light) } else { color.lighter(light) };
    let horizon = (side * backdrop.horizon + dice.between(-3.0, 3.0)).round();
    let mut pen = Pen::new(canvas, Transform::identity(), 1.0);
    for row in 0..SIDE {
        let y = row as f32;
        let color = if y < horizon {
            backdrop.upper[0].toward(backdrop.upper[1], y / horizon)
        } else {
            backdrop.lower[0].toward(backdrop.lower[1], (y - horizon) / (side - horizon))
        };
        pen.band(0.0, y, side, 1.0, tint(color));
    }
    let (upper, lower) = (tint(backdrop.upper[1]), tint(backdrop.lower[0]));
    match backdrop.texture {
        Texture::Grass => {
            hills(&mut pen, horizon, lower.darker(0.12), dice);
            strokes(&mut pen, horizon, lower.darker(0.25), 26, (0.0, 2.5), dice);
        }
        Texture::Shore => {
            pen.band(0.0, horizon - 6.0, side, 6.0, tint(Rgb::hex(0x4a9fcc)));
            pen.band(0.0, horizon - 1.5, side, 1.5, WHITE);
            strokes(&mut pen, horizon, lower.darker(0.15), 14, (4.0, 0.0), dice);
            clouds(&mut pen, horizon - 8.0, dice);
        }
        Texture::Stars => {
            for _ in 0..16 {
                let (x, y) = (dice.between(0.0, side), dice.between(0.0, horizon));
                pen.spot(x, y, 0.6, 0.6, Rgb::hex(0xe8e6c8));
            }
            hills(&mut pen, horizon, lower.darker(0.25), dice);
            strokes(&mut pen, horizon, lower.darker(0.35), 16, (0.0, 2.5), dice);
        }
        Texture::Boards => {
            let step = dice.between(6.0, 10.0);
            for stripe in 0..11 {
                pen.band(stripe as f32 * step, 0.0, step / 2.0, horizon, upper.lighter(0.15));
            }
            pen.band(0.0, horizon - 1.5, side, 1.5, upper.darker(0.35));
            for (board, y) in [5.0, 11.0, 18.0, 26.0].into_iter().enumerate() {
                pen.band(0.0, horizon + y, side, 0.7, lower.darker(0.25));
                let x = dice.between(0.0, side) + board as f32;
                pen.band(x, horizon + y, 0.7, 7.0, lower.darker(0.25));
            }
        }
        Texture::Tiles => {
            let step = dice.between(7.0, 10.0);
            for line in 0..10 {
                let at = line as f32 * step;
                pen.band(at, 0.0, 0.7, horizon, upper.darker(0.12));
                if at < horizon {
                    pen.band(0.0, at, side, 0.7, upper.darker(0.12));
                }
                pen.line(&format!("M {at} {horizon} L {} 64", at * 1.6 - 19.0), 0.7, lower.darker(0.2));
            }
            pen.band(0.0, horizon - 1.0, side, 2.0, lower.darker(0.3));
        }
        Texture::Road => {
            clouds(&mut pen, horizon - 6.0, dice);
            pen.band(0.0, horizon - 3.0, side, 5.0, tint(Rgb::hex(0xb9b4aa)));
            pen.band(0.0, horizon + 2.0, side, 1.0, lower.darker(0.35));
            let start = dice.between(-12.0, 0.0);
            for dash in 0..5 {
                pen.band(start + 16.0 * dash as f32, horizon + 18.0, 8.0, 1.5, Rgb::hex(0xe8e4d4));
            }
        }
        Texture::Flakes => {
            hills(&mut pen, horizon, lower.darker(0.06), dice);
            strokes(&mut pen, horizon, lower.darker(0.12), 10, (5.0, 0.0), dice);
            for _ in 0..26 {
                let (x, y) = (dice.between(0.0, side), dice.between(0.0, side));
                pen.spot(x, y, 0.8, 0.8, WHITE);
            }
        }
        Texture::Dunes => {
            hills(&mut pen, horizon, lower.darker(0.1), dice);
            strokes(&mut pen, horizon, lower.darker(0.18), 12, (6.0, 1.0), dice);
        }
        Texture::Hedge => {
            let leaf = tint(Rgb::hex(0x4f8a45));
            pen.band(0.0, horizon - 8.0, side, 9.0, leaf);
            for _ in 0..22 {
                let (x, y) = (dice.between(0.0, side), dice.between(horizon - 9.0, horizon));
                pen.spot(x, y, 2.2, 1.6, if dice.chance(0.5) { leaf.darker(0.2) } else { leaf.lighter(0.15) });
            }
            strokes(&mut pen, horizon, lower.darker(0.2), 18, (0.0, 1.8), dice);
        }
        Texture::Waves => {
            clouds(&mut pen, horizon - 6.0, dice);
            for _ in 0..18 {
                let (x, y) = (dice.between(-4.0, side), dice.between(horizon + 2.0, side));
                let crest = format!("M {x} {y} Q {} {} {} {y}", x + 3.0, y - 2.0, x + 6.0);
                pen.line(&crest, 0.8, lower.lighter(0.35));
            }
        }
    }
}

/// A low ridge along the horizon.
fn hills(pen: &mut Pen<'_>, horizon: f32, color: Rgb, dice: &mut Dice) {
    let (a, b) = (horizon - dice.between(1.0, 9.0), horizon - dice.between(1.0, 9.0));
    let base = horizon + 0.5;
    pen.patch(&format!("M -6 {base} Q 16 {a} 34 {base} Q 52 {b} 70 {base} Z"), color);
}

/// Short marks scattered over the ground.
fn strokes(pen: &mut Pen<'_>, horizon: f32, color: Rgb, count: usize, (dx, dy): (f32, f32), dice: &mut Dice) {
    for _ in 0..count {
        let side = SIDE as f32;
        let (x, y) = (dice.between(0.0, side), dice.between(horizon + 2.0, side));
        let color = if dice.chance(0.2) { color.toward(BLACK, 0.2) } else { color };
        pen.line(&format!("M {x} {y} L {} {}", x + dx, y - dy), 0.8, color);
    }
}

/// Pale streaks in the sky.
fn clouds(pen: &mut Pen<'_>, below: f32, dice: &mut Dice) {
    for _ in 0..dice.below(4) {
        let (x, y) = (dice.between(0.0, SIDE as f32), dice.between(2.0, below.max(4.0)));
        pen.spot(x, y, dice.between(5.0, 10.0), dice.between(1.0, 2.2), WHITE);
    }
}
