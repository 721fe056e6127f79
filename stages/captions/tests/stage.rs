//! The stage in a pipeline of its own.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::{Arc, Mutex};

use pipeline_engine::{
    Build, Built, Config, Inlet, Nothing, Outlet, Pass, Pipeline, Registry, RunDir, Stage, StageError, StageKind,
    check, options,
};
use stage_captions::Captions;
use stage_captions::stage::EpochCounts;
use items::{Batch, BatchItem, Captioned, Paired, Role, StartEncoder, TextEncoder, TextRoles, WantsStart};

const IMAGES: [&str; 6] = [
    "A dog sleeps on a rug",
    "A tram passes a bakery",
    "Two kites over a meadow",
    "A cook stirs soup",
    "A candle on a shelf",
    "Some horses near a barn",
];

options! {
    /// Options of the source.
    pub struct NoOptions {}
}

options! {
    /// Options of the sink.
    pub struct SinkOptions {
        /// The test's own name.
        tag: String => free;
        /// Whether it has a model of the start.
        model: bool = true => free;
    }
}

/// One batch an epoch, whose neighbours are others in every epoch.
struct Pictures;

impl StageKind for Pictures {
    const KIND: &'static str = "pictures";
    const ABOUT: &'static str = "gives a batch";
    type In = Nothing;
    type Out = Paired;
    type Options = NoOptions;

    fn build(_: NoOptions, _: &mut Build<'_>) -> Result<Built<Nothing, Paired>, StageError> {
        Ok(Built::Stage(Box::new(Self)))
    }
}

impl Stage<Nothing, Paired> for Pictures {
    fn run(&mut self, pass: &Pass<'_>, _: Inlet<Nothing>, mut output: Outlet<Paired>) -> Result<(), StageError> {
        let n = IMAGES.len();
        let item = |(i, caption): (usize, &&str)| BatchItem {
            key: format!("{i:04}").into(),
            shard: "a.tar".into(),
            captions: vec![(*caption).to_owned()].into(),
            drawn: 0,
            image: i as u32,
        };
        let mut features = vec![0.0; n * n];
        (0..n).for_each(|i| features[i * n + i] = 1.0);
        let batch = Batch {
            epoch: pass.epoch,
            step: 0,
            items: IMAGES.iter().enumerate().map(item).collect(),
            dim: n,
            features: features.into(),
        };
        let neighbours = (0..n as u32).map(|i| (i + pass.epoch) % n as u32).collect();
        output.send(Paired { batch, k: 1, neighbours, cosines: vec![0.0; n] })?;
        Ok(())
    }
}

/// A model to which every image looks like the things that the caption of the next one names.
struct Before;

impl TextEncoder for Before {
    fn dim(&self) -> usize {
        IMAGES.len()
    }

    fn embed(&self, texts: &[String]) -> Result<Vec<f32>, StageError> {
        let axis = |text: &String, image: usize| {
            let thing = text.rsplit(' ').next().unwrap();
            assert!(text.starts_with("a photo of "), "{text}");
            f32::from(u8::from(IMAGES[(image + 1) % IMAGES.len()].split(' ').any(|word| word == thing)))
        };
        Ok(texts.iter().flat_map(|text| (0..IMAGES.len()).map(move |image| axis(text, image))).collect())
    }
}

/// What every epoch of a test gave: texts, roles, objects found.
type Seen = (String, Vec<String>, Vec<Role>, u64);
static SEEN: Mutex<Vec<Seen>> = Mutex::new(Vec::new());

struct Sink(String);

impl StageKind for Sink {
    const KIND: &'static str = "sink";
    const ABOUT: &'static str = "remembers";
    type In = Captioned;
    type Out = Nothing;
    type Options = SinkOptions;

    fn build(options: SinkOptions, build: &mut Build<'_>) -> Result<Built<Captioned, Nothing>, StageError> {
        assert!(build.services.get::<TextRoles>().is_some(), "roles are known while stages are built");
        if options.model && build.services.get::<WantsStart>().is_some() {
            build.services.publish(Arc::new(StartEncoder(Arc::new(Before))));
        }
        Ok(Built::Stage(Box::new(Self(options.tag))))
    }
}

impl Stage<Captioned, Nothing> for Sink {
    fn run(&mut self, pass: &Pass<'_>, mut input: Inlet<Captioned>, _: Outlet<Nothing>) -> Result<(), StageError> {
        let mut all = Vec::new();
        let mut roles = Vec::new();
        while let Some(captioned) = input.recv()? {
            assert_eq!(captioned.texts.len(), captioned.batch.items.len() * captioned.roles.len());
            roles = captioned.roles.to_vec();
            all.extend(captioned.texts);
        }
        assert_eq!(pass.services.get::<TextRoles>().unwrap().0, roles);
        let counts = pass.services.get::<EpochCounts>().unwrap();
        assert_eq!(counts.epoch, pass.epoch);
        let found = counts.counts.first_neighbour + counts.counts.batch;
        SEEN.lock().unwrap().push((format!("{} {}", self.0, pass.epoch), all, roles, found));
        Ok(())
    }
}

/// Runs the stage with these options for two epochs.
fn run(tag: &str, options: &str, dir: &Path, resume: bool) -> Result<[Seen; 2], String> {
    run_into(tag, options, "", dir, resume)
}

