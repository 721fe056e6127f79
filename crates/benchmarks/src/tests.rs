//! Every benchmark from its options to its scores, in a small world: an image shows what its file
//! name says, and the text encoder knows four words.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use items::source::{FILES, SHARDS};
use items::{Encoded, Flow, Sample, SampleId, Shard, TextEncoder, TextEncoderHandle, Work};
use pipeline_engine::{
    Alternatives, Build, Built, Config, Inlet, Look, Moment, Nothing, Outlet, Pass, Phase, Registry, Stage, StageError,
    StageKind, Value, check, options, outside_run,
};

use crate::benchmark::{Answered, Outcomes, Probed};
use crate::kinds::Source;
use crate::score::Series;

/// A file with this text, and its folder.
pub fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.json");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

const WORDS: [&str; 4] = ["dog", "cat", "ball", "drum"];

/// The unit vector of the words that a text names, whatever it says of them; of none of them, a
/// direction of its own.
fn feature(text: &str) -> [f32; 5] {
    let text = text.to_lowercase();
    let mut feature = [0.0f32; 5];
    feature.iter_mut().zip(WORDS).for_each(|(x, word)| *x = f32::from(u8::from(text.contains(word))));
    feature[4] = f32::from(u8::from(feature[..4] == [0.0; 4]));
    let length = feature.iter().map(|x| x * x).sum::<f32>().sqrt();
    feature.map(|x| x / length)
}

struct Words;

impl TextEncoder for Words {
    fn dim(&self) -> usize {
        5
    }

    fn embed(&self, texts: &[String]) -> Result<Vec<f32>, StageError> {
        Ok(texts.iter().flat_map(|text| feature(text)).collect())
    }
}

options! {
    /// As the stage `shards`; a shard is a text file with a key and captions per line.
    pub struct ShardOptions {
        /// The shards.
        urls: Vec<String>;
        /// Ignored.
        shuffle: bool = true;
        /// Ignored.
        split: String = "auto".to_owned();
    }
}

/// In place of `shards`, `decode` and `encode`.
struct Shards;

impl StageKind for Shards {
    const KIND: &'static str = SHARDS;
    const ABOUT: &'static str = "reads keys";
    type In = Nothing;
    type Out = Flow<Encoded>;
    type Options = ShardOptions;

    fn verify(options: &ShardOptions, look: &mut Look<'_>) {
        for url in &options.urls {
            if !look.path(url).is_file() {
                look.fault("urls", format!("shard `{url}` is missing"), "");
            }
        }
    }

    fn build(options: ShardOptions, build: &mut Build<'_>) -> Result<Built<Nothing, Flow<Encoded>>, StageError> {
        assert!(!options.shuffle && options.split == "none", "a benchmark reads all of its shards in their order");
        let mut samples = Vec::new();
        for url in &options.urls {
            let text = std::fs::read_to_string(build.path(url))?;
            for line in text.lines() {
                let (key, captions) = line.split_once(' ').unwrap_or((line, ""));
                let captions = captions.split(';').filter(|caption| !caption.is_empty()).map(str::to_owned).collect();
                samples.push((url.clone(), key.to_owned(), captions));
            }
        }
        Ok(Built::Stage(Box::new(Reader(samples))))
    }
}

options! {
    /// As the stage `files`.
    pub struct FileOptions {
        /// The folder.
        folder: PathBuf;
        /// The files.
        files: Vec<String>;
    }
}

/// In place of `files`, `decode` and `encode`.
struct Files;

impl StageKind for Files {
    const KIND: &'static str = FILES;
    const ABOUT: &'static str = "reads names";
    type In = Nothing;
    type Out = Flow<Encoded>;
    type Options = FileOptions;

    fn build(options: FileOptions, _: &mut Build<'_>) -> Result<Built<Nothing, Flow<Encoded>>, StageError> {
        assert!(options.folder.is_dir());
        let url = options.folder.display().to_string();
        let samples = options.files.into_iter().map(|file| (url.clone(), file, Vec::new()));
        Ok(Built::Stage(Box::new(Reader(samples.collect()))))
    }
}

/// Shard, key and captions of each sample.
struct Reader(Vec<(String, String, Vec<String>)>);

