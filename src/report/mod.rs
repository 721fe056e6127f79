//! `report.html`: a run as one page, made from the files of its folder.
//!
//! One file, no scripts, nothing from the network. Every bar and curve has its number beside it and a pattern of its own,
//! so that nothing depends on colour.

mod fixed;
mod pictures;
mod plots;
mod samples;
mod scores;
mod work;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use pipeline_engine::files::write_atomically;
use pipeline_engine::{StageReport, Timeline};
use serde_json::Value;

use crate::answers::Changes;
use crate::text;

/// The page in a run folder.
pub const FILE: &str = "report.html";

/// Lines of a table that are shown; the rest is only counted.
const SHOWN: usize = 40;

/// The files of a run folder.
struct Files {
    name: String,
    config: String,
    stages: Vec<StageReport>,
    timeline: Timeline,
    results: Vec<Value>,
    examples: Vec<Value>,
    skipped: Vec<Value>,
    changes: Option<Changes>,
}

impl Files {
    fn read(dir: &Path) -> anyhow::Result<Self> {
        let path = |name: &str| dir.join(name);
        let lines = |name: &str| -> Vec<Value> {
            let text = std::fs::read_to_string(path(name)).unwrap_or_default();
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
        };
        let config = std::fs::read_to_string(path("pipeline.toml"))
            .with_context(|| path("pipeline.toml").display().to_string())?;
        // A run that was killed in its first epoch has none of these.
        let read = |name: &str| std::fs::read(path(name)).unwrap_or_default();
        Ok(Self {
            name: dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            config,
            stages: serde_json::from_slice(&read("stages.json")).unwrap_or_default(),
            timeline: serde_json::from_slice(&read("timeline.json")).unwrap_or_default(),
            results: lines("results.jsonl"),
            examples: lines("examples.jsonl"),
            skipped: lines("skipped.jsonl"),
            changes: Changes::read(dir),
        })
    }

    /// The value after `name: ` in the comment at the top of the config.
    fn fact(&self, name: &str) -> Option<&str> {
        let comments = self.config.lines().take_while(|line| line.starts_with('#'));
        comments.map(|line| line.trim_start_matches(['#', ' '])).find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            (key == name).then_some(value)
        })
    }

    /// The folder that the paths of shards are relative to.
    fn base(&self) -> PathBuf {
        let table: toml::Table = self.config.parse().unwrap_or_default();
        table.get("run").and_then(|run| run.get("base")).and_then(toml::Value::as_str).unwrap_or(".").into()
    }

    /// The reports of an epoch.
    fn epoch(&self, epoch: u32) -> Vec<&StageReport> {
        self.stages.iter().filter(|s| s.epoch == epoch).collect()
    }

    fn last_epoch(&self) -> Option<u32> {
        self.stages.iter().map(|s| s.epoch).max()
    }
}

/// Reads the run folder and writes `report.html` into it.
pub fn write(dir: &Path) -> anyhow::Result<()> {
    let files = Files::read(dir)?;
    let path = dir.join(FILE);
    write_atomically(&path, page(&files).as_bytes()).with_context(|| path.display().to_string())
}

fn page(files: &Files) -> String {
    let mut page = String::new();
    let name = escape(&files.name);
    let _ = write!(
        page,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width,initial-scale=1\">\
         <title>{name} · pipeline</title><style>{}</style>{PATTERNS}<main><h1>{name}</h1>",
        include_str!("style.css")
    );
    facts(&mut page, files);
    scores::table(&mut page, &files.results);
    fixed::pictures(&mut page, files);
    scores::loss(&mut page, files);
    work::graph(&mut page, files);
    work::over_time(&mut page, files);
    work::step(&mut page, files);
    work::tables(&mut page, files);
    samples::examples(&mut page, files);
    samples::skipped(&mut page, &files.skipped);
    let _ = write!(
        page,
        "<h2>Config</h2><p class=soft>Every default is written out: <code>pipeline run</code> on this text repeats the run.</p>\
         <details><summary>pipeline.toml</summary><pre>{}</pre></details></main></html>",
        escape(&files.config)
    );
    page
}

