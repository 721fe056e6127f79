//! The table of stages: rate, what the workers do, how full the next edge is.

use pipeline_engine::LiveStage;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::Picture;
use super::cells::{cut, lengths, number};
use crate::rates::{Rate, Rates};

const BUSY: &str = "█";
const NO_INPUT: &str = "·";
const NO_ROOM: &str = "▒";

/// Widths of the columns that fit, in cells.
struct Columns {
    name: usize,
    bar: usize,
    queue: usize,
}

impl Columns {
    fn of(stages: &[LiveStage], width: u16) -> Self {
        let name = stages.iter().map(|s| title(s).chars().count()).max().unwrap_or(5).clamp(5, 16);
        // The mark, name, rate and share with their spaces; the bar and the queue get the rest.
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

/// Draws the table.
pub fn draw(frame: &mut Frame<'_>, area: Rect, picture: &Picture<'_>) {
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
