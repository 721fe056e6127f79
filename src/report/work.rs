//! The work of the stages: as a graph, over time, within a step, in tables.

use std::fmt::Write;

use items::metric;
use pipeline_engine::{StageReport, Timeline, TimelineCell, TimelineRow};

use super::plots::{Layer, Paint, strip};
use super::{Files, escape, seconds};

/// Columns of the strips; more would be narrower than a pixel on a phone.
const COLUMNS: usize = 180;

const KEY: &str = "<div class=key><span><i class=busy></i>busy</span><span><i class=no-room></i>no room in the next edge</span>\
    <span><i class=no-input></i>no input</span><span><i></i>not running</span></div>";

/// The stages of the last epoch, and those of the first if they differ.
pub fn graph(page: &mut String, files: &Files) {
    let Some(last) = files.last_epoch() else { return };
    page.push_str("<h2>The pipeline</h2>");
    let kinds = |epoch: u32| files.epoch(epoch).iter().map(|s| s.kind.as_str()).collect::<Vec<_>>();
    let first = files.stages.iter().map(|s| s.epoch).min().unwrap_or(last);
    if first != last && kinds(first) != kinds(last) {
        chain(page, files, first);
    }
    chain(page, files, last);
}

fn chain(page: &mut String, files: &Files, epoch: u32) {
    let reports = files.epoch(epoch);
    let wall = reports.first().map_or(0.0, |s| s.wall_s);
    let mut all: Vec<&str> = files.timeline.stages.iter().map(|s| s.kind.as_str()).collect();
    if all.len() < reports.len() {
        all = reports.iter().map(|s| s.kind.as_str()).collect();
    }
    let rest = all.len() - reports.len();
    let _ = write!(page, "<h3>Epoch {epoch}, {}</h3><div class=graph>", seconds(wall));
    for (place, kind) in all.iter().enumerate() {
        let report = place.checked_sub(rest).and_then(|place| reports.get(place));
        let Some(s) = report else {
            let _ = write!(
                page,
                "<div class=\"node rests\"><strong>{}</strong><small>not run:<br>read from the cache</small></div>",
                escape(kind)
            );
            page.push_str("<div class=edge><b>→</b></div>");
            continue;
        };
        let workers = if s.workers > 1 { format!(" ×{}", s.workers) } else { String::new() };
        let _ = write!(
            page,
            "<div class=\"node{}\"><strong>{}{workers}</strong>{}<small>{:.0} % busy{}</small></div>",
            if s.limiting { " limits" } else { "" },
            escape(kind),
            bar(s, ""),
            s.utilisation() * 100.0,
            if s.limiting { " <em>limits</em>" } else { "" }
        );
        if place + 1 < all.len() {
            let _ = write!(
                page,
                "<div class=edge>{} /s<b>→</b>{} MB/s</div>",
                amount(s.items_per_s),
                amount(s.bytes as f64 / 1e6 / s.wall_s.max(1e-9))
            );
        }
    }
    page.push_str("</div>");
}

/// An amount with three significant digits.
fn amount(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// A bar with the shares of a stage's time.
fn bar(s: &StageReport, class: &str) -> String {
    let whole = (s.wall_s * s.workers as f64).max(1e-9);
    let share = |time: f64| (100.0 * time / whole).clamp(0.0, 100.0);
    format!(
        "<div class=\"bar {class}\"><i class=busy style=\"width:{:.1}%\"></i><i class=no-room style=\"width:{:.1}%\"></i><i class=no-input style=\"width:{:.1}%\"></i></div>",
        share(s.busy_s),
        share(s.wait_out_s),
        share(s.wait_in_s)
    )
}

/// The rows of the timeline in at most [`COLUMNS`] groups.
fn columns(rows: &[TimelineRow]) -> Vec<&[TimelineRow]> {
    rows.chunks(rows.len().div_ceil(COLUMNS).max(1)).collect()
}

/// Utilisation of the stages and filling of the edges over time.
pub fn over_time(page: &mut String, files: &Files) {
    let Some(time) = Time::of(&files.timeline) else { return };
    utilisation(page, &time);
    queues(page, &time);
}

/// The timeline in columns.
struct Time<'a> {
    timeline: &'a Timeline,
    columns: Vec<&'a [TimelineRow]>,
    /// Where the columns start, and the end of the last one, in seconds since the run began.
    times: Vec<f64>,
    /// Length of the run in seconds.
    length: f64,
    /// The axis under a group of strips, as HTML.
    axis: String,
}