impl Stage<Nothing, Flow<Encoded>> for Reader {
    fn run(&mut self, _: &Pass<'_>, _: Inlet<Nothing>, mut output: Outlet<Flow<Encoded>>) -> Result<(), StageError> {
        for (index, (url, key, captions)) in self.0.iter().enumerate() {
            let shard = Arc::new(Shard { number: 0, url: url.clone(), identity: String::new() });
            let id = SampleId { shard, index: index as u32, key: key.as_str().into() };
            // The part `#0,…` of an image shows what is first in its name, `#1,…` what is second.
            let shown = match key.split_once('#') {
                Some((name, part)) => name.split('-').nth(part[..1].parse().unwrap()).unwrap(),
                None => key,
            };
            let work = match shown.contains("broken") {
                true => Work::Skipped { stage: "decode".into(), reason: "no picture".into() },
                false => Work::Done(feature(shown).into()),
            };
            output.send(Flow::Sample(Sample { id, captions: captions.clone().into(), work }))?;
        }
        Ok(())
    }
}

/// Ends a pipeline.
struct End;

options! {
    /// Of `end`.
    pub struct EndOptions {}
}

impl StageKind for End {
    const KIND: &'static str = "end";
    const ABOUT: &'static str = "takes all";
    type In = Flow<Encoded>;
    type Out = Nothing;
    type Options = EndOptions;

    fn build(_: EndOptions, _: &mut Build<'_>) -> Result<Built<Flow<Encoded>, Nothing>, StageError> {
        Err(StageError::msg("not built in these tests"))
    }
}

fn registry() -> Registry {
    Registry::new().stage::<Shards>().stage::<Files>().stage::<End>().probes_of::<dyn Source>()
}

/// A folder with images and a shard of the same.
fn world() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["dog.jpg", "cat.jpg", "dog-ball.jpg", "broken.jpg"] {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    let shard = "dog A dog;One dog\ncat A cat\ndog-ball A ball, a dog\nbroken x\n";
    std::fs::write(folder.path().join("s.tar"), shard).unwrap();
    folder
}

/// Runs `make` on a benchmark as `pipeline eval` does.
fn opened<R>(
    world: &Path,
    kind: &str,
    options: &[(&str, Value)],
    make: impl FnOnce(Box<dyn crate::Benchmark>) -> R,
) -> Result<R, String> {
    let text = "[[stage]]\nkind = \"shards\"\nurls = \"s.tar\"\n".to_owned();
    let config = Config::parse("t.toml", text, world.to_owned()).unwrap();
    let part = <dyn Source>::list().iter().find(|part| part.name == kind).unwrap();
    let source = part.from_options(options, "the test").map_err(|faults| format!("{faults:?}"))?;
    outside_run(&config, &Arc::new(registry()), |build| source.open("own", build))
        .unwrap()
        .map(make)
        .map_err(|error| error.to_string())
}

/// Coverage and scores of a benchmark whose file has this text; `images` is a folder or shards.
fn scored(world: &Path, kind: &str, file: &str, images: &str, more: &[(&str, Value)]) -> Scores {
    let mut options = vec![("images", Value::String(images.to_owned()))];
    if !file.is_empty() {
        std::fs::write(world.join("file"), file).unwrap();
        options.push(("file", Value::String("file".to_owned())));
    }
    options.extend(more.iter().cloned());
    let scores = |benchmark: Box<dyn crate::Benchmark>| {
        let Outcomes { series, answers } = benchmark.outcomes(&Words).unwrap();
        Scores { coverage: benchmark.coverage().describe(), series, answers }
    };
    opened(world, kind, &options, scores).unwrap()
}

struct Scores {
    coverage: String,
    series: Vec<Series>,
    answers: Vec<Answered>,
}

impl Scores {
    /// Value and number of items.
    fn of(&self, metric: &str, part: &str) -> (f64, u64) {
        let found = self.series.iter().find(|series| series.metric == metric && series.part == part);
        let moment = Moment { phase: Phase::After, epoch: 1, step: 1, seed: 1 };
        let measured = found.unwrap_or_else(|| panic!("{metric} {part}: {:?}", self.series)).measured(&moment, "own");
        (measured.value, measured.n)
    }

    fn names(&self) -> Vec<String> {
        self.series.iter().map(|series| format!("{} {}", series.metric, series.part)).collect()
    }
}

