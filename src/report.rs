//! `report.html`: a run as a picture, made from the files of its folder alone.
//!
//! One file, no scripts, nothing from the network. Every bar and line has its
//! number beside it, so that nothing depends on colour.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use pipeline_engine::{StageReport, write_atomically};
use serde_json::Value;

/// Lines of a table before the rest is only counted.
const SHOWN: usize = 40;

/// Reads the run folder and writes `report.html` into it.
pub fn write(dir: &Path) -> anyhow::Result<()> {
    let read =
        |name: &str| std::fs::read_to_string(dir.join(name)).with_context(|| dir.join(name).display().to_string());
    let lines = |name: &str| -> Vec<Value> {
        std::fs::read_to_string(dir.join(name))
            .unwrap_or_default()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    };
    // A run that was killed after its only epoch has none.
    let stages: Vec<StageReport> =
        read("stages.json").ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let config = read("pipeline.toml")?;
    let name = dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();

    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{name} · pipeline</title><style>{STYLE}</style><main><h1>{name}</h1>",
        name = escape(&name)
    );
    facts(&mut page, &config);
    scores(&mut page, &lines("results.jsonl"));
    losses(&mut page, &lines("results.jsonl"));
    time(&mut page, &stages);
    examples(&mut page, &lines("examples.jsonl"));
    skipped(&mut page, &lines("skipped.jsonl"));
    let _ = write!(
        page,
        "<h2>Config, every default written out</h2><details><summary>pipeline.toml</summary><pre>{}</pre></details></main></html>",
        escape(&config)
    );
    let path = dir.join("report.html");
    write_atomically(&path, page.as_bytes()).with_context(|| path.display().to_string())
}

/// The comments on top of the resolved config: version, date, device, seed.
fn facts(page: &mut String, config: &str) {
    page.push_str("<p class=facts>");
    for line in config.lines().take_while(|line| line.starts_with('#')) {
        let _ = write!(page, "{}<br>", escape(line.trim_start_matches(['#', ' '])));
    }
    page.push_str("</p>");
}

/// The last line of each measurement in a phase; a resumed run may have written one twice.
fn last<'a>(results: &'a [Value], phase: &str) -> BTreeMap<(String, String, String), &'a Value> {
    let text = |m: &Value, key: &str| m[key].as_str().unwrap_or_default().to_owned();
    let of_phase = results.iter().filter(|m| m["phase"] == phase && m["eval"] != "train");
    of_phase.map(|m| ((text(m, "eval"), text(m, "metric"), text(m, "part")), m)).collect()
}

fn scores(page: &mut String, results: &[Value]) {
    let (before, after) = (last(results, "before"), last(results, "after"));
    if after.is_empty() {
        return;
    }
    page.push_str("<h2>Scores before and after</h2><div class=scroll><table><tr><th>measurement<th>before<th>after<th>change<th>after, with its 95 % interval<th>n");
    for (key, after) in &after {
        let value = |m: &Value, field: &str| m[field].as_f64().map(|v| v * 100.0);
        let (Some(end), start) = (value(after, "value"), before.get(key).and_then(|m| value(m, "value"))) else {
            continue;
        };
        let (eval, metric, part) = key;
        let part = if part == "all" { String::new() } else { format!(" ({part})") };
        let (low, high) = (value(after, "low").unwrap_or(end), value(after, "high").unwrap_or(end));
        let start_text = start.map_or("–".into(), |s| format!("{s:.1} %"));
        let change = start.map_or("–".into(), |s| format!("{:+.1}", end - s));
        let mark = start.map_or(String::new(), |s| format!("<u style=\"left:{s:.1}%\"></u>"));
        let _ = write!(
            page,
            "<tr><td>{} {}{}<td class=n>{start_text}<td class=n>{end:.1} %<td class=n>{change}\
             <td><div class=bar><b style=\"width:{end:.1}%\"></b><i style=\"left:{low:.1}%;width:{:.1}%\"></i>{mark}</div>\
             <small>{low:.1} to {high:.1}</small><td class=n>{}",
            escape(eval),
            escape(metric),
            escape(&part),
            high - low,
            after["n"]
        );
    }
    page.push_str("</table></div><p><small>The bar is the score after, the bracket its interval, the upright line the score before.</small></p>");
}