impl<'a> Time<'a> {
    /// None without rows.
    fn of(timeline: &'a Timeline) -> Option<Self> {
        let (first, last) = (timeline.rows.first()?, timeline.rows.last()?);
        let columns = columns(&timeline.rows);
        let end = last.t + last.dt;
        let mut times: Vec<f64> = columns.iter().map(|rows| rows[0].t).collect();
        times.push(end);
        let axis = format!(
            "<div class=strip><div class=\"axis plot\"><span>{}</span><span>{}</span><span>{}</span></div></div>",
            seconds(first.t),
            seconds((first.t + end) / 2.0),
            seconds(end)
        );
        Some(Self { timeline, columns, times, length: (end - first.t).max(1e-9), axis })
    }

    fn span(rows: &[TimelineRow]) -> f64 {
        rows.iter().map(|row| row.dt).sum::<f64>().max(1e-9)
    }
}

/// What the workers of each stage did, and when evals measured.
fn utilisation(page: &mut String, time: &Time<'_>) {
    page.push_str("<h2>What each stage did, over time</h2><p class=soft>Shares of its workers' time; on the right, busy over the whole run.</p>");
    page.push_str(KEY);
    let rows = &time.timeline.rows;
    for (place, stage) in time.timeline.stages.iter().enumerate() {
        let cell = |row: &TimelineRow| row.stages.get(place).copied().unwrap_or_default();
        let mut layers = [(Paint::NoInput, Vec::new()), (Paint::NoRoom, Vec::new()), (Paint::Busy, Vec::new())];
        for rows in &time.columns {
            let workers = rows.iter().map(|row| cell(row).workers).max().unwrap_or(0).max(1) as f64;
            let whole = Time::span(rows) * workers;
            let sum = |f: fn(TimelineCell) -> f64| rows.iter().map(|row| f(cell(row))).sum::<f64>() / whole;
            let (busy, out, input) = (sum(|c| c.busy_s), sum(|c| c.wait_out_s), sum(|c| c.wait_in_s));
            // From back to front: each layer includes those drawn over it.
            for (layer, height) in layers.iter_mut().zip([busy + out + input, busy + out, busy]) {
                layer.1.push(height.min(1.0));
            }
        }
        let busy: f64 = rows.iter().map(|row| cell(row).busy_s / cell(row).workers.max(1) as f64).sum();
        let share = format!("{:.0} %", 100.0 * busy / time.length);
        let layers = layers.map(|(paint, heights)| Layer { paint, heights });
        let about = format!("{}: busy {share} of the run", stage.kind);
        let _ = write!(
            page,
            "<div class=strip><span class=name>{}</span><div class=plot>{}</div><span class=share>{share}</span></div>",
            escape(&stage.kind),
            strip(&time.times, &layers, 60, &about)
        );
    }
    let between = |rows: &[TimelineRow]| rows.iter().map(|row| row.between).sum::<f64>();
    let heights = time.columns.iter().map(|rows| between(rows) / Time::span(rows)).collect();
    let share = 100.0 * between(rows) / time.length;
    let layer = Layer { paint: Paint::Between, heights };
    let _ = write!(
        page,
        "<div class=strip><span class=\"name soft\">measuring</span><div class=\"plot thin\">{}</div><span class=\"share soft\">{share:.0} %</span></div>{}",
        strip(&time.times, &[layer], 60, "time between the epochs"),
        time.axis
    );
}

/// How many items waited in each edge.
fn queues(page: &mut String, time: &Time<'_>) {
    page.push_str("<h2>How full the edges were</h2><p class=soft>Items waiting after a stage; on the right, their mean number and how many fit. \
                   A full edge waits for the stage after it, an empty one for the stage before it.</p>");
    let stages = &time.timeline.stages;
    for (place, stage) in stages.iter().enumerate().filter(|(_, stage)| stage.capacity > 0) {
        let running = |row: &&TimelineRow| row.stages.get(place).is_some_and(|cell| cell.workers > 0);
        let mean = |rows: &[TimelineRow]| {
            let time: f64 = rows.iter().filter(running).map(|row| row.dt).sum();
            let sum: f64 = rows.iter().filter(running).map(|row| row.dt * row.stages[place].queued as f64).sum();
            if time > 0.0 { sum / time } else { 0.0 }
        };
        let heights = time.columns.iter().map(|rows| mean(rows) / stage.capacity as f64).collect();
        let whole = mean(&time.timeline.rows);
        let about = format!("{:.1} of {} items waited after {} on average", whole, stage.capacity, stage.kind);
        let _ = write!(
            page,
            "<div class=strip><span class=name>{} →</span><div class=\"plot thin\">{}</div><span class=share>{} of {}</span></div>",
            escape(&stage.kind),
            strip(&time.times, &[Layer { paint: Paint::Curve, heights }], 60, &about),
            amount(whole),
            stage.capacity
        );
    }
    page.push_str(&time.axis);
}

