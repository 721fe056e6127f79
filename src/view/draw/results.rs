//! The loss curve and the scores.

use items::metric;
use ratatui::Frame;
use ratatui::layout::{Alignment, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Borders, Chart, Dataset, GraphType, Paragraph};

use super::Picture;
use super::cells::cut_within;
use crate::status::Score;

/// Draws the loss curve, or the newest loss alone where a curve does not fit.
pub fn draw_loss(frame: &mut Frame<'_>, area: Rect, picture: &Picture<'_>) {
    let gauges = &picture.live.gauges;
    let mut title = vec![Span::styled("loss ", Style::new().add_modifier(Modifier::BOLD))];
    if let Some(loss) = gauges.get(metric::LOSS) {
        title.push(Span::raw(format!("{loss:.4}")));
    }
    if let Some(lr) = gauges.get(metric::LR) {
        title.push(Span::styled(format!("   learning rate {lr:.2e}"), picture.soft()));
    }
    if area.height < 5 || area.width < 24 {
        frame.render_widget(Paragraph::new(Line::from(title)), area);
        return;
    }
    let points = &picture.status.losses;
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for (_, loss) in points.iter().filter(|point| point.1.is_finite()) {
        (low, high) = (low.min(*loss), high.max(*loss));
    }
    if !low.is_finite() {
        return;
    }
    if high - low < 1e-9 {
        (low, high) = (low - 0.5, high + 0.5);
    }
    let (first, last) = (points.first().map_or(0.0, |p| p.0), points.last().map_or(1.0, |p| p.0));
    let curve = Dataset::default()
        .marker(Marker::Braille)
        .graph_type(GraphType::Line)
        .style(picture.ink(Color::Cyan))
        .data(points);
    let chart = Chart::new(vec![curve])
        .block(Block::new().borders(Borders::NONE).title(Line::from(title)))
        .x_axis(
            Axis::default()
                .bounds([first, last])
                .style(picture.soft())
                .labels([format!("step {first:.0}"), format!("{last:.0}")])
                .labels_alignment(Alignment::Left),
        )
        .y_axis(
            Axis::default()
                .bounds([low, high])
                .style(picture.soft())
                .labels([format!("{low:.3}"), format!("{high:.3}")]),
        );
    frame.render_widget(chart, area);
}

/// Draws a row for each score.
pub fn draw_scores(frame: &mut Frame<'_>, area: Rect, picture: &Picture<'_>) {
    let numbers = 26;
    let name = usize::from(area.width).saturating_sub(numbers).min(40);
    if name < 12 {
        return;
    }
    let head = format!("{:<name$}{:>8}{:>8}{:>9}", "scores", "before", "now", "change");
    let mut lines = vec![Line::styled(head, picture.soft())];
    let room = usize::from(area.height).saturating_sub(1);
    let scores = &picture.status.scores;
    let shown = if scores.len() > room { room.saturating_sub(1) } else { scores.len() };
    lines.extend(scores[..shown].iter().map(|score| score_line(score, name, picture)));
    if shown < scores.len() && room > 0 {
        lines.push(Line::styled(format!("and {} more in results.jsonl", scores.len() - shown), picture.soft()));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn score_line(score: &Score, width: usize, picture: &Picture<'_>) -> Line<'static> {
    let percent = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{:.1}%", value * 100.0));
    let name = cut_within(&score.name, width.saturating_sub(1));
    let mut spans = vec![Span::raw(format!("{name:<width$}{:>8}{:>8}", percent(score.before), percent(score.now)))];
    if let (Some(before), Some(now)) = (score.before, score.now) {
        let change = (now - before) * 100.0;
        let color = if change < 0.0 { Color::Yellow } else { Color::Green };
        spans.push(Span::styled(format!("{change:>+9.1}"), picture.ink(color)));
    }
    Line::from(spans)
}