/// The loss of each epoch as a line.
fn losses(page: &mut String, results: &[Value]) {
    let points: BTreeMap<u64, f64> = results
        .iter()
        .filter(|m| m["eval"] == "train" && m["metric"] == "loss" && m["part"] == "all")
        .filter_map(|m| Some((m["epoch"].as_u64()?, m["value"].as_f64()?)))
        .collect();
    if points.len() < 2 {
        return;
    }
    let (low, high) = points.values().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
    let (first, end) = (points.keys().next().copied().unwrap_or(1), points.keys().last().copied().unwrap_or(1));
    let x = |epoch: u64| 60.0 + 620.0 * (epoch - first) as f64 / (end - first).max(1) as f64;
    let y = |loss: f64| 20.0 + 140.0 * (high - loss) / (high - low).max(1e-9);
    let path: Vec<String> = points.iter().map(|(e, l)| format!("{:.1},{:.1}", x(*e), y(*l))).collect();
    let _ = write!(
        page,
        "<h2>Loss, mean of each epoch</h2><svg viewBox=\"0 0 700 190\" role=img aria-label=\"loss from {:.3} to {:.3}\">\
         <polyline points=\"{}\"/>",
        points[&first],
        points[&end],
        path.join(" ")
    );
    for (epoch, loss) in &points {
        let _ = write!(
            page,
            "<circle cx={:.1} cy={:.1} r=3><title>epoch {epoch}: {loss:.4}</title></circle>",
            x(*epoch),
            y(*loss)
        );
    }
    let _ = write!(
        page,
        "<text x=0 y=24>{high:.3}</text><text x=0 y=164>{low:.3}</text><text x=60 y=186>epoch {first}</text>\
         <text x=680 y=186 text-anchor=end>epoch {end}</text></svg>"
    );
}

/// Where the time of the first and the last epoch went.
fn time(page: &mut String, stages: &[StageReport]) {
    let epochs: Vec<u32> = stages.iter().map(|s| s.epoch).collect();
    let (Some(first), Some(end)) = (epochs.iter().min(), epochs.iter().max()) else { return };
    page.push_str("<h2>Where the time went</h2>");
    for epoch in if first == end { vec![*first] } else { vec![*first, *end] } {
        let of: Vec<&StageReport> = stages.iter().filter(|s| s.epoch == epoch).collect();
        let chain: Vec<String> = of
            .iter()
            .map(|s| format!("<span>{}<br><small>{:.1}/s</small></span>", escape(&s.kind), s.items_per_s))
            .collect();
        let _ = write!(
            page,
            "<h3>Epoch {epoch}, {:.1} s</h3><div class=chain>{}</div><div class=scroll><table><tr><th>stage<th>workers<th>items<th>MB<th>busy<th>no input<th>no room<th>share of its workers' time",
            of.first().map_or(0.0, |s| s.wall_s),
            chain.join("<em>→</em>")
        );
        for s in of {
            let whole = (s.wall_s * s.workers as f64).max(1e-9);
            let share = |seconds: f64| (100.0 * seconds / whole).clamp(0.0, 100.0);
            let _ = write!(
                page,
                "<tr><td>{}{}<td class=n>{}<td class=n>{}<td class=n>{:.1}<td class=n>{:.2} s<td class=n>{:.2} s<td class=n>{:.2} s\
                 <td><div class=bar><b style=\"width:{:.1}%\"></b></div><small>{:.0} % busy</small>",
                escape(&s.kind),
                if s.limiting { " <strong>limits</strong>" } else { "" },
                s.workers,
                s.items,
                s.bytes as f64 / 1e6,
                s.busy_s,
                s.wait_in_s,
                s.wait_out_s,
                share(s.busy_s),
                share(s.busy_s)
            );
        }
        page.push_str("</table></div>");
        for s in stages.iter().filter(|s| s.epoch == epoch && !s.notes.is_empty()) {
            let notes: Vec<String> =
                s.notes.iter().map(|(name, n)| format!("{n} {}", escape(&name.replace('_', " ")))).collect();
            let _ = write!(page, "<p>{}: {}</p>", escape(&s.kind), notes.join(", "));
        }
    }
}

/// Captions of the last epoch, as they went into training.
fn examples(page: &mut String, examples: &[Value]) {
    if examples.is_empty() {
        return;
    }
    page.push_str("<h2>Captions that were made</h2><div class=scroll><table><tr><th>image<th>role<th>text");
    for example in examples.iter().take(SHOWN * 2) {
        let text = |key: &str| escape(example[key].as_str().unwrap_or_default());
        let _ = write!(page, "<tr><td>{}<td>{}<td>{}", text("key"), text("role"), text("text"));
    }
    page.push_str("</table></div>");
}

