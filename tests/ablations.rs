//! `pipeline audit` and `pipeline sweep` on a small part of the embedded world.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Bench, pipeline, root};

fn run(bench: &Bench, arguments: &[&str]) -> (i32, String, String) {
    let config = bench.path("pipeline.toml");
    if !config.exists() {
        std::fs::write(&config, bench.config_text()).unwrap();
    }
    let output = pipeline().current_dir(bench.folder.path()).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn an_audit_counts_false_captions_by_guard() {
    let bench = Bench::new(64);
    let train = root().join("assets/world/train-000.tar");
    let arguments = ["audit", "pipeline.toml", "--shards", train.to_str().unwrap(), "--json", "audit.jsonl"];
    let (code, out, err) = run(&bench, &arguments);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("| no guard |") && out.contains("| all, distance 4 |"), "{out}");
    assert!(out.contains("64 captions of 4 batches; nothing is known of 0 of their images"), "{out}");
    let lines = std::fs::read_to_string(bench.path("audit.jsonl")).unwrap();
    let rate = |variant: &str| -> f64 {
        let lines = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let mut found = lines.filter(|line| line["metric"] == "false_absence" && line["part"] == variant);
        found.next().unwrap()["value"].as_f64().unwrap()
    };
    // What other captions of the image tell keeps false captions away.
    assert!(rate("known captions") < rate("no guard"), "{lines}");
    // What the picture shows does, too.
    assert!(rate("visual") < rate("no guard"), "{lines}");
    assert!(rate("all, visual 0.3") < rate("all, distance 4"), "{lines}");

    // Without a truth, what the captions tell that the generator is not shown.
    let (code, out, err) = run(&bench, &["audit", "pipeline.toml", "--held-out", "--json", "held-out.jsonl"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("64 captions of 4 batches; nothing is known of 0 of their images"), "{out}");
    let held_out = std::fs::read_to_string(bench.path("held-out.jsonl")).unwrap();
    assert!(held_out != lines && held_out.contains("\"all, visual 0.3\""), "{held_out}");

    let (code, _, err) = run(&bench, &["audit", "pipeline.toml", "--shards", "a-000.tar"]);
    assert_eq!(code, 0, "{err}");
    std::fs::write(bench.path("t.csv"), "image,present\nelsewhere.jpg,dog;cat\nother.jpg,boat\n").unwrap();
    let (code, _, err) = run(&bench, &["audit", "pipeline.toml", "--truth", "t.csv"]);
    assert_eq!(code, 1);
    assert!(err.contains("nothing is known of any of 64 images"), "{err}");
}

#[test]
fn a_sweep_runs_goes_on_and_shows_all_in_one_table() {
    let bench = Bench::new(48);
    let shard = bench.path("a-000.tar").display().to_string();
    let text =
        bench.config_text() + &format!("\n[[eval]]\nkind = \"retrieval\"\nname = \"own\"\nimages = \"{shard}\"\n");
    std::fs::write(bench.path("pipeline.toml"), text).unwrap();
    let sweep = "base = \"pipeline.toml\"\ndir = \"swept\"\nseeds = [1, 2]\nset = [\"run.epochs=1\", \"stage.train.log_every=1\"]\n[grid]\n\"stage.train.lr\" = [1e-3, 2e-3]\n";
    std::fs::write(bench.path("sweep.toml"), sweep).unwrap();
    let (code, out, err) = run(&bench, &["sweep", "sweep.toml"]);
    assert_eq!(code, 0, "{out}\n{err}");
    assert!(out.contains("run 4 of 4: lr=0.002_seed=2"), "{out}");
    // Without a terminal the runs tell how they do, in lines; their tables are in their folders.
    assert!(err.matches("loss=").count() >= 4 && !out.contains("items/s") && !out.contains("run folder"), "{err}");
    let table = std::fs::read_to_string(bench.path("swept/sweep.md")).unwrap();
    for part in
        ["| lr=0.001 | 2 |", "| lr=0.002 | 2 |", "±", "pipeline sweep sweep.toml", "own-text_to_image_r_5-all.svg"]
    {
        assert!(table.contains(part), "{part} is not in\n{table}");
    }
    assert!(
        std::fs::read_to_string(bench.path("swept/own-text_to_image_r_5-all.svg")).unwrap().matches("<circle").count()
            == 4
    );
    // Header, 6 measurements of 4 runs before and after.
    assert_eq!(std::fs::read_to_string(bench.path("swept/sweep.csv")).unwrap().lines().count(), 1 + 6 * 4 * 2);

    // The table may have a folder of its own.
    std::fs::write(bench.path("sweep.toml"), format!("results = \"pages/own\"\n{sweep}")).unwrap();
    let (code, out, err) = run(&bench, &["sweep", "sweep.toml", "--table"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("in pages/own"), "{out}");
    assert_eq!(std::fs::read_to_string(bench.path("pages/own/sweep.md")).unwrap(), table);
    assert!(bench.path("pages/own/own-text_to_image_r_5-all.svg").exists());
    std::fs::write(bench.path("sweep.toml"), sweep).unwrap();

    // What is whole is kept; what is not, is run.
    let kept = bench.path("swept/lr=0.001_seed=1/export/model.safetensors");
    let time = kept.metadata().unwrap().modified().unwrap();
    std::fs::remove_dir_all(bench.path("swept/lr=0.002_seed=2")).unwrap();
    let (code, out, _) = run(&bench, &["sweep", "sweep.toml", "--list"]);
    assert_eq!((code, out.matches("done").count(), out.matches("to do").count()), (0, 3, 1), "{out}");
    let (code, out, err) = run(&bench, &["sweep", "sweep.toml", "--quiet"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(!out.contains("run 4 of 4") && out.contains("| lr=0.002 | 2 |"), "{out}");
    std::fs::remove_dir_all(bench.path("swept/lr=0.002_seed=2")).unwrap();
    let (code, out, err) = run(&bench, &["sweep", "sweep.toml"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("run 4 of 4") && !out.contains("run 1 of 4"), "{out}");
    assert_eq!(kept.metadata().unwrap().modified().unwrap(), time);
    assert_eq!(std::fs::read_to_string(bench.path("swept/sweep.md")).unwrap(), table, "the same seeds, the same table");

    // Another base under the same names is reported, not mixed in.
    std::fs::write(bench.path("sweep.toml"), sweep.replace("epochs=1", "epochs=2")).unwrap();
    let (code, _, err) = run(&bench, &["sweep", "sweep.toml"]);
    assert_eq!(code, 1);
    assert!(err.contains("with other settings"), "{err}");
    std::fs::write(bench.path("sweep.toml"), sweep.replace("stage.train.lr", "stage.train.rl")).unwrap();
    let (code, _, err) = run(&bench, &["sweep", "sweep.toml"]);
    assert_eq!(code, 2);
    assert!(err.contains("did you mean") || err.contains("no option `rl`"), "{err}");
}

/// A SIGTERM lets the run that goes on save; it is not taken for whole, and goes on from there.
#[cfg(unix)]
#[test]
fn a_sweep_that_is_stopped_goes_on() {
    let bench = Bench::new(48);
    bench.write_config();
    let sweep = "base = \"pipeline.toml\"\ndir = \"swept\"\nseeds = [1, 2]\nset = [\"run.epochs=30\"]\n";
    std::fs::write(bench.path("sweep.toml"), sweep).unwrap();
    let child = pipeline()
        .current_dir(bench.folder.path())
        .args(["sweep", "sweep.toml"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let names = || std::fs::read_dir(bench.path("swept")).into_iter().flatten().map(|entry| entry.unwrap().path());
    let begun = || names().any(|run| run.join("stages.json").exists());
    for _ in 0..1200 {
        if begun() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(begun(), "no epoch in a minute");
    let kill = std::process::Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("to continue: pipeline sweep sweep.toml"), "{stderr}");
    let (_, out, _) = run(&bench, &["sweep", "sweep.toml", "--list"]);
    assert_eq!(out.matches("to do").count(), 2, "{out}");
    let (code, out, err) = run(&bench, &["sweep", "sweep.toml"]);
    assert_eq!(code, 0, "{err}");
    assert!(err.contains("resumed from") && out.contains("run 2 of 2"), "{out}{err}");
}
