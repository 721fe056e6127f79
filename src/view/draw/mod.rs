//! One frame of the live view. What does not fit is omitted, the least useful parts first. Every colour has a sign or a
//! word beside it.

mod cells;
mod results;
mod stages;

use pipeline_engine::Live;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::rates::Rate;
use crate::status::Status;
use crate::text::duration;
use cells::cut;
use results::{draw_loss, draw_scores};

/// What a frame shows.
pub struct Picture<'a> {
    pub live: &'a Live,
    pub rates: &'a [Rate],
    pub status: &'a Status,
    pub log: &'a [String],
    pub stopping: bool,
    pub colour: bool,
}

impl Picture<'_> {
    fn ink(&self, color: Color) -> Style {
        if self.colour { Style::new().fg(color) } else { Style::new() }
    }

    fn soft(&self) -> Style {
        if self.colour { Style::new().fg(Color::DarkGray) } else { Style::new() }
    }
}

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, picture: &Picture<'_>) {
    let area = frame.area();
    // A margin where there is room for one.
    let side = u16::from(area.width >= 60);
    let area = Rect { x: area.x + side, width: area.width.saturating_sub(2 * side), ..area };
    let rows = picture.live.stages.len() as u16;
    let [head, progress, _, table, rest, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(2),
        Constraint::Length(u16::from(area.height > rows + 7)),
        Constraint::Length(rows + 1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_head(frame, head, picture);
    draw_progress(frame, progress, picture);
    stages::draw(frame, table, picture);
    draw_foot(frame, foot, picture);

    let log = if rest.height >= 6 { (picture.log.len() as u16).min(4) } else { 0 };
    let [rest, log_area] = Layout::vertical([Constraint::Fill(1), Constraint::Length(log)]).areas(rest);
    draw_log(frame, log_area, picture);
    if rest.height < 3 {
        return;
    }
    let rest = Rect { y: rest.y + 1, height: rest.height - 1, ..rest };
    let scores = picture.status.scores.len() as u16;
    let loss = picture.status.losses.len() > 1;
    match (loss, scores > 0) {
        (true, true) if rest.width >= 96 => {
            let [left, _, right] =
                Layout::horizontal([Constraint::Fill(1), Constraint::Length(3), Constraint::Length(62)]).areas(rest);
            draw_loss(frame, left, picture);
            draw_scores(frame, right, picture);
        }
        (true, true) => {
            let wanted = scores + 1;
            // Where there is little room, scores say more than a flat curve.
            let chart = if rest.height < 14 { 1 } else { rest.height.saturating_sub(wanted + 1).clamp(6, 12) };
            let [above, _, below] =
                Layout::vertical([Constraint::Length(chart), Constraint::Length(1), Constraint::Fill(1)]).areas(rest);
            draw_loss(frame, above, picture);
            draw_scores(frame, below, picture);
        }
        (true, false) => draw_loss(frame, rest, picture),
        (false, true) => draw_scores(frame, rest, picture),
        (false, false) => {}
    }
}

/// Text on the left and, if both fit, on the right.
fn sides<'a>(left: Vec<Span<'a>>, right: Vec<Span<'a>>, width: u16) -> Line<'a> {
    let length = |spans: &[Span<'_>]| spans.iter().map(Span::width).sum::<usize>();
    let (a, b) = (length(&left), length(&right));
    let mut line = left;
    if a + b < usize::from(width) {
        line.push(Span::raw(" ".repeat(usize::from(width) - a - b)));
        line.extend(right);
    }
    Line::from(line)
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, picture: &Picture<'_>) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let name = vec![Span::styled("pipeline ", bold), Span::styled(&*picture.status.name, picture.ink(Color::Cyan))];
    let elapsed = vec![Span::raw(duration(picture.live.elapsed))];
    let mut skipped = Vec::new();
    if picture.live.skipped > 0 {
        let text = format!("{} samples skipped", picture.live.skipped);
        skipped.push(Span::styled(text, picture.ink(Color::Yellow)));
    }
    let device = vec![Span::styled(&*picture.status.device, picture.soft())];
    let lines = vec![sides(name, elapsed, area.width), sides(device, skipped, area.width)];
    frame.render_widget(Paragraph::new(lines), area);
}

/// Where the run stands, and a bar of it.
fn draw_progress(frame: &mut Frame<'_>, area: Rect, picture: &Picture<'_>) {
    let live = picture.live;
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut left = Vec::new();
    if live.epoch > 0 {
        left.push(Span::styled(format!("epoch {} of {}", live.epoch, live.epochs), bold));
    }
    match (&live.measuring, live.steps) {
        (Some(what), _) => {
            left.push(Span::raw(format!("{}measuring {what}", if left.is_empty() { "" } else { " · " })))
        }
        (None, _) if live.epoch == 0 => left.push(Span::raw("getting ready")),
        (None, (done, Some(all))) => left.push(Span::raw(format!(" · step {done} of {all}"))),
        (None, (done, None)) => left.push(Span::raw(format!(" · step {done}"))),
    }
    let right = match live.left {
        Some(left) => vec![Span::raw(format!("about {} left", duration(left)))],
        None => Vec::new(),
    };
    let line = sides(left, right, area.width);
    let whole = f64::from(live.epochs.max(1));
    let in_epoch = if live.measuring.is_some() { 1.0 } else { live.progress.unwrap_or(0.0) };
    let done = if live.epoch == 0 { 0.0 } else { (f64::from(live.epoch - 1) + in_epoch) / whole };
    let width = usize::from(area.width);
    let filled = ((done * width as f64).round() as usize).min(width);
    let bar = Line::from(vec![
        Span::styled("━".repeat(filled), picture.ink(Color::Cyan)),
        Span::styled("─".repeat(width - filled), picture.soft()),
    ]);
    frame.render_widget(Paragraph::new(vec![line, bar]), area);
}

fn draw_log(frame: &mut Frame<'_>, area: Rect, picture: &Picture<'_>) {
    let from = picture.log.len().saturating_sub(usize::from(area.height));
    let lines: Vec<Line<'_>> = picture.log[from..]
        .iter()
        .map(|line| Line::styled(cut(line, usize::from(area.width)), picture.ink(Color::Yellow)))
        .collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, picture: &Picture<'_>) {
    let line = match picture.stopping {
        true => Line::styled(
            cut("finishing the step, then saving; Ctrl-C once more stops at once", area.width.into()),
            picture.ink(Color::Yellow),
        ),
        false => Line::styled(cut("Ctrl-C finishes the step and saves", area.width.into()), picture.soft()),
    };
    frame.render_widget(Paragraph::new(line), area);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;
    use std::time::Duration;

    use pipeline_engine::{LiveStage, Snapshot, StepValues};
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::status::Score;
    use items::metric;

    fn stage(kind: &str, capacity: usize, workers: usize, queued: u64) -> LiveStage {
        let now = Snapshot {
            items: 100,
            bytes: 0,
            workers,
            busy_s: 1.0,
            wait_in_s: 1.0,
            wait_out_s: 1.0,
            queued,
            progress: None,
            gauges: BTreeMap::new(),
        };
        LiveStage { kind: kind.into(), capacity, now: Some(now) }
    }

    fn rate(items: f64, busy: f64, wait_in: f64, wait_out: f64) -> Rate {
        Rate { items, busy, wait_in, wait_out }
    }

    /// The view of an invented run, as text.
    fn screen(width: u16, height: u16) -> Vec<String> {
        let mut idle = stage("shards", 256, 1, 0);
        idle.now = None;
        let live = Live {
            elapsed: Duration::from_secs(3725),
            epoch: 3,
            epochs: 10,
            measuring: None,
            stages: vec![idle, stage("decode", 64, 4, 64), stage("train", 0, 1, 0)],
            progress: Some(0.5),
            steps: (12, Some(24)),
            left: Some(Duration::from_secs(65)),
            skipped: 7,
            gauges: BTreeMap::from([(metric::LOSS, 1.25), (metric::LR, 1e-3)]),
        };
        let mut status = Status { name: "a-run".into(), device: "cpu".into(), ..Status::default() };
        status.scores = (0..12)
            .map(|n| Score { name: format!("demo-mcq accuracy ({n})"), before: Some(0.3), now: Some(0.4) })
            .collect();
        for step in 0..50 {
            let loss = 5.0 / (1.0 + step as f64);
            status.step(&StepValues { epoch: 1, step, values: &[(metric::LOSS, loss)] });
        }
        let rates = [Rate::default(), rate(1234.5, 0.2, 0.1, 0.7), rate(9.87, 0.97, 0.03, 0.0)];
        let log = vec!["a warning that is rather long for a terminal that is rather narrow".to_owned()];
        let picture = Picture { live: &live, rates: &rates, status: &status, log: &log, stopping: false, colour: true };
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, &picture)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        buffer.content().chunks(width.into()).map(|row| row.iter().map(|cell| cell.symbol()).collect()).collect()
    }

    #[test]
    fn what_matters_is_shown_at_every_width() {
        for (width, height) in [(160, 50), (120, 40), (80, 30), (50, 24), (40, 16)] {
            let lines = screen(width, height);
            let text = lines.join("\n");
            for part in ["a-run", "epoch 3 of 10", "step 12 of 24", "decode ×4", "1234", "▶ train", "97%", "Ctrl-C"]
            {
                assert!(text.contains(part), "{part} is not shown at {width} x {height}:\n{text}");
            }
        }
        let wide = screen(120, 40).join("\n");
        for part in [
            "about 1 min 05 s left",
            "1 h 02 min",
            "7 samples skipped",
            "64/64",
            "loss 1.2500",
            "1.00e-3",
            "+10.0",
            "a warning",
        ] {
            assert!(wide.contains(part), "{part} is not shown:\n{wide}");
        }
    }

    #[test]
    fn no_size_is_too_small() {
        for width in 1..70 {
            for height in 1..30 {
                screen(width, height);
            }
        }
    }
}
