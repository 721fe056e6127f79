//! The stage in a pipeline of its own.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use items::contract::EVERY_STEP;
use items::{Batch, Encoded, Flow, Sample, SampleId, Shard, Work};
use pipeline_engine::{
    Build, Built, Config, Inlet, Need, Nothing, Outlet, Pass, Pipeline, Position, Registry, RunDir, Stage, StageError,
    StageKind, check, options,
};
use stage_batch::BatchKind;

options! {
    /// Options of the source.
    pub struct NoOptions {}
}

options! {
    /// Options of the sink.
    pub struct SinkOptions {
        /// The test's own name.
        tag: String => free;
        /// Whether it needs the steps that a resumed run has done.
        every_step: bool = false;
        /// Steps of the first epoch that the run has done.
        done: u64 = 0;
    }
}

/// Seven samples with two captions each, and one that was skipped.
struct Samples;

impl StageKind for Samples {
    const KIND: &'static str = "samples";
    const ABOUT: &'static str = "gives samples";
    type In = Nothing;
    type Out = Flow<Encoded>;
    type Options = NoOptions;

    fn build(_: NoOptions, _: &mut Build<'_>) -> Result<Built<Nothing, Flow<Encoded>>, StageError> {
        Ok(Built::Stage(Box::new(Self)))
    }
}

impl Stage<Nothing, Flow<Encoded>> for Samples {
    fn run(&mut self, _: &Pass<'_>, _: Inlet<Nothing>, mut output: Outlet<Flow<Encoded>>) -> Result<(), StageError> {
        let shard = Arc::new(Shard { number: 0, url: "a.tar".into(), identity: String::new() });
        for index in 0..8u32 {
            let id = SampleId { shard: shard.clone(), index, key: index.to_string().into() };
            let captions = vec!["A dog".to_owned(), "A cat".to_owned()].into();
            let work = match index {
                4 => Work::Skipped { stage: "samples".into(), reason: "broken".into() },
                // Samples 6 and 7 are the same image.
                _ => Work::Done(vec![index.min(6) as f32, 1.0].into()),
            };
            output.send(Flow::Sample(Sample { id, captions, work }))?;
        }
        Ok(())
    }
}

/// Batches of each test and epoch.
static SEEN: Mutex<Vec<(String, Vec<Batch>)>> = Mutex::new(Vec::new());

struct Sink {
    options: SinkOptions,
    position: Position,
}

impl StageKind for Sink {
    const KIND: &'static str = "sink";
    const ABOUT: &'static str = "remembers batches";
    type In = Batch;
    type Out = Nothing;
    type Options = SinkOptions;

    fn build(options: SinkOptions, _: &mut Build<'_>) -> Result<Built<Batch, Nothing>, StageError> {
        let position = Position { epochs: 0, steps: options.done, total_steps: options.done };
        Ok(Built::Stage(Box::new(Self { options, position })))
    }

    fn needs(options: &SinkOptions) -> Vec<Need> {
        let (by, what, help) = ("the sink".to_owned(), "every step".to_owned(), String::new());
        if options.every_step { vec![Need { by, facts: vec![EVERY_STEP], what, help }] } else { Vec::new() }
    }
}

impl Stage<Batch, Nothing> for Sink {
    fn run(&mut self, pass: &Pass<'_>, mut input: Inlet<Batch>, _: Outlet<Nothing>) -> Result<(), StageError> {
        let mut batches = Vec::new();
        while let Some(batch) = input.recv()? {
            batches.push(batch);
        }
        self.position = Position { epochs: pass.epoch, steps: 0, total_steps: self.position.total_steps };
        SEEN.lock().unwrap().push((format!("{} {}", self.options.tag, pass.epoch), batches));
        Ok(())
    }

    fn position(&self) -> Option<Position> {
        Some(self.position)
    }
}

/// The batches of two epochs with these options of the stage and of the sink.
fn run(tag: &str, batch: &str, sink: &str) -> Result<[Vec<Batch>; 2], String> {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "[run]\nepochs = 2\n[[stage]]\nkind = \"samples\"\n[[stage]]\nkind = \"batch\"\n{batch}\n[[stage]]\n\
         kind = \"sink\"\ntag = \"{tag}\"\n{sink}\n"
    );
    let registry = Arc::new(Registry::new().stage::<Samples>().stage::<BatchKind>().stage::<Sink>());
    let config = Config::parse("test.toml", text, dir.path().to_owned()).unwrap();
    let plan = check(&config, &registry).map_err(|faults| format!("{faults:?}"))?;
    let folder = RunDir::open(&dir.path().join("run"), false, false).unwrap();
    let pipeline = Pipeline::build(plan, &registry, folder, "test", false).map_err(|e| e.to_string())?;
    pipeline.run(&mut |_| {}).map_err(|e| e.to_string())?;
    let mut seen = SEEN.lock().unwrap();
    let mut epoch = |n: u32| {
        let at = seen.iter().position(|(name, _)| *name == format!("{tag} {n}")).ok_or("the epoch did not run")?;
        Ok::<_, String>(seen.remove(at).1)
    };
    Ok([epoch(1)?, epoch(2)?])
}

fn steps(batches: &[Batch]) -> Vec<u64> {
    batches.iter().map(|batch| batch.step).collect()
}

fn keys(batches: &[Batch]) -> Vec<&str> {
    batches.iter().flat_map(|batch| batch.items.iter().map(|item| &*item.key)).collect()
}

#[test]
fn usable_samples_fill_batches_in_their_order() {
    let [one, two] = run("drop", "size = 3", "").unwrap();
    assert_eq!((steps(&one), keys(&one)), (vec![0, 1], vec!["0", "1", "2", "3", "5", "6"]));
    assert_eq!((one[1].dim, &one[1].features[..]), (2, &[3.0, 1.0, 5.0, 1.0, 6.0, 1.0][..]));
    let drawn = |batches: &[Batch]| -> Vec<usize> {
        batches.iter().flat_map(|batch| batch.items.iter().map(|item| item.drawn)).collect()
    };
    assert_ne!(drawn(&one), drawn(&two), "other captions in another epoch");
    let [one_again, _] = run("drop again", "size = 2", "").unwrap();
    assert_eq!(drawn(&one_again)[..6], drawn(&one), "whatever the size of a batch");

    let [one, _] = run("keep", "size = 5\npartial = \"keep\"", "").unwrap();
    assert_eq!(one.iter().map(|batch| batch.items.len()).collect::<Vec<_>>(), [5, 2]);
    assert_eq!(one[1].items[0].image, one[1].items[1].image, "equal features mean the same image");
    assert_ne!(one[0].items[0].image, one[0].items[1].image);
    let error = run("few", "size = 9", "").unwrap_err();
    assert!(error.contains("7 usable samples, fewer than batch.size = 9"), "{error}");
}

#[test]
fn a_resumed_epoch_begins_where_it_stopped_unless_a_stage_needs_every_step() {
    let [one, two] = run("resumed", "size = 2", "done = 2").unwrap();
    assert_eq!((steps(&one), steps(&two)), (vec![2], vec![0, 1, 2]));
    let [one, two] = run("every step", "size = 2", "done = 2\nevery_step = true").unwrap();
    assert_eq!((steps(&one), steps(&two)), (vec![0, 1, 2], vec![0, 1, 2]));
}
