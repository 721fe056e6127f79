//! `hf:owner/name` in every command that takes a checkpoint.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::Output;

use common::{Bench, pipeline};

/// One command of each kind that takes a checkpoint, with `NAME` for it.
const COMMANDS: [&[&str]; 6] = [
    &["inspect", "NAME"],
    &["init", "--weights", "NAME", "--shards", "a-{000..001}.tar", "--out", "from-the-hub.toml"],
    &["embed", "--device", "cpu", "--model", "NAME", "--text", "no kite"],
    &["convert", "NAME", "converted"],
    &[
        "eval",
        "--device",
        "cpu",
        "--model",
        "NAME",
        "--against",
        "NAME",
        "--benchmark",
        "retrieval",
        "--images",
        "a-{000..001}.tar",
    ],
    &["run", "--set=model.weights=NAME", "--set=run.name=hub", "--set=run.epochs=1"],
];

fn call(folder: &Path, arguments: &[&str], name: &str, environment: &[(&str, &str)]) -> Output {
    let arguments = arguments.iter().map(|argument| argument.replace("NAME", name));
    let mut command = pipeline();
    for variable in ["HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE"] {
        command.env_remove(variable);
    }
    command.args(arguments).envs(environment.iter().copied()).current_dir(folder).output().unwrap()
}

#[cfg(not(feature = "hub"))]
#[test]
fn a_build_that_does_not_fetch_says_so_in_a_sentence() {
    let bench = Bench::new(32);
    bench.write_config();
    for arguments in COMMANDS {
        let output = call(bench.folder.path(), arguments, "hf:me/clip", &[]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        // `run` finds it where `check` does: a fault of the config, with its place.
        let is_config = arguments[0] == "run";
        assert_eq!(output.status.code(), Some(if is_config { 2 } else { 1 }), "{arguments:?}: {stderr}");
        let sentence = "hf:me/clip is on the Hugging Face hub, and this build does not fetch; build with \
                        `--features hub`, or give the path of a downloaded folder";
        assert_eq!(stderr.lines().filter(|line| line.contains(sentence)).count(), 1, "{arguments:?}: {stderr}");
        assert!(is_config || stderr.lines().count() == 1, "{arguments:?}: {stderr}");
    }
    assert!(!bench.path("runs/hub").exists() && !bench.path("converted").exists());
}

#[cfg(feature = "hub")]
#[path = "../crates/hub/tests/server/mod.rs"]
mod server;

#[cfg(feature = "hub")]
#[test]
fn every_command_takes_a_checkpoint_from_the_hub() {
    let files: Vec<(String, Vec<u8>)> = std::fs::read_dir(common::root().join("assets/clip-world"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap()))
        .collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let hub = server::Server::new(&files);
    let bench = Bench::new(32);
    bench.write_config();
    let here = bench.folder.path();
    let home = bench.path("home");
    let environment = [("HF_HOME", home.to_str().unwrap()), ("HF_ENDPOINT", &hub.endpoint)];
    let local = common::root().join("assets/clip-world");

    for arguments in COMMANDS {
        let output = call(here, arguments, "hf:me/clip", &environment);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        // What a command says of features and scores is what it says of the same folder on this disk.
        if ["embed", "eval"].contains(&arguments[0]) {
            let of_folder = call(here, arguments, local.to_str().unwrap(), &[]);
            let line = |output: &Output| String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(line(&output), line(&of_folder), "{arguments:?}");
        }
    }
    let asked = hub.asked();
    let weights = asked.iter().filter(|path| path.starts_with("/store/")).count();
    assert!(weights <= 2, "the weights came once, after one look at their size: {asked:?}");

    // The name stays in what was written, and the cards say where it all began.
    let config = std::fs::read_to_string(bench.path("from-the-hub.toml")).unwrap();
    assert!(config.contains("weights = \"hf:me/clip\""), "{config}");
    let output = call(here, &["check", "from-the-hub.toml"], "", &[]);
    assert!(output.status.success(), "{output:?}");
    for card in ["converted/MODEL_CARD.md", "runs/hub/export/MODEL_CARD.md"] {
        let card = std::fs::read_to_string(bench.path(card)).unwrap();
        assert!(card.starts_with("# me/clip, "), "{card}");
    }

    // Once fetched, nobody need be there; a name that is not known is a sentence, and nothing is written.
    std::fs::remove_file(bench.path("from-the-hub.toml")).unwrap();
    std::fs::remove_dir_all(bench.path("converted")).unwrap();
    std::fs::remove_dir_all(bench.path("runs")).unwrap();
    let offline = [("HF_HOME", home.to_str().unwrap()), ("HF_HUB_OFFLINE", "1")];
    assert!(call(here, COMMANDS[0], "hf:me/clip", &offline).status.success());
    for (name, environment, part) in [
        ("hf:me/other", environment, "404"),
        ("hf:me/clip@no-such", environment, "no such repository or revision"),
        ("hf:me/other", offline, "HF_HUB_OFFLINE"),
        ("hf:a/b/c", environment, "hf:owner/name"),
    ] {
        for arguments in COMMANDS {
            let output = call(here, arguments, name, &environment);
            let stderr = String::from_utf8(output.stderr).unwrap();
            // What needs no network to see is a fault of the config for `run`.
            let codes: &[Option<i32>] = if arguments[0] == "run" { &[Some(1), Some(2)] } else { &[Some(1)] };
            assert!(codes.contains(&output.status.code()), "{arguments:?} {name}: {stderr}");
            assert!(stderr.contains(part), "{arguments:?} {name}: {stderr}");
            assert!(!stderr.contains("panicked"), "{arguments:?} {name}: {stderr}");
        }
    }
    for written in ["from-the-hub.toml", "converted", "runs/hub/export"] {
        assert!(!bench.path(written).exists(), "{written}");
    }
}
