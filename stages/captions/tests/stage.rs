//! The stage in a pipeline of its own.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::{Arc, Mutex};

use items::contract::{EVERY_STEP, START_TOWER, role};
use items::{Batch, BatchItem, Captioned, Paired, Role, StartEncoder, TextEncoder, metric};
use pipeline_engine::{
    Build, Built, Config, Fact, Inlet, Need, Nothing, Outlet, Pass, Pipeline, Plan, Registry, RunDir, Stage,
    StageError, StageKind, check, options,
};
use stage_captions::Captions;

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
    pub struct PicturesOptions {
        /// Whether it gives the steps that a resumed run has done.
        every_step: bool = true => free;
    }
}

options! {
    /// Options of the sink.
    pub struct SinkOptions {
        /// The test's own name.
        tag: String => free;
        /// Whether it has the text tower before training.
        model: bool = true => free;
        /// Whether it needs the pair 2 of a true and a false text.
        two_pairs: bool = false => free;
    }
}

/// One batch per epoch, whose neighbours are others in every epoch.
struct Pictures;

impl StageKind for Pictures {
    const KIND: &'static str = "pictures";
    const ABOUT: &'static str = "gives a batch";
    type In = Nothing;
    type Out = Paired;
    type Options = PicturesOptions;

    fn build(_: PicturesOptions, _: &mut Build<'_>) -> Result<Built<Nothing, Paired>, StageError> {
        Ok(Built::Stage(Box::new(Self)))
    }

