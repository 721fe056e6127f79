//! The stage in a pipeline: interrupted, resumed, exported.
#![allow(clippy::unwrap_used)]

mod common;

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use clip::{Checkpoint, Precision};
use common::{DIM, TNG, TWINS, batch, tiny};
use pipeline_engine::*;
use items::{ModelOptions, TextEncoderHandle, TextRoles, Tokens};
use stage_train::TrainKind;

options! {
    /// Options of `toy`.
    pub struct ToyOptions {
        /// Steps an epoch.
        steps: u64 = 4;
        /// Twins instead of the texts of TNG.
        twins: bool = false;
        /// From this step of epoch 2 on, features are no numbers.
        poison: u64 = 1 << 60;
        /// For so many steps.
        poisoned: u64 = 1 << 60;
    }
}

/// Makes batches of random texts.
struct Toy(ToyOptions);

impl StageKind for Toy {
    const KIND: &'static str = "toy";
    const ABOUT: &'static str = "makes batches";
    type In = Nothing;
    type Out = Tokens;
    type Options = ToyOptions;

    fn build(options: ToyOptions, build: &mut Build<'_>) -> Result<Built<Nothing, Tokens>, StageError> {
        let roles = if options.twins { TWINS.to_vec() } else { TNG.to_vec() };
        build.services.publish(Arc::new(TextRoles(roles)));
        Ok(Built::Stage(Box::new(Self(options))))
    }
}

impl Stage<Nothing, Tokens> for Toy {
    fn run(&mut self, pass: &Pass<'_>, _: Inlet<Nothing>, mut output: Outlet<Tokens>) -> Result<(), StageError> {
        let roles = if self.0.twins { &TWINS[..] } else { &TNG[..] };
        for step in pass.skip_steps..self.0.steps {
            let mut tokens = batch(5, roles, pass.epoch, step, pass.draw("toy").number(step));
            if pass.epoch == 2 && step >= self.0.poison && step - self.0.poison < self.0.poisoned {
                tokens.batch.features = vec![f32::NAN; 5 * DIM].into();
            }
            output.send(tokens)?;
        }
        Ok(())
    }
}

options! {
    /// `width` has none.
    pub struct NoOptions {}
}

/// Measures the cosine of two texts.
struct Cosine;

impl ProbeKind for Cosine {
    const KIND: &'static str = "cosine";
    const ABOUT: &'static str = "compares texts";
    type Options = NoOptions;

    fn build(_: NoOptions, _: &str, _: &mut Build<'_>) -> Result<Box<dyn Probe>, StageError> {
        Ok(Box::new(Self))
    }
}

