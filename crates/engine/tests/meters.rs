//! Where the time of a stage is booked, and that a trace is one.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use common::{config, registry, run};
use pipeline_engine::{Pipeline, RunDir, StageReport, Summary, Timeline, Tracer, check};
use serde_json::Value;

/// count → square (4 workers) → sink, with work of so many microseconds in each item.
fn text(tag: &str, n: u64, square_us: u64, sink_us: u64) -> String {
    format!(
        "[run]\nepochs = 2\n[[stage]]\nkind = \"count\"\nn = {n}\ncapacity = 2\n[[stage]]\nkind = \"square\"\nworkers = 4\n\
         work_us = {square_us}\ncapacity = 2\n[[stage]]\nkind = \"sink\"\ntag = \"{tag}\"\nwork_us = {sink_us}\n"
    )
}

fn stage<'a>(summary: &'a Summary, kind: &str) -> &'a StageReport {
    summary.stages.iter().find(|s| s.kind == kind && s.epoch == 2).unwrap()
}

#[test]
fn workers_behind_a_full_edge_wait_for_room_not_for_input() {
    let summary = run("full edge", &text("full edge", 300, 0, 1000)).result.unwrap();
    let square = stage(&summary, "square");
    assert!(square.wait_out_s > square.wait_in_s, "{square:?}");
    assert!(stage(&summary, "sink").limiting);
}

#[test]
fn workers_before_an_empty_edge_wait_for_input_not_for_room() {
    let slow = text("empty edge", 100, 0, 0).replace("n = 100", "n = 100\nwork_us = 2000");
    let summary = run("empty edge", &slow).result.unwrap();
    let square = stage(&summary, "square");
    assert!(square.wait_in_s > square.wait_out_s, "{square:?}");
    assert!(stage(&summary, "count").limiting);
}

#[test]
fn all_of_a_workers_time_is_booked_once() {
    let summary = run("booked", &text("booked", 200, 500, 0)).result.unwrap();
    for report in &summary.stages {
        let whole = report.busy_s + report.wait_in_s + report.wait_out_s;
        assert!(whole <= report.wall_s * report.workers as f64 * 1.001, "{report:?}");
        assert!(report.kind != "square" || report.busy_s >= 0.1, "200 times 0.5 ms of work: {report:?}");
    }
}

#[test]
fn helpers_do_the_work_of_a_stage_and_are_its_workers() {
    let text = text("helped", 200, 0, 0)
        .replace("kind = \"square\"\nworkers = 4\nwork_us = 0", "kind = \"helped\"\nworkers = 3\nwork_us = 500");
    let summary = run("helped", &text).result.unwrap();
    let helped = stage(&summary, "helped");
    assert_eq!((helped.workers, helped.items), (3, 200));
    assert!(helped.busy_s >= 0.1 && helped.limiting, "200 times 0.5 ms of work: {helped:?}");
}

#[test]
fn a_run_leaves_a_timeline_that_adds_up() {
    let folder = tempfile::tempdir().unwrap();
    let (summary, timeline) = traced(folder.path(), &text("timeline", 300, 200, 0));
    assert_eq!(timeline.stages.iter().map(|s| s.kind.as_str()).collect::<Vec<_>>(), ["count", "square", "sink"]);
    for (place, kind) in ["count", "square", "sink"].iter().enumerate() {
        let cells = timeline.rows.iter().map(|row| row.stages[place]);
        let reports: Vec<&StageReport> = summary.stages.iter().filter(|s| s.kind == *kind).collect();
        assert_eq!(cells.clone().map(|c| c.items).sum::<u64>(), reports.iter().map(|r| r.items).sum::<u64>());
        let busy: f64 = cells.map(|c| c.busy_s).sum();
        let expected: f64 = reports.iter().map(|r| r.busy_s).sum();
        assert!((busy - expected).abs() < 0.01, "{kind}: {busy} s in the timeline, {expected} s in the reports");
    }
    assert_eq!(timeline.rows.iter().map(|row| row.epoch).max(), Some(2));
}