fn skipped(page: &mut String, skipped: &[Value]) {
    let _ = write!(page, "<h2>Samples skipped: {}</h2>", skipped.len());
    if skipped.is_empty() {
        return;
    }
    page.push_str("<div class=scroll><table><tr><th>shard<th>key<th>stage<th>reason");
    for skip in skipped.iter().take(SHOWN) {
        let text = |key: &str| escape(skip[key].as_str().unwrap_or_default());
        let _ = write!(page, "<tr><td>{}<td>{}<td>{}<td>{}", text("shard"), text("key"), text("stage"), text("reason"));
    }
    page.push_str("</table></div>");
    if skipped.len() > SHOWN {
        let _ = write!(page, "<p>and {} more in skipped.jsonl</p>", skipped.len() - SHOWN);
    }
}

/// Text from a shard is data, also in a page.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

const STYLE: &str = ":root{color-scheme:light dark;--ink:light-dark(#1b1f24,#e8eaed);--soft:light-dark(#667,#9aa);\
--line:light-dark(#dde1e6,#333b44);--bar:light-dark(#2f6fab,#6aa9e0);--page:light-dark(#fff,#15191e)}\
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}\
main{max-width:60rem;margin:auto;padding:1.5rem 1rem 4rem}h1{font-size:1.6rem;margin:0}h2{font-size:1.15rem;margin:2.2rem 0 .6rem}\
h3{font-size:1rem;margin:1.2rem 0 .5rem}.facts,small{color:var(--soft)}.scroll{overflow-x:auto}\
table{border-collapse:collapse;width:100%;font-size:.9rem}td,th{text-align:left;padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line);vertical-align:top}\
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
.bar{position:relative;height:.8rem;min-width:9rem;border:1px solid var(--line);margin-top:.3rem}\
.bar b{position:absolute;inset:0 auto 0 0;background:var(--bar)}\
.bar i{position:absolute;top:-3px;bottom:-3px;border:1px solid var(--ink);border-width:0 1px;opacity:.7}\
.bar u{position:absolute;top:-5px;bottom:-5px;border-left:3px solid var(--ink)}\
.chain{display:flex;flex-wrap:wrap;gap:.4rem;align-items:center;margin-bottom:.6rem}.chain span{border:1px solid var(--line);padding:.15rem .5rem;border-radius:.3rem;font-size:.85rem}.chain em{color:var(--soft)}\
svg{width:100%;max-width:44rem}polyline{fill:none;stroke:var(--bar);stroke-width:2}circle{fill:var(--bar)}text{fill:var(--soft);font-size:12px}\
pre{overflow-x:auto;font-size:.8rem}";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    #[test]
    fn a_page_from_the_files_of_a_run() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        put("pipeline.toml", "# device: cpu\n\n[run]\nseed = 1\n");
        put("stages.json", "[]");
        let score = |phase: &str, value: f64| {
            format!(
                "{{\"phase\":\"{phase}\",\"epoch\":1,\"eval\":\"q\",\"metric\":\"accuracy\",\"part\":\"all\",\"value\":{value},\"low\":0.1,\"high\":0.9,\"n\":7}}\n"
            )
        };
        put("results.jsonl", &(score("before", 0.25) + &score("after", 0.1) + &score("after", 0.75)));
        put(
            "skipped.jsonl",
            "{\"shard\":\"a.tar\",\"key\":\"<script>\",\"stage\":\"decode\",\"reason\":\"no picture\"}\n",
        );
        super::write(dir.path()).unwrap();
        let page = std::fs::read_to_string(dir.path().join("report.html")).unwrap();
        for part in ["25.0 %", "75.0 %", "+50.0", "Samples skipped: 1", "&lt;script&gt;", "device: cpu"] {
            assert!(page.contains(part), "{part} is not in the page");
        }
        assert!(!page.contains("<script") && !page.contains("http"), "scripts or links in the page");
        std::fs::remove_file(dir.path().join("pipeline.toml")).unwrap();
        assert!(format!("{:#}", super::write(dir.path()).unwrap_err()).contains("pipeline.toml"));
    }
}
