//! The stage of docs/extending.md: it compiles, `check` knows it, and it runs between two others.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "../docs/extending/stage.rs"]
mod plain_case;
#[path = "../src/stages.rs"]
#[allow(dead_code)]
mod stages;

use std::sync::Arc;

use common::root;
use pipeline_engine::{Config, Pipeline, RunDir, check};

#[test]
fn a_stage_of_ones_own_is_a_file_and_a_line() {
    let registry = Arc::new(stages::registry().stage::<plain_case::PlainCase>());
    let text = std::fs::read_to_string(root().join("pipeline.toml")).unwrap();
    let (before, after) = text.split_once("[[stage]]\nkind = \"tokenize\"").unwrap();
    let own = "[[stage]]\nkind = \"plain-case\"\nworkers = 2\n\n";
    let folder = tempfile::tempdir().unwrap();
    let path = root().join("pipeline.toml");
    let config = |text: String| Config::parse(&path.display().to_string(), text, root()).unwrap();
    let misspelt = config(format!("{before}{}[[stage]]\nkind = \"tokenize\"{after}", own.replace("workers", "wokers")));
    let faults = check(&misspelt, &registry).map(|_| ()).unwrap_err();
    assert!(faults[0].to_string().contains("did you mean `workers`?"), "{faults:?}");

    let mut text = format!("{before}{own}[[stage]]\nkind = \"tokenize\"{after}");
    text = text
        .replace("epochs = 40", "epochs = 1")
        .replace("train-{000..003}", "train-000")
        .replace("preset = \"best\"", "");
    text = text.split("[[eval]]").next().unwrap().to_owned();
    let cache = folder.path().join("features").display().to_string();
    text = text.replace("cache = \".cache/features\"", &format!("cache = {cache:?}"));
    let plan = check(&config(text), &registry).map_err(|faults| format!("{faults:?}")).unwrap();
    let dir = RunDir::open(&folder.path().join("run"), false, false).unwrap();
    Pipeline::build(plan, &registry, dir, "a test", false).unwrap().run(&mut |_| {}).unwrap();
    let stages = std::fs::read_to_string(folder.path().join("run/stages.json")).unwrap();
    assert!(stages.contains("\"kind\": \"plain-case\""), "{stages}");
}
