//! Same seed, same bytes: whatever the workers, the channel sizes, the cache.
#![allow(clippy::unwrap_used)]

mod common;

use common::Bench;

#[test]
fn workers_channels_and_caches_change_nothing() {
    let bench = Bench::new(80);
    let first = bench.run("first", &[]).whole();
    assert_eq!(first.kinds(1)[0], "shards", "the first run reads the tars");
    assert_eq!(first.kinds(2)[0], "encode", "from the second epoch on the cache is the source");

    let warm = bench.run("warm", &[]).whole();
    assert_eq!(warm.kinds(1)[0], "encode", "in the next run, decode and encode do not run");

    let wide = bench
        .run(
            "wide",
            &[
                "stage.encode.cache=other-cache",
                "stage.decode.workers=5",
                "stage.shards.capacity=1",
                "stage.decode.capacity=1",
                "stage.batch.capacity=1",
                "stage.captions.capacity=9",
                "run.edge_bytes=20000",
            ],
        )
        .whole();
    assert_eq!(wide.kinds(1)[0], "shards");
    assert!(first.weights() == warm.weights(), "a warm cache changed the weights");
    assert!(first.weights() == wide.weights(), "worker counts or channel sizes changed the weights");

    std::fs::create_dir(bench.path("moved")).unwrap();
    for shard in ["a-000.tar", "a-001.tar"] {
        std::fs::copy(bench.path(shard), bench.path("moved").join(shard)).unwrap();
    }
    let moved = bench.run("moved", &["stage.shards.urls=moved/a-{000..001}.tar"]).whole();
    assert!(first.weights() == moved.weights(), "the same shards in another folder changed the weights");

    let seeded = bench.run("seeded", &["run.seed=4"]).whole();
    assert!(first.weights() != seeded.weights(), "another seed must draw other captions");
}

#[test]
fn a_resumed_run_ends_like_one_that_was_never_stopped() {
    let bench = Bench::new(80);
    let whole = bench.run("whole", &["run.epochs=3"]).whole();
    let part = bench.run("part", &["run.epochs=1"]).whole();
    assert!(whole.weights() != part.weights());
    let config = bench.path("pipeline.toml");
    let resumed = common::pipeline()
        .args(["run", config.to_str().unwrap(), "--resume", "--set=run.name=part", "--set=run.epochs=3"])
        .output()
        .unwrap();
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    assert!(whole.weights() == part.weights(), "the resumed run ended with other weights");
}

#[test]
fn what_the_visual_guard_sees_depends_on_nothing_but_the_batch() {
    let bench = Bench::new(80)
        .set("stage.captions.guards", r#"["captions", "implied", "people", "distance", "visual"]"#)
        .set("stage.captions.visual.share", "0.3");
    let whole = bench.run("whole", &["run.epochs=3"]).whole();
    let wide = ["run.epochs=3", "stage.encode.cache=other", "stage.decode.workers=5", "stage.captions.capacity=9"];
    assert!(whole.weights() == bench.run("wide", &wide).whole().weights());
    // After a resume the guard uses the starting checkpoint, not the trained one, and meets the
    // things in another order.
    let part = bench.run("part", &["run.epochs=1"]).whole();
    bench.resume("part", &["run.epochs=3"]).whole();
    assert!(whole.weights() == part.weights(), "the resumed run ended with other weights");
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_and_the_run_goes_on() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let bench = Bench::new(80).set("run.epochs", "6");
    let whole = bench.run("whole", &[]).whole();

    let config = bench.path("pipeline.toml");
    let arguments = ["run", config.to_str().unwrap(), "--set=run.name=cut", "--set=run.epochs=6"];
    let mut child = common::pipeline().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // In the second epoch, so that there is something to save and something left to do.
    assert!(lines.any(|line| line.unwrap().starts_with("epoch 2")), "the run ended early");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    for _ in lines {}
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted; checkpoint") && said.contains("--resume"), "{said}");

    let resumed = common::pipeline().args(arguments).arg("--resume").output().unwrap();
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    let weights = std::fs::read(bench.path("runs/cut/export/model.safetensors")).unwrap();
    assert!(weights == whole.weights(), "the resumed run ended with other weights");
}
