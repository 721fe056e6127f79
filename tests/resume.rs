//! `--resume` and `--force`: what they go on with, and what they refuse.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{Bench, Ran, samples, write_tar};

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn other_settings_and_other_data_are_refused_by_name() {
    let bench = Bench::new(40).set("run.epochs", "1");
    let whole = bench.run("r", &[]).whole();
    let before = whole.weights();

    let said = bench.resume("r", &["run.seed=4", "stage.batch.size=8", "stage.train.lr=1e-4"]).failed(1);
    for word in ["run.seed was 3, is 4", "stage.batch.size was 16, is 8", "stage.train.lr was 0.001, is 0.0001"] {
        assert!(said.contains(word), "{word} is not in\n{said}");
    }
    assert!(said.contains("--force") && said.contains("run.on_change=accept"), "{said}");
    assert!(whole.weights() == before, "a refused resume changed something");
    let config = std::fs::read_to_string(whole.dir.join("pipeline.toml")).unwrap();
    assert!(config.contains("seed = 3"), "the config of the run was overwritten");

    let said = bench.resume("r", &["stage.captions.guards=[]"]).failed(1);
    assert!(said.contains("stage.captions.guards"), "{said}");
    let said = bench.resume("r", &["stage.captions.tng.full_below=0.5"]).failed(1);
    assert!(said.contains("stage.captions.tng.full_below was 0.7, is 0.5"), "{said}");
    // A rate that falls with the epochs cannot have more of them.
    let said = bench.resume("r", &["run.epochs=2", "stage.train.schedule=cosine"]).failed(1);
    assert!(said.contains("stage.train.schedule") && said.contains("run.epochs"), "{said}");

    // What has no say in the result may change.
    let free =
        ["stage.decode.workers=4", "stage.batch.capacity=2", "stage.encode.cache=elsewhere", "run.edge_bytes=50000"];
    bench.resume("r", &free).whole();

    // Another version of a shard.
    let shard = bench.path("a-001.tar");
    let mut members = samples(&shard, 100);
    members.truncate(members.len() - 4);
    write_tar(&shard, &members);
    let said = bench.resume("r", &["run.epochs=2"]).failed(1);
    assert!(said.contains("a-001.tar` was size="), "{said}");
    let accepted = bench.resume("r", &["run.epochs=2", "run.on_change=accept"]).whole();
    assert!(accepted.stderr().contains("will not end as one that was never stopped"), "{}", accepted.stderr());
    let said = bench.resume("r", &["run.epochs=1"]).failed(1);
    assert!(said.contains("has done 2 epochs"), "{said}");
}

#[test]
fn fixed_captions_and_results_are_exact_from_the_middle_of_the_first_epoch() {
    let bench = Bench::new(80).set("run.epochs", "3").set("stage.captions.mode", "fixed");
    let bench = bench.set("stage.train.checkpoint_steps", "1").set("stage.train.keep", "100");
    let whole = bench.run("whole", &[]).whole();
    // Two moments: in the first epoch, when no text of it is on disk yet; and in the second,
    // with lines in results.jsonl of an epoch whose checkpoint was not written any more.
    for (name, last, fixed) in [("first", "e0000-s000002", false), ("second", "e0001-s000003", true)] {
        let cut = bench.path("runs").join(name);
        copy(&whole.dir, &cut);
        std::fs::remove_dir_all(cut.join("export")).unwrap();
        for entry in std::fs::read_dir(cut.join("checkpoints")).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_str().unwrap() > last {
                std::fs::remove_dir_all(path).unwrap();
            }
        }
        if !fixed {
            std::fs::remove_file(cut.join("fixed-captions.jsonl")).unwrap();
        }
        let resumed = bench.resume(name, &[]).whole();
        assert!(resumed.weights() == whole.weights(), "{name}: other weights");
        let results = |run: &Ran| std::fs::read_to_string(run.dir.join("results.jsonl")).unwrap();
        assert_eq!(results(&resumed), results(&whole), "{name}");
    }
}

#[test]
fn checkpoints_of_which_none_is_whole_are_not_passed_over() {
    let bench = Bench::new(40).set("run.epochs", "2");
    let run = bench.run("r", &[]).whole();
    let mut torn = 0;
    for entry in std::fs::read_dir(run.dir.join("checkpoints")).unwrap() {
        std::fs::write(entry.unwrap().path().join("weights.safetensors"), "torn").unwrap();
        torn += 1;
    }
    let said = bench.resume("r", &[]).failed(1);
    assert!(said.contains(&format!("none of the {torn} checkpoints")) && said.contains("--force"), "{said}");
    assert!(run.dir.join("export").exists(), "nothing is touched");
}

#[test]
fn force_keeps_the_old_run_until_the_new_one_has_begun() {
    let bench = Bench::new(40).set("run.epochs", "1");
    let run = bench.run("r", &[]).whole();
    let before = run.weights();
    let said = bench.force("r", &["model.weights=nowhere"]).failed(2);
    assert!(said.contains("nowhere"), "{said}");
    assert!(run.weights() == before, "the old run is gone");
    // A kill between setting the old run aside and beginning the new one.
    let aside = bench.path("runs/.r.replaced");
    std::fs::rename(&run.dir, &aside).unwrap();
    std::fs::create_dir(&run.dir).unwrap();
    let said = bench.run("r", &[]).failed(1);
    assert!(said.contains("exists already") && run.weights() == before && !aside.exists(), "{said}");

    bench.force("r", &["run.seed=9"]).whole();
    assert!(run.weights() != before && !aside.exists());
}

#[cfg(unix)]
#[test]
fn two_processes_do_not_share_a_run_folder() {
    let bench = Bench::new(40).set("run.epochs", "1");
    bench.run("r", &[]).whole();
    let lock = std::fs::File::open(bench.path("runs/r/.lock")).unwrap();
    lock.lock().unwrap();
    for again in [Bench::resume, Bench::force] {
        let said = again(&bench, "r", &[]).failed(1);
        assert!(said.contains("another process is running in"), "{said}");
    }
}
