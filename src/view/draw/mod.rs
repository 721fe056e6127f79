//! One frame of the live view. What does not fit is left out, the least needed
//! first; every colour has a sign or a word beside it.

use std::time::Duration;

use pipeline_engine::{Live, LiveStage};
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Borders, Chart, Dataset, GraphType, Paragraph};

use super::rates::{Rate, Rates};
use super::{Score, Story, gauge};

/// What a frame shows.
pub struct Picture<'a> {
    pub live: &'a Live,
    pub rates: &'a [Rate],
    pub story: &'a Story,
    pub log: &'a [String],
    pub stopping: bool,
    pub colour: bool,
}

const BUSY: &str = "█";
const NO_INPUT: &str = "·";
const NO_ROOM: &str = "▒";

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
    let stages = picture.live.stages.len() as u16;
    let [head, progress, _, table, rest, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(2),
        Constraint::Length(u16::from(area.height > stages + 7)),
        Constraint::Length(stages + 1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_head(frame, head, picture);
    draw_progress(frame, progress, picture);
    draw_stages(frame, table, picture);
    draw_foot(frame, foot, picture);

    let log = if rest.height >= 6 { (picture.log.len() as u16).min(4) } else { 0 };
    let [rest, log_area] = Layout::vertical([Constraint::Fill(1), Constraint::Length(log)]).areas(rest);
    draw_log(frame, log_area, picture);
    if rest.height < 3 {
        return;
    }
    let rest = Rect { y: rest.y + 1, height: rest.height - 1, ..rest };
    let scores = picture.story.scores.len() as u16;
    let loss = picture.story.losses.len() > 1;
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
    let name = vec![Span::styled("pipeline ", bold), Span::styled(&*picture.story.name, picture.ink(Color::Cyan))];
    let elapsed = vec![Span::raw(time(picture.live.elapsed))];
    let mut skipped = Vec::new();
    if picture.live.skipped > 0 {
        let text = format!("{} samples skipped", picture.live.skipped);
        skipped.push(Span::styled(text, picture.ink(Color::Yellow)));
    }
    let device = vec![Span::styled(&*picture.story.device, picture.soft())];
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
        Some(left) => vec![Span::raw(format!("about {} left", time(left)))],
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

/// Columns of the table of stages that fit.
struct Columns {
    name: usize,
    bar: usize,
    queue: usize,
}

impl Columns {
    fn of(stages: &[LiveStage], width: u16) -> Self {
        let name = stages.iter().map(|s| title(s).chars().count()).max().unwrap_or(5).clamp(5, 16);
        // Mark, name, rate, bar, share, queue, each with its space.
        let fixed = 2 + name + 1 + 9 + 2 + 5;
        let left = usize::from(width).saturating_sub(fixed);
        let queue = match left {
            0..16 => 0,
            16..44 => 9,
            _ => 17,
        };
        Self { name, bar: left.saturating_sub(queue).min(60), queue }
    }
}

fn title(stage: &LiveStage) -> String {
    match stage.now.as_ref().map_or(1, |now| now.workers) {
        0 | 1 => stage.kind.clone(),
        workers => format!("{} ×{workers}", stage.kind),
    }
}

fn draw_stages(frame: &mut Frame<'_>, area: Rect, picture: &Picture<'_>) {
    let stages = &picture.live.stages;
    let columns = Columns::of(stages, area.width);
    let limiting = Rates::limiting(picture.rates);
    let mut lines = vec![legend(&columns, picture)];
    for (place, (stage, rate)) in stages.iter().zip(picture.rates).enumerate() {
        lines.push(row(stage, rate, limiting == Some(place), &columns, picture));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

fn legend(columns: &Columns, picture: &Picture<'_>) -> Line<'static> {
    let soft = picture.soft();
    let mut signs = vec![
        Span::styled(BUSY, picture.ink(Color::Green)),
        Span::styled(" busy ", soft),
        Span::styled(NO_INPUT, soft),
        Span::styled(" no input ", soft),
        Span::styled(NO_ROOM, picture.ink(Color::Yellow)),
        Span::styled(" no room", soft),
    ];
    let width: usize = signs.iter().map(Span::width).sum();
    if width > columns.bar {
        signs = vec![Span::styled(cut("busy", columns.bar), soft)];
    }
    let width: usize = signs.iter().map(Span::width).sum();
    let mut spans = vec![Span::styled(format!("  {:<1$} {2:>9}  ", "stage", columns.name, "items/s"), soft)];
    spans.extend(signs);
    spans.push(Span::raw(" ".repeat(columns.bar - width + 5)));
    if columns.queue > 0 {
        spans.push(Span::styled(format!("{:>1$}", "waiting", columns.queue), soft));
    }
    Line::from(spans)
}

fn row(stage: &LiveStage, rate: &Rate, limits: bool, columns: &Columns, picture: &Picture<'_>) -> Line<'static> {
    let idle = stage.now.is_none() && rate.busy + rate.wait_in + rate.wait_out < 0.01;
    let text = match (limits, idle) {
        (true, _) => Style::new().add_modifier(Modifier::BOLD),
        (_, true) => picture.soft(),
        _ => Style::new(),
    };
    let mark = if limits { Span::styled("▶ ", picture.ink(Color::Green)) } else { Span::raw("  ") };
    let name = cut(&title(stage), columns.name);
    let items = if idle { String::from("–") } else { number(rate.items) };
    let mut spans = vec![mark, Span::styled(format!("{name:<0$} {items:>9}  ", columns.name), text)];

    let [busy, no_input, no_room] = lengths([rate.busy, rate.wait_in, rate.wait_out], columns.bar);
    spans.push(Span::styled(BUSY.repeat(busy), picture.ink(Color::Green)));
    spans.push(Span::styled(NO_INPUT.repeat(no_input), picture.soft()));
    spans.push(Span::styled(NO_ROOM.repeat(no_room), picture.ink(Color::Yellow)));
    spans.push(Span::raw(" ".repeat(columns.bar - busy - no_input - no_room)));
    let share = if idle { String::new() } else { format!("{:.0}%", rate.busy * 100.0) };
    spans.push(Span::styled(format!("{share:>5}"), text));

    if columns.queue > 0 && stage.capacity > 0 {
        let waiting = stage.now.as_ref().map_or(0, |now| now.queued).min(stage.capacity as u64);
        let count = format!("{waiting}/{}", stage.capacity);
        let cells = columns.queue.saturating_sub(9);
        let full = (waiting as usize * cells).div_ceil(stage.capacity).min(cells);
        if cells > 0 {
            spans.push(Span::raw(" "));
            spans.push(Span::styled("▰".repeat(full), picture.ink(Color::Cyan)));
            spans.push(Span::styled("▱".repeat(cells - full), picture.soft()));
        }
        let style = if idle { picture.soft() } else { Style::new() };
        spans.push(Span::styled(format!("{:>1$}", count, columns.queue - cells - usize::from(cells > 0)), style));
    }
    Line::from(spans)
}

/// Shares of 1 as lengths of at most `width` in all; none is rounded away that is
/// more than half a cell.
fn lengths(shares: [f64; 3], width: usize) -> [usize; 3] {
    let mut left = width;
    shares.map(|share| {
        let length = ((share.max(0.0) * width as f64).round() as usize).min(left);
        left -= length;
        length
    })
}

fn draw_loss(frame: &mut Frame<'_>, area: Rect, picture: &Picture<'_>) {
    let gauges = &picture.live.gauges;
    let mut title = vec![Span::styled("loss ", Style::new().add_modifier(Modifier::BOLD))];
    if let Some(loss) = gauge(gauges, "loss") {
        title.push(Span::raw(format!("{loss:.4}")));
    }
    if let Some(lr) = gauge(gauges, "lr") {
        title.push(Span::styled(format!("   learning rate {lr:.2e}"), picture.soft()));
    }
    if area.height < 5 || area.width < 24 {
        frame.render_widget(Paragraph::new(Line::from(title)), area);
        return;
    }
    let points = &picture.story.losses;
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

fn draw_scores(frame: &mut Frame<'_>, area: Rect, picture: &Picture<'_>) {
    let numbers = 26;
    let name = usize::from(area.width).saturating_sub(numbers).min(40);
    if name < 12 {
        return;
    }
    let head = format!("{:<name$}{:>8}{:>8}{:>9}", "scores", "before", "now", "change");
    let mut lines = vec![Line::styled(head, picture.soft())];
    let room = usize::from(area.height).saturating_sub(1);
    let scores = &picture.story.scores;
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

/// Text that is at most `width` characters, with a sign where some are missing.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        short.push('…');
    }
    short
}

/// The same with the middle missing: names that begin alike end differently.
fn cut_within(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width || width < 3 {
        return cut(text, width);
    }
    let head = (width - 1) / 3;
    let tail = width - 1 - head;
    text.chars().take(head).chain(['…']).chain(text.chars().skip(count - tail)).collect()
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.2}M", v / 1e6),
        v if v >= 1e5 => format!("{:.0}k", v / 1e3),
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// `1 h 02 min`, `3 min 05 s`, `12 s`.
pub fn time(time: Duration) -> String {
    let s = time.as_secs();
    match (s / 3600, s / 60 % 60, s % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, min, s) => format!("{min} min {s:02} s"),
        (h, min, _) => format!("{h} h {min:02} min"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use pipeline_engine::Snapshot;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

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

    /// The view of a made-up run, as text.
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
            gauges: BTreeMap::from([("loss", 1.25), ("lr", 1e-3)]),
        };
        let mut story = Story { name: "a-run".into(), device: "cpu".into(), ..Story::default() };
        story.scores = (0..12)
            .map(|n| Score { name: format!("demo-mcq accuracy ({n})"), before: Some(0.3), now: Some(0.4) })
            .collect();
        (0..50).for_each(|step| story.loss(step, 5.0 / (1.0 + step as f64)));
        let rates = [Rate::default(), rate(1234.5, 0.2, 0.1, 0.7), rate(9.87, 0.97, 0.03, 0.0)];
        let log = vec!["a warning that is rather long for a terminal that is rather narrow".to_owned()];
        let picture = Picture { live: &live, rates: &rates, story: &story, log: &log, stopping: false, colour: true };
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

    #[test]
    fn names_that_begin_alike_can_be_told_apart() {
        assert_eq!(cut_within("retrieval text_to_image_r@10", 20), "retrie…to_image_r@10");
        for width in 0..40 {
            let short = cut_within("retrieval text_to_image_r@10", width);
            assert_eq!(short.chars().count(), width.min(28), "{short}");
        }
    }

    #[test]
    fn a_bar_is_never_longer_than_its_room() {
        for shares in [[0.5, 0.5, 0.5], [1.0, 0.0, 0.0], [0.33, 0.33, 0.34], [0.996, 0.002, 0.002]] {
            for width in 0..40 {
                assert!(lengths(shares, width).iter().sum::<usize>() <= width);
            }
        }
    }
}
