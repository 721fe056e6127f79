//! `pipeline embed` and `pipeline convert`, as people call them.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{root, samples, write_tar};
use serde_json::Value;

fn pipeline(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pipeline")).current_dir(root()).args(arguments).output().unwrap()
}

/// Standard output of a call that must do.
fn said(arguments: &[&str]) -> String {
    let output = pipeline(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The message of a call that must fail.
fn refused(arguments: &[&str]) -> String {
    let output = pipeline(arguments);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

fn feature(row: &Value) -> Vec<f64> {
    row["feature"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

const MODEL: [&str; 5] = ["embed", "--device", "cpu", "--model", "assets/clip-world"];

#[test]
fn a_text_with_a_denial_can_be_composed_of_its_parts() {
    let texts = ["A red boat with no lamp", "A red boat", "a photo of a lamp", "A red boat with no lamp and no tree"];
    let all = |more: &[&str], count: usize| -> Vec<Vec<f64>> {
        let texts = texts[..count].iter().flat_map(|text| ["--text", text]);
        let arguments: Vec<&str> = MODEL.into_iter().chain(texts).chain(more.iter().copied()).collect();
        said(&arguments).lines().map(|line| feature(&serde_json::from_str(line).unwrap())).collect()
    };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (plain, composed) = (all(&[], 3), all(&["--compose", "lambda", "--lambda", "0.5"], 3));
    // By hand: unit(e("a red boat with") - 0.5 e("a photo of lamp")) is nearly the boat, and away from the lamp.
    // What is computed beside a text moves its last bit.
    let same = |a: &[f64], b: &[f64]| dot(a, b) > 0.999_999;
    assert!(same(&composed[1], &plain[1]) && same(&composed[2], &plain[2]), "these deny nothing");
    assert!(dot(&composed[0], &plain[2]) < dot(&plain[0], &plain[2]) - 0.1);
    assert!(dot(&composed[0], &plain[1]) > 0.7 && (dot(&composed[0], &composed[0]) - 1.0).abs() < 1e-5);
    // The vector of a text depends on that text alone.
    assert!(same(&all(&["--compose", "policy"], 1)[0], &all(&["--compose", "policy"], 4)[0]));
    let arguments: Vec<&str> = MODEL.into_iter().chain(["--text", "no dog", "--compose", "polcy"]).collect();
    let output = pipeline(&arguments);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("policy"));
}

#[test]
fn features_are_the_same_from_files_folders_and_shards_and_in_every_format() {
    let dir = tempfile::tempdir().unwrap();
    let members = samples(&root().join("assets/world/test-000.tar"), 3);
    let picture = |name: &str| [".jpg", ".png"].iter().any(|ending| name.ends_with(ending));
    let pictures: Vec<_> = members.into_iter().filter(|(name, _)| picture(name)).collect();
    assert_eq!(pictures.len(), 3);
    // A shard of pictures alone, without captions.
    let tar = dir.path().join("three.tar");
    write_tar(&tar, &pictures);
    let folder = dir.path().join("pictures");
    fs::create_dir(&folder).unwrap();
    let mut files = Vec::new();
    for (name, bytes) in &pictures {
        let path = folder.join(name.replace('/', "-"));
        fs::write(&path, bytes).unwrap();
        files.push(path);
    }
    fs::write(folder.join("notes.txt"), "no picture").unwrap();
    files.sort();

    let lines = |arguments: &[&str]| -> Vec<Value> {
        said(&[&MODEL[..], arguments].concat()).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let from_tar = lines(&["--image", text(&tar)]);
    let from_folder = lines(&["--image", text(&folder)]);
    let from_files = lines(&["--image", text(&files[0]), "--image", text(&files[1]), "--image", text(&files[2])]);
    assert_eq!(from_folder, from_files);
    assert_eq!(from_tar.iter().map(feature).collect::<Vec<_>>(), from_files.iter().map(feature).collect::<Vec<_>>());
    assert_eq!(from_tar[0]["shard"], text(&tar));
    assert!((feature(&from_tar[0]).iter().map(|v| v * v).sum::<f64>() - 1.0).abs() < 1e-6);

    // Raw features have the same direction.
    let raw = lines(&["--image", text(&tar), "--raw"]);
    let (raw, unit) = (feature(&raw[1]), feature(&from_tar[1]));
    let length = raw.iter().map(|v| v * v).sum::<f64>().sqrt();
    assert!((length - 1.0).abs() > 0.1 && raw.iter().zip(&unit).all(|(raw, unit)| (raw / length - unit).abs() < 1e-6));

    // A matrix: pictures, then texts.
    let list = dir.path().join("texts.txt");
    fs::write(&list, "a red kite\nno kite\n").unwrap();
    let npy = dir.path().join("features.npy");
    said(
        &[&MODEL[..], &["--image", text(&tar), "--text", "a \"}", "--texts", text(&list), "--out", text(&npy)]]
            .concat(),
    );
    let bytes = fs::read(&npy).unwrap();
    assert!(
        bytes.starts_with(b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (6, 64), }")
    );
    assert_eq!(bytes.len(), 128 + 6 * 64 * 4);
    let first = f32::from_le_bytes(bytes[128..132].try_into().unwrap());
    assert_eq!(f64::from(first) as f32, feature(&from_tar[0])[0] as f32);
    let rows = fs::read_to_string(dir.path().join("features.rows.jsonl")).unwrap();
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows.len(), &rows[3]["text"], &rows[5]["text"]), (6, &"a \"}".into(), &"no kite".into()));
    let by_text = lines(&["--texts", text(&list), "--text", "a \"}"]);
    assert_eq!(by_text[0]["text"], "a \"}");
    let last = f32::from_le_bytes(bytes[bytes.len() - 4..].try_into().unwrap());
    assert_eq!(last, feature(&by_text[2])[63] as f32);

    let arrow = dir.path().join("features.arrow");
    said(&[&MODEL[..], &["--image", text(&tar), "--text", "a", "--out", text(&arrow)]].concat());
    let reader = arrow_ipc::reader::FileReader::try_new(fs::File::open(&arrow).unwrap(), None).unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!((batches.len(), batches[0].num_rows(), batches[0].num_columns()), (1, 4, 4));
    let leftover =
        fs::read_dir(dir.path()).unwrap().filter(|entry| text(&entry.as_ref().unwrap().path()).ends_with(".part"));
    assert_eq!(leftover.count(), 0);
}

#[test]
fn bad_input_to_embed_is_a_sentence_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let rubbish = dir.path().join("rubbish.jpg");
    fs::write(&rubbish, "rubbish").unwrap();
    let out = dir.path().join("out.npy");
    let embed = |arguments: &[&str]| refused(&[&MODEL[..], arguments].concat());
    for (message, part) in [
        (embed(&[]), "nothing to embed"),
        (embed(&["--image", text(&rubbish), "--out", text(&out)]), "rubbish.jpg: the file is no picture"),
        (embed(&["--image", text(&rubbish), "--skip-bad", "--out", text(&out)]), "none of the pictures"),
        (embed(&["--image", "no-such.jpg"]), "cannot read no-such.jpg"),
        (embed(&["--image", "no-such-*.tar"]), "no-such-*.tar"),
        (embed(&["--image", text(dir.path()), "--text", "a", "--out", "a.xyz"]), "--format jsonl, npy or arrow"),
        (embed(&["--text", "a", "--format", "npy"]), "add --out FILE"),
        (embed(&["--texts", "no-such.txt"]), "cannot read no-such.txt"),
        (refused(&["embed", "--model", "no-such", "--text", "a"]), "no-such: No such file"),
        (refused(&["embed", "--model", "hf:a/b/c", "--text", "a"]), "hf:owner/name"),
        (
            refused(&["embed", "--model", "crates/clip/tests/data/bare_text", "--image", "README.md"]),
            "no image encoder",
        ),
        (refused(&["embed", "--model", "crates/clip/tests/data/bare_vision", "--text", "a"]), "no text tower"),
        (refused(&["embed", "--model", "crates/clip/tests/data/bare_text", "--text", "a"]), "not of one model"),
    ] {
        assert!(message.lines().any(|line| line.starts_with("error: ")) && message.contains(part), "{message}");
    }
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["rubbish.jpg"]);
}

#[test]
fn a_blend_lies_between_two_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    // A second checkpoint: every weight of the projection twice as large.
    let start = clip::Checkpoint::open(root().join("assets/clip-world")).unwrap();
    let (shape, values) = start.tensor("text_projection.weight").unwrap();
    let doubled = values.iter().map(|value| 2.0 * value).collect();
    start.export(place("other"), &[("text_projection.weight".to_owned(), (shape, doubled))].into()).unwrap();
    let blend = |alpha: &str, name: &str| {
        said(&["blend", "assets/clip-world", text(&place("other")), text(&place(name)), "--alpha", alpha]);
        fs::read(place(name).join("model.safetensors")).unwrap()
    };
    assert!(blend("0", "none") == fs::read(root().join("assets/clip-world/model.safetensors")).unwrap());
    assert!(blend("1", "all") == fs::read(place("other/model.safetensors")).unwrap());
    blend("0.5", "half");
    let half = clip::Checkpoint::open(place("half")).unwrap();
    for name in start.names() {
        let (before, after) = (start.tensor(name).unwrap(), half.tensor(name).unwrap());
        match name {
            "text_projection.weight" => {
                let off = before.1.iter().zip(&after.1).map(|(a, b)| (1.5 * a - b).abs()).fold(0.0, f32::max);
                // It is stored as f16.
                assert!(off < 2e-3 && before.1 != after.1, "{off}");
            }
            _ => assert_eq!(before, after, "{name}"),
        }
    }
    let blended =
        |b: &str, alpha: &str| refused(&["blend", "assets/clip-world", b, text(&place("x")), "--alpha", alpha]);
    assert!(blended("crates/clip/tests/data/bare_text", "0.5").contains("different models"));
    assert!(blended(text(&place("nowhere")), "0.5").contains("nowhere"));
    let beyond = pipeline(&["blend", "assets/clip-world", text(&place("other")), text(&place("x")), "--alpha", "1.5"]);
    assert_eq!(beyond.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&beyond.stderr).contains("from 0 (A) to 1 (B)"));
    let beyond = pipeline(&["blend", "assets/clip-world", text(&place("other")), text(&place("x")), "--alpha", "1.5"]);
    assert_eq!(beyond.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&beyond.stderr).contains("from 0 (A) to 1 (B)"));
    assert!(!place("x").exists());
    let message =
        refused(&["blend", "assets/clip-world", text(&place("other")), text(&place("half")), "--alpha", "0.5"]);
    assert!(message.contains("already exists"), "{message}");
}

