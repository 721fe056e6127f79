//! A pen that draws outlined shapes, in the drawing's own units.

use tiny_skia::{FillRule, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, Rect, Stroke, Transform};

use crate::color::Rgb;

/// Width of outlines, in pixels: thin enough for a 64-pixel picture, but enough
/// to separate an object from a background of its own colour.
const OUTLINE: f32 = 0.8;

/// Draws in a thing's own units (about 100 per side, y down), which `to_pixels` places.
pub struct Pen<'a> {
    canvas: &'a mut Pixmap,
    to_pixels: Transform,
    /// Pixels per unit.
    scale: f32,
}

impl<'a> Pen<'a> {
    /// A pen on `canvas`; `to_pixels` scales by `scale` (and may turn and mirror).
    pub fn new(canvas: &'a mut Pixmap, to_pixels: Transform, scale: f32) -> Self {
        Self { canvas, to_pixels, scale }
    }

    /// A filled shape with a dark outline; `outline` is SVG path data with
    /// absolute M, L, Q, C and Z.
    pub fn shape(&mut self, outline: &str, color: Rgb) {
        self.fill(path(outline), color, true);
    }

    /// A filled shape without an outline: light, shade, patterns.
    pub fn patch(&mut self, outline: &str, color: Rgb) {
        self.fill(path(outline), color, false);
    }

    /// An ellipse with an outline: centre and radii.
    pub fn disc(&mut self, x: f32, y: f32, rx: f32, ry: f32, color: Rgb) {
        self.fill(oval(x, y, rx, ry), color, true);
    }

    /// An ellipse without an outline.
    pub fn spot(&mut self, x: f32, y: f32, rx: f32, ry: f32, color: Rgb) {
        self.fill(oval(x, y, rx, ry), color, false);
    }

    /// A rectangle with an outline: corner, width and height.
    pub fn slab(&mut self, x: f32, y: f32, w: f32, h: f32, color: Rgb) {
        self.fill(block(x, y, w, h), color, true);
    }

    /// A rectangle without an outline.
    pub fn band(&mut self, x: f32, y: f32, w: f32, h: f32, color: Rgb) {
        self.fill(block(x, y, w, h), color, false);
    }

    /// A stroke along `course` (SVG path data), `width` units wide.
    pub fn line(&mut self, course: &str, width: f32, color: Rgb) {
        self.stroke(path(course), width * self.scale, color);
    }

    /// A stroke with an outline: arms, handles, frames.
    pub fn rod(&mut self, course: &str, width: f32, color: Rgb) {
        self.stroke(path(course), width * self.scale + 2.0 * OUTLINE, color.darker(0.55));
        self.stroke(path(course), width * self.scale, color);
    }

    /// An open ellipse, drawn as a line.
    pub fn ring(&mut self, x: f32, y: f32, rx: f32, ry: f32, width: f32, color: Rgb) {
        self.stroke(oval(x, y, rx, ry), width * self.scale, color);
    }

    fn fill(&mut self, path: Option<Path>, color: Rgb, outlined: bool) {
        let Some(path) = path.and_then(|path| path.transform(self.to_pixels)) else {
            return;
        };
        self.canvas.fill_path(&path, &paint(color), FillRule::Winding, Transform::identity(), None);
        if outlined {
            let stroke = Stroke { width: OUTLINE, line_join: LineJoin::Round, ..Stroke::default() };
            let dark = paint(color.darker(0.55));
            self.canvas.stroke_path(&path, &dark, &stroke, Transform::identity(), None);
        }
    }

    fn stroke(&mut self, path: Option<Path>, pixels: f32, color: Rgb) {
        let Some(path) = path.and_then(|path| path.transform(self.to_pixels)) else {
            return;
        };
        let stroke = Stroke {
            width: pixels.max(0.7),
            line_cap: LineCap::Round,
            line_join: LineJoin::Round,
            ..Stroke::default()
        };
        self.canvas.stroke_path(&path, &paint(color), &stroke, Transform::identity(), None);
    }
}

fn paint(color: Rgb) -> Paint<'static> {
    let mut paint = Paint::default();
    paint.set_color_rgba8(color.0, color.1, color.2, 255);
    paint
}

fn oval(x: f32, y: f32, rx: f32, ry: f32) -> Option<Path> {
    PathBuilder::from_oval(Rect::from_xywh(x - rx, y - ry, 2.0 * rx, 2.0 * ry)?)
}

fn block(x: f32, y: f32, w: f32, h: f32) -> Option<Path> {
    Some(PathBuilder::from_rect(Rect::from_xywh(x, y, w, h)?))
}

/// Parses SVG path data with absolute M, L, Q, C and Z, numbers separated by white
/// space or commas. The data are literals of this crate, and a test draws every
/// thing; invalid data draw nothing.
fn path(data: &str) -> Option<Path> {
    let mut words = data.split([' ', ',']).filter(|word| !word.is_empty()).peekable();
    let mut builder = PathBuilder::new();
    let mut command = "";
    while let Some(&word) = words.peek() {
        if word.starts_with(|c: char| c.is_ascii_alphabetic()) {
            command = word;
            words.next();
        }
        let mut number = || words.next()?.parse::<f32>().ok();
        match command {
            "M" => builder.move_to(number()?, number()?),
            "L" => builder.line_to(number()?, number()?),
            "Q" => builder.quad_to(number()?, number()?, number()?, number()?),
            "C" => {
                builder.cubic_to(number()?, number()?, number()?, number()?, number()?, number()?);
            }
            "Z" => {
                builder.close();
                command = "";
            }
            _ => return None,
        }
    }
    builder.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn path_data_is_read_whole_or_not_at_all() {
        let path = path("M 0 0 L 10 0 10 10 Q 5 15 0 10 Z").unwrap();
        assert_eq!(path.bounds().width(), 10.0);
        assert!(super::path("M 0 0 L 10").is_none());
        assert!(super::path("M 0 0 A 10 10").is_none());
    }
}
