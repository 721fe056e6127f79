//! What the commands print on a terminal: scores, tables of stages, faults.

use std::fmt::Write;
use std::io::{self, Write as _};
use std::sync::OnceLock;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use items::metric;
use pipeline_engine::{Diagnostic, Measurement, Origin, Phase, Plan, Skip, StageReport, Summary};

use crate::text;

/// Why something that was printed is lost.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// Writes to standard output. Neither a reader that goes away (`| head`) nor a full disk ends the run; the latter is
/// reported at the end, see [`lost_output`].
pub fn stdout(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        // The first one counts.
        let _ = LOST.set(error);
    }
}

/// The fault of standard output, if something that was printed did not get there.
pub fn lost_output() -> Option<&'static io::Error> {
    LOST.get()
}

/// The stages of a plan: `shards → decode → …`
pub fn chain(plan: &Plan) -> String {
    plan.stages().map(|stage| stage.kind).collect::<Vec<_>>().join(" → ")
}

/// What a config sets without effect, one line each.
pub fn notes(plan: &Plan) -> String {
    plan.notes().iter().map(|note| format!("note: {note}\n")).collect()
}

/// All faults of a config, each with its line.
pub fn faults(faults: &[Diagnostic]) -> String {
    let renderer = if io::IsTerminal::is_terminal(&io::stderr()) { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for fault in faults {
        let group = match &fault.at {
            Origin::File(file, span) => {
                let span = span.start.min(file.text.len())..span.end.min(file.text.len());
                Level::ERROR.primary_title(&fault.message).element(
                    Snippet::source(&file.text).path(&file.name).annotation(AnnotationKind::Primary.span(span)),
                )
            }
            Origin::Given(given) => {
                Level::ERROR.primary_title(&fault.message).element(Level::NOTE.message(given.as_str()))
            }
        };
        let group = match &fault.help {
            Some(help) => group.element(Level::HELP.message(help.as_str())),
            None => group,
        };
        text.push_str(&renderer.render(&[group]));
        text.push_str("\n\n");
    }
    let _ = write!(text, "{}, nothing was run", text::count(faults.len(), "fault"));
    text
}

/// The name of a measurement: `demo-mcq accuracy (negative)`.
pub fn name(m: &Measurement) -> String {
    text::measurement(&m.eval, &m.metric, &m.part)
}

/// Measurements, one per line.
pub fn scores(all: &[Measurement]) -> String {
    let mut text = String::new();
    for m in all {
        let when = match m.phase {
            Phase::Before => "before".to_owned(),
            Phase::Epoch => format!("epoch {}", m.epoch),
            Phase::After => "after".to_owned(),
        };
        let _ = writeln!(text, "  {when:<9} {:<44} {}", name(m), value(m));
    }
    text.push('\n');
    text
}

fn value(m: &Measurement) -> String {
    match (m.low, m.high) {
        (Some(low), Some(high)) => {
            format!("{:5.1} %  [{:.1}, {:.1}]  n = {}", m.value * 100.0, low * 100.0, high * 100.0, m.n)
        }
        _ => format!("{:.4}  n = {}", m.value, m.n),
    }
}

/// A row for each stage of an epoch, with the limiting stage marked, and what the stages counted.
pub fn stage_table(stages: &[StageReport]) -> String {
    let mut text = format!(
        "  {:<10} {:>7} {:>9} {:>10} {:>9} {:>9} {:>9} {:>9}\n",
        "stage", "workers", "items", "items/s", "MB", "busy s", "no input", "no room"
    );
    for s in stages {
        let _ = writeln!(
            text,
            "  {:<10} {:>7} {:>9} {:>10.1} {:>9.1} {:>9.2} {:>9.2} {:>9.2}{}",
            s.kind,
            s.workers,
            s.items,
            s.items_per_s,
            s.bytes as f64 / 1e6,
            s.busy_s,
            s.wait_in_s,
            s.wait_out_s,
            if s.limiting { format!("  ← limits ({:.0} % busy)", s.utilisation() * 100.0) } else { String::new() }
        );
    }
    for s in stages {
        let notes: Vec<String> = s
            .notes
            .iter()
            .filter(|(_, n)| **n > 0)
            .map(|(name, n)| format!("{n} {}", name.replace('_', " ")))
            .collect();
        if !notes.is_empty() {
            let _ = writeln!(text, "  {}: {}", s.kind, notes.join(", "));
        }
        if let Some(texts) = s.notes.get(metric::TEXTS).filter(|_| s.busy_s > 0.0) {
            let _ = writeln!(text, "  {}: {:.0} texts per second of its own time", s.kind, *texts as f64 / s.busy_s);
        }
    }
    if let Some(last) = stages.last() {
        let waited = (last.wait_in_s - last.first_wait_s).max(0.0);
        let _ = writeln!(
            text,
            "  {} waited {waited:.2} s for its input after the first item, {:.1} % of the epoch's {:.1} s",
            last.kind,
            100.0 * waited / last.wall_s.max(1e-9),
            last.wall_s
        );
    }
    text
}

/// All scores before and after training, what was skipped, and where the run is.
pub fn summary(summary: &Summary) -> String {
    // A run that was resumed for more epochs has several ends; only the last one counts.
    let end = summary.measurements.iter().map(|m| m.epoch).max().unwrap_or(0);
    let of = |phase: Phase| {
        let wanted = move |m: &&Measurement| m.phase == phase && (phase == Phase::Before || m.epoch == end);
        summary.measurements.iter().filter(wanted)
    };
    let mut text = format!("{:<44} {:>8} {:>8}   {}\n", "", "before", "after", "change [95 % of after]");
    for after in of(Phase::After) {
        let same = |m: &&Measurement| m.eval == after.eval && m.metric == after.metric && m.part == after.part;
        let before = of(Phase::Before).find(same);
        let _ = write!(text, "{:<44} ", name(after));
        match before {
            Some(before) => {
                let _ = write!(
                    text,
                    "{:>6.1} % {:>6.1} %   {:+.1}",
                    before.value * 100.0,
                    after.value * 100.0,
                    (after.value - before.value) * 100.0
                );
            }
            None => {
                let _ = write!(text, "{:>8} {:>6.1} %   ", "-", after.value * 100.0);
            }
        }
        if let (Some(low), Some(high)) = (after.low, after.high) {
            let _ = write!(text, " [{:.1}, {:.1}] n = {}", low * 100.0, high * 100.0, after.n);
        }
        text.push('\n');
    }
    text += &skipped(&summary.skipped);
    text += &lost(&summary.lost_shards);
    let _ = writeln!(
        text,
        "\nthe run is in {}, the trained checkpoint in {}",
        summary.dir.display(),
        summary.dir.join("export").display()
    );
    text
}

/// Reasons and shards that a list shows.
const SHOWN: usize = 20;

/// Why samples were skipped, the commonest reason first.
fn skipped(skipped: &[(String, String, u64)]) -> String {
    if skipped.is_empty() {
        return String::new();
    }
    let mut sorted: Vec<_> = skipped.iter().collect();
    sorted.sort_by_key(|(_, _, count)| std::cmp::Reverse(*count));
    let mut text = "\nskipped samples\n".to_owned();
    for (stage, reason, count) in sorted.iter().take(SHOWN) {
        let _ = writeln!(text, "  {count:>6}  {stage}: {reason}");
    }
    if sorted.len() > SHOWN {
        let _ = writeln!(text, "  and for {} more reasons, see skipped.jsonl", sorted.len() - SHOWN);
    }
    text
}

/// Shards without all of their samples: what they would have given is in no count.
fn lost(shards: &[Skip]) -> String {
    if shards.is_empty() {
        return String::new();
    }
    let mut text = format!("\nlost: {}, wholly or in part\n", text::count(shards.len(), "shard"));
    for skip in shards.iter().take(SHOWN) {
        let _ = writeln!(text, "  {}: {}", skip.shard, skip.reason);
    }
    if shards.len() > SHOWN {
        let _ = writeln!(text, "  and {} more, see skipped.jsonl", shards.len() - SHOWN);
    }
    text
}
