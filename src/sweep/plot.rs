//! A plot of one measurement: a line per label, a dot per seed, a bar at the mean.

use std::fmt::Write;

use super::table::{Row, title};

const WIDTH: f64 = 640.0;
const LINE: f64 = 26.0;
const TOP: f64 = 44.0;

/// Draws the rows of one measurement as SVG, with the number beside each mean, for light and dark pages.
pub fn plot(rows: &[&Row]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let longest = rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0) as f64;
    let left = (longest * 6.6 + 16.0).min(WIDTH / 2.0);
    let right = WIDTH - 60.0;
    let values =
        || rows.iter().flat_map(|row| row.seeds.iter().flat_map(|(_, before, after)| before.iter().chain([after])));
    let (low, high) = values().fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
    // Room at both sides; the scale never has length 0.
    let room = ((high - low) * 0.08).max(0.005);
    let (low, high) = ((low - room).max(0.0), (high + room).min(1.0));
    let x = |value: f64| left + (right - left) * (value - low) / (high - low);
    let height = TOP + LINE * rows.len() as f64 + 28.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" font-family=\"system-ui,sans-serif\" \
         font-size=\"12\" role=\"img\" aria-label=\"{name}\"><style>:root{{color-scheme:light dark}}text{{fill:light-dark(#1b1f24,#e8eaed)}}\
         .s{{fill:light-dark(#667,#9aa)}}line{{stroke:light-dark(#dde1e6,#333b44)}}.m{{stroke:light-dark(#2f6fab,#6aa9e0);stroke-width:3}}\
         .b{{stroke:light-dark(#b4530a,#f0a35e);stroke-dasharray:4 3}}circle{{fill:light-dark(#2f6fab,#6aa9e0);opacity:.55}}</style>\
         <text x=\"8\" y=\"18\" font-size=\"14\">{name}</text>",
        name = escape(&title(&first.name))
    );
    let foot = TOP + LINE * rows.len() as f64;
    for tick in 0..=4 {
        let value = low + (high - low) * f64::from(tick) / 4.0;
        let _ = write!(
            svg,
            "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{TOP}\" y2=\"{foot:.1}\"/><text class=\"s\" x=\"{0:.1}\" y=\"{1:.1}\" text-anchor=\"middle\">{2:.1} %</text>",
            x(value),
            foot + 16.0,
            100.0 * value
        );
    }
    if let Some(before) = rows.iter().find_map(|row| row.before()) {
        let _ = write!(
            svg,
            "<line class=\"b\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{TOP}\" y2=\"{foot:.1}\"/><text class=\"s\" x=\"{0:.1}\" y=\"{1:.1}\" text-anchor=\"middle\">before</text>",
            x(before),
            TOP - 6.0
        );
    }
    for (index, row) in rows.iter().enumerate() {
        let y = TOP + LINE * (index as f64 + 0.5);
        let mean = row.mean();
        let _ = write!(svg, "<text x=\"8\" y=\"{:.1}\">{}</text>", y + 4.0, escape(&row.label));
        for (seed, _, after) in &row.seeds {
            let _ = write!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4\"><title>seed {seed}: {:.1} %</title></circle>",
                x(*after),
                100.0 * after
            );
        }
        let _ = write!(
            svg,
            "<line class=\"m\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{1:.1}\" y2=\"{2:.1}\"/><text x=\"{3:.1}\" y=\"{4:.1}\">{5:.1} %</text>",
            x(mean),
            y - 8.0,
            y + 8.0,
            right + 10.0,
            y + 4.0,
            100.0 * mean
        );
    }
    svg + "</svg>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use items::metric;

    #[test]
    fn a_dot_per_seed_and_a_number_per_label() {
        let row = |label: &str, after: &[f64]| Row {
            label: label.into(),
            name: ("q".into(), metric::ACCURACY.into(), metric::ALL.into()),
            seeds: after.iter().enumerate().map(|(i, v)| (i as u64, Some(0.25), *v)).collect(),
            free: Vec::new(),
        };
        let (one, two) = (row("lr=1 <a>", &[0.4, 0.6]), row("lr=2", &[0.3]));
        let svg = plot(&[&one, &two]);
        assert_eq!(svg.matches("<circle").count(), 3);
        for part in ["50.0 %", "30.0 %", "before", "lr=1 &lt;a&gt;", "seed 1: 60.0 %"] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
        assert!(!svg.contains("NaN"), "{svg}");
        assert_eq!(plot(&[]), "");
    }
}