const MCQ: &str = "image_path,caption_0,caption_1,caption_2,caption_3,correct_answer,correct_answer_template\n\
                   dog.jpg,A dog,A dog but no ball,A cat,No dog,0,positive\n\
                   x/cat.jpg,A cat but no drum,A drum,A dog,No cat,0,hybrid\n\
                   none.jpg,a,b,c,d,0,positive\n";

#[test]
fn questions_of_negbench_by_type_and_with_baselines() {
    let world = world();
    let baselines = [("baselines", Value::Boolean(true)), ("lambda", Value::Float(0.5))];
    for images in [".", "s.tar"] {
        let scores = scored(world.path(), "negbench-mcq", MCQ, images, &baselines);
        assert_eq!(scores.coverage, "2 of 3 rows; images that cannot be used: 1 (none.jpg)");
        // "No dog" is as near as "A dog": this encoder does not read negation.
        assert_eq!(scores.of("accuracy", "all"), (0.0, 2));
        assert_eq!(scores.of("accuracy", "hybrid"), (0.0, 1));
        assert_eq!(scores.of("chose_wrong_negative", "positive"), (1.0, 1));
        assert_eq!(scores.of("chose_wrong_hybrid", "positive"), (0.0, 1));
        // Both true captions affirm no more than a wrong option that denies what is absent, or says less.
        assert_eq!(scores.of("training_free_accuracy", "all"), (0.5, 2));
        // "A dog but no ball" is a dog for whoever drops denials; "A cat but no drum" is as near as it can be.
        assert_eq!(scores.of("ignore_accuracy", "positive"), (0.0, 1));
        assert_eq!(scores.of("policy_accuracy", "hybrid"), (1.0, 1));
        for name in ["lambda", "space", "deo"] {
            scores.of(&format!("{name}_accuracy"), "positive");
        }
        scores.of("text_only_accuracy", "hybrid");
    }
    let plain = scored(world.path(), "negbench-mcq", MCQ, ".", &[]);
    assert_eq!(plain.names(), ["accuracy all", "accuracy hybrid", "accuracy positive", "text_only_accuracy all"]);
}

#[test]
fn our_own_multiple_choice() {
    let world = world();
    let lines = r#"{"image_key":"dog-ball","captions":["A cat","A dog and a ball"],"correct":1,"kind":"positive"}
{"image_key":"dog","captions":["A dog","A cat"],"correct":1,"kind":"negative"}"#;
    let scores = scored(world.path(), "mcq", lines, "s.tar", &[]);
    assert_eq!((scores.of("accuracy", "all"), scores.of("accuracy", "positive")), ((0.5, 2), (1.0, 1)));
    assert_eq!(scores.coverage, "2 of 2 rows");
    let chosen: Vec<_> = scores.answers.iter().map(|answer| (answer.correct, answer.chosen)).collect();
    assert_eq!(chosen, [(1, 1), (1, 0)]);
    let first = &scores.answers[0];
    assert_eq!((first.key.as_str(), first.part.as_deref()), ("dog-ball", Some("positive")));
    assert_eq!(first.texts, ["A cat", "A dog and a ball"]);
    assert!(first.shard.ends_with("s.tar") && first.cosines[1] > first.cosines[0], "{first:?}");
    assert!(!scores.names().iter().any(|name| name.starts_with("training_free")));
}

