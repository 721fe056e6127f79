//! A contact sheet, for a quick look.

use image::{RgbImage, imageops};

use crate::scene::{SIDE, Scene};

/// Scenes side by side, each pixel `zoom` pixels wide.
pub fn sheet(scenes: &[Scene], columns: u32, zoom: u32) -> RgbImage {
    let cell = SIDE * zoom + 4;
    let rows = (scenes.len() as u32).div_ceil(columns);
    let mut sheet = RgbImage::from_pixel(columns * cell, rows * cell, image::Rgb([40, 40, 40]));
    for (i, scene) in (0u32..).zip(scenes) {
        let Some(picture) = RgbImage::from_raw(SIDE, SIDE, scene.pixels()) else { continue };
        let big = imageops::resize(&picture, SIDE * zoom, SIDE * zoom, imageops::FilterType::Nearest);
        let (x, y) = (i % columns * cell + 2, i / columns * cell + 2);
        imageops::replace(&mut sheet, &big, i64::from(x), i64::from(y));
    }
    sheet
}