/// A line about the run, and its main numbers.
fn facts(page: &mut String, files: &Files) {
    let head = files.config.lines().next().unwrap_or_default();
    let when = head.trim_start_matches(['#', ' ']).split(';').next().unwrap_or_default();
    let versions = files.fact("versions").map(|v| format!(" · {}", escape(v))).unwrap_or_default();
    let _ = write!(page, "<p class=soft>{}{versions}</p><div class=cards>", escape(when));
    let mut card = |name: &str, value: String| {
        let _ = write!(page, "<div class=card><b>{value}</b><span>{name}</span></div>");
    };
    if let Some(device) = files.fact("device") {
        card("device", escape(device));
    }
    if let Some(seed) = files.fact("seed") {
        card("seed", escape(seed));
    }
    if let Some(last) = files.last_epoch() {
        card("epochs", last.to_string());
        let steps: u64 = (1..=last).filter_map(|epoch| files.epoch(epoch).last().map(|s| s.items)).sum();
        card("steps", steps.to_string());
        let epoch = files.epoch(last);
        if let Some(limiting) = epoch.iter().find(|s| s.limiting) {
            card("limits the last epoch", escape(&limiting.kind));
        }
        if let Some(last) = epoch.last() {
            let waited = (last.wait_in_s - last.first_wait_s).max(0.0) / last.wall_s.max(1e-9);
            card(&format!("of it, {} waited for input", escape(&last.kind)), format!("{:.1} %", waited * 100.0));
        }
    }
    if let Some(row) = files.timeline.rows.last() {
        card("total time", seconds(row.t + row.dt));
    }
    let lost = files.skipped.iter().filter(|skip| samples::is_shard(skip)).count();
    card("samples skipped", (files.skipped.len() - lost).to_string());
    if lost > 0 {
        card("shards lost, wholly or in part", lost.to_string());
    }
    page.push_str("</div>");
}

/// `1 h 02 min`, `3 min 05 s`, `12.3 s`, `4.5 ms`.
fn seconds(seconds: f64) -> String {
    match seconds {
        0.0 => "0 s".into(),
        s if s >= 60.0 => text::duration(std::time::Duration::from_secs_f64(s)),
        s if s >= 1.0 => format!("{s:.1} s"),
        s => format!("{:.1} ms", s * 1e3),
    }
}

