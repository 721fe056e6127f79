//! `pipeline questions` and `pipeline eval` on the embedded world, and bad input to both.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{pipeline, root, samples};
use items::metric;
use serde_json::Value;

/// Runs `pipeline` in a folder: exit code, standard output, standard error.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = pipeline().current_dir(folder).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// What `pipeline eval` says of the small CLIP on some images; it must succeed.
fn eval(folder: &Path, benchmark: &str, file: &str, images: &str, more: &[&str]) -> (String, Vec<Value>) {
    let model = root().join("assets/clip-world");
    let model = model.to_str().unwrap();
    let mut arguments = vec!["-q", "eval", "--model", model, "--benchmark", benchmark, "--images", images];
    arguments.extend(["--device", "cpu", "--json", "out.jsonl"]);
    if !file.is_empty() {
        arguments.extend(["--file", file]);
    }
    arguments.extend(more);
    let (code, out, err) = run(folder, &arguments);
    assert_eq!(code, 0, "{out}\n{err}");
    let lines = std::fs::read_to_string(folder.join("out.jsonl")).unwrap();
    (out, lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn value<'a>(lines: &'a [Value], metric: &str, part: &str) -> &'a Value {
    lines
        .iter()
        .find(|l| l["metric"] == metric && l["part"] == part)
        .unwrap_or_else(|| panic!("{metric} {part}: {lines:?}"))
}

/// The first pictures of the test shard as files; their keys.
fn pictures(folder: &Path, count: usize) -> Vec<String> {
    let shard = root().join("assets/world/test-000.tar");
    let members = samples(&shard, count);
    for (name, bytes) in members.iter().filter(|(name, _)| name.ends_with(".jpg")) {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    members.iter().filter_map(|(name, _)| name.strip_suffix(".jpg").map(str::to_owned)).collect()
}

/// What `pack` makes of a folder with folders in it, benchmarks find by the paths that their files give.
#[test]
fn questions_about_a_folder_are_answered_from_its_shards() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let photos = folder.join("photos/val.2017/odd names");
    std::fs::create_dir_all(&photos).unwrap();
    let mut csv = "image_path,caption_0,caption_1,caption_2,caption_3,correct_answer\n".to_owned();
    for (index, key) in pictures(&photos, 4).iter().enumerate() {
        std::fs::rename(photos.join(format!("{key}.jpg")), photos.join(format!("{key}.v 1.jpg"))).unwrap();
        let animal = ["dog", "cat"][index % 2];
        // Captions that all name the animal tell that the other one is absent.
        let captions = format!("a {animal} and a ball\n").repeat(6);
        std::fs::write(photos.join(format!("{key}.v 1.txt")), captions).unwrap();
        csv += &format!("val.2017/odd names/{key}.v 1.jpg,a dog,a cat,a ball,no dog,{index}\n");
    }
    std::fs::write(folder.join("mcq.csv"), csv).unwrap();
    let (code, _, err) = run(folder, &["pack", "photos", "--out", "shards", "--verify"]);
    assert_eq!(code, 0, "{err}");
    let shard = "shards/train-000000.tar";
    let (out, lines) = eval(folder, "negbench-mcq", "mcq.csv", shard, &[]);
    assert!(out.contains("4 of 4 rows"), "{out}");
    let (_, beside) = eval(folder, "negbench-mcq", "mcq.csv", "photos", &[]);
    assert_eq!(value(&lines, "accuracy", "all"), value(&beside, "accuracy", "all"));

    // Questions made from these shards name pictures as the folder has them, as far as keys can.
    let (code, _, err) = run(folder, &["questions", "--captions", shard, "--out", "q", "--least", "1"]);
    assert_eq!(code, 0, "{err}");
    let asked = std::fs::read_to_string(folder.join("q/retrieval.csv")).unwrap();
    assert!(asked.contains("val_2017/odd_names/"), "{asked}");
}

