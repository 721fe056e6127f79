//! Runs that are killed, starved and cheated: the message, the exit code, what is left.
//! The long versions are commands of `faults` (docs/reliability.md).
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use common::{Bench, Ran, samples, write_tar};

#[test]
fn four_kills_and_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let settings = faults::kill::Settings {
        pipeline: env!("CARGO_BIN_EXE_pipeline").into(),
        folder: folder.path().to_owned(),
        kills: 4,
        seed: 5,
        samples: 40,
        onto: faults::kill::Report::default(),
    };
    let report = faults::kill::campaign(&settings, &mut |said| println!("{said}")).unwrap();
    assert!(report.kills >= 4, "{report:?}");
    assert_eq!(report.differences, [""; 0]);
}

/// A run with files that may not grow beyond `blocks` of 512 bytes, as on a disk that is full.
#[cfg(unix)]
fn on_a_full_disk(bench: &Bench, name: &str, blocks: u32, flag: &str) -> Ran {
    bench.write_config();
    let (program, config) = (env!("CARGO_BIN_EXE_pipeline"), bench.path("pipeline.toml"));
    let run = format!("trap '' XFSZ; ulimit -f {blocks}; exec {program:?} run {config:?} --set=run.name={name} {flag}");
    let output = std::process::Command::new("sh").args(["-c", &run]).output().unwrap();
    Ran { dir: bench.path("runs").join(name), output }
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_named_and_the_run_goes_on_when_there_is_room() {
    let bench = Bench::new(40);
    let whole = bench.run("whole", &[]).whole();
    // Too little for a checkpoint (dash counts in 512 bytes).
    let cut = on_a_full_disk(&bench, "cut", 200, "");
    let said = cut.failed(1);
    assert!(said.contains("checkpoints") && said.contains("File too large"), "{said}");
    assert!(said.contains("stage `train` failed in epoch 1"), "{said}");
    let resumed = bench.resume("cut", &[]).whole();
    assert!(resumed.weights() == whole.weights());
}

#[test]
fn a_run_folder_that_cannot_be_made_is_named() {
    let bench = Bench::new(32);
    // A file where a folder should be: this holds for root too, who may write anywhere else.
    std::fs::write(bench.path("file"), "").unwrap();
    let place = format!("run.dir={}", bench.path("file/runs").display());
    let said = bench.run("r", &[&place]).failed(1);
    assert!(said.contains("file/runs") && said.contains("run.dir=DIR"), "{said}");
    // A cache that cannot be made is reported before the run, with what to do.
    let said = bench.run("c", &["stage.encode.cache=file/cache"]).failed(1);
    assert!(said.contains("file/cache") && said.contains("`cache` of stage `encode`"), "{said}");
    assert!(!bench.path("runs/c").exists());
}

/// Starts a run without a cache, and does something to its shards once epoch 2 has begun.
fn meanwhile(bench: &Bench, name: &str, mischief: impl FnOnce()) -> Ran {
    bench.write_config();
    let mut command = common::pipeline();
    command.arg("run").arg(bench.path("pipeline.toml"));
    command.args(["--set=stage.encode.cache=", "--set=run.epochs=40", &format!("--set=run.name={name}")]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("epoch 2")), "there was no second epoch");
    mischief();
    for _ in lines {}
    Ran { dir: bench.path("runs").join(name), output: child.wait_with_output().unwrap() }
}

#[test]
fn a_shard_that_vanishes_or_changes_between_epochs_ends_the_run_by_name() {
    let bench = Bench::new(40);
    let (shard, aside) = (bench.path("a-001.tar"), bench.path("aside"));
    let gone = meanwhile(&bench, "gone", || std::fs::rename(&shard, &aside).unwrap());
    let said = gone.failed(1);
    assert!(said.contains("stage `shards` failed in epoch") && said.contains("a-001.tar"), "{said}");
    assert!(said.contains("No such file"), "{said}");
    let checkpoints = std::fs::read_dir(gone.dir.join("checkpoints")).unwrap().count();
    assert!(checkpoints > 0, "what was trained is kept");
    std::fs::rename(&aside, &shard).unwrap();

    let changed = meanwhile(&bench, "changed", || {
        let mut members = samples(&shard, 100);
        members.truncate(members.len() - 4);
        // Beside and renamed: the bytes under a reader do not change, the next epoch finds others.
        write_tar(&aside, &members);
        std::fs::rename(&aside, &shard).unwrap();
    });
    let said = changed.failed(1);
    assert!(said.contains("a-001.tar` changed while the run used it: it was size="), "{said}");
    assert!(said.contains("--resume"), "{said}");
}

#[test]
fn one_key_in_two_shards_is_two_samples_and_three_times_in_one_is_two_skips() {
    let bench = Bench::new(32);
    let first = samples(&bench.path("a-000.tar"), 16);
    // The same keys again, with other pictures.
    let mut other = samples(&bench.path("a-001.tar"), 16);
    let keys: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
    other.truncate(keys.len());
    let renamed: Vec<(String, Vec<u8>)> =
        other.into_iter().zip(&keys).map(|((_, bytes), name)| ((*name).to_owned(), bytes)).collect();
    write_tar(&bench.path("a-001.tar"), &renamed);
    let run = bench.run("two", &["run.epochs=1", "stage.batch.size=4"]).whole();
    assert!(run.skipped().is_empty(), "{:?}", run.skipped());
    let batch = run.stages().into_iter().find(|stage| stage["kind"] == "batch").unwrap();
    assert_eq!(batch["items"].as_u64().unwrap() * 4, 32, "both were used: {batch}");

    // A question about such a key has no answer.
    let key = keys[0].split('.').next().unwrap();
    let question = format!(r#"{{"image_key":"{key}","captions":["a","b"],"correct":0,"kind":"positive"}}"#);
    std::fs::write(bench.path("questions.jsonl"), question).unwrap();
    let config = bench.config_text()
        + "[[eval]]\nkind = \"mcq\"\nname = \"asked\"\nfile = \"questions.jsonl\"\nimages = [\"a-{000..001}.tar\"]\n";
    std::fs::write(bench.path("pipeline.toml"), config).unwrap();
    let said = bench.run("asked", &["run.epochs=1", "stage.batch.size=4"]).failed(1);
    for word in ["a-000.tar", "a-001.tar", key, "must be unique"] {
        assert!(said.contains(word), "{word} is not in\n{said}");
    }

    // Three times in one shard: the first counts, the others are two lines.
    let bench = Bench::new(32);
    let mut members = samples(&bench.path("a-000.tar"), 100);
    let sample: Vec<_> = members.iter().filter(|(name, _)| name.starts_with(key)).cloned().collect();
    for _ in 0..2 {
        members.extend(samples(&bench.path("a-001.tar"), 1));
        members.extend(sample.clone());
    }
    write_tar(&bench.path("a-000.tar"), &members);
    let run = bench.run("thrice", &["run.epochs=1", "stage.batch.size=4"]).whole();
    let twice: Vec<_> = run.skipped().into_iter().filter(|line| line["key"] == key).collect();
    assert_eq!(twice.len(), 2, "{:?}", run.skipped());
    assert!(twice.iter().all(|line| line["reason"].as_str().unwrap().contains("came before")), "{twice:?}");
    assert_ne!(twice[0]["index"], twice[1]["index"]);
}