/// The parts of a step of the last stage.
pub fn step(page: &mut String, files: &Files) {
    let Some(epoch) = files.last_epoch() else { return };
    let reports = files.epoch(epoch);
    let Some(last) = reports.last().filter(|s| s.items > 0 && !s.parts.is_empty()) else { return };
    let steps = last.items as f64;
    let known: f64 = last.parts.values().sum();
    let mut parts: Vec<(&str, f64, &str)> = Vec::new();
    let order = [metric::FORWARD, metric::BACKWARD, metric::UPDATE];
    let classes = ["p1", "p2", "p3"];
    let mut named: Vec<(&String, &f64)> = last.parts.iter().collect();
    named.sort_by_key(|(name, _)| order.iter().position(|known| known == name).unwrap_or(order.len()));
    for (place, (name, time)) in named.into_iter().enumerate() {
        parts.push((name, *time, classes[place % classes.len()]));
    }
    parts.push(("the rest of its work", (last.busy_s - known).max(0.0), "p4"));
    parts.push(("waits for input", last.wait_in_s, "no-input"));
    let whole: f64 = parts.iter().map(|part| part.1).sum::<f64>().max(1e-9);
    let _ = write!(
        page,
        "<h2>Where a step's time went</h2><p class=soft>A step of {} in epoch {epoch} took {} on average.</p><div class=\"bar big\">",
        escape(&last.kind),
        seconds(whole / steps)
    );
    for (_, time, class) in &parts {
        let _ = write!(page, "<i class={class} style=\"width:{:.2}%\"></i>", 100.0 * time / whole);
    }
    page.push_str("</div><div class=key>");
    for (name, time, class) in &parts {
        let share = 100.0 * time / whole;
        let _ =
            write!(page, "<span><i class={class}></i>{} {} ({share:.1} %)</span>", escape(name), seconds(time / steps));
    }
    page.push_str("</div>");
}

/// The numbers of the first and the last epoch.
pub fn tables(page: &mut String, files: &Files) {
    let Some(last) = files.last_epoch() else { return };
    let first = files.stages.iter().map(|s| s.epoch).min().unwrap_or(last);
    page.push_str("<h2>Where the time went</h2>");
    for epoch in if first == last { vec![last] } else { vec![first, last] } {
        let reports = files.epoch(epoch);
        let _ = write!(
            page,
            "<h3>Epoch {epoch}, {}</h3><div class=scroll><table class=rows><tr><th>stage<th class=n>workers<th class=n>items<th class=n>items/s<th class=n>MB\
             <th class=n>busy<th class=n>no input<th class=n>no room<th>share of its workers' time",
            reports.first().map_or(String::new(), |s| seconds(s.wall_s))
        );
        for s in &reports {
            let _ = write!(
                page,
                "<tr><td class=head>{}{}<td class=n data-l=workers>{}<td class=n data-l=items>{}<td class=n data-l=items/s>{}<td class=n data-l=MB>{:.1}\
                 <td class=n data-l=busy>{:.2} s<td class=n data-l=\"no input\">{:.2} s<td class=n data-l=\"no room\">{:.2} s\
                 <td class=full style=\"min-width:10rem\">{}<small>{:.0} % busy</small>",
                escape(&s.kind),
                if s.limiting { " <strong>limits</strong>" } else { "" },
                s.workers,
                s.items,
                amount(s.items_per_s),
                s.bytes as f64 / 1e6,
                s.busy_s,
                s.wait_in_s,
                s.wait_out_s,
                bar(s, ""),
                s.utilisation() * 100.0
            );
        }
        page.push_str("</table></div>");
        for s in reports.iter().filter(|s| !s.notes.is_empty()) {
            let notes: Vec<String> =
                s.notes.iter().map(|(name, n)| format!("{n} {}", escape(&name.replace('_', " ")))).collect();
            let _ = write!(page, "<p class=soft>{}: {}</p>", escape(&s.kind), notes.join(", "));
        }
    }
}