impl Probe for Cosine {
    fn measure(&mut self, subject: &(dyn Any + Send + Sync), moment: &Moment) -> Result<Vec<Measurement>, StageError> {
        let encoder = &subject.downcast_ref::<TextEncoderHandle>().unwrap().0;
        let texts: Vec<String> = (0..300).map(|i| format!("{}dog number {i}", "big ".repeat(i % 9))).collect();
        let features = encoder.embed(&texts).unwrap();
        assert_eq!((encoder.dim(), features.len()), (DIM, 300 * DIM));
        // In a batch as alone.
        for i in [0, 7, 299] {
            let alone = encoder.embed(&texts[i..i + 1]).unwrap();
            for (a, b) in alone.iter().zip(&features[i * DIM..]) {
                assert!((a - b).abs() < 1e-5);
            }
            assert!((alone.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-5);
        }
        let value: f32 = features[..DIM].iter().zip(&features[DIM..]).map(|(a, b)| a * b).sum();
        Ok(vec![Measurement {
            phase: moment.phase,
            epoch: moment.epoch,
            step: moment.step,
            eval: "cosine".into(),
            metric: "cosine".into(),
            part: "all".into(),
            value: f64::from(value),
            low: None,
            high: None,
            n: 1,
        }])
    }
}

/// Runs `[[stage]] toy` and `[[stage]] train` in `dir`; asks for a stop when epoch `stop_in` starts.
fn run(dir: &Path, resume: bool, toy: &str, train: &str, stop_in: u32) -> Result<Summary, RunError> {
    let weights = dir.join("start");
    if !weights.exists() {
        let (config, tensors) = tiny();
        Checkpoint::create(&weights, &config, &tensors, Precision::F32).unwrap();
    }
    let text = format!(
        "[run]\nepochs = 3\ndevice = \"cpu\"\n[model]\nweights = \"start\"\n[[stage]]\nkind = \"toy\"\n{toy}\n\
         [[stage]]\nkind = \"train\"\nlr = 1e-3\n{train}\n[[eval]]\nkind = \"cosine\"\nname = \"cosine\"\n"
    );
    let registry =
        Registry::new().section::<ModelOptions>("model", "the checkpoint").stage::<Toy>().stage::<TrainKind>();
    let registry = Arc::new(registry.probe::<Cosine>());
    let config = Config::parse("test.toml", text, dir.to_owned()).map_err(|f| panic!("{f:?}")).unwrap();
    let plan = check(&config, &registry).map_err(|f| panic!("{f:?}")).unwrap();
    let pipeline = Pipeline::build(plan, &registry, RunDir::open(&dir.join("run"), resume, false)?, "", resume)?;
    let handle = pipeline.handle();
    pipeline.run(&mut |event| {
        if matches!(event, Event::EpochStarted { epoch, .. } if epoch == stop_in) {
            handle.interrupt();
        }
    })
}

fn file(dir: &Path, name: &str) -> Vec<u8> {
    let path = dir.join("run").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn a_resumed_run_ends_with_the_same_bytes() {
    for (toy, train) in [
        ("", "noise = 0.5"),
        ("", "front_layers = 1"),
        ("twins = true", "loss = \"contrast\"\nw_keep = 0.5\nschedule = \"cosine\"\nwarmup_steps = 3"),
    ] {
        let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        run(whole.path(), false, toy, train, 0).unwrap();
        let stopped = run(cut.path(), false, toy, train, 2).unwrap_err();
        assert!(stopped.to_string().contains("e0001-s000001"), "{stopped}");
        let summary = run(cut.path(), true, toy, train, 0).unwrap();
        assert_eq!(summary.stages.last().unwrap().epoch, 3);
        for name in [
            "export/model.safetensors",
            "export/MODEL_CARD.md",
            "checkpoints/e0003-s000000/optimizer.safetensors",
            "checkpoints/e0003-s000000/weights.safetensors",
            "checkpoints/e0003-s000000/state.json",
            "results.jsonl",
        ] {
            assert!(file(whole.path(), name) == file(cut.path(), name), "{name} differs");
        }
        let start = std::fs::read(whole.path().join("start/model.safetensors")).unwrap();
        assert!(file(whole.path(), "export/model.safetensors") != start);
        assert_eq!(
            file(whole.path(), "export/config.json"),
            std::fs::read(whole.path().join("start/config.json")).unwrap()
        );
        let card = String::from_utf8(file(whole.path(), "export/MODEL_CARD.md")).unwrap();
        assert!(card.contains("3 epochs, 12 steps") && card.contains("| cosine | cosine | all |"), "{card}");
    }
}

#[test]
fn an_export_of_front_layers_has_everything_else_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), false, "", "front_layers = 1", 0).unwrap();
    let (start, export) = (dir.path().join("start"), dir.path().join("run/export"));
    let (start, export) = (Checkpoint::open(start).unwrap(), Checkpoint::open(export).unwrap());
    for name in start.names() {
        let trained = name.starts_with("text_model.encoder.layers.0.");
        assert_eq!(start.tensor(name).unwrap() == export.tensor(name).unwrap(), !trained, "{name}");
    }
    let dir = tempfile::tempdir().unwrap();
    let message = run(dir.path(), false, "", "front_layers = 9", 0).unwrap_err().to_string();
    assert!(message.contains("front_layers = 9") && message.contains("2 blocks"), "{message}");
}

#[test]
fn a_torn_checkpoint_costs_only_the_steps_since_the_one_before() {
    let (whole, torn) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    run(whole.path(), false, "", "", 0).unwrap();
    run(torn.path(), false, "", "checkpoint_steps = 3", 3).unwrap_err();
    let newest = torn.path().join("run/checkpoints/e0002-s000001");
    std::fs::write(newest.join("weights.safetensors"), "torn").unwrap();
    run(torn.path(), true, "", "checkpoint_steps = 3", 0).unwrap();
    let name = "checkpoints/e0003-s000000/weights.safetensors";
    assert!(file(whole.path(), name) == file(torn.path(), name));
}

