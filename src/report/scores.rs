//! Scores and loss.

use std::collections::BTreeMap;
use std::fmt::Write;

use items::metric;
use serde_json::Value;

use super::{Files, escape, plots};
use crate::text;

type Measured = (String, String, String);

/// The values of each measurement by phase and epoch. If a resumed run measured twice, the last value counts.
fn measured(results: &[Value]) -> BTreeMap<Measured, Vec<&Value>> {
    let field = |m: &Value, key: &str| m[key].as_str().unwrap_or_default().to_owned();
    let mut all: BTreeMap<Measured, Vec<&Value>> = BTreeMap::new();
    for m in results.iter().filter(|m| m["eval"] != metric::TRAIN) {
        let values = all.entry((field(m, "eval"), field(m, "metric"), field(m, "part"))).or_default();
        values.retain(|old| (&old["phase"], &old["epoch"]) != (&m["phase"], &m["epoch"]));
        values.push(m);
    }
    all
}

/// The scores before and after training with intervals, and those of the epochs between.
pub fn table(page: &mut String, results: &[Value]) {
    let all = measured(results);
    let after = |values: &[&Value]| values.iter().rev().find(|m| m["phase"] == "after").copied().cloned();
    if !all.values().any(|values| after(values).is_some()) {
        return;
    }
    let between = all.values().any(|values| values.iter().any(|m| m["phase"] == "epoch"));
    page.push_str(
        "<h2>Scores before and after</h2><p class=soft>The bar is the score after, the bracket its 95 % interval, the upright line the score before.</p>\
         <div class=scroll><table class=rows><tr><th>measurement<th class=n>before<th class=n>after<th class=n>change<th>after, with its interval<th class=n>n",
    );
    if between {
        page.push_str("<th>over the epochs");
    }
    for ((eval, metric, part), values) in &all {
        let Some(end) = after(values) else { continue };
        let percent = |m: &Value, field: &str| m[field].as_f64().map(|v| v * 100.0);
        let Some(value) = percent(&end, "value") else { continue };
        let start = values.iter().find(|m| m["phase"] == "before").and_then(|m| percent(m, "value"));
        let name = text::measurement(eval, metric, part);
        let (low, high) = (percent(&end, "low").unwrap_or(value), percent(&end, "high").unwrap_or(value));
        let start_text = start.map_or("–".into(), |s| format!("{s:.1} %"));
        let change = start.map_or("–".into(), |s| {
            let class = if value < s { "down" } else { "up" };
            format!("<span class={class}>{:+.1}</span>", value - s)
        });
        let mark = start.map_or(String::new(), |s| format!("<u style=\"left:{s:.1}%\"></u>"));
        let _ = write!(
            page,
            "<tr><td class=head>{}<td class=n data-l=before>{start_text}<td class=n data-l=after>{value:.1} %<td class=n data-l=change>{change}\
             <td class=full><div class=score><b style=\"width:{value:.1}%\"></b><i style=\"left:{low:.1}%;width:{:.1}%\"></i>{mark}</div>\
             <small>{low:.1} to {high:.1}</small><td class=n data-l=n>{}",
            escape(&name),
            high - low,
            end["n"]
        );
        if between {
            let point = |m: &&Value| Some((m["epoch"].as_f64()?, m["value"].as_f64()?));
            let points: Vec<(f64, f64)> = values.iter().filter_map(point).collect();
            let _ = write!(
                page,
                "<td class=full data-l=\"over the epochs\"><div class=spark>{}</div>",
                plots::spark(&points, "the score over the epochs")
            );
        }
    }
    page.push_str("</table></div>");
}

/// The loss curve: by steps from the timeline, or by epochs if there is none.
pub fn loss(page: &mut String, files: &Files) {
    let mut steps = 0;
    let mut points: Vec<(f64, f64)> = Vec::new();
    for row in &files.timeline.rows {
        if let Some((loss, count)) = row.gauges.get(metric::LOSS) {
            points.push((steps as f64 + *count as f64 / 2.0, *loss));
            steps += count;
        }
    }
    let mut x = "step";
    let epochs: BTreeMap<u64, f64> = files
        .results
        .iter()
        .filter(|m| m["eval"] == metric::TRAIN && m["metric"] == metric::LOSS && m["part"] == metric::ALL)
        .filter_map(|m| Some((m["epoch"].as_u64()?, m["value"].as_f64()?)))
        .collect();
    if points.len() < 2 {
        x = "epoch";
        points = epochs.iter().map(|(epoch, loss)| (*epoch as f64, *loss)).collect();
    }
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
    let mut about = format!("The loss: {:.4} at the start, {:.4} at the end", first.1, last.1);
    if let (Some((a, start)), Some((b, end))) = (epochs.first_key_value(), epochs.last_key_value())
        && a != b
    {
        let _ = write!(about, "; mean of epoch {a}: {start:.4}, of epoch {b}: {end:.4}");
    }
    let _ = write!(page, "<h2>Loss</h2><p class=soft>{about}.</p>{}", plots::curve(&points, x, &about));
}
