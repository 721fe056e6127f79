//! Plots as SVG inside the page, drawn by plotters.
//!
//! plotters has fixed colours only. Plots are drawn in the stand-in colours of [`Paint`]; afterwards these are replaced
//! by the page's own colours, which change between light and dark and may be patterns.

use plotters::coord::Shift;
use plotters::prelude::*;

/// A colour or pattern of the page.
#[derive(Debug, Clone, Copy)]
pub enum Paint {
    Ink,
    Soft,
    Line,
    Busy,
    NoInput,
    NoRoom,
    Between,
    Curve,
}

/// Each paint, its stand-in colour, and its value on the page.
const PAINTS: [(Paint, &str, &str); 8] = [
    (Paint::Ink, "#010101", "var(--ink)"),
    (Paint::Soft, "#010102", "var(--soft)"),
    (Paint::Line, "#010103", "var(--line)"),
    (Paint::Busy, "#010104", "var(--busy)"),
    (Paint::NoInput, "#010105", "url(#no-input)"),
    (Paint::NoRoom, "#010106", "url(#no-room)"),
    (Paint::Between, "#010107", "url(#between)"),
    (Paint::Curve, "#010108", "var(--curve)"),
];

impl Paint {
    fn color(self) -> RGBColor {
        RGBColor(1, 1, 1 + self as u8)
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws on a canvas of this size. A plot that cannot be drawn is omitted: its numbers are in the tables too.
fn canvas(
    (width, height): (u32, u32),
    stretch: bool,
    about: &str,
    draw: impl FnOnce(&Area<'_>) -> Result<(), Box<dyn std::error::Error>>,
) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        if draw(&area).and_then(|()| Ok(area.present()?)).is_err() {
            return String::new();
        }
    }
    let inner = svg.split_once("<svg").and_then(|(_, rest)| rest.split_once('>')).map_or("", |(_, inner)| inner);
    let mut inner = inner.replace('\n', "");
    for (_, stand_in, paint) in PAINTS {
        inner = inner.replace(stand_in, paint);
    }
    let how = if stretch { " preserveAspectRatio=\"none\"" } else { "" };
    format!("<svg viewBox=\"0 0 {width} {height}\"{how} role=\"img\" aria-label=\"{}\">{inner}", super::escape(about))
}

/// A layer of a strip: for each span of time its height from the bottom, 0 to 1.
pub struct Layer {
    pub paint: Paint,
    pub heights: Vec<f64>,
}

/// Shares over time, without axes, stretched to the width of the page. `times` holds the start of each span and the end
/// of the last one.
pub fn strip(times: &[f64], layers: &[Layer], height: u32, about: &str) -> String {
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return String::new() };
    canvas((1000, height), true, about, |area| {
        let mut chart = ChartBuilder::on(area).build_cartesian_2d(*first..last.max(first + 1e-9), 0.0..1.0)?;
        for layer in layers {
            let steps = times.windows(2).zip(&layer.heights).flat_map(|(span, h)| [(span[0], *h), (span[1], *h)]);
            // Spans of height 0 are not drawn; some strips consist mostly of them.
            let steps: Vec<(f64, f64)> = steps.collect();
            for run in steps.split(|(_, height)| *height <= 0.0).filter(|run| !run.is_empty()) {
                chart.draw_series(AreaSeries::new(run.iter().copied(), 0.0, layer.paint.color()))?;
            }
        }
        Ok(())
    })
}

/// A small line without axes.
pub fn spark(points: &[(f64, f64)], about: &str) -> String {
    let Some((x, y)) = bounds(points) else { return String::new() };
    canvas((120, 28), false, about, |area| {
        let mut chart = ChartBuilder::on(area).margin(3).build_cartesian_2d(x, y)?;
        chart.draw_series(LineSeries::new(points.iter().copied(), Paint::Curve.color().stroke_width(2)))?;
        chart.draw_series(points.last().map(|end| Circle::new(*end, 3, Paint::Ink.color().filled())))?;
        Ok(())
    })
}

/// A line with axes, once for wide pages and once for narrow ones.
pub fn curve(points: &[(f64, f64)], x_name: &str, about: &str) -> String {
    let draw = |size: (u32, u32), labels: usize| {
        let Some((x, y)) = bounds(points) else { return String::new() };
        canvas(size, false, about, |area| {
            let mut chart = ChartBuilder::on(area)
                .margin(6)
                .margin_right(16)
                .x_label_area_size(34)
                .y_label_area_size(48)
                .build_cartesian_2d(x, y)?;
            let text = ("sans-serif", 13).into_font().color(&Paint::Soft.color());
            chart
                .configure_mesh()
                .disable_x_mesh()
                .light_line_style(TRANSPARENT)
                .bold_line_style(Paint::Line.color())
                .axis_style(Paint::Line.color())
                .label_style(text)
                .x_labels(labels)
                .y_labels(5)
                .x_label_formatter(&|x| format!("{x:.0}"))
                .y_label_formatter(&|y| short(*y))
                .x_desc(x_name)
                .draw()?;
            chart.draw_series(LineSeries::new(points.iter().copied(), Paint::Curve.color().stroke_width(2)))?;
            Ok(())
        })
    };
    format!("<div class=wide>{}</div><div class=narrow>{}</div>", draw((900, 260), 10), draw((380, 220), 4))
}

/// A value with three significant digits.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.2}"),
        v if v >= 0.01 || v == 0.0 => format!("{value:.3}"),
        _ => format!("{value:.1e}"),
    }
}

type Bounds = (std::ops::Range<f64>, std::ops::Range<f64>);

/// The range of these points, with a margin above and below; none if they have no width.
fn bounds(points: &[(f64, f64)]) -> Option<Bounds> {
    let mut x = (f64::INFINITY, f64::NEG_INFINITY);
    let mut y = x;
    for (a, b) in points.iter().filter(|(a, b)| a.is_finite() && b.is_finite()) {
        x = (x.0.min(*a), x.1.max(*a));
        y = (y.0.min(*b), y.1.max(*b));
    }
    if !x.0.is_finite() || x.1 <= x.0 {
        return None;
    }
    let margin = ((y.1 - y.0) * 0.06).max(y.1.abs() * 1e-3).max(1e-9);
    Some((x.0..x.1, y.0 - margin..y.1 + margin))
}