/// Escapes text from a shard or a config for the page.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// Patterns of the strips, which distinguish them without colours.
const PATTERNS: &str = "<svg class=hidden aria-hidden=true><defs>\
    <pattern id=no-input width=6 height=6 patternUnits=userSpaceOnUse><path d=\"M1 0V6\" stroke=\"var(--faint)\" stroke-width=2 /></pattern>\
    <pattern id=no-room width=8 height=8 patternUnits=userSpaceOnUse patternTransform=rotate(45)><path d=\"M2 0V8\" stroke=\"var(--room)\" stroke-width=4 /></pattern>\
    <pattern id=between width=6 height=6 patternUnits=userSpaceOnUse><circle cx=3 cy=3 r=1.4 fill=\"var(--soft)\" /></pattern>\
    </defs></svg>";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn report(kind: &str, epoch: u32, limiting: bool) -> String {
        format!(
            "{{\"epoch\":{epoch},\"kind\":\"{kind}\",\"workers\":2,\"items\":40,\"bytes\":4000000,\"busy_s\":1.0,\"wait_in_s\":0.5,\
             \"first_wait_s\":0.1,\"wait_out_s\":0.5,\"wall_s\":1.0,\"items_per_s\":40.0,\"limiting\":{limiting},\
             \"notes\":{{\"texts\":12}},\"parts\":{{\"forward\":0.25,\"backward\":0.5}}}}"
        )
    }

    /// A run folder with something in every file.
    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        put(
            "pipeline.toml",
            "# A run of pipeline 9, today; written out\n# device: cpu <b>\n# seed: 1\n\n[run]\nseed = 1\n",
        );
        let both = [report("shards", 1, false), report("train", 1, true), report("train", 2, true)];
        put("stages.json", &format!("[{}]", both.join(",")));
        let row = |t: f64| {
            format!(
                "{{\"t\":{t},\"dt\":0.5,\"epoch\":1,\"between\":0.1,\"stages\":[[1,10,0.2,0.1,0.1,3],[2,1,0.9,0.1,0.0,0]],\
                 \"gauges\":{{\"loss\":[{},4]}}}}",
                2.0 - t
            )
        };
        let rows: Vec<String> = (0..300).map(|n| row(f64::from(n) / 300.0)).collect();
        let stages = "[{\"kind\":\"shards\",\"capacity\":4},{\"kind\":\"train\",\"capacity\":0}]";
        put("timeline.json", &format!("{{\"stages\":{stages},\"rows\":[{}]}}", rows.join(",")));
        let score = |phase: &str, epoch: u32, value: f64| {
            format!(
                "{{\"phase\":\"{phase}\",\"epoch\":{epoch},\"step\":3,\"eval\":\"q\",\"metric\":\"accuracy\",\"part\":\"all\",\"value\":{value},\"low\":0.1,\"high\":0.9,\"n\":7}}\n"
            )
        };
        put(
            "results.jsonl",
            &[score("before", 0, 0.25), score("epoch", 1, 0.5), score("after", 2, 0.1), score("after", 3, 0.75)]
                .concat(),
        );
        put(
            "skipped.jsonl",
            "{\"shard\":\"a.tar\",\"key\":\"<script>\",\"stage\":\"decode\",\"reason\":\"no picture\"}\n",
        );
        put(
            "examples.jsonl",
            "{\"epoch\":1,\"shard\":\"a.tar\",\"key\":\"k\",\"role\":\"caption\",\"text\":\"a <i>dog</i>\",\"neighbour_shard\":\"a.tar\",\
             \"neighbour\":\"n\",\"neighbour_caption\":\"a \\\"cat\\\"\",\"cosine\":0.5}\n",
        );
        dir
    }

    #[test]
    fn a_page_from_the_files_of_a_run() {
        let dir = folder();
        write(dir.path()).unwrap();
        let page = std::fs::read_to_string(dir.path().join("report.html")).unwrap();
        for part in [
            "25.0 %",
            "75.0 %",
            "+50.0",
            "Samples skipped: 1",
            "&lt;script&gt;",
            "cpu &lt;b&gt;",
            "a &lt;i&gt;dog&lt;/i&gt;",
            "a &quot;cat&quot;",
            "limits",
            "forward",
            "<svg viewBox",
            "url(#no-room)",
        ] {
            assert!(page.contains(part), "{part} is not in the page");
        }
        assert!(!page.contains("<script") && !page.contains("http"), "scripts or links in the page");
        assert!(!page.contains("#0101"), "a stand-in colour is left");
        assert!(page.len() < 200_000, "{} bytes", page.len());
    }

    #[test]
    fn pictures_whose_question_was_fixed_stand_in_the_page() {
        let dir = folder();
        let mut png = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(9, 9).write_to(&mut png, image::ImageFormat::Png).unwrap();
        std::fs::write(dir.path().join("k.png"), png.into_inner()).unwrap();
        for (name, chosen, cosines) in [("before", 0, "0.3,0.2"), ("after", 1, "0.1,0.25")] {
            let line = format!(
                "{{\"eval\":\"q\",\"shard\":\"{}/ (1 files, ab)\",\"key\":\"k.png\",\"texts\":[\"a <dog>\",\"no dog\"],\
                 \"correct\":1,\"chosen\":{chosen},\"cosines\":[{cosines}]}}\n",
                dir.path().display()
            );
            std::fs::write(dir.path().join(format!("answers-{name}.jsonl")), line).unwrap();
        }
        let page = page(&Files::read(dir.path()).unwrap());
        for part in [
            "q: of 1 question, 1 wrong before and right after, 0 right before and wrong after",
            "<dt>true: 0.200 → 0.250<dd>no dog",
            "<dt>false, chosen before: 0.300 → 0.100<dd>a &lt;dog&gt;",
            "data:image/jpeg;base64,",
        ] {
            assert!(page.contains(part), "{part} is not in the page");
        }
    }

    #[test]
    fn a_run_with_few_files_has_a_page_too() {
        let dir = folder();
        for name in ["stages.json", "timeline.json", "results.jsonl", "skipped.jsonl", "examples.jsonl"] {
            std::fs::remove_file(dir.path().join(name)).unwrap();
        }
        write(dir.path()).unwrap();
        std::fs::remove_file(dir.path().join("pipeline.toml")).unwrap();
        assert!(format!("{:#}", write(dir.path()).unwrap_err()).contains("pipeline.toml"));
    }

    #[test]
    fn thumbnails_come_from_the_shards_and_stay_small() {
        let dir = folder();
        let mut png = std::io::Cursor::new(Vec::new());
        image::RgbImage::from_fn(900, 600, |x, y| image::Rgb([x as u8, y as u8, 7]))
            .write_to(&mut png, image::ImageFormat::Png)
            .unwrap();
        let mut tar = tar::Builder::new(std::fs::File::create(dir.path().join("a.tar")).unwrap());
        for (name, bytes) in [("k.txt", b"text".to_vec()), ("k.png", png.into_inner()), ("n.jpg", b"broken".to_vec())] {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_cksum();
            tar.append_data(&mut header, name, bytes.as_slice()).unwrap();
        }
        tar.finish().unwrap();
        let config = format!("# device: cpu\n[run]\nbase = '{}'\n", dir.path().display());
        std::fs::write(dir.path().join("pipeline.toml"), config).unwrap();
        let page = page(&Files::read(dir.path()).unwrap());
        assert_eq!(page.matches("data:image/jpeg;base64,").count(), 1);
        assert!(page.contains("no picture here"), "the broken neighbour has a box, too");
        let start = page.find("data:image/jpeg").unwrap();
        assert!(page[start..].find('"').unwrap() < 20_000);
    }
}
