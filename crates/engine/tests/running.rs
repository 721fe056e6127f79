//! Epochs: order, bounds, failures, stages that start an epoch by themselves.
#![allow(clippy::unwrap_used)]

mod common;

use common::{run, seen};
use pipeline_engine::RunError;

fn pipeline(tag: &str, count: &str, square: &str, sink: &str, epochs: u32) -> String {
    format!(
        "[run]\nepochs = {epochs}\n[[stage]]\nkind = \"count\"\n{count}\n[[stage]]\nkind = \"square\"\n{square}\n\
         [[stage]]\nkind = \"sink\"\ntag = \"{tag}\"\n{sink}\n"
    )
}

#[test]
fn order_is_kept_whatever_the_workers_and_the_room() {
    let expected: Vec<u64> = (0..500).map(|n| n * n).collect();
    for (workers, room) in [(1, 1), (2, 1), (8, 1), (8, 64), (64, 3)] {
        let tag = format!("order {workers} {room}");
        let count = format!("n = 500\ncapacity = {room}");
        let square = format!("workers = {workers}\njitter_us = 300\ncapacity = {room}");
        let ran = run(&tag, &pipeline(&tag, &count, &square, "", 2));
        let summary = ran.result.unwrap();
        for epoch in 1..=2 {
            assert_eq!(seen(&tag, epoch).unwrap(), expected, "{tag}, epoch {epoch}");
        }
        let square = summary.stages.iter().find(|s| s.kind == "square" && s.epoch == 2).unwrap();
        assert_eq!((square.items, square.workers), (500, workers));
        assert_eq!(summary.stages.iter().filter(|s| s.limiting).count(), 2, "one limiting stage an epoch");
    }
}

#[test]
fn items_larger_than_the_byte_budget_still_pass() {
    let tag = "budget";
    let text = pipeline(tag, "n = 50\nweight = 5000\ncapacity = 64", "workers = 4", "", 1)
        .replace("[run]", "[run]\nedge_bytes = 1024");
    run(tag, &text).result.unwrap();
    assert_eq!(seen(tag, 1).unwrap().len(), 50);
}

#[test]
fn nothing_is_an_epoch_too() {
    run("empty", &pipeline("empty", "n = 0", "workers = 3", "", 1)).result.unwrap();
    assert!(seen("empty", 1).unwrap().is_empty());
}

#[test]
fn the_first_error_stops_the_run_and_names_its_stage() {
    for workers in [1, 4] {
        let tag = format!("fails {workers}");
        let ran = run(&tag, &pipeline(&tag, "n = 100000", &format!("workers = {workers}\nfail_at = 77"), "", 3));
        let message = ran.result.unwrap_err().to_string();
        assert_eq!(message, "stage `square` failed in epoch 1: cannot square 77");
        assert_eq!(seen(&tag, 1), None, "a cut stream must not look like a whole epoch");
    }
}

#[test]
fn a_panic_is_an_error_with_a_name() {
    for workers in [1, 4] {
        let tag = format!("panics {workers}");
        let ran = run(&tag, &pipeline(&tag, "n = 100000", &format!("workers = {workers}\npanic_at = 5"), "", 1));
        let message = ran.result.unwrap_err().to_string();
        assert!(message.starts_with("stage `square` failed in epoch 1: it panicked (no square of 5)"), "{message}");
        assert_eq!(seen(&tag, 1), None);
    }
}

/// count → helped → sink: helpers of a stage work on pieces that it cuts itself.
fn helped(tag: &str, count: &str, helped: &str, epochs: u32) -> String {
    pipeline(tag, count, helped, "", epochs).replace("kind = \"square\"", "kind = \"helped\"")
}

#[test]
fn helpers_keep_the_order_too() {
    let expected: Vec<u64> = (0..501).collect();
    for (workers, room) in [(1, 1), (2, 1), (8, 64)] {
        let tag = format!("helpers {workers} {room}");
        let text = format!("workers = {workers}\njitter_us = 300\ncapacity = {room}");
        let ran = run(&tag, &helped(&tag, &format!("n = 501\ncapacity = {room}"), &text, 2));
        let summary = ran.result.unwrap();
        assert_eq!((seen(&tag, 1).unwrap(), seen(&tag, 2).unwrap()), (expected.clone(), expected.clone()), "{tag}");
        let helped = summary.stages.iter().find(|s| s.kind == "helped" && s.epoch == 2).unwrap();
        assert_eq!((helped.items, helped.workers), (501, workers));
    }
}

#[test]
fn what_stops_a_helper_stops_the_run_at_once() {
    for (number, workers) in [1, 4].into_iter().enumerate() {
        let ends = [("fail_at", "cannot help 77"), ("panic_at", "it panicked (no help for 77)")];
        for (key, message) in ends {
            let tag = format!("{key} {number}");
            // Far more numbers than go by before the helpers are asked to stop.
            let text = helped(&tag, "n = 1000000", &format!("workers = {workers}\n{key} = 77"), 1);
            let error = run(&tag, &text).result.unwrap_err().to_string();
            assert!(error.starts_with(&format!("stage `helped` failed in epoch 1: {message}")), "{error}");
            assert_eq!(seen(&tag, 1), None);
        }
    }
}

#[test]
fn so_is_a_panic_on_the_engines_own_thread() {
    for (early, word) in [("early = true", "built badly"), ("", "no measure")] {
        let text = pipeline("burst", "n = 3", "", "", 1) + &format!("[[eval]]\nkind = \"burst\"\n{early}\n");
        let message = run("burst", &text).result.unwrap_err().to_string();
        assert!(message.contains(&format!("it panicked ({word})")), "{message}");
    }
}

#[test]
fn an_interrupt_is_no_failure() {
    let ran = run("interrupted", &pipeline("interrupted", "n = 100000", "workers = 2", "interrupt_at = 10", 1));
    assert!(matches!(ran.result, Err(RunError::Interrupted { .. })));
}

#[test]
fn a_stage_that_remembers_starts_the_next_epoch() {
    let tag = "replay";
    let text = pipeline(tag, "n = 20", "workers = 2", "", 3)
        .replace("[[stage]]\nkind = \"sink\"", "[[stage]]\nkind = \"replay\"\n[[stage]]\nkind = \"sink\"");
    let ran = run(tag, &text);
    let summary = ran.result.unwrap();
    assert_eq!(ran.from, ["count", "replay", "replay"]);
    assert_eq!(seen(tag, 1), seen(tag, 3));
    let kinds: Vec<&str> = summary.stages.iter().filter(|s| s.epoch == 2).map(|s| s.kind.as_str()).collect();
    assert_eq!(kinds, ["replay", "sink"], "the stages before it did not run");
}