#[test]
fn a_checkpoint_goes_to_open_clip_and_back_with_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    let (there, back) = (place("open_clip"), place("hf"));
    assert!(said(&["convert", "assets/clip-world", text(&there)]).contains("in the layout of open_clip"));
    said(&["convert", text(&there), text(&back)]);
    // The card says from what and into what, and has that of the checkpoint before.
    let card = fs::read_to_string(back.join("MODEL_CARD.md")).unwrap();
    for part in [
        "# open_clip, for transformers",
        "in the layout of open_clip",
        "## The card of `open_clip`",
        "### clip-world, for",
    ] {
        assert!(card.contains(part), "{part} is not in {card}");
    }
    let read = |path: &Path| fs::read(path).unwrap();
    let (before, after) =
        (read(&root().join("assets/clip-world/model.safetensors")), read(&back.join("model.safetensors")));
    let before = safetensors::SafeTensors::deserialize(&before).unwrap();
    let after = safetensors::SafeTensors::deserialize(&after).unwrap();
    assert_eq!(before.len(), after.len());
    for (name, tensor) in before.tensors() {
        let other = after.tensor(&name).unwrap();
        assert_eq!((tensor.shape(), tensor.dtype()), (other.shape(), other.dtype()), "{name}");
        assert!(tensor.data() == other.data(), "{name}");
    }
    let embed = |model: &Path| said(&["embed", "--device", "cpu", "-m", text(model), "--text", "no kite"]);
    assert_eq!(embed(&there), embed(&root().join("assets/clip-world")));

    let message = refused(&["convert", text(&there), text(&back)]);
    assert!(message.contains("already exists"), "{message}");
    let message = refused(&["convert", "crates/clip/tests/data/bare_text", text(&place("x")), "--to", "open-clip"]);
    assert!(message.contains("one tower alone") && !place("x").exists(), "{message}");
}

