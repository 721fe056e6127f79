//! Every command beside `run`, as people use it, and with bad input.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::process::Output;

use common::{Bench, pipeline, root, samples, write_tar};
use serde_json::Value;

/// Runs `pipeline` in `folder`.
fn ran(folder: &Path, arguments: &[&str]) -> Output {
    pipeline().current_dir(folder).args(arguments).output().unwrap()
}

/// Standard output of a command that went well.
fn said(folder: &Path, arguments: &[&str]) -> String {
    let output = ran(folder, arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}\n{out}\n{err}");
    out.into_owned()
}

/// Standard error of one that ended with this code.
fn failed(folder: &Path, code: i32, arguments: &[&str]) -> String {
    let output = ran(folder, arguments);
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{err}");
    err
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e} in {text}"))
}

/// What the schema says against a config.
fn against_schema(schema: &Value, config: &str) -> Vec<String> {
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("pipeline.json", schema.clone()).unwrap();
    let compiled = compiler.compile("pipeline.json", &mut schemas).unwrap();
    let config: toml::Value = toml::from_str(config).unwrap();
    let value = serde_json::to_value(config).unwrap();
    schemas.validate(&value, compiled).err().map(|e| vec![format!("{e:#}")]).unwrap_or_default()
}

#[test]
fn the_schema_takes_what_check_takes() {
    let schema = json(&said(&root(), &["schema"]));
    for (config, option) in [("pipeline.toml", "keep = 150.0"), ("examples/flickr8k.toml", "image_noise = 1.0")] {
        let text = std::fs::read_to_string(root().join(config)).unwrap();
        assert_eq!(against_schema(&schema, &text), [""; 0], "{config}");
        for (right, wrong) in [
            ("epochs", "epoch"),
            ("kind = \"decode\"", "kind = \"decod\""),
            ("workers = 2", "workers = \"two\""),
            ("workers = 2", "workers = 0.5"),
            ("seed = 1", "seed = -1"),
            ("weights =", "wights ="),
            ("preset = \"best\"", "preset = \"bset\""),
            // The table of a part, an option of it, and a value of that.
            ("[stage.contrast]", "[stage.contrats]"),
            (option, "keeep = 1.0"),
            (option, &format!("{} = \"much\"", option.split(' ').next().unwrap())),
        ] {
            assert!(text.contains(right), "{config} has no {right}");
            let typo = text.replacen(right, wrong, 1);
            assert_ne!(against_schema(&schema, &typo), [""; 0], "{config}: {wrong} passes the schema");
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("p.toml"), typo).unwrap();
            failed(folder.path(), 2, &["check", "p.toml"]);
        }
    }
}

