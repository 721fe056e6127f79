//! What a run shows of itself: log, trace, timeline, TensorBoard, report.
#![allow(clippy::unwrap_used)]

mod common;

use common::Bench;
use serde_json::Value;

#[test]
fn a_run_reports_what_it_did() {
    let bench = Bench::new(48);
    let trace = bench.path("trace.json");
    let ran = bench.run_with("watched", &[], &["--log", "json", "--trace", trace.to_str().unwrap()]).whole();

    // Standard error is JSON, an object a line; standard output is the result alone.
    let events: Vec<Value> =
        ran.stderr().lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect();
    let of = |message: &str| events.iter().filter(|e| e["message"] == message).count();
    assert_eq!((of("run started"), of("epoch started"), of("epoch done")), (1, 2, 2));
    assert!(of("stage") > 8 && of("train") == 0, "{events:?}");
    assert!(!ran.stdout().contains("items/s"), "{}", ran.stdout());

    // Names of samples and steps, parts of a step, on tracks of their own.
    let trace: Vec<Value> = serde_json::from_slice(&std::fs::read(trace).unwrap()).unwrap();
    let named = |name: &str| trace.iter().filter(|e| e["ph"] == "X" && e["name"] == name).count();
    assert_eq!((named("forward"), named("backward"), named("update")), (6, 6, 6), "two epochs of three steps");
    assert!(named("step 1") >= 8, "a step has a span in batch, pairs, captions, tokenize and train");
    assert_eq!(named("epoch 1, from shards") + named("epoch 2, from encode"), 2);
    let key = |e: &Value| e["name"].as_str().is_some_and(|name| name.starts_with("train-"));
    assert!(trace.iter().any(|e| e["ph"] == "X" && key(e)), "spans are named by the keys of samples");

    // The learning rate stands beside the loss, in lines of the same fields.
    let results = ran.results();
    let lr: Vec<f64> = results.iter().filter(|m| m["metric"] == "lr").map(|m| m["value"].as_f64().unwrap()).collect();
    assert_eq!(lr, [1e-3, 1e-3]);

    let timeline: Value = serde_json::from_slice(&std::fs::read(ran.dir.join("timeline.json")).unwrap()).unwrap();
    let steps: f64 =
        timeline["rows"].as_array().unwrap().iter().filter_map(|row| row["gauges"]["loss"][1].as_f64()).sum();
    assert_eq!(steps, 6.0);
    let stages = ran.stages();
    let train = stages.iter().find(|s| s["kind"] == "train").unwrap();
    let parts: f64 = train["parts"].as_object().unwrap().values().map(|v| v.as_f64().unwrap()).sum();
    assert!(parts > 0.0 && parts <= train["busy_s"].as_f64().unwrap() * 1.001, "{train}");
    assert_eq!(std::fs::read_dir(ran.dir.join("tensorboard")).unwrap().count(), 1);

    let report = std::fs::read_to_string(ran.dir.join("report.html")).unwrap();
    assert!(report.matches("data:image/jpeg;base64,").count() >= 8, "thumbnails of images and neighbours");
    for part in ["Where a step's time went", "forward", "Generated captions", "cosine"] {
        assert!(report.contains(part), "{part} is not in the report");
    }
    assert!(report.len() < 600_000, "{} bytes", report.len());
}

#[test]
fn what_cannot_be_watched_is_reported_before_anything_runs() {
    let bench = Bench::new(16);
    let ran = bench.run_with("nowhere", &[], &["--trace", "/nowhere/trace.json"]);
    assert!(ran.failed(1).contains("cannot write /nowhere/trace.json"), "{}", ran.stderr());
    let ran = bench.run("metrics", &["run.metrics=\"localhost\""]);
    assert!(ran.failed(1).contains("run.metrics = \"localhost\" is not an address"), "{}", ran.stderr());
    assert!(!ran.dir.exists(), "a run that never began leaves no folder");
}