/// The same, with options of the sink.
fn run_into(tag: &str, options: &str, sink: &str, dir: &Path, resume: bool) -> Result<[Seen; 2], String> {
    let text = format!(
        "[run]\nseed = 5\nepochs = 2\n[[stage]]\nkind = \"pictures\"\n[[stage]]\nkind = \"captions\"\n{options}\n\
         [[stage]]\nkind = \"sink\"\ntag = \"{tag}\"\n{sink}\n"
    );
    let registry = Arc::new(Registry::new().stage::<Pictures>().stage::<Captions>().stage::<Sink>());
    let config = Config::parse("test.toml", text, dir.to_owned()).map_err(|f| format!("{f:?}"))?;
    let plan = check(&config, &registry).map_err(|faults| format!("{faults:?}"))?;
    let folder = RunDir::open(&dir.join("run"), resume, false).map_err(|e| e.to_string())?;
    let pipeline = Pipeline::build(plan, &registry, folder, "test", resume).map_err(|e| e.to_string())?;
    pipeline.run(&mut |_| {}).map_err(|e| e.to_string())?;
    let mut seen = SEEN.lock().unwrap();
    let mut epoch = |n| {
        let at = seen.iter().position(|s| s.0 == format!("{tag} {n}")).ok_or("the epoch did not run")?;
        Ok::<_, String>(seen.remove(at))
    };
    Ok([epoch(1)?, epoch(2)?])
}

fn fresh(tag: &str, options: &str) -> Result<[Seen; 2], String> {
    run(tag, options, tempfile::tempdir().unwrap().path(), false)
}

#[test]
fn texts_are_new_every_epoch_and_the_same_in_every_run() {
    let [one, two] = fresh("dynamic", "").unwrap();
    assert_eq!(one.2, [Role::Original, Role::Compositional, Role::Full]);
    assert_ne!(one.1, two.1);
    assert_eq!(one.3, 6, "each has an object");
    for (i, caption) in IMAGES.iter().enumerate() {
        assert_eq!(one.1[3 * i], *caption);
        assert!(one.1[3 * i + 1].to_lowercase().contains(&caption.to_lowercase()));
        assert!(!one.1[3 * i + 2].to_lowercase().contains(&caption.to_lowercase()));
    }
    let [again, _] = fresh("dynamic again", "").unwrap();
    assert_eq!(one.1, again.1);
}

#[test]
fn fixed_texts_repeat_also_when_the_batch_changes_and_after_a_resume() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = run("fixed", "mode = \"fixed\"", dir.path(), false).unwrap();
    assert_eq!(one.1, two.1);
    let [resumed, _] = run("fixed resumed", "mode = \"fixed\"", dir.path(), true).unwrap();
    assert_eq!(one.1, resumed.1);
    let wrong = run("fixed other", "mode = \"fixed\"\ngenerator = \"twins\"", dir.path(), true).unwrap_err();
    assert!(wrong.contains("stage.captions.generator was \"tng\", is \"twins\""), "{wrong}");
}

#[test]
fn other_generators_give_other_roles() {
    let [twins, _] = fresh("twins", "generator = \"twins\"\npairs = 3").unwrap();
    assert_eq!(twins.2.len(), 7);
    assert_eq!(twins.2[3..5], [Role::True(1), Role::False(1)]);
    assert!((0..6).all(|i| twins.1[7 * i] == IMAGES[i] && twins.1[7 * i + 1] != twins.1[7 * i + 2]));
    let [plain, _] = fresh("plain", "generator = \"plain\"").unwrap();
    assert_eq!((plain.2.as_slice(), plain.1), ([Role::Original].as_slice(), IMAGES.map(str::to_owned).to_vec()));
}

#[test]
fn what_an_image_looks_like_is_not_denied_of_it() {
    let denied = |texts: &[String]| -> usize {
        let names_the_next = |i: usize| {
            let mut things = IMAGES[(i + 1) % IMAGES.len()].split(' ').filter(|word| word.len() > 3);
            let added = texts[3 * i + 1].to_lowercase().replace(&IMAGES[i].to_lowercase(), "");
            things.any(|thing| added.split([' ', ',', '.', ':']).any(|word| word == thing))
        };
        (0..IMAGES.len()).filter(|&i| names_the_next(i)).count()
    };
    // In the first epoch the neighbour of each image is the next one.
    let [blind, _] = fresh("blind", "").unwrap();
    assert!(denied(&blind.1) > 3, "{:?}", blind.1);
    for mode in ["dynamic", "fixed"] {
        let [one, two] = fresh(&format!("seeing {mode}"), &format!("visual_guard = 0.1\nmode = \"{mode}\"")).unwrap();
        assert_eq!((denied(&one.1), denied(&two.1)), (0, 0), "{:?}", one.1);
        assert_eq!(one.3, 6, "each has an object");
    }
    let dir = tempfile::tempdir().unwrap();
    let error = run_into("no model", "visual_guard = 0.2", "model = false", dir.path(), false).unwrap_err();
    assert!(error.contains("visual_guard") && error.contains("train"), "{error}");
    // The caption alone denies nothing.
    let dir = tempfile::tempdir().unwrap();
    run_into("plain", "generator = \"plain\"\nvisual_guard = 0.2", "model = false", dir.path(), false).unwrap();
}

#[test]
fn a_users_templates_are_used_and_their_faults_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine.txt"), "# mine\n{caption}, {object} excepted\n").unwrap();
    let [one, _] = run("mine", "templates = \"mine.txt\"\nfull_templates_used = 1", dir.path(), false).unwrap();
    assert!((0..6).all(|i| one.1[3 * i + 1].ends_with(" excepted")));
    assert!((0..6).all(|i| one.1[3 * i + 2].starts_with("This is not a photo of ")));
    std::fs::write(dir.path().join("mine.txt"), "{caption} without {thing}\n").unwrap();
    let wrong = run("wrong", "templates = \"mine.txt\"\nfull_templates_used = 1", dir.path(), true).unwrap_err();
    assert!(wrong.contains("mine.txt: line 1: {thing} is no place"), "{wrong}");
}