/// What is no regular file is written through; nothing takes its place. (`/dev/null` itself is not tried: were this
/// wrong, a test as root would take it from the machine.)
#[test]
#[cfg(target_os = "linux")]
fn standard_output_pipes_and_links_are_written_through() {
    let dir = tempfile::tempdir().unwrap();
    let texts = [&MODEL[..], &["--text", "a dog"]].concat();
    let expected = said(&texts);
    assert_eq!(said(&[&texts[..], &["--out", "/dev/stdout"]].concat()), expected);
    assert_eq!(said(&[&texts[..], &["--out", "-"]].concat()), expected);
    assert!(refused(&[&texts[..], &["--out", "-", "--format", "npy"]].concat()).contains("add --out FILE"));
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path().join("behind"), &link).unwrap();
    said(&[&texts[..], &["--out", text(&link), "--format", "jsonl"]].concat());
    assert!(link.is_symlink() && fs::read_to_string(dir.path().join("behind")).unwrap() == expected);
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read_to_string(pipe).unwrap()
    });
    said(&[&texts[..], &["--out", text(&pipe), "--format", "jsonl"]].concat());
    assert_eq!(reader.join().unwrap(), expected);
    let said_no = refused(&[&texts[..], &["--out", "/dev/stdout", "--format", "npy"]].concat());
    assert!(said_no.contains("--format jsonl"), "{said_no}");

    let init =
        ["init", "--weights", "assets/clip-world", "--shards", "assets/world/train-000.tar", "--out", "/dev/stdout"];
    assert!(said(&init).contains("[[stage]]") && !said(&init).contains("wrote"));
    let shard = "assets/world/test-000.tar";
    let eval = ["-q", "eval", "--model", "assets/clip-world", "--benchmark", "retrieval", "--images", shard];
    let cache = dir.path().join("cache");
    let scores = said(&[&eval[..], &["--device", "cpu", "--cache", text(&cache), "--json", "/dev/stdout"]].concat());
    assert!(scores.starts_with('{') && scores.contains("retrieval:"), "{scores}");
}