#[test]
fn checkpoints_come_after_steps_or_minutes_and_the_last_few_stay() {
    let names = |dir: &Path| {
        let entries = std::fs::read_dir(dir.join("run/checkpoints")).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    for (train, left) in [
        ("keep = 99", &["e0001-s000000", "e0002-s000000", "e0003-s000000"][..]),
        ("checkpoint_minutes = 0\nkeep = 2", &["e0002-s000000", "e0003-s000000"]),
        // Less than a step takes: one after each.
        ("checkpoint_minutes = 1e-9\nkeep = 3", &["e0002-s000003", "e0002-s000004", "e0003-s000000"]),
        (
            "checkpoint_minutes = 1e5\ncheckpoint_steps = 3\nkeep = 3",
            &["e0002-s000001", "e0002-s000004", "e0003-s000000"],
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), false, "", train, 0).unwrap();
        assert_eq!(names(dir.path()), left, "{train}");
    }
}

#[test]
fn the_loss_of_each_epoch_is_written_down() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), false, "twins = true", "loss = \"contrast\"", 0).unwrap();
    let text = String::from_utf8(file(dir.path(), "results.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let losses: Vec<_> = lines.iter().filter(|line| line["eval"] == "train" && line["metric"] == "loss").collect();
    let parts: Vec<&str> = losses.iter().take(3).map(|line| line["part"].as_str().unwrap()).collect();
    assert_eq!(parts, ["all", "caption", "twin"]);
    for (index, line) in losses.iter().enumerate() {
        let epoch = index as u64 / 3 + 1;
        assert_eq!((line["phase"].as_str(), line["epoch"].as_u64()), (Some("epoch"), Some(epoch)));
        assert_eq!((line["step"].as_u64(), line["n"].as_u64()), (Some(4 * epoch), Some(4)));
        assert!(line["value"].as_f64().unwrap().is_finite());
    }
    assert_eq!(losses.len(), 9);
}

#[test]
fn a_loss_that_is_no_number_is_told_in_full() {
    let dir = tempfile::tempdir().unwrap();
    let message = run(dir.path(), false, "poison = 2", "", 0).unwrap_err().to_string();
    for part in [
        "the loss is NaN",
        "step 2 of epoch 2",
        "toy/2-2-0, toy/2-2-1",
        "e0001-s000000",
        "train.lr",
        "not-finite.jsonl",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_step_that_is_no_number_can_be_left_out() {
    let (whole, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (toy, train) = ("poison = 1\npoisoned = 1", "on_not_finite = \"skip\"\ncheckpoint_steps = 1\nkeep = 20");
    run(whole.path(), false, toy, train, 0).unwrap();
    let lines = String::from_utf8(file(whole.path(), "not-finite.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(lines.trim()).unwrap();
    assert_eq!(
        (line["epoch"].as_u64(), line["step"].as_u64(), line["value"].as_str()),
        (Some(2), Some(1), Some("NaN"))
    );
    assert_eq!(line["samples"].as_array().unwrap().len(), 5, "every sample is named");
    assert_eq!(line["samples"][4]["key"], "toy/2-1-4");
    let loss = |dir: &Path| {
        let text = String::from_utf8(file(dir, "results.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter(|line| line["eval"] == "train" && line["epoch"] == 2).collect::<Vec<_>>()
    };
    assert_eq!(loss(whole.path())[0]["n"], 3, "the mean is over the steps that were made");

    // Resumed behind it, the count of what was left out is not lost.
    run(cut.path(), false, toy, train, 3).unwrap_err();
    let later = ["e0002-s000000", "e0002-s000001", "e0001-s000003"];
    later.iter().for_each(|name| drop(std::fs::remove_dir_all(cut.path().join("run/checkpoints").join(name))));
    assert!(cut.path().join("run/checkpoints/e0001-s000002").exists());
    run(cut.path(), true, toy, train, 0).unwrap();
    assert_eq!(loss(whole.path()), loss(cut.path()));
    assert!(file(whole.path(), "export/model.safetensors") == file(cut.path(), "export/model.safetensors"));

    let all = tempfile::tempdir().unwrap();
    let message = run(all.path(), false, "poison = 0", "on_not_finite = \"skip\"", 0).unwrap_err().to_string();
    assert!(message.contains("none of the 4 steps of epoch 2") && message.contains("e0001-s000000"), "{message}");
}

#[test]
fn texts_that_do_not_fit_are_found_while_building() {
    let dir = tempfile::tempdir().unwrap();
    let message = run(dir.path(), false, "twins = true", "", 0).unwrap_err().to_string();
    assert!(message.contains("captions.generator = \"tng\""), "{message}");
    assert!(!message.contains("epoch"), "{message}");
}