/// What a command prints is its result: on a full disk it fails, and a reader that has enough is no fault.
#[test]
#[cfg(target_os = "linux")]
fn what_is_printed_arrives_or_the_command_fails() {
    for arguments in [&["schema"][..], &["stages"], &["presets"], &["completions", "bash"], &["man"], &["graph"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = pipeline().current_dir(root()).args(arguments).stdout(full).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.code() == Some(1) && err.contains("cannot write to standard output"),
            "{arguments:?}: {err}"
        );
    }
    let texts = std::env::temp_dir().join(format!("texts-{}", std::process::id()));
    std::fs::write(&texts, "a dog\n".repeat(3000)).unwrap();
    let model = root().join("assets/clip-world");
    let mut embed = pipeline();
    embed.arg("embed").arg("--device=cpu").arg("--model").arg(model).arg("--texts").arg(&texts);
    let mut child = embed.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    // A pipe holds less than these features.
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    std::fs::remove_file(texts).unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_number_too_large_for_toml_is_reported_with_the_bound() {
    for set in ["run.seed=18446744073709551615", "run.seed=-99999999999999999999"] {
        let said = failed(&root(), 2, &["check", "--set", set]);
        assert!(said.contains("a whole number no larger than 9223372036854775807"), "{said}");
    }
    said(&root(), &["check", "--set", "run.seed=9223372036854775807"]);
}

#[test]
fn the_schema_takes_every_default() {
    let schema = json(&said(&root(), &["schema"]));
    let bench = Bench::new(32);
    let dir = bench.run("r", &["run.epochs=1"]).whole().dir;
    let resolved = std::fs::read_to_string(dir.join("pipeline.toml")).unwrap();
    assert_eq!(against_schema(&schema, &resolved), [""; 0], "{resolved}");
}

#[test]
fn check_reports_every_misspelt_key_at_once() {
    let said = failed(
        &root(),
        2,
        &[
            "check",
            "--preset",
            "papre",
            "--set",
            "stage.trian.lr=1",
            "--set",
            "stage.batch.size=x",
            "--set",
            "tarin.lr=1",
        ],
    );
    for part in ["`papre`", "did you mean `paper`", "`trian`", "did you mean `train`", "`size`", "[tarin]", "4 faults"]
    {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    assert!(failed(&root(), 2, &["check", "nowhere.toml"]).contains("nowhere.toml"));
    failed(&root(), 2, &["chekc"]);
}

/// What costs nothing to see is found by `check`, all of it at once.
#[test]
fn check_finds_missing_files_and_parts_that_do_not_fit() {
    let text = std::fs::read_to_string(root().join("pipeline.toml")).unwrap();
    let weights = root().join("assets/clip-world").display().to_string();
    let text = text
        .replace("\"assets/clip-world\"", &format!("\"{weights}\""))
        .replace("\"assets/world/train-{000..003}.tar\"", "[\"gone.tar\", \"open-{000..\", \"ftp://host/a.tar\"]")
        .replace("device = \"auto\"", "device = \"cpu\"")
        .replace("mode = \"dynamic\"", "writer = \"plain\"")
        .replace("lr = 1.5e-3", "lr = 1.5e-3\nfront_layers = 99\nprecision = \"f16\"")
        .replace("assets/world/questions.jsonl", "questions.jsonl")
        .replace("assets/world/negated.csv", "negated.csv")
        .replace(
            "name = \"demo-retrieval\"\nimages = \"assets/world/test",
            "name = \"demo-retrieval\"\nimages = \"test",
        );
    let images = root().join("assets/world/test-{000..001}.tar").display().to_string();
    let text = text.replace("assets/world/test-{000..001}.tar", &images);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("p.toml"), text).unwrap();
    for command in ["check", "run"] {
        let said = failed(folder.path(), 2, &[command, "p.toml"]);
        for part in [
            "gone.tar",
            "open-{000..",
            "ftp://host/a.tar",
            "`contrast` needs pairs of a true and a false text",
            "`contrast` needs the things",
            "`negated` needs whole captions",
            "`composition` needs whole captions",
            "`composition` needs pairs",
            "front_layers",
            "f16",
            "questions.jsonl",
            "negated.csv",
            "test-000.tar",
            "13 faults, nothing was run",
        ] {
            assert!(said.contains(part), "{part} is not in\n{said}");
        }
    }
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn check_refuses_old_keys_with_the_line_to_write() {
    for (old, new) in [
        ("stage.train.w_keep=60", "contrast.keep"),
        ("stage.train.noise=0", "tng.noise"),
        ("stage.captions.generator=twins", "writer"),
        ("stage.captions.visual_guard=0.2", "share"),
        ("stage.encode.workers=2", "onnx.workers"),
        ("eval.demo-mcq.questions=q.jsonl", "file"),
    ] {
        let said = failed(&root(), 2, &["check", "--set", old]);
        assert!(said.contains(new), "{new} is not in\n{said}");
    }
}

#[test]
fn check_notes_what_has_no_effect() {
    let text = said(&root(), &["check"]);
    assert!(text.contains("is right") && !text.contains("note:"), "{text}");
    let text = said(&root(), &["check", "--preset", "paper"]);
    let notes: Vec<&str> = text.lines().filter(|line| line.starts_with("note:")).collect();
    // pipeline.toml sets an option of the loss `contrast`.
    assert!(notes.len() == 1 && notes[0].contains("contrast"), "{text}");
    // Mistakes in a table without effect are mistakes anyway.
    failed(&root(), 2, &["check", "--set", "stage.train.tng.nosie=0"]);
}

#[test]
fn presets_are_files() {
    let text = said(&root(), &["presets"]);
    assert!(text.contains("paper         TNG-CLIP") && text.contains("best "), "{text}");
    let paper = said(&root(), &["presets", "paper"]);
    assert_eq!(paper, std::fs::read_to_string(root().join("presets/paper.toml")).unwrap());
    assert!(failed(&root(), 2, &["presets", "papre"]).contains("did you mean `paper`"));

    // One's own: the loss of the paper with another share of random targets.
    let bench = Bench::new(32).set("run.epochs", "1");
    let own = paper.replace("noise = 1.0", "noise = 0.25").replace("size = 128", "size = 8");
    std::fs::write(bench.path("own.toml"), own).unwrap();
    let preset = bench.path("own.toml").display().to_string();
    let run = bench.run_with("own", &[], &["--preset", &preset]).whole();
    let resolved = std::fs::read_to_string(run.dir.join("pipeline.toml")).unwrap();
    assert!(resolved.contains("noise = 0.25") && resolved.contains("size = 8"), "{resolved}");
    // A fault in it is shown where it is.
    std::fs::write(bench.path("own.toml"), paper.replace("noise", "nosie")).unwrap();
    let said = bench.run_with("typo", &[], &["--preset", &preset]).failed(2);
    assert!(said.contains("own.toml") && said.contains("did you mean `noise`"), "{said}");
}

#[test]
fn graphs() {
    let text = said(&root(), &["graph"]);
    assert!(text.contains("pictures with captions, at most 64 waiting") && text.contains("demo-mcq"), "{text}");
    let wide = said(&root(), &["graph", "--set", "stage.decode.workers=7", "--set", "stage.decode.capacity=9"]);
    assert!(wide.contains("7 workers") && wide.contains("at most 9 waiting"), "{wide}");
    let dot = said(&root(), &["graph", "--format", "dot"]);
    assert!(dot.starts_with("digraph") && dot.contains("\"shards\" -> \"decode\""), "{dot}");
    let svg = said(&root(), &["graph", "--format", "svg"]);
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.matches("<rect").count() == 11, "{svg}");
}

#[test]
fn stages_as_text_and_as_json() {
    let all = json(&said(&root(), &["stages", "--json"]));
    let kinds: Vec<&str> = all.as_array().unwrap().iter().map(|kind| kind["kind"].as_str().unwrap()).collect();
    for kind in ["run", "model", "shards", "train", "mcq", "retrieval"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    let words = said(&root(), &["stages", "--all"]);
    let own = |kind: &Value| kind["options"].as_array().unwrap().clone();
    for kind in all.as_array().unwrap() {
        let parts = own(kind).into_iter().flat_map(|option| option["parts"].as_array().cloned().unwrap_or_default());
        let options = own(kind).into_iter().chain(parts.flat_map(|part| own(&part)));
        for option in options {
            let (name, help) = (option["name"].as_str().unwrap(), option["help"].as_str().unwrap());
            assert!(!help.is_empty() && words.contains(help), "{name} of {kind} has no help in\n{words}");
        }
    }
    // Each part has its line and its options.
    let captions = said(&root(), &["stages", "captions"]);
    for part in ["writer = \"twins\": ", "options in [stage.twins]", "guards = [\"visual\"]: ", "    share "] {
        assert!(captions.contains(part), "{part} is not in\n{captions}");
    }
    let one = said(&root(), &["stages", "batch"]);
    assert!(one.contains("default 128") && !one.contains("decode"), "{one}");
    assert!(failed(&root(), 2, &["stages", "btch"]).contains("did you mean `batch`"));
}

#[test]
fn init_writes_what_runs() {
    let bench = Bench::new(60);
    let weights = root().join("assets/clip-world").display().to_string();
    let init = ["init", "--weights", &weights, "--shards", "a-{000..001}.tar", "--eval", "a-001.tar"];
    said(bench.folder.path(), &init);
    let config = std::fs::read_to_string(bench.path("pipeline.toml")).unwrap();
    assert!(config.contains("captions = \"txt\"") && config.contains("encoder = \"clip\""), "{config}");
    assert!(config.contains("kind = \"retrieval\"") && !config.contains("negated-"), "too few to deny of: {config}");
    let many = root().join("assets/world/test-001.tar").display().to_string();
    let init_many =
        ["init", "--weights", &weights, "--shards", "a-{000..001}.tar", "--eval", &many, "--out", "many.toml"];
    said(bench.folder.path(), &init_many);
    let config = std::fs::read_to_string(bench.path("many.toml")).unwrap();
    assert!(config.contains("kind = \"negated-retrieval\""), "{config}");
    assert!(config.contains("kind = \"negated-mcq\""), "questions are made where none are given: {config}");
    said(bench.folder.path(), &["check"]);
    let run = ["run", "--set", "run.name=r", "--set", "run.epochs=1", "--set", "run.device=cpu"];
    said(bench.folder.path(), &run);
    assert!(bench.path("runs/r/export/model.safetensors").is_file());
    assert!(failed(bench.folder.path(), 1, &init).contains("--force"), "it is never overwritten");
    said(bench.folder.path(), &[&init[..], &["--force"]].concat());

    for (arguments, word) in [
        (["init", "--weights", "nowhere", "--shards", "a-*.tar", "-o", "b.toml"], "nowhere"),
        (["init", "--weights", ".", "--shards", "a-*.tar", "-o", "b.toml"], "config.json"),
        (["init", "--weights", &weights, "--shards", "b-*.tar", "-o", "b.toml"], "b-*.tar"),
        (["init", "--weights", &weights, "--shards", "pipeline.toml", "-o", "b.toml"], "not a tar"),
        (["init", "--weights", &weights, "--shards", "a-*.tar", "-o", "no/b.toml"], "does not exist"),
    ] {
        let said = failed(bench.folder.path(), 1, &arguments);
        assert!(said.contains(word), "{word} is not in {said}");
        assert!(!bench.path("b.toml").exists());
    }
}

#[test]
fn init_finds_captions_in_json() {
    let bench = Bench::new(40);
    let members: Vec<(String, Vec<u8>)> = samples(&bench.path("a-000.tar"), 100)
        .into_iter()
        .filter(|(name, _)| !name.ends_with(".json"))
        .map(|(name, bytes)| match name.strip_suffix(".txt") {
            Some(key) => {
                let text = String::from_utf8(bytes).unwrap();
                let lines: Vec<&str> = text.lines().collect();
                (
                    format!("{key}.json"),
                    serde_json::to_vec(&serde_json::json!({ "id": "x", "captions": lines })).unwrap(),
                )
            }
            None => (name, bytes),
        })
        .collect();
    write_tar(&bench.path("j.tar"), &members);
    let weights = root().join("assets/clip-world").display().to_string();
    said(bench.folder.path(), &["init", "--weights", &weights, "--shards", "j.tar"]);
    let config = std::fs::read_to_string(bench.path("pipeline.toml")).unwrap();
    assert!(config.contains("captions = \"json:captions\""), "{config}");
}

/// Pictures with captions in a folder: the samples of a small shard.
fn pictures(bench: &Bench) -> Vec<(String, String)> {
    let folder = bench.path("photos");
    std::fs::create_dir(&folder).unwrap();
    let mut captions = Vec::new();
    for (name, bytes) in samples(&bench.path("a-000.tar"), 100) {
        if name.ends_with(".json") {
            continue;
        }
        if let Some(key) = name.strip_suffix(".txt") {
            let text = String::from_utf8(bytes.clone()).unwrap();
            captions.extend(text.lines().map(|line| (format!("{key}.jpg"), line.to_owned())));
        }
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    captions
}

#[test]
fn pack_gives_the_same_samples_from_every_source() {
    let bench = Bench::new(40);
    let here = bench.folder.path();
    let captions = pictures(&bench);
    let images: Vec<&String> = {
        let mut images: Vec<&String> = captions.iter().map(|(image, _)| image).collect();
        images.dedup();
        images
    };
    let coco = serde_json::json!({
        "images": images.iter().enumerate().map(|(id, name)| serde_json::json!({ "id": id, "file_name": name })).collect::<Vec<_>>(),
        "annotations": captions.iter().map(|(image, caption)| serde_json::json!({
            "image_id": images.iter().position(|name| *name == image), "caption": caption,
        })).collect::<Vec<_>>(),
    });
    std::fs::write(bench.path("coco.json"), coco.to_string()).unwrap();
    let table = |separator: &str, quote: &str| {
        let rows: String = captions.iter().map(|(i, c)| format!("{i}{separator}{quote}{c}{quote}\n")).collect();
        format!("file_name{separator}text\n{rows}")
    };
    std::fs::write(bench.path("pairs.csv"), table(",", "\"")).unwrap();
    std::fs::write(bench.path("pairs.tsv"), table("\t", "")).unwrap();
    let lines: String = captions
        .iter()
        .map(|(image, caption)| format!("{}\n", serde_json::json!({ "image": image, "caption": caption })))
        .collect();
    std::fs::write(bench.path("pairs.jsonl"), lines).unwrap();

    said(here, &["pack", "photos", "--out", "whole", "--max-count", "8"]);
    let first = std::fs::read(bench.path("whole/train-000000.tar")).unwrap();
    for source in ["coco.json", "pairs.csv", "pairs.tsv", "pairs.jsonl"] {
        let text = said(
            here,
            &[
                "pack",
                source,
                "--images",
                "photos",
                "--out",
                source.split('.').next_back().unwrap(),
                "--max-count",
                "8",
            ],
        );
        assert!(text.contains("3 shards"), "{text}");
        let packed =
            std::fs::read(bench.path(source.split('.').next_back().unwrap()).join("train-000000.tar")).unwrap();
        assert!(packed == first, "{source} gives other bytes than the folder");
    }
    let info = json(&said(here, &["inspect", "whole", "--json"]));
    let usable: u64 = info["shards"].as_array().unwrap().iter().map(|shard| shard["usable"].as_u64().unwrap()).sum();
    assert_eq!(usable as usize, images.len());

    // Another order by seed; never over what is there.
    assert!(failed(here, 1, &["pack", "photos", "--out", "whole"]).contains("--force"));
    said(here, &["pack", "photos", "--out", "whole", "--force", "--seed", "1"]);
    assert!(!bench.path("whole/train-000001.tar").exists(), "old shards are gone");
    assert!(std::fs::read_dir(bench.path("whole")).unwrap().count() == 1, "no parts are left");
    // What is packed is what `run` reads.
    let config = bench.config_text().replace("a-{000..001}.tar", "whole/train-*.tar");
    std::fs::write(bench.path("pipeline.toml"), config).unwrap();
    bench.run("packed", &["run.epochs=1"]).whole();
}

#[test]
fn pack_names_what_it_leaves_out() {
    let bench = Bench::new(40);
    let here = bench.folder.path();
    pictures(&bench);
    let good = std::fs::read_dir(bench.path("photos")).unwrap().map(|e| e.unwrap().path());
    let good = good.into_iter().find(|path| path.extension().is_some_and(|e| e == "jpg")).unwrap();
    std::fs::write(bench.path("photos/text.jpg"), "this is no picture").unwrap();
    std::fs::write(bench.path("photos/cut.jpg"), &std::fs::read(&good).unwrap()[..600]).unwrap();
    let name = good.file_name().unwrap().to_str().unwrap();
    std::fs::write(
        bench.path("p.csv"),
        format!("image,caption\n{name},a dog\ngone.jpg,a cat\ntext.jpg,a cow\ncut.jpg,a hen\n{name}, \nempty.jpg,\n"),
    )
    .unwrap();
    let output = ran(here, &["pack", "p.csv", "--images", "photos", "--out", "o", "--verify"]);
    assert!(output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    for part in [
        "4 rows were skipped",
        "line 3",
        "gone.jpg",
        "the picture does not exist",
        "line 4",
        "not a JPEG",
        "cannot be decoded",
        "no caption",
    ] {
        assert!(stderr.contains(part), "{part} is not in\n{stderr}");
    }
    let skipped = std::fs::read_to_string(bench.path("o/train-skipped.jsonl")).unwrap();
    assert_eq!(skipped.lines().count(), 4, "{skipped}");

    std::fs::create_dir(bench.path("empty")).unwrap();
    std::fs::write(bench.path("c.csv"), "a,b\n1,2\n").unwrap();
    std::fs::write(bench.path("c.json"), "{}").unwrap();
    for (arguments, word) in [
        (vec!["pack", "empty", "--out", "x"], "no pictures"),
        (vec!["pack", "nowhere.csv", "--out", "x"], "nowhere.csv"),
        (vec!["pack", "c.csv", "--out", "x"], "--image-column"),
        (vec!["pack", "c.csv", "--out", "x", "--image-column", "aa"], "did you mean `a`"),
        (vec!["pack", "c.json", "--out", "x"], "COCO"),
        (vec!["pack", "a-000.tar", "--out", "x"], "none of the sources"),
        (vec!["pack", "p.csv", "--out", "x"], "none of the 5 rows"),
        (vec!["pack", "p.csv", "--images", "gone", "--out", "x"], "no such folder"),
    ] {
        let stderr = failed(here, 1, &arguments);
        assert!(stderr.contains(word), "{word} is not in {stderr}");
    }
    failed(here, 2, &["pack", "p.csv", "--out", "x", "--max-size", "many"]);
    failed(here, 2, &["pack", "p.csv", "--out", "x", "--prefix", "a/b"]);
}

/// Tables as pandas writes and reads them: what is packed are their captions, to the last quote and tab.
#[test]
fn pack_reads_tables_as_pandas_does() {
    let bench = Bench::new(40);
    let here = bench.folder.path();
    let image = pictures(&bench)[0].0.clone();
    let captions = |source: &str| {
        said(here, &["pack", source, "--images", "photos", "--out", "o", "--force"]);
        let members = samples(&bench.path("o/train-000000.tar"), 10);
        let text = members.into_iter().find(|(name, _)| name.ends_with(".txt")).unwrap().1;
        String::from_utf8(text).unwrap()
    };
    let quoted =
        format!("filepath\ttitle\n{image}\t\"the \"\"red\"\" ball\"\n{image}\t\"a \"\"dog\"\"\twith a tab\"\n");
    std::fs::write(bench.path("quoted.tsv"), quoted).unwrap();
    assert_eq!(captions("quoted.tsv"), "the \"red\" ball\na \"dog\"\twith a tab");
    std::fs::write(bench.path("tabs.csv"), format!("filepath\ttitle\n{image}\ta dog, barking\n")).unwrap();
    assert_eq!(captions("tabs.csv"), "a dog, barking");
    std::fs::write(bench.path("wide.tsv"), format!("filepath\ttitle\n{image}\ta dog\twith a tab\n")).unwrap();
    let said = failed(here, 1, &["pack", "wide.tsv", "--images", "photos", "--out", "o", "--force"]);
    assert!(said.contains("wide.tsv:2: 3 columns, but the first line names 2"), "{said}");
}

#[test]
fn pack_names_what_it_leaves_out_of_a_folder() {
    let bench = Bench::new(40);
    let here = bench.folder.path();
    let image = pictures(&bench)[0].0.clone();
    let bytes = std::fs::read(bench.path("photos").join(image)).unwrap();
    let count = std::fs::read_dir(bench.path("photos")).unwrap().count() / 2;
    let put = |name: &str, bytes: &[u8]| std::fs::write(bench.path("photos").join(name), bytes).unwrap();
    put("cut.jpg", &bytes[..bytes.len() / 2]);
    put("cut.txt", b"a dog");
    put("latin.jpg", &bytes);
    put("latin.txt", b"a caf\xe9");
    for other in ["moving.gif", "map.bmp"] {
        put(other, b"of another format");
        put(&other.replace(&other[other.len() - 3..], "txt"), b"a map");
    }
    std::fs::create_dir(bench.path("more")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(bench.path("more"), bench.path("photos/more")).unwrap();
    let output = ran(here, &["pack", "photos", "--out", "o", "--verify"]);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains(&format!("{count} samples")), "{out}\n{err}");
    for part in ["cut.jpg: it cannot be decoded", "latin.txt is not UTF-8", "moving.gif", "map.bmp"] {
        assert!(err.contains(part), "{part} is not in\n{err}");
    }
    assert!(!cfg!(unix) || err.contains("photos/more: a link to a folder"), "{err}");
    // Also where nothing is left to pack, each is named.
    std::fs::remove_file(bench.path("photos/latin.jpg")).unwrap();
    std::fs::create_dir(bench.path("bad")).unwrap();
    for name in ["cut.jpg", "cut.txt", "map.bmp"] {
        std::fs::rename(bench.path("photos").join(name), bench.path("bad").join(name)).unwrap();
    }
    let said = failed(here, 1, &["pack", "bad", "--out", "none", "--verify"]);
    for part in ["cut.jpg: it cannot be decoded", "map.bmp: .bmp pictures", "none of the 2 rows"] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
}

/// What macOS puts beside files is summed up, and so are names with dots.
#[test]
fn inspect_sums_up_what_belongs_to_no_sample() {
    let bench = Bench::new(40);
    let members = samples(&bench.path("a-000.tar"), 20);
    let apple =
        members.iter().flat_map(|(name, bytes)| [(format!("._{name}"), vec![0; 20]), (name.clone(), bytes.clone())]);
    write_tar(&bench.path("apple.tar"), &apple.collect::<Vec<_>>());
    let text = said(bench.folder.path(), &["inspect", "apple.tar"]);
    assert!(text.contains(&format!("{} hidden or without a dot", members.len())), "{text}");
    assert!(text.lines().all(|line| line.len() < 200), "{text}");
    let dotted = members.iter().map(|(name, bytes)| (name.replacen('.', &format!(".{name}."), 1), bytes.clone()));
    write_tar(&bench.path("dots.tar"), &dotted.collect::<Vec<_>>());
    let text = said(bench.folder.path(), &["inspect", "dots.tar"]);
    assert!(text.contains("other extensions"), "{text}");
}

#[test]
fn inspect_knows_shards_caches_checkpoints_and_runs() {
    let bench = Bench::new(48);
    let here = bench.folder.path();
    bench.run("r", &["run.epochs=1"]).whole();
    let look = |path: &str| json(&said(here, &["inspect", "--json", path]));
    let shard = look("a-000.tar");
    assert_eq!((shard["what"].as_str(), shard["captions"].as_str()), (Some("shard"), Some("txt")));
    assert_eq!(shard["largest"], serde_json::json!([64, 64]));
    let cache = look("cache");
    assert_eq!((cache["what"].as_str(), cache["rows"].as_u64()), (Some("cache"), Some(48)));
    assert_eq!(cache["entries"][0]["entry"]["dim"], 64);
    let one = cache["entries"][0]["file"].as_str().unwrap();
    assert_eq!(look(one)["entries"].as_array().unwrap().len(), 1);
    let checkpoint = look(&root().join("assets/clip-world").display().to_string());
    assert_eq!(checkpoint["text"]["dtypes"], serde_json::json!(["F16"]));
    assert_eq!(checkpoint["vision"]["width"], 128);
    assert_eq!(look("runs/r/export")["text"]["parameters"], checkpoint["text"]["parameters"]);
    let run = look("runs/r");
    assert_eq!((run["what"].as_str(), run["epochs"].as_u64()), (Some("run"), Some(1)));
    assert!(run["limiting"][0]["stage"].is_string());
    for path in ["a-000.tar", "cache", "runs/r", "runs/r/export", "."] {
        assert!(said(here, &["inspect", path]).lines().count() > 1, "{path}");
    }

    // A damaged cache file, a cut shard, and things that are none of these.
    std::fs::write(bench.path(one), b"no arrow").unwrap();
    assert!(said(here, &["inspect", "cache"]).contains("it is cut"));
    assert!(failed(here, 1, &["inspect", one]).contains("it is cut"));
    let bytes = std::fs::read(bench.path("a-001.tar")).unwrap();
    std::fs::write(bench.path("cut.tar"), &bytes[..bytes.len() / 2 + 700]).unwrap();
    assert!(said(here, &["inspect", "cut.tar"]).contains("truncated"));
    std::fs::create_dir(bench.path("empty")).unwrap();
    for (path, word) in [
        ("empty", "empty folder"),
        ("nowhere", "nowhere"),
        ("pipeline.toml", "pipeline check"),
        ("runs/r/results.jsonl", "not a .tar"),
        ("runs/r/export/config.json", "runs/r/export"),
        ("runs", "runs holds no file"),
    ] {
        let stderr = failed(here, 1, &["inspect", path]);
        assert!(stderr.contains(word), "{word} is not in {stderr}");
    }
}

#[test]
fn profile_says_what_limits() {
    let bench = Bench::new(64);
    std::fs::write(bench.path("pipeline.toml"), bench.config_text()).unwrap();
    let here = bench.folder.path();
    // The data ends long before the time does, on any machine.
    let profile = json(&said(here, &["profile", "--json", "--seconds", "60"]));
    let alone: Vec<&Value> = profile["alone"].as_array().unwrap().iter().collect();
    assert_eq!(alone.len(), 8);
    assert!(alone.iter().all(|stage| stage["ceiling"].as_f64().unwrap() > 0.0), "{profile:#}");
    // 64 samples make 4 batches of 16, whatever fell to whom.
    assert_eq!(alone[7]["stage"]["kind"], "train");
    assert_eq!(alone[7]["stage"]["items"], 3, "the first one warms up");
    let per_item = alone[7]["stage"]["samples_per_item"].as_f64().unwrap();
    assert!((15.0..=17.0).contains(&per_item), "{per_item} samples an item");
    assert_eq!(profile["first_epoch"]["from"], "shards");
    assert_eq!(profile["later_epochs"]["from"], "encode", "the first epoch filled a cache of its own");
    for epoch in ["first_epoch", "later_epochs"] {
        assert!(profile[epoch]["measured"].as_f64().unwrap() > 0.0, "{profile:#}");
        assert!(profile[epoch]["expected"]["samples_per_s"].as_f64().unwrap() > 0.0);
    }
    assert!(!profile["advice"].as_array().unwrap().is_empty());
    assert!(!bench.path("cache").exists() && !bench.path("runs").exists(), "nothing is left behind");

    let words = said(here, &["profile", "--seconds", "60", "--set", "stage.encode.cache="]);
    for part in ["each stage alone", "train", "expected", "measured", "what to change", "--set stage.encode.cache="] {
        assert!(words.contains(part), "{part} is not in\n{words}");
    }
    let stderr = failed(here, 1, &["profile", "--set", "stage.batch.size=100"]);
    assert!(stderr.contains("stage `batch`") && stderr.contains("--seconds"), "{stderr}");
    failed(here, 2, &["profile", "--seconds", "0"]);
    failed(here, 2, &["profile", "nowhere.toml"]);
}

#[test]
fn completions_manual_and_help() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(said(&root(), &["completions", shell]).contains("inspect"), "{shell}");
    }
    failed(&root(), 2, &["completions", "csh"]);
    let page = said(&root(), &["man"]);
    assert!(page.contains(".TH pipeline 1") && page.contains(".SH \"PIPELINE PROFILE\""), "{page}");
    let help = said(&root(), &["--help"]);
    assert!(help.lines().count() < 45 && help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
    for line in help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty()) {
        let command = line.split_whitespace().next().unwrap();
        if command != "help" {
            let help = said(&root(), &[command, "--help"]);
            assert!(help.contains("Example") && !help.contains("of-sweep") && !help.contains("unmetered"), "{help}");
            assert!(help.lines().count() < 70, "{command}: {} lines", help.lines().count());
        }
    }
}