#[test]
fn retrieval_plain_and_negated() {
    let world = world();
    let scores = scored(world.path(), "retrieval", "", "s.tar", &[]);
    assert_eq!((scores.of("text_to_image_r@1", "all"), scores.of("image_to_text_r@1", "all")), ((1.0, 4), (1.0, 3)));
    assert_eq!(scores.series.len(), 6);
    let rows = "filepath,captions\ndog.jpg,\"['A dog and no cat', 'A dog']\"\ncat.jpg,\"['A cat, no dog']\"\n";
    let scores = scored(world.path(), "negbench-retrieval", rows, ".", &[("baselines", Value::Boolean(true))]);
    // Both images are as near to a text that names both.
    assert_eq!(scores.of("text_to_image_r@1", "all").0, 1.0 / 3.0);
    assert_eq!(scores.of("training_free_text_to_image_r@1", "all"), (1.0, 3));
    for name in ["ignore", "lambda", "space", "policy"] {
        assert_eq!(scores.of(&format!("{name}_text_to_image_r@1"), "all"), (1.0, 3), "{name}");
        assert_eq!(scores.of(&format!("{name}_image_to_text_r@10"), "all"), (1.0, 2), "{name}");
    }
    assert_eq!(scores.series.len(), 6 * 7, "the tower, and six training-free answers");
    assert_eq!(scores.of("text_to_image_r@5", "all"), (1.0, 3));
    let rows = "filepath,captions\ndog.jpg,\"['', 'A dog', ' ']\"\ncat.jpg,[]\n";
    let scores = scored(world.path(), "negbench-retrieval", rows, ".", &[]);
    assert_eq!(scores.coverage, "2 of 2 rows; 2 captions are empty and do not count");
    assert_eq!(scores.of("text_to_image_r@1", "all"), (1.0, 1));
    assert_eq!(scores.of("image_to_text_r@1", "all"), (1.0, 1), "a photo without captions looks for none");
    let baselines = [("baselines", Value::Boolean(true))];
    let plain = scored(world.path(), "retrieval", "", "s.tar", &baselines);
    assert_eq!(plain.of("policy_text_to_image_r@1", "all"), plain.of("text_to_image_r@1", "all"));
}

#[test]
fn captions_against_foils() {
    let world = world();
    let valse = r#"{"x":{"image_file":"dog.jpg","caption":"A dog","foil":"A cat","linguistic_phenomena":"existence","mturk":{"caption":3}},
                    "y":{"image_file":"dog.jpg","caption":"A dog","foil":"A cat","mturk":{"caption":1}}}"#;
    let scores = scored(world.path(), "valse", valse, ".", &[]);
    assert_eq!(scores.of("accuracy", "existence"), (1.0, 1));
    assert_eq!(scores.coverage, "1 of 1 rows; 1 more rows do not count (too few annotators accepted the caption)");
    let sugar = r#"[{"filename":"cat.jpg","caption":"A cat","negative_caption":"A drum"}]"#;
    assert_eq!(scored(world.path(), "sugarcrepe", sugar, "s.tar", &[]).of("accuracy", "all"), (1.0, 1));
    let cc_neg = r#"[{"image_path":"cc/cat.jpg","caption":"A cat","negative_caption":"Not a cat"}]"#;
    let scores = scored(world.path(), "cc-neg", cc_neg, ".", &[("baselines", Value::Boolean(true))]);
    assert_eq!(scores.of("accuracy", "all"), (0.0, 1), "a tie is no answer");
    assert_eq!(scores.of("training_free_accuracy", "all"), (1.0, 1));
}

#[test]
fn triplets_regions_hypotheses_and_classes() {
    let world = world();
    let triplets = r#"[{"filename":"dog.jpg","caption":"A dog","caption2":"One dog","negative_caption":"A cat"}]"#;
    let scores = scored(world.path(), "sugarcrepe++", triplets, ".", &[]);
    assert_eq!(
        (scores.of("image_to_text_accuracy", "all"), scores.of("text_only_accuracy", "all")),
        ((1.0, 1), (1.0, 1))
    );

    let regions = r#"[{"image":"dog-ball.jpg","phrase":"the ball","ref_bbox":[1,0,9,9],"bbox_list":[[0,0,9,9],[1,0,9,9]]},
                      {"image":"dog-ball.jpg","phrase":"the ball","ref_bbox":[0,0,9,9],"bbox_list":[[0,0,9,9],[1,0,9,9]]}]"#;
    let scores = scored(world.path(), "negrefcocog", regions, ".", &[]);
    assert_eq!(scores.of("accuracy", "all"), (0.5, 2));

    let hypotheses = "image,hypothesis,label\ndog.jpg,A dog,entailment\ndog.jpg,A cat,contradiction\n\
                      dog.jpg,No dog,contradiction\ncat.jpg,Maybe,neutral\n";
    let scores = scored(world.path(), "snli-ve", hypotheses, ".", &[]);
    assert_eq!((scores.of("pair_accuracy", "all"), scores.of("pair_accuracy", "negation")), ((0.5, 2), (0.0, 1)));
    assert_eq!(scores.of("auc", "all"), (0.75, 3));
    assert!(scores.coverage.ends_with("1 more rows do not count (neutral)"));
    assert!(!scores.names().contains(&"auc negation".to_owned()), "no true row denies anything");

    let labels = "image,label\ndog.jpg,dog\ncat.jpg,cat\ndog-ball.jpg,drum\n";
    let scores = scored(world.path(), "zero-shot", labels, ".", &[]);
    assert_eq!(scores.names(), ["top_1 all"]);
    assert!((scores.of("top_1", "all").0 - 2.0 / 3.0).abs() < 1e-9);
    let many: String = ["dog", "cat", "ball", "drum", "sea", "sky"].map(|name| format!("dog.jpg,{name}\n")).concat();
    let templates =
        ("templates", Value::Array(vec![Value::String("{}".into()), Value::String("a photo of a {}.".into())]));
    let scores = scored(world.path(), "zero-shot", &format!("image,label\n{many}"), ".", &[templates]);
    assert_eq!(scores.names(), ["top_1 all", "top_5 all"]);
}