/// Runs a config with a trace in `folder/trace.json`.
fn traced(folder: &std::path::Path, text: &str) -> (Summary, Timeline) {
    let registry = registry();
    let plan = check(&config(text).unwrap(), &registry).unwrap_or_else(|faults| panic!("{faults:?}"));
    let dir = RunDir::open(&folder.join("run"), false, false).unwrap();
    let mut pipeline = Pipeline::build(plan, &registry, dir, "test", false).unwrap();
    let tracer = Arc::new(Tracer::create(&folder.join("trace.json")).unwrap());
    pipeline.trace(tracer.clone());
    let summary = pipeline.run(&mut |_| {}).unwrap();
    let left_out = Arc::into_inner(tracer).expect("nobody holds the trace any more").finish().unwrap();
    assert_eq!(left_out, 0);
    let timeline = serde_json::from_slice(&std::fs::read(folder.join("run/timeline.json")).unwrap()).unwrap();
    (summary, timeline)
}

/// Microseconds with three decimals, as nanoseconds.
fn nanos(event: &Value, key: &str) -> u64 {
    (event[key].as_f64().unwrap() * 1000.0).round() as u64
}

#[test]
fn a_trace_has_a_track_for_each_worker_spans_that_nest_and_arrows_with_two_ends() {
    for (name, middle) in [("square", "kind = \"square\""), ("helped", "kind = \"helped\"")] {
        let folder = tempfile::tempdir().unwrap();
        let config = text(&format!("trace {name}"), 200, 200, 100).replace("kind = \"square\"", middle);
        traced(folder.path(), &config);
        let bytes = std::fs::read(folder.path().join("trace.json")).unwrap();
        let events: Vec<Value> = serde_json::from_slice(&bytes).unwrap();
        let of = |phase: &'static str| events.iter().filter(move |e| e["ph"] == phase);

        let tracks: BTreeMap<u64, &str> = of("M")
            .filter(|e| e["name"] == "thread_name")
            .map(|e| (e["tid"].as_u64().unwrap(), e["args"]["name"].as_str().unwrap()))
            .collect();
        let names: BTreeSet<&str> = tracks.values().copied().collect();
        let workers = (1..=4).map(|n| format!("{name} {n}")).collect::<Vec<_>>();
        assert!(names.is_superset(&["run", "count", "sink"].into()), "{names:?}");
        assert!(workers.iter().all(|worker| names.contains(worker.as_str())), "{names:?}");

        // On each track every span lies within the one that is open, or after it.
        let mut spans: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
        for span in of("X") {
            let (start, lasts) = (nanos(span, "ts"), nanos(span, "dur"));
            assert!(lasts > 0 && span["name"].as_str().is_some_and(|name| !name.is_empty()));
            spans.entry(span["tid"].as_u64().unwrap()).or_default().push((start, start + lasts));
        }
        for (track, spans) in &mut spans {
            spans.sort_by_key(|(start, end)| (*start, std::cmp::Reverse(*end)));
            let mut open: Vec<u64> = Vec::new();
            for (start, end) in spans {
                open.retain(|outer| outer > start);
                assert!(open.iter().all(|outer| outer >= end), "spans cross on track {}", tracks[track]);
                open.push(*end);
            }
        }

        // Each arrow leaves from a span and ends, later, in a span of another track.
        let ends = |phase: &'static str| -> BTreeMap<&str, (u64, u64)> {
            let all: Vec<_> =
                of(phase).map(|e| (e["id"].as_str().unwrap(), (e["tid"].as_u64().unwrap(), nanos(e, "ts")))).collect();
            let map: BTreeMap<_, _> = all.iter().copied().collect();
            assert_eq!(map.len(), all.len(), "an arrow is drawn twice");
            map
        };
        let (leaves, arrives) = (ends("s"), ends("f"));
        assert_eq!(leaves.keys().collect::<Vec<_>>(), arrives.keys().collect::<Vec<_>>());
        assert_eq!(leaves.len(), 2 * 2 * 200, "two epochs, two edges, 200 items");
        for (id, (from, at)) in &leaves {
            let (to, then) = arrives[id];
            assert!(*from != to && *at <= then, "{id}");
            for (track, at) in [(from, at), (&to, &then)] {
                let inside = spans[track].iter().any(|(start, end)| start <= at && at < end);
                assert!(inside, "{id} ends in no span of {}", tracks[track]);
            }
        }
    }
}
