//! The stage `pairs` in a pipeline: what it does doesn't depend on the device.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use items::{Batch, BatchItem, Paired};
use pipeline_engine::{
    Build, Built, Config, Inlet, Nothing, Outlet, Pass, Pipeline, Registry, RunDir, Stage, StageError, StageKind,
    check, options,
};
use stage_pairs::{Adapter, Error, Pairs, Search};

options! {
    /// There are none.
    pub struct NoOptions {}
}

/// Sends three batches of points on a circle, two of each image.
struct Circle;

impl StageKind for Circle {
    const KIND: &'static str = "circle";
    const ABOUT: &'static str = "sends batches";
    type In = Nothing;
    type Out = Batch;
    type Options = NoOptions;

    fn build(_: NoOptions, _: &mut Build<'_>) -> Result<Built<Nothing, Batch>, StageError> {
        Ok(Built::Stage(Box::new(Self)))
    }
}

impl Stage<Nothing, Batch> for Circle {
    fn run(&mut self, pass: &Pass<'_>, _: Inlet<Nothing>, mut output: Outlet<Batch>) -> Result<(), StageError> {
        for step in 0..3 {
            let rows = 40 - 10 * step as u32;
            let item = |row| BatchItem {
                key: format!("{row}").into(),
                shard: "circle.tar".into(),
                captions: Arc::new(["a point".to_owned()]),
                drawn: 0,
                image: row / 2,
            };
            let point = |row| {
                let (sin, cos) = (row as f32 * 0.07).sin_cos();
                [cos, sin]
            };
            output.send(Batch {
                epoch: pass.epoch,
                step,
                items: (0..rows).map(item).collect(),
                dim: 2,
                features: (0..rows).flat_map(point).collect(),
            })?;
        }
        Ok(())
    }
}

static SEEN: Mutex<Vec<(u64, Vec<u32>)>> = Mutex::new(Vec::new());

/// Remembers the neighbours of every step.
struct Sink;

impl StageKind for Sink {
    const KIND: &'static str = "sink";
    const ABOUT: &'static str = "remembers";
    type In = Paired;
    type Out = Nothing;
    type Options = NoOptions;

    fn build(_: NoOptions, _: &mut Build<'_>) -> Result<Built<Paired, Nothing>, StageError> {
        Ok(Built::Stage(Box::new(Self)))
    }
}

impl Stage<Paired, Nothing> for Sink {
    fn run(&mut self, _: &Pass<'_>, mut input: Inlet<Paired>, _: Outlet<Nothing>) -> Result<(), StageError> {
        while let Some(paired) = input.recv()? {
            SEEN.lock().unwrap().push((paired.batch.step, paired.neighbours));
        }
        Ok(())
    }
}

fn registry() -> Arc<Registry> {
    Arc::new(Registry::new().stage::<Circle>().stage::<Pairs>().stage::<Sink>())
}

fn config(pairs: &str) -> Config {
    let text = format!(
        "[run]\nepochs = 2\n[[stage]]\nkind = \"circle\"\n[[stage]]\nkind = \"pairs\"\n{pairs}\n[[stage]]\nkind = \"sink\"\n"
    );
    Config::parse("test.toml", text, PathBuf::from(".")).unwrap()
}

fn run(pairs: &str) -> Vec<(u64, Vec<u32>)> {
    let registry = registry();
    let plan = check(&config(pairs), &registry).ok().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let dir = RunDir::open(&folder.path().join("run"), false, false).unwrap();
    let pipeline = Pipeline::build(plan, &registry, dir, "test", false).unwrap();
    pipeline.run(&mut |_| ()).unwrap();
    std::mem::take(&mut SEEN.lock().unwrap())
}

#[test]
fn every_device_pairs_alike() {
    let cpu = run("on = \"cpu\"\nk = 3");
    assert_eq!(cpu.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2]);
    assert_eq!(cpu.iter().map(|(_, found)| found.len()).collect::<Vec<_>>(), [120, 90, 60, 120, 90, 60]);
    // Points 0 and 1 are one image, so the nearest others are 2, 3 and 4.
    assert_eq!(cpu[0].1[..6], [2, 3, 4, 2, 3, 4]);
    assert_eq!(run("k = 3"), cpu, "auto");
    match Search::wgpu(Adapter::Any) {
        Err(Error::NoAdapter { .. }) => println!("skipped: no Vulkan adapter"),
        _ => assert_eq!(run("on = \"wgpu\"\nk = 3"), cpu, "wgpu"),
    }
}

#[test]
fn wrong_options_are_told() {
    let faults = check(&config("on = \"gpu\"\nk = 17\npool = \"all\""), &registry()).err().unwrap();
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(faults.len(), 3, "{faults:#?}");
    assert!(faults[0].contains("\"auto\" or \"wgpu\" or \"cpu\""), "{faults:#?}");
    assert!(faults[1].contains("from 1 to 16"), "{faults:#?}");
}