#[test]
fn a_benchmark_of_ones_own() {
    let world = world();
    let rows = format!("image,true,false\ndog.jpg,A dog,A cat\ncat.jpg,A dog,A cat\ncat.jpg,{},x\n", "a".repeat(99));
    let scores = scored(world.path(), "own-pairs", &rows, ".", &[("longest", Value::Integer(50))]);
    assert_eq!(scores.of("accuracy", "all"), (0.5, 2));
    assert_eq!(scores.coverage, "2 of 2 rows; 1 more rows do not count (too long)");
}

#[test]
fn a_benchmark_measures_the_text_encoder_of_the_last_stage() {
    let world = world();
    std::fs::write(world.path().join("file"), MCQ).unwrap();
    let options = [("file", Value::String("file".into())), ("images", Value::String(".".into()))];
    let moment = Moment { phase: Phase::Before, epoch: 0, step: 0, seed: 1 };
    let measured = |subject: &(dyn std::any::Any + Send + Sync)| {
        let probe = |benchmark| Probed::probe("own", benchmark).measure(subject, &moment);
        opened(world.path(), "negbench-mcq", &options, probe).unwrap()
    };
    let found = measured(&TextEncoderHandle(Arc::new(Words))).unwrap();
    let (lines, answers) = (found.measurements, found.answers);
    assert_eq!(answers.len(), 2);
    assert!(answers[0].starts_with(r#"{"eval":"own","#) && answers[0].contains(r#""correct":0"#), "{}", answers[0]);
    assert_eq!((lines[0].eval.as_str(), lines[0].metric.as_str(), lines[0].n), ("own", "accuracy", 2));
    assert!(measured(&3).unwrap_err().to_string().contains("trains no text encoder"));
}

#[test]
fn images_that_cannot_be_used_are_faults_only_if_none_is_left() {
    let world = world();
    let open = |file: &str, images: &str, kind: &str| {
        std::fs::write(world.path().join("file"), file).unwrap();
        let options = [("file", Value::String("file".into())), ("images", Value::String(images.into()))];
        opened(world.path(), kind, &options, drop).unwrap_err()
    };
    let row = |image: &str| format!("image,label\n{image},a\n{image},b\n");
    for (image, images) in [("elsewhere/x.jpg", "."), ("broken.jpg", "."), ("x.jpg", "s.tar"), ("broken.jpg", "s.tar")]
    {
        let said = open(&row(image), images, "zero-shot");
        assert!(said.contains("asks about 1 images") && said.contains(&format!("`{image}`")), "{said}");
    }
    let said = open("image,label\ndog.jpg,a\n", ".", "zero-shot");
    assert!(said.contains("at least two classes"), "{said}");
    let regions = r#"[{"image":"dog-ball.jpg","phrase":"x","ref_bbox":[1,0,9,9],"bbox_list":[[0,0,9,9],[1,0,9,9]]}]"#;
    assert!(open(regions, "s.tar", "negrefcocog").contains("give a folder in place of s.tar"));
    std::fs::write(world.path().join("twice.tar"), "a/dog x\nb/dog-ball x\nc/cat x\n").unwrap();
    std::fs::write(world.path().join("other.tar"), "a/dog-ball x\n").unwrap();
    let options = |images: Value| {
        std::fs::write(world.path().join("file"), "image,label\na/dog.jpg,a\nc/cat.jpg,b\n").unwrap();
        [("file", Value::String("file".into())), ("images", images)]
    };
    let both = Value::Array(vec![Value::String("twice.tar".into()), Value::String("s.tar".into())]);
    assert_eq!(opened(world.path(), "zero-shot", &options(both), |b| b.coverage().used).unwrap(), 2);
}

/// What `check` finds in a config with this `[[eval]]` table.
fn faults(world: &Path, eval: &str) -> Vec<String> {
    let text = format!("[[stage]]\nkind = \"shards\"\nurls = \"s.tar\"\n[[stage]]\nkind = \"end\"\n[[eval]]\n{eval}\n");
    let config = Config::parse("t.toml", text, world.to_owned()).unwrap();
    let found = check(&config, &registry()).map(drop);
    found.map_or_else(|faults| faults.iter().map(ToString::to_string).collect(), |()| Vec::new())
}

#[test]
fn check_sees_missing_files_and_images_of_every_benchmark() {
    let world = world();
    let none = |eval: &str| assert_eq!(faults(world.path(), eval), Vec::<String>::new(), "{eval}");
    for part in <dyn Source>::list() {
        let has = |name: &str| (part.specs)().iter().any(|spec| spec.name == name);
        let file = |name: &str| if has("file") { format!("file = \"{name}\"\n") } else { String::new() };
        let kind = format!("kind = \"{}\"\n", part.name);
        let good = if has("file") { "." } else { "s.tar" };
        none(&format!("{kind}{}images = \"{good}\"", file("s.tar")));
        let found = faults(world.path(), &format!("{kind}{}images = \"nowhere-000.tar\"", file("none.csv")));
        assert_eq!(found.len(), if has("file") { 2 } else { 1 }, "{}: {found:?}", part.name);
        if has("file") {
            assert!(found[0].contains("none.csv does not exist"), "{found:?}");
        }
        assert!(found.iter().any(|fault| fault.contains("nowhere-")), "{found:?}");
    }
    let images = |kind: &str, images: &str| {
        let file = if kind == "retrieval" { "" } else { "file = \"s.tar\"\n" };
        faults(world.path(), &format!("kind = \"{kind}\"\n{file}images = {images}")).join("\n")
    };
    assert!(images("valse", "[]").contains("`images` is empty"));
    assert!(images("valse", "[\"s.tar\", \"t.tar\"]").contains("shard `t.tar` is missing"));
    assert!(images("valse", "[\"s.tar\", \".\"]").contains("is a folder, not a shard"));
    assert!(images("retrieval", "\".\"").contains("is a folder, not a shard"));
    assert!(images("negrefcocog", "\"s.tar\"").contains("give a folder in place of s.tar"));
    let templates = faults(
        world.path(),
        "kind = \"zero-shot\"\nfile = \"s.tar\"\nimages = \".\"\ntemplates = [\"{}\", \"a photo\"]",
    );
    assert!(templates.len() == 1 && templates[0].contains("\"a photo\" has no {}"), "{templates:?}");
    assert!(faults(world.path(), "kind = \"valse\"\nfile = \".\"\nimages = \".\"").join("").contains("is a folder"));
}

#[test]
fn old_names_of_options_are_refused_with_the_line_to_write() {
    let world = world();
    let mcq = faults(world.path(), "kind = \"mcq\"\nquestions = \"q.jsonl\"\nshards = [\"s.tar\"]").join("\n");
    assert!(mcq.contains("write `file = \"q.jsonl\"`") && mcq.contains("write `images = [\"s.tar\"]`"), "{mcq}");
    let retrieval = faults(world.path(), "kind = \"retrieval\"\nshards = \"s.tar\"").join("\n");
    assert!(retrieval.contains("write `images = \"s.tar\"`"), "{retrieval}");
}

#[test]
fn names_differ_and_have_help() {
    let list = <dyn Source>::list();
    let mut names: Vec<&str> = list.iter().map(|part| part.name).collect();
    assert_eq!(names.len(), 12, "eleven, and the one of these tests");
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), list.len());
    for part in list {
        assert!(!part.about.is_empty() && (part.specs)().iter().any(|spec| spec.name == "images"), "{}", part.name);
    }
}
