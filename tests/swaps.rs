//! Stages and parts exchanged by one line of the config, end to end.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Bench, vulkan};

/// Every axis of the sweeps in tools/sweeps, changed in one run each, must change the weights.
#[test]
fn every_axis_of_the_ablations_changes_the_weights() {
    let bench = Bench::new(64);
    let plain = bench.run("plain", &[]).whole();
    for (name, sets) in [
        ("noise 0", vec!["stage.train.tng.noise=0"]),
        ("noise half", vec!["stage.train.tng.noise=0.5"]),
        ("fixed", vec!["stage.captions.mode=fixed"]),
        ("mirror", vec!["stage.captions.tng.full_source=mirror"]),
        ("neighbour", vec!["stage.captions.tng.full_source=neighbour"]),
        ("few templates", vec!["stage.captions.tng.templates_used=10", "stage.captions.tng.full_templates_used=10"]),
        ("no distance rule", vec![r#"stage.captions.guards=["captions", "implied", "people"]"#]),
        ("known captions", vec![r#"stage.captions.guards=["implied", "people", "distance"]"#]),
        ("implied", vec![r#"stage.captions.guards=["captions", "people"]"#]),
        ("people", vec![r#"stage.captions.guards=["captions", "implied"]"#]),
        ("visual guard", vec![r#"stage.captions.guards=["captions", "implied", "people", "distance", "visual"]"#]),
        ("k", vec!["stage.pairs.k=8"]),
        ("pool", vec!["stage.batch.size=32"]),
        ("lr", vec!["stage.train.lr=2e-3"]),
        ("temperature", vec!["stage.train.tng.temperature=0.05"]),
        ("front layers", vec!["stage.train.front_layers=1"]),
        ("twins", vec!["stage.captions.writer=twins", "stage.train.loss=contrast"]),
    ] {
        let run = bench.run(name, &sets).whole();
        assert!(run.weights() != plain.weights(), "{name} changed nothing");
    }
}

/// `pipeline stages` documents every axis of the sweeps.
#[test]
fn every_axis_of_the_ablations_is_documented() {
    for (kind, options) in [
        ("captions", "mode templates_used full_templates_used guards min share full_source full_below balanced pairs"),
        ("pairs", "k"),
        ("batch", "size"),
        ("train", "noise temperature lr front_layers loss keep turn"),
    ] {
        let output = common::pipeline().args(["stages", kind]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        for option in options.split(' ') {
            assert!(said.lines().any(|line| line.trim_start().starts_with(option)), "{option} is not in\n{said}");
        }
    }
}

#[test]
fn a_loss_without_its_captions_is_a_fault_of_the_config() {
    let bench = Bench::new(32);
    let said = bench.run("lacks", &["stage.train.loss=contrast"]).failed(2);
    assert!(said.contains("`contrast` needs") && said.contains("writer"), "{said}");
    assert!(!bench.path("runs/lacks").exists(), "nothing was run");
}

#[test]
fn pairs_on_the_gpu_and_on_the_cpu_give_the_same_weights() {
    if !vulkan() {
        return;
    }
    let bench = Bench::new(64);
    let cpu = bench.run("cpu", &["stage.pairs.on=cpu"]).whole();
    let gpu = bench.run("gpu", &["stage.pairs.on=wgpu"]).whole();
    assert!(cpu.weights() == gpu.weights(), "the shader found other neighbours");
}

#[test]
fn training_on_wgpu_ends_near_the_cpu() {
    if !vulkan() {
        return;
    }
    let bench = Bench::new(32);
    let sets = ["run.epochs=1", "stage.batch.size=16", "stage.encode.cache=wgpu-cache"];
    let cpu = bench.run("cpu", &[&sets[..], &["run.device=cpu"]].concat()).whole();
    let gpu = bench.run("gpu", &[&sets[..], &["run.device=wgpu"]].concat()).whole();
    let loss =
        |run: &common::Ran| run.results().iter().find(|m| m["metric"] == "loss").unwrap()["value"].as_f64().unwrap();
    let (cpu, gpu) = (loss(&cpu), loss(&gpu));
    assert!((cpu - gpu).abs() < 1e-2, "loss on the CPU {cpu}, on wgpu {gpu}");
}

#[test]
fn packed_texts_train_like_padded_ones() {
    let bench = Bench::new(48).set("run.epochs", "1");
    let loss = |name: &str| {
        let run = bench.run(name, &[&format!("stage.train.layout={name}")]).whole();
        run.results().iter().find(|m| m["metric"] == "loss").unwrap()["value"].as_f64().unwrap()
    };
    let (padded, packed) = (loss("padded"), loss("packed"));
    assert!((padded - packed).abs() < 1e-4, "padded {padded}, packed {packed}");
}

#[test]
fn auto_takes_the_cpu_where_there_is_no_gpu() {
    let bench = Bench::new(32).set("run.epochs", "1");
    let auto = bench.run("auto", &["run.device=auto", "stage.pairs.on=auto"]).whole();
    if !auto.stdout().contains("device: cpu") {
        println!("skipped: there is a GPU: {}", auto.stdout());
        return;
    }
    let cpu = bench.run("cpu", &["run.device=cpu"]).whole();
    assert!(auto.weights() == cpu.weights());
}

#[test]
fn onnx_and_clip_encoders() {
    // The embedded checkpoint is a ViT; an ONNX encoder stands in ../shared.
    let shared = common::root().join("../shared");
    if !shared.join("models/flickr8k-lite0").exists() {
        println!("skipped: ../shared/models/flickr8k-lite0 is not there");
        return;
    }
    let bench = Bench::new(32).set("run.epochs", "1");
    let onnx = bench
        .run(
            "onnx",
            &[
                &format!("model.weights={}", shared.join("models/flickr8k-lite0").display()),
                &format!("stage.shards.urls={}", shared.join("data/flickr8k/test-000.tar").display()),
                "stage.batch.size=200",
                "stage.encode.encoder=onnx",
            ],
        )
        .whole();
    assert_eq!(onnx.kinds(1)[0], "shards");
    let clip = bench.run("clip", &["stage.encode.encoder=clip"]).whole();
    assert_eq!(clip.kinds(1)[0], "shards");
    let said = bench.run("no onnx", &["stage.encode.encoder=onnx", "stage.encode.cache=c2"]).failed(2);
    assert!(said.contains("`encoder` lists (onnx)") && said.contains("vision_model.onnx"), "{said}");
}
