//! The stage in a pipeline: interrupted, resumed, exported.
#![allow(clippy::unwrap_used)]

mod common;

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use clip::{Checkpoint, Precision};
use common::{DIM, TNG, TWINS, batch, tiny};
use items::{Role, TextEncoderHandle, Tokens, contract};
use model::ModelOptions;
use pipeline_engine::*;
use stage_train::TrainKind;

options! {
    /// Options of `toy`.
    pub struct ToyOptions {
        /// Steps per epoch.
        steps: u64 = 4;
        /// Twins instead of the texts of TNG.
        twins: bool = false;
        /// From this step of epoch 2 on, features are NaN.
        poison: u64 = 1 << 60;
        /// For this many steps.
        poisoned: u64 = 1 << 60;
    }
}

/// Makes batches of random texts.
struct Toy(ToyOptions);

impl ToyOptions {
    fn roles(&self) -> &'static [Role] {
        if self.twins { &TWINS } else { &TNG }
    }
}

impl StageKind for Toy {
    const KIND: &'static str = "toy";
    const ABOUT: &'static str = "makes batches";
    type In = Nothing;
    type Out = Tokens;
    type Options = ToyOptions;

    fn build(options: ToyOptions, _: &mut Build<'_>) -> Result<Built<Nothing, Tokens>, StageError> {
        Ok(Built::Stage(Box::new(Self(options))))
    }

    fn gives(options: &ToyOptions) -> Vec<Fact> {
        options.roles().iter().map(|&role| contract::role(role)).collect()
    }
}

impl Stage<Nothing, Tokens> for Toy {
    fn run(&mut self, pass: &Pass<'_>, _: Inlet<Nothing>, mut output: Outlet<Tokens>) -> Result<(), StageError> {
        for step in pass.skip_steps..self.0.steps {
            let mut tokens = batch(5, self.0.roles(), pass.epoch, step, pass.draw("toy").number(step));
            if pass.epoch == 2 && step >= self.0.poison && step - self.0.poison < self.0.poisoned {
                tokens.batch.features = vec![f32::NAN; 5 * DIM].into();
            }
            output.send(tokens)?;
        }
        Ok(())
    }
}

options! {
    /// Measures the cosine of two texts.
    pub struct Cosine {}
}

impl Part for Cosine {
    const NAME: &'static str = "cosine";
    const ABOUT: &'static str = "compares texts";
}

/// What the tests measure.
trait Comparison: Send + Sync {
    fn probe(&self) -> Box<dyn Probe>;
}

impl Comparison for Cosine {
    fn probe(&self) -> Box<dyn Probe> {
        Box::new(Self {})
    }
}

parts! {
    dyn Comparison: "comparison" => [Cosine]
}

impl ProbePart for dyn Comparison {
    fn build(&self, _: &str, _: &mut Build<'_>) -> Result<Box<dyn Probe>, StageError> {
        Ok(self.probe())
    }
}

impl Probe for Cosine {
    fn measure(&mut self, subject: &(dyn Any + Send + Sync), moment: &Moment) -> Result<Findings, StageError> {
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
        let measurement = Measurement {
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
        };
        let answers = vec![serde_json::json!({ "epoch": moment.epoch, "cosine": value }).to_string()];
        Ok(Findings { measurements: vec![measurement], answers })
    }
}

fn registry() -> Arc<Registry> {
    let registry = Registry::new().section::<ModelOptions>().stage::<Toy>().stage::<TrainKind>();
    Arc::new(registry.probes_of::<dyn Comparison>())
}