#[test]
fn questions_from_captions_are_asked_of_shards_and_of_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let shard = root().join("assets/world/test-000.tar");
    let shard = shard.to_str().unwrap();
    let (code, out, err) = run(folder, &["questions", "--captions", shard, "--out", "q", "--each", "2"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("mcq.csv") && out.contains("positive"), "{out}");
    let csv = std::fs::read_to_string(folder.join("q/mcq.csv")).unwrap();
    run(folder, &["questions", "--captions", shard, "--out", "again", "--each", "2"]);
    assert_eq!(
        csv,
        std::fs::read_to_string(folder.join("again/mcq.csv")).unwrap(),
        "the same seed, the same questions"
    );

    let (out, lines) = eval(folder, "negbench-mcq", "q/mcq.csv", shard, &[]);
    let all = value(&lines, "accuracy", "all");
    let rows = csv.lines().count() as u64 - 1;
    assert_eq!(all["n"], rows);
    assert!(out.contains(&format!("{rows} of {rows} rows")), "{out}");
    assert!(all["low"].as_f64() < all["value"].as_f64() && all["value"].as_f64() < all["high"].as_f64());
    for part in ["positive", "negative", "hybrid"] {
        value(&lines, "accuracy", part);
        for baseline in metric::BASELINES {
            value(&lines, &metric::of_baseline(baseline, metric::ACCURACY), part);
        }
        value(&lines, "chose_wrong_hybrid", part);
    }
    value(&lines, "text_only_accuracy", "all");
    // The CLIP was trained on captions that only affirm.
    assert!(
        value(&lines, "accuracy", "positive")["value"].as_f64()
            > value(&lines, "accuracy", "negative")["value"].as_f64()
    );

    // Half of the images as files: the score says so.
    std::fs::create_dir(folder.join("photos")).unwrap();
    let keys = pictures(&folder.join("photos"), 80);
    let (out, lines) = eval(folder, "negbench-mcq", "q/mcq.csv", "photos", &[]);
    let used = csv.lines().filter(|line| keys.iter().any(|key| line.starts_with(&format!("{key}.")))).count() as u64;
    assert!(used > 0 && used < rows);
    assert_eq!(value(&lines, "accuracy", "all")["n"], used);
    assert!(
        out.contains(&format!("{used} of {rows} rows; images that cannot be used: ")) && out.contains(".jpg"),
        "{out}"
    );

    let (_, lines) = eval(folder, "negbench-retrieval", "q/retrieval.csv", shard, &[]);
    assert!(value(&lines, "text_to_image_r@5", "all")["n"].as_u64() > Some(100));
}

#[test]
fn negated_queries_of_the_world_are_what_the_command_and_the_eval_make() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let shards = root().join("assets/world/test-{000..001}.tar");
    let shards = shards.to_str().unwrap();
    for (wordings, committed) in [("first", "negated.csv"), ("second", "negated-second.csv")] {
        let arguments = ["questions", "--captions", shards, "--out", wordings, "--wordings", wordings];
        let (code, _, err) = run(folder, &arguments);
        assert_eq!(code, 0, "{err}");
        let file = root().join("assets/world").join(committed);
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert!(
            read(&folder.join(wordings).join("retrieval.csv")) == read(&file),
            "{committed} is not what `just world` writes"
        );

        let values = |lines: Vec<Value>| {
            lines.iter().map(|line| (line["metric"].clone(), line["value"].clone())).collect::<Vec<_>>()
        };
        let of_file = values(eval(folder, "negbench-retrieval", file.to_str().unwrap(), shards, &[]).1);
        let made = values(eval(folder, "negated-retrieval", "", shards, &["--wordings", wordings]).1);
        assert_eq!(of_file.len(), 6 * (1 + metric::BASELINES.len()));
        assert_eq!(of_file, made, "{wordings}");
        let file = folder.join(wordings).join("mcq.csv");
        let of_file = values(eval(folder, "negbench-mcq", file.to_str().unwrap(), shards, &[]).1);
        let made = values(eval(folder, "negated-mcq", "", shards, &["--wordings", wordings]).1);
        assert_eq!(of_file, made, "{wordings}");
    }
    let arguments = ["questions", "--captions", shards, "--out", "third", "--wordings", "third"];
    assert_eq!(run(folder, &arguments).0, 2);
}

#[test]
fn a_checkpoint_is_no_better_than_itself() {
    let folder = tempfile::tempdir().unwrap();
    let shard = root().join("assets/world/test-001.tar");
    let model = root().join("assets/clip-world");
    let more = ["--against", model.to_str().unwrap()];
    let (out, lines) = eval(folder.path(), "retrieval", "", shard.to_str().unwrap(), &more);
    let difference = value(&lines, "difference:text_to_image_r@5", "all");
    assert_eq!(
        (&difference["value"], &difference["low"], &difference["high"]),
        (&0.0.into(), &0.0.into(), &0.0.into())
    );
    assert!(out.contains("difference [95 %]"), "{out}");
    let phases: Vec<_> = lines.iter().filter(|l| l["metric"] == "image_to_text_r@1").map(|l| &l["phase"]).collect();
    assert_eq!(phases, ["before", "after"]);
}