    fn gives(options: &PicturesOptions) -> Vec<Fact> {
        if options.every_step { vec![EVERY_STEP] } else { Vec::new() }
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

/// A model for which every image resembles the things that the caption of the next one names.
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

/// What an epoch of a test gave to the sink: the test and the epoch, texts, roles.
type Seen = (String, Vec<String>, Vec<Role>);
static SEEN: Mutex<Vec<Seen>> = Mutex::new(Vec::new());

struct Sink(String);

impl StageKind for Sink {
    const KIND: &'static str = "sink";
    const ABOUT: &'static str = "remembers";
    type In = Captioned;
    type Out = Nothing;
    type Options = SinkOptions;

    fn build(options: SinkOptions, build: &mut Build<'_>) -> Result<Built<Captioned, Nothing>, StageError> {
        if build.is_needed(&START_TOWER) {
            build.services.publish(Arc::new(StartEncoder(Arc::new(Before))));
        }
        Ok(Built::Stage(Box::new(Self(options.tag))))
    }

    fn gives(options: &SinkOptions) -> Vec<Fact> {
        if options.model { vec![START_TOWER] } else { Vec::new() }
    }

    fn needs(options: &SinkOptions) -> Vec<Need> {
        let facts = [Role::True(1), Role::False(1)].map(role).to_vec();
        let (by, what) = ("the sink".to_owned(), "two pairs of texts".to_owned());
        let need = Need { by, facts, what, help: "set captions.writer = \"twins\"".to_owned() };
        if options.two_pairs { vec![need] } else { Vec::new() }
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
        SEEN.lock().unwrap().push((format!("{} {}", self.0, pass.epoch), all, roles));
        Ok(())
    }
}

/// An epoch of the stage.
#[derive(Debug)]
struct Epoch {
    texts: Vec<String>,
    roles: Vec<Role>,
    /// Images for which an object was found, as the stage's report counts them.
    objects: u64,
}

fn registry() -> Arc<Registry> {
    Arc::new(Registry::new().stage::<Pictures>().stage::<Captions>().stage::<Sink>())
}

/// A config with these options of the stage, and of the stages before and after it.
fn config(tag: &str, options: &str, source: &str, sink: &str, dir: &Path) -> Config {
    let text = format!(
        "[run]\nseed = 5\nepochs = 2\n[[stage]]\nkind = \"pictures\"\n{source}\n[[stage]]\nkind = \"captions\"\n\
         {options}\n[[stage]]\nkind = \"sink\"\ntag = \"{tag}\"\n{sink}\n"
    );
    Config::parse("test.toml", text, dir.to_owned()).unwrap()
}

/// Checks the options of the stage, and of the stages before and after it.
fn checked(options: &str, source: &str, sink: &str, dir: &Path) -> Result<Plan, Vec<String>> {
    let config = config("checked", options, source, sink, dir);
    check(&config, &registry()).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

fn faults(options: &str, source: &str, sink: &str) -> Vec<String> {
    checked(options, source, sink, Path::new(".")).map(|_| ()).unwrap_err()
}

/// Runs the stage with these options for two epochs.
fn run(tag: &str, options: &str, dir: &Path, resume: bool) -> Result<[Epoch; 2], String> {
    run_into(tag, options, "", dir, resume)
}

/// The same, with options of the sink.
fn run_into(tag: &str, options: &str, sink: &str, dir: &Path, resume: bool) -> Result<[Epoch; 2], String> {
    let registry = registry();
    let config = config(tag, options, "", sink, dir);
    let plan = check(&config, &registry).map_err(|faults| format!("{faults:?}"))?;
    let folder = RunDir::open(&dir.join("run"), resume, false).map_err(|e| e.to_string())?;
    let pipeline = Pipeline::build(plan, &registry, folder, "test", resume).map_err(|e| e.to_string())?;
    let summary = pipeline.run(&mut |_| {}).map_err(|e| e.to_string())?;
    let mut seen = SEEN.lock().unwrap();
    let mut epoch = |n| {
        let at = seen.iter().position(|s| s.0 == format!("{tag} {n}")).ok_or("the epoch did not run")?;
        let (_, texts, roles) = seen.remove(at);
        let report = summary.stages.iter().rfind(|s| s.kind == "captions" && s.epoch == n).unwrap();
        let note = |name| report.notes.get(name).copied().unwrap_or(0);
        assert_eq!(note(metric::TEXTS), texts.len() as u64);
        let objects = note(metric::OBJECT_FROM_NEAREST_NEIGHBOUR) + note(metric::OBJECT_FROM_BATCH);
        Ok::<_, String>(Epoch { texts, roles, objects })
    };
    Ok([epoch(1)?, epoch(2)?])
}

fn fresh(tag: &str, options: &str) -> Result<[Epoch; 2], String> {
    run(tag, options, tempfile::tempdir().unwrap().path(), false)
}

#[test]
fn texts_are_new_every_epoch_and_the_same_in_every_run() {
    let [one, two] = fresh("dynamic", "").unwrap();
    assert_eq!(one.roles, [Role::Original, Role::Compositional, Role::Full]);
    assert_ne!(one.texts, two.texts);
    assert_eq!(one.objects, 6, "each has an object");
    for (i, caption) in IMAGES.iter().enumerate() {
        assert_eq!(one.texts[3 * i], *caption);
        assert!(one.texts[3 * i + 1].to_lowercase().contains(&caption.to_lowercase()));
        assert!(!one.texts[3 * i + 2].to_lowercase().contains(&caption.to_lowercase()));
    }
    let [again, _] = fresh("dynamic again", "").unwrap();
    assert_eq!(one.texts, again.texts);
}

#[test]
fn fixed_texts_repeat_also_when_the_batch_changes_and_after_a_resume() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = run("fixed", "mode = \"fixed\"", dir.path(), false).unwrap();
    assert_eq!(one.texts, two.texts);
    let [resumed, _] = run("fixed resumed", "mode = \"fixed\"", dir.path(), true).unwrap();
    assert_eq!(one.texts, resumed.texts);
    let wrong = run("fixed other", "mode = \"fixed\"\nwriter = \"twins\"", dir.path(), true).unwrap_err();
    assert!(wrong.contains("stage.captions.writer was \"tng\", is \"twins\"") && !wrong.contains("pairs"), "{wrong}");
}

#[test]
fn other_writers_give_other_roles() {
    let [twins, _] = fresh("twins", "writer = \"twins\"\n[stage.twins]\npairs = 3").unwrap();
    assert_eq!(twins.roles.len(), 7);
    assert_eq!(twins.roles[3..5], [Role::True(1), Role::False(1)]);
    assert!((0..6).all(|i| twins.texts[7 * i] == IMAGES[i] && twins.texts[7 * i + 1] != twins.texts[7 * i + 2]));
    let [plain, _] = fresh("plain", "writer = \"plain\"").unwrap();
    assert_eq!(
        (plain.roles.as_slice(), plain.texts),
        ([Role::Original].as_slice(), IMAGES.map(str::to_owned).to_vec())
    );
}

#[test]
fn what_an_image_resembles_is_not_denied() {
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
    assert!(denied(&blind.texts) > 3, "{:?}", blind.texts);
    let visual = "guards = [\"captions\", \"implied\", \"people\", \"distance\", \"visual\"]";
    for mode in ["dynamic", "fixed"] {
        let options = format!("{visual}\nmode = \"{mode}\"\n[stage.visual]\nshare = 0.1");
        let [one, two] = fresh(&format!("seeing {mode}"), &options).unwrap();
        assert_eq!((denied(&one.texts), denied(&two.texts)), (0, 0), "{:?}", one.texts);
        assert_eq!(one.objects, 6, "each has an object");
    }
    let [nothing, _] = fresh("nothing", &format!("{visual}\n[stage.visual]\nshare = 0.0")).unwrap();
    assert_eq!(nothing.texts, blind.texts, "a share of 0 turns nothing down");
}

#[test]
fn check_reports_what_guards_and_modes_need_and_what_writers_give() {
    let visual = "guards = [\"distance\", \"visual\"]";
    let missing = faults(visual, "", "model = false");
    assert!(
        missing[0].contains("the guard `visual` needs the text tower before training, which no stage")
            && missing[0].contains("remove \"visual\" from captions.guards"),
        "{missing:?}"
    );
    // The caption alone denies nothing, and a share of 0 asks nothing.
    let dir = Path::new(".");
    assert!(checked(&format!("{visual}\nwriter = \"plain\""), "", "model = false", dir).is_ok());
    assert!(checked(&format!("{visual}\n[stage.visual]\nshare = 0.0"), "", "model = false", dir).is_ok());

    let missing = faults("mode = \"fixed\"", "every_step = false", "");
    assert!(missing[0].contains("captions.mode = \"fixed\" needs every step"), "{missing:?}");
    assert!(checked("", "every_step = false", "", dir).is_ok());

    let missing = faults("", "", "two_pairs = true");
    assert!(missing[0].contains("the sink needs two pairs of texts, which no stage"), "{missing:?}");
    assert!(faults("writer = \"twins\"\n[stage.twins]\npairs = 1", "", "two_pairs = true").len() == 1);
    assert!(checked("writer = \"twins\"", "", "two_pairs = true", dir).is_ok());
}

#[test]
fn old_and_misplaced_keys_are_refused_with_the_line_to_write() {
    let old = "generator = \"twins\"\ntemplates = \"mine.txt\"\nfull_below = 0.5\npairs = 3\nmin_distance = 6\n\
               distance_rule = false\nvisual_guard = 0.2";
    let found = faults(old, "", "");
    for line in [
        "`generator` of stage `captions` has another place now (write `writer = \"twins\"`)",
        "(write it under [stage.tng] or [stage.twins], the table of the writer)",
        "(write `full_below = 0.5` under [stage.tng])",
        "(write `pairs = 3` under [stage.twins])",
        "(write `min = 6` under [stage.distance])",
        "(list \"distance\" in `guards` for true, omit it there for false)",
        "(list \"visual\" in `guards` and write the value as `share` under [stage.visual]; for 0, omit \"visual\")",
    ] {
        assert!(found.iter().any(|fault| fault.contains(line)), "{line}: {found:?}");
    }
    assert_eq!(found.len(), 7, "{found:?}");
    // Every old key is known.
    let old = "templates_used = 1\nfull_templates = \"\"\nfull_templates_used = 1\nfull_source = \"mirror\"\n\
               known_captions = true\nimplied = true\npeople = true\nbalanced = true\nthings = true";
    let found = faults(old, "", "");
    assert!(found.len() == 9 && found.iter().all(|fault| fault.contains("has another place now")), "{found:?}");

    let found = faults("guards = [\"distence\"]\n[stage.distance]\nleast = 3", "", "");
    assert!(found.iter().any(|fault| fault.contains("one of \"captions\", \"implied\", \"people\"")), "{found:?}");
    let found = faults("[stage.distance]\nminn = 3", "", "");
    assert!(
        found[0].contains("guard `distance` has no option `minn`") && found[0].contains("did you mean `min`?"),
        "{found:?}"
    );
    let found = faults("writer = \"twin\"", "", "");
    assert!(found[0].contains("did you mean `twins`?"), "{found:?}");
}

#[test]
fn a_users_templates_are_used_and_their_faults_named() {
    let dir = tempfile::tempdir().unwrap();
    let mine = "[stage.tng]\ntemplates = \"mine.txt\"\nfull_templates_used = 1";
    std::fs::write(dir.path().join("mine.txt"), "# mine\n{caption}, {object} excepted\n").unwrap();
    let [one, _] = run("mine", mine, dir.path(), false).unwrap();
    assert!((0..6).all(|i| one.texts[3 * i + 1].ends_with(" excepted")));
    assert!((0..6).all(|i| one.texts[3 * i + 2].starts_with("This is not a photo of ")));
    // They are an input: a resumed run must find the same ones.
    let inputs = std::fs::read_to_string(dir.path().join("run/inputs.json")).unwrap();
    let hash = blake3::hash(b"# mine\n{caption}, {object} excepted\n").to_hex();
    assert!(inputs.contains(&format!("\"templates\": \"{hash}\"")) && !inputs.contains("full_templates"), "{inputs}");
    std::fs::write(dir.path().join("mine.txt"), "{caption} without {thing}\n").unwrap();
    let wrong = checked(mine, "", "", dir.path()).map(|_| ()).unwrap_err();
    assert!(wrong[0].contains("mine.txt: line 1: {thing} is not a place"), "{wrong:?}");
    // The place of the fault is the option.
    assert!(wrong[0].starts_with("test.toml:10:"), "{wrong:?}");
}

#[test]
fn check_reports_every_fault_of_template_files_at_once() {
    let found = faults("[stage.tng]\ntemplates = \"none.txt\"\nfull_templates_used = 40", "", "");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("none.txt: cannot read templates") && found[0].starts_with("test.toml:10:"), "{found:?}");
    assert!(found[1].contains("holds 18 templates, 40 should be used") && found[1].contains("choose 1 to 18"));
    assert!(found[1].starts_with("test.toml:11:"), "{found:?}");
    let found = faults("writer = \"twins\"\n[stage.twins]\ntemplates_used = 1", "", "");
    assert!(found[0].contains("stands more often on the"), "{found:?}");
    // The table of a writer that is not chosen is not looked at.
    let other = "writer = \"plain\"\n[stage.tng]\ntemplates = \"none.txt\"";
    let plan = checked(other, "", "", Path::new(".")).unwrap();
    assert!(plan.notes()[0].to_string().contains("[stage.tng] has no effect"), "{:?}", plan.notes());
}