/// Checks `[[stage]] toy` and `[[stage]] train` in `dir`.
fn plan(dir: &Path, toy: &str, train: &str) -> Result<Plan, Vec<String>> {
    let weights = dir.join("start");
    if !weights.exists() {
        let (config, tensors) = tiny();
        Checkpoint::create(&weights, &config, &tensors, Precision::F32).unwrap();
    }
    let text = format!(
        "[run]\nepochs = 3\ndevice = \"cpu\"\n[model]\nweights = \"start\"\n[[stage]]\nkind = \"toy\"\n{toy}\n\
         [[stage]]\nkind = \"train\"\nlr = 1e-3\n{train}\n[[eval]]\nkind = \"cosine\"\nname = \"cosine\"\n"
    );
    let config = Config::parse("test.toml", text, dir.to_owned());
    let plan = config.and_then(|config| check(&config, &registry()));
    plan.map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// What is wrong with them.
fn faults(dir: &Path, toy: &str, train: &str) -> Vec<String> {
    plan(dir, toy, train).map(|_| ()).unwrap_err()
}

/// Runs them; asks for a stop when epoch `stop_in` starts.
fn run(dir: &Path, resume: bool, toy: &str, train: &str, stop_in: u32) -> Result<Summary, RunError> {
    let plan = plan(dir, toy, train).map_err(|faults| panic!("{faults:?}")).unwrap();
    let registry = registry();
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
        ("", "[stage.tng]\nnoise = 0.5"),
        ("", "front_layers = 1"),
        (
            "twins = true",
            "loss = \"contrast\"\nschedule = \"cosine\"\nwarmup_steps = 3\n[stage.contrast]\nkeep = 0.5\nturn = 0.5",
        ),
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
            "answers-before.jsonl",
            "answers-after.jsonl",
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

/// A start in 16 bits would lose small updates: the export is what was scored, or says that it is not.
#[test]
fn an_export_keeps_every_update_unless_it_is_told_not_to() {
    // A warm-up that never ends makes steps smaller than the distance of two numbers.
    let small = "warmup_steps = 100000\n";
    for (export, dtype) in [("auto", "F32"), ("f32", "F32"), ("start", "F16")] {
        let dir = tempfile::tempdir().unwrap();
        let (config, tensors) = tiny();
        Checkpoint::create(dir.path().join("start"), &config, &tensors, Precision::F16).unwrap();
        run(dir.path(), false, "", &format!("{small}export = \"{export}\""), 0).unwrap();
        let (start, exported) = (dir.path().join("start"), dir.path().join("run/export"));
        let (start, exported) = (Checkpoint::open(start).unwrap(), Checkpoint::open(exported).unwrap());
        let name = "text_model.encoder.layers.0.mlp.fc1.weight";
        assert_eq!((start.dtype(name).unwrap(), exported.dtype(name).unwrap()), ("F16".into(), dtype.into()));
        let is_same = start.tensor(name).unwrap() == exported.tensor(name).unwrap();
        let card = String::from_utf8(file(dir.path(), "export/MODEL_CARD.md")).unwrap();
        if export == "start" {
            assert!(is_same && card.contains("so the export is not what was scored"), "{card}");
            continue;
        }
        assert!(!is_same && card.contains("exported in f32: the type") == (export == "auto"), "{card}");
        // The score of the run is that of the export.
        let model = model::Model::open(&dir.path().join("run/export"), Path::new("")).unwrap();
        let tower = clip::TextTower::load(&exported, &clip::device::pick("cpu").unwrap().device).unwrap();
        let encoder = stage_train::encoder::Encoder::new(tower, model.tokenizer().unwrap());
        let moment = Moment { phase: Phase::After, epoch: 3, step: 12, seed: 0 };
        let again = Cosine {}.measure(&TextEncoderHandle(Arc::new(encoder)), &moment).unwrap();
        let results = String::from_utf8(file(dir.path(), "results.jsonl")).unwrap();
        let mut lines = results.lines().map(|line| serde_json::from_str::<Measurement>(line).unwrap());
        let after = lines.rfind(|m| m.eval == "cosine" && m.phase == Phase::After).unwrap();
        assert_eq!(after.value, again.measurements[0].value);
        let answers = String::from_utf8(file(dir.path(), "answers-after.jsonl")).unwrap();
        assert_eq!(answers, format!("{}\n", again.answers[0]));
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
fn a_loss_that_is_not_finite_is_reported_in_full() {
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
fn a_step_that_is_not_finite_can_be_skipped() {
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

    // When the run is resumed after such a step, the count of skipped steps is not lost.
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
fn texts_that_do_not_fit_the_loss_are_found_by_check() {
    let dir = tempfile::tempdir().unwrap();
    let [found] = &faults(dir.path(), "twins = true", "")[..] else { panic!() };
    assert!(found.contains("the loss `tng` needs the caption, a compositional and a full negation"), "{found}");
    assert!(found.contains("writer = \"tng\""), "{found}");
    let [found] = &faults(dir.path(), "", "loss = \"contrast\"")[..] else { panic!() };
    assert!(found.contains("the loss `contrast` needs pairs") && found.contains("writer = \"twins\""), "{found}");
    // Captions are enough when no term asks for twins.
    plan(dir.path(), "", "loss = \"contrast\"\n[stage.contrast]\ntwin = 0.0").unwrap();
}

#[test]
fn check_finds_what_the_tower_and_the_device_cannot_do_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let found = faults(dir.path(), "", "front_layers = 9\nprecision = \"f16\"");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().any(|f| f.contains("front_layers = 9") && f.contains("2 blocks")), "{found:?}");
    assert!(found.iter().any(|f| f.contains("precision = \"f32\"")), "{found:?}");

    let (mut config, mut tensors) = tiny();
    config.text.as_mut().unwrap().projected = false;
    config.text.as_mut().unwrap().projection_dim = 16;
    tensors.remove("text_projection.weight");
    let dir = tempfile::tempdir().unwrap();
    Checkpoint::create(dir.path().join("start"), &config, &tensors, Precision::F32).unwrap();
    let found = faults(dir.path(), "", "");
    assert!(found.iter().any(|f| f.contains("no text_projection.weight")), "{found:?}");
}

#[test]
fn keys_that_moved_to_the_losses_are_refused_with_the_line_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let old = "noise = 0.5\ntemperature = 0.1\nw_caption = 1.0\nw_twin = 1.0\ntwin_temperature = 0.1\nw_keep = 2.0\n\
               w_turn = 0.5\nhard_negatives = true\nacross = true\nimage_noise = 0.5";
    let found = faults(dir.path(), "", old);
    assert_eq!(found.len(), 10, "{found:?}");
    for line in [
        "write `noise = 0.5` under [stage.tng]",
        "under [stage.tng] or [stage.contrast]",
        "write `caption = 1.0` under [stage.contrast]",
        "write `keep = 2.0` under [stage.contrast]",
    ] {
        assert!(found.iter().any(|f| f.contains(line)), "{line}: {found:?}");
    }
}