#[test]
fn every_other_benchmark_on_a_fixture_of_its_format() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let keys = pictures(folder, 12);
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    let (a, b) = (&keys[0], &keys[1]);
    write(
        "valse.json",
        format!(
            r#"{{"x_1":{{"image_file":"{a}.jpg","caption":"a drum","foil":"no drum","linguistic_phenomena":"existence","mturk":{{"caption":3}}}}}}"#
        ),
    );
    write(
        "sugar.json",
        format!(
            r#"{{"0":{{"filename":"{a}.jpg","caption":"a drum","negative_caption":"a cat"}},"1":{{"filename":"none.jpg","caption":"x","negative_caption":"y"}}}}"#
        ),
    );
    write(
        "sugarpp.json",
        format!(
            r#"[{{"id":0,"filename":"{a}.jpg","caption":"a drum","caption2":"one drum","negative_caption":"a cat"}}]"#
        ),
    );
    write(
        "ccneg.json",
        format!(
            r#"{{"annotations":[{{"caption":"a drum","sop_data":{{"negative-prompt":"not a drum"}}}}],"image_paths":["cc/{b}.jpg"]}}"#
        ),
    );
    write(
        "ref.json",
        format!(
            r#"[{{"image":"{a}.jpg","phrase":"the drum","ref_bbox":[0,0,20,20],"bbox_list":[[0,0,20,20],[20,20,20,20]]}}]"#
        ),
    );
    write(
        "snli.csv",
        format!(
            "image,hypothesis,label\n{a}.jpg,There is a drum,entailment\n{a}.jpg,There is no drum,contradiction\n{b}.jpg,Maybe,neutral\n"
        ),
    );
    write("labels.csv", format!("image,label\n{a}.jpg,drum\n{b}.jpg,cat\n"));
    for (benchmark, file, metric, n) in [
        ("valse", "valse.json", "accuracy", 1),
        ("sugarcrepe", "sugar.json", "accuracy", 1),
        ("sugarcrepe++", "sugarpp.json", "image_to_text_accuracy", 1),
        ("cc-neg", "ccneg.json", "accuracy", 1),
        ("negrefcocog", "ref.json", "accuracy", 1),
        ("snli-ve", "snli.csv", "pair_accuracy", 1),
        ("zero-shot", "labels.csv", "top_1", 2),
    ] {
        let (out, lines) = eval(folder, benchmark, file, ".", &[]);
        assert_eq!(value(&lines, metric, "all")["n"], n, "{benchmark}");
        if benchmark == "sugarcrepe" {
            assert!(out.contains("1 of 2 rows; images that cannot be used: 1 (none.jpg)"), "{out}");
        }
        if benchmark == "snli-ve" {
            assert!(out.contains("1 more rows do not count (neutral)"), "{out}");
        }
    }
}

#[test]
fn a_benchmark_in_a_config_is_measured_before_and_after() {
    let bench = common::Bench::new(32).set("run.epochs", "1");
    let keys = pictures(bench.folder.path(), 4);
    let row = |key: &String, kind: &str| format!("{key}.jpg,a drum,a cat but no drum,a cat,no drum,0,{kind}\n");
    let header = "image_path,caption_0,caption_1,caption_2,caption_3,correct_answer,correct_answer_template\n";
    std::fs::write(bench.path("q.csv"), header.to_owned() + &row(&keys[0], "positive") + &row(&keys[1], "hybrid"))
        .unwrap();
    let text = bench.config_text()
        + &format!(
            "\n[[eval]]\nkind = \"negbench-mcq\"\nname = \"own\"\nfile = \"q.csv\"\nimages = \"{}\"\n",
            bench.folder.path().display()
        );
    std::fs::write(bench.path("pipeline.toml"), text).unwrap();
    let run = bench.run("r", &[]).whole();
    let results = run.results();
    for phase in ["before", "after"] {
        let taken = |part: &str| results.iter().any(|r| r["phase"] == phase && r["eval"] == "own" && r["part"] == part);
        assert!(taken("all") && taken("positive") && taken("hybrid"), "{phase}: {results:?}");
        let answers = std::fs::read_to_string(run.dir.join(format!("answers-{phase}.jsonl"))).unwrap();
        let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((answers.len(), &answers[0]["eval"], &answers[1]["part"]), (2, &"own".into(), &"hybrid".into()));
        assert_eq!(answers[0]["key"], format!("{}.jpg", keys[0]));
    }
    let said = run.stdout();
    assert!(said.contains("own: of 2 questions, ") && said.contains("r/report.html"), "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn open_shows_the_page_of_the_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let bench = common::Bench::new(32).set("run.epochs", "1");
    bench.write_config();
    let (browser, shown) = (bench.path("bin/xdg-open"), bench.path("shown"));
    std::fs::create_dir(bench.path("bin")).unwrap();
    std::fs::write(
        &browser,
        format!("#!/bin/sh\nprintf %s \"$1\" > '{0}.new' && mv '{0}.new' '{0}'\n", shown.display()),
    )
    .unwrap();
    std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bench.path("bin").display(), std::env::var("PATH").unwrap_or_default());
    let ran = common::pipeline()
        .env("PATH", path)
        .args([
            "run",
            bench.path("pipeline.toml").to_str().unwrap(),
            "--open",
            "--set=run.name=r",
            "--set=run.epochs=1",
        ])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    // The browser is not waited for.
    let waiting = std::time::Instant::now();
    while !shown.exists() && waiting.elapsed().as_secs() < 30 {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let page = std::fs::read_to_string(&shown).unwrap();
    assert_eq!(Path::new(&page), bench.path("runs/r/report.html"));
}

#[test]
fn bad_input_is_named_with_its_row() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let keys = pictures(folder, 2);
    let model = root().join("assets/clip-world");
    let said = |benchmark: &str, name: &str, text: &str, images: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        let arguments =
            ["eval", "--model", model.to_str().unwrap(), "--benchmark", benchmark, "--file", name, "--images", images];
        let (code, out, err) = run(folder, &arguments);
        assert_eq!((code, out.as_str()), (1, ""), "no half-made score: {err}");
        err
    };
    let header = "image_path,caption_0,caption_1,caption_2,caption_3,correct_answer,correct_answer_template\n";
    let good = format!("{}.jpg,a,b,c,d,0,positive\n", keys[0]);
    let check = |err: String, words: &[&str]| assert!(words.iter().all(|word| err.contains(word)), "{words:?}: {err}");
    check(said("negbench-mcq", "m.csv", &header.replace("caption_2,", ""), "."), &["m.csv", "no column `caption_2`"]);
    check(
        said("negbench-mcq", "m.csv", &format!("{header}{good}x.jpg,a,,c,d,0,hybrid\n"), "."),
        &["m.csv:3", "`caption_1` is empty"],
    );
    check(
        said("negbench-mcq", "m.csv", &format!("{header}{good}x.jpg,a,b,c,d,4,hybrid\n"), "."),
        &["m.csv:3", "`correct_answer` is 4"],
    );
    check(
        said("valse", "s.json", r#"{"0":{"filename":"a.jpg","caption":"x","negative_caption":"y"}}"#, "."),
        &["s.json:1", "another benchmark"],
    );
    check(
        said("negbench-mcq", "m.csv", &format!("{header}elsewhere/x.jpg,a,b,c,d,0,hybrid\n"), "."),
        &["asks about 1 images", "elsewhere/x.jpg"],
    );
    check(said("negbench-mcq", "m.csv", &format!("{header}{good}"), "nowhere.tar"), &["nowhere.tar"]);
    std::fs::write(folder.join("broken.jpg"), "no picture").unwrap();
    check(
        said("negbench-mcq", "m.csv", &format!("{header}broken.jpg,a,b,c,d,0,hybrid\n"), "."),
        &["asks about 1 images", "broken.jpg"],
    );

    let (code, _, err) = run(folder, &["eval", "--model", "none", "--benchmark", "valse", "--images", "."]);
    assert_eq!(code, 1);
    assert!(err.contains("needs --file"), "{err}");
    let (code, _, err) = run(folder, &["eval", "--model", "none", "--benchmark", "nlvr", "--images", "."]);
    assert_eq!(code, 2, "{err}");
    let (code, _, err) = run(folder, &["questions", "--captions", "none.tar", "--out", "q"]);
    assert_eq!(code, 1);
    assert!(err.contains("none.tar"), "{err}");
}
