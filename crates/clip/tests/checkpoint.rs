//! Reading and writing checkpoint folders, whole and damaged.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use clip::checkpoint::{Format, Tower};
use clip::{Checkpoint, Params, Precision, Tensors, TextTower, VisionTower, init};
use common::models::{as_open_clip, small, small_open_clip, write_weights};
use common::shared;
use safetensors::SafeTensors;
use tempfile::TempDir;

/// A checkpoint of random weights in `dir/start`.
fn created(precision: Precision) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let start = dir.path().join("start");
    Checkpoint::create(&start, &small(), &init::random(&small(), 5), precision).unwrap();
    (dir, start)
}

fn bytes_of(dir: &Path) -> Vec<u8> {
    fs::read(dir.join("model.safetensors")).unwrap()
}

/// Changes every value of a tensor, exports, and compares the two weight files.
fn round_trip(start: &Path, name: &str) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("export");
    let checkpoint = Checkpoint::open(start).unwrap();
    let (shape, mut values) = checkpoint.tensor(name).unwrap();
    // Values that are exact in 16 bits, so that they can be compared after they were written and read.
    for (i, value) in values.iter_mut().enumerate() {
        *value = (i % 17) as f32 * 0.25 - 1.0;
    }
    let changed = Tensors::from([(name.to_owned(), (shape.clone(), values.clone()))]);
    checkpoint.export(&out, &changed).unwrap();

    let reopened = Checkpoint::open(&out).unwrap();
    assert_eq!(reopened.tensor(name).unwrap(), (shape, values));
    let (before, after) = (bytes_of(start), bytes_of(&out));
    let header = |bytes: &[u8]| u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize + 8;
    assert_eq!(before[..header(&before)], after[..header(&after)], "the header changed");
    let (before, after) = (SafeTensors::deserialize(&before).unwrap(), SafeTensors::deserialize(&after).unwrap());
    for other in before.names() {
        let same = before.tensor(other).unwrap().data() == after.tensor(other).unwrap().data();
        assert_eq!(same, other != name, "{other}");
    }
}

#[test]
fn export_changes_what_was_changed_and_nothing_else() {
    for precision in [Precision::F32, Precision::F16] {
        let (_dir, start) = created(precision);
        round_trip(&start, "text_projection.weight");
        round_trip(&start, "vision_model.embeddings.patch_embedding.weight");
    }
    if let Some(dir) = shared("golden/tiny_clip") {
        round_trip(&dir, "text_model.encoder.layers.1.mlp.fc1.bias");
    }
    if let Some(dir) = shared("models/flickr8k-lite0") {
        round_trip(&dir, "text_model.encoder.layers.0.self_attn.q_proj.weight");
    }
}

#[test]
fn export_copies_the_folder_but_no_other_weights() {
    let (dir, start) = created(Precision::F32);
    fs::write(start.join("tokenizer.json"), "{}").unwrap();
    fs::write(start.join("pytorch_model.bin"), "old").unwrap();
    fs::create_dir(start.join("onnx")).unwrap();
    fs::write(start.join("onnx/vision_model.onnx"), "frozen").unwrap();
    let out = dir.path().join("runs/a/export");

    let exported = Checkpoint::open(&start).unwrap().export(&out, &Tensors::new()).unwrap();
    assert_eq!(exported.left_out, [PathBuf::from("pytorch_model.bin")]);
    assert_eq!(bytes_of(&start), bytes_of(&out));
    assert_eq!(fs::read(out.join("onnx/vision_model.onnx")).unwrap(), b"frozen");
    assert!(out.join("tokenizer.json").is_file() && !out.join("pytorch_model.bin").exists());

    // A second export replaces the first, and nothing is left beside it.
    fs::write(out.join("stray"), "").unwrap();
    Checkpoint::open(&start).unwrap().export(&out, &Tensors::new()).unwrap();
    assert!(!out.join("stray").exists());
    let beside: Vec<_> = fs::read_dir(out.parent().unwrap()).unwrap().collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
}

#[test]
fn a_refused_export_leaves_the_place_alone() {
    let (dir, start) = created(Precision::F16);
    let checkpoint = Checkpoint::open(&start).unwrap();
    let out = dir.path().join("export");
    let name = "text_projection.weight".to_owned();
    for (changed, part) in [
        ((name.clone(), (vec![4, 8], vec![f32::NAN; 32])), "value 0 is NaN"),
        ((name.clone(), (vec![4, 8], vec![1e6; 32])), "too large for F16"),
        ((name.clone(), (vec![8, 4], vec![0.0; 32])), "[8, 4]"),
        (("text.weight".to_owned(), (vec![1], vec![0.0])), "text.weight"),
    ] {
        let message = checkpoint.export(&out, &Tensors::from([changed])).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
        assert!(!out.exists());
    }
    let message = checkpoint.export(&start, &Tensors::new()).unwrap_err().to_string();
    assert!(message.contains("overwrite"), "{message}");
}

#[test]
fn towers_go_out_as_they_came_in() {
    let (dir, start) = created(Precision::F16);
    let checkpoint = Checkpoint::open(&start).unwrap();
    let device = burn::tensor::Device::flex();
    let mut tensors = TextTower::load(&checkpoint, &device).unwrap().trainable().tensors();
    tensors.extend(VisionTower::load(&checkpoint, &device).unwrap().tensors());
    assert_eq!(tensors.len(), small().tensors().len());
    let out = dir.path().join("export");
    checkpoint.export(&out, &tensors).unwrap();
    assert_eq!(bytes_of(&start), bytes_of(&out));
}

#[test]
fn set_tensors_replaces_values_and_keeps_training() {
    let device = burn::tensor::Device::flex();
    let text = small().text.unwrap();
    let [a, b] = [1, 2].map(|seed| init::random(&small(), seed));
    let mut tower = TextTower::from_tensors(&text, &a, &device).unwrap().trainable();
    tower.set_tensors(&b).unwrap();
    let ours = tower.tensors();
    assert!(ours.iter().all(|(name, tensor)| *tensor == b[name]));
    let feature = tower.forward(&[1, 49, 49407], &[3], clip::Layout::Padded);
    assert!(feature.unwrap_err().to_string().contains("vocabulary"));

    let message = tower.set_tensors(&Tensors::new()).unwrap_err().to_string();
    assert!(message.contains("token_embedding"), "{message}");
}

#[test]
fn shards_are_one_checkpoint() {
    let (dir, start) = created(Precision::F32);
    let bytes = bytes_of(&start);
    let whole = SafeTensors::deserialize(&bytes).unwrap();
    let sharded = dir.path().join("sharded");
    fs::create_dir(&sharded).unwrap();
    fs::copy(start.join("config.json"), sharded.join("config.json")).unwrap();
    let mut map = serde_json::Map::new();
    for (file, text) in [("model-1.safetensors", true), ("model-2.safetensors", false)] {
        let part = whole.tensors().into_iter().filter(|(name, _)| name.starts_with("text") == text);
        let part: Vec<_> = part.collect();
        map.extend(part.iter().map(|(name, _)| (name.clone(), file.into())));
        fs::write(sharded.join(file), safetensors::serialize(part, None).unwrap()).unwrap();
    }
    let index = sharded.join("model.safetensors.index.json");
    let write_index = |map: &serde_json::Map<String, serde_json::Value>| {
        fs::write(&index, serde_json::json!({ "weight_map": map }).to_string()).unwrap();
    };
    write_index(&map);

    let (one, two) = (Checkpoint::open(&start).unwrap(), Checkpoint::open(&sharded).unwrap());
    for name in one.names() {
        assert_eq!(one.tensor(name).unwrap(), two.tensor(name).unwrap());
    }
    for tower in [Tower::Text, Tower::Vision] {
        assert_eq!(one.fingerprint(tower), two.fingerprint(tower));
    }
    let name = "logit_scale".to_owned();
    let out = dir.path().join("export");
    two.export(&out, &Tensors::from([(name, (vec![], vec![1.5]))])).unwrap();
    let exported = Checkpoint::open(&out).unwrap();
    assert_eq!(exported.logit_scale().unwrap(), 1.5);
    assert_eq!(exported.fingerprint(Tower::Text), one.fingerprint(Tower::Text));

    map["logit_scale"] = "model-1.safetensors".into();
    write_index(&map);
    let message = Checkpoint::open(&sharded).unwrap_err().to_string();
    assert!(message.contains("logit_scale is not in model-1.safetensors"), "{message}");
    map["logit_scale"] = "../start/model.safetensors".into();
    write_index(&map);
    let message = Checkpoint::open(&sharded).unwrap_err().to_string();
    assert!(message.contains("not the name of a file"), "{message}");
}

#[test]
fn an_open_clip_folder_is_the_same_model() {
    let dir = tempfile::tempdir().unwrap();
    let (start, out) = (dir.path().join("start"), dir.path().join("export"));
    fs::create_dir(&start).unwrap();
    let ours = init::random(&small(), 5);
    let theirs = as_open_clip(&ours);
    write_weights(&start.join("open_clip_model.safetensors"), &theirs);
    fs::write(start.join("open_clip_pytorch_model.bin"), "old").unwrap();
    let config = small_open_clip();
    fs::write(start.join("open_clip_config.json"), config.to_string()).unwrap();

    let checkpoint = Checkpoint::open(&start).unwrap();
    assert_eq!(checkpoint.format(), Format::OpenClip);
    for (name, tensor) in &ours {
        assert_eq!(checkpoint.tensor(name).unwrap(), *tensor, "{name}");
    }

    // A second set of weights, given under our names, is written under open_clip's.
    let other = init::random(&small(), 6);
    let exported = checkpoint.export(&out, &other).unwrap();
    assert_eq!(exported.left_out, [PathBuf::from("open_clip_pytorch_model.bin")]);
    let bytes = fs::read(out.join("open_clip_model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let expected = as_open_clip(&other);
    assert_eq!(file.len(), expected.len());
    for (name, (shape, values)) in &expected {
        let found = file.tensor(name).unwrap();
        assert_eq!(found.shape(), shape);
        let values: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(found.data(), values, "{name}");
    }

    let mut short = theirs;
    short.remove("transformer.resblocks.1.attn.in_proj_bias");
    write_weights(&start.join("open_clip_model.safetensors"), &short);
    let message = Checkpoint::open(&start).unwrap_err().to_string();
    for part in ["transformer.resblocks.1.attn.in_proj_bias", "[24]", "open_clip_config.json"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn fingerprints_tell_weights_and_towers_apart() {
    let (dir, start) = created(Precision::F32);
    let checkpoint = Checkpoint::open(&start).unwrap();
    let out = dir.path().join("export");
    let mut changed = Tensors::new();
    let name = "vision_model.post_layernorm.bias".to_owned();
    changed.insert(name, (vec![8], vec![0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1e-6]));
    checkpoint.export(&out, &changed).unwrap();
    let other = Checkpoint::open(&out).unwrap();
    assert_eq!(checkpoint.fingerprint(Tower::Text), other.fingerprint(Tower::Text));
    assert_ne!(checkpoint.fingerprint(Tower::Vision), other.fingerprint(Tower::Vision));
}

/// Damages a fresh checkpoint, opens it, and returns the message.
fn damaged(damage: impl FnOnce(&Path)) -> String {
    let (_dir, start) = created(Precision::F32);
    damage(&start);
    Checkpoint::open(&start).unwrap_err().to_string()
}

/// Rewrites the weights without some tensors, or with others.
fn rewrite(dir: &Path, change: impl FnOnce(&mut Tensors)) {
    let mut tensors = init::random(&small(), 5);
    change(&mut tensors);
    write_weights(&dir.join("model.safetensors"), &tensors);
}

#[test]
fn a_folder_that_is_no_checkpoint_says_what_is_missing() {
    let message = damaged(|dir| fs::remove_file(dir.join("config.json")).unwrap());
    assert!(message.contains("is not a CLIP checkpoint: config.json is missing; "), "{message}");
    let message = damaged(|dir| fs::remove_file(dir.join("model.safetensors")).unwrap());
    assert!(message.contains("model.safetensors is missing; "), "{message}");
    assert!(message.contains("save_pretrained"), "{message}");
}

#[test]
fn missing_and_misshapen_tensors_are_named() {
    let name = "text_model.encoder.layers.1.mlp.fc1.bias";
    let message = damaged(|dir| rewrite(dir, |tensors| drop(tensors.remove(name))));
    for part in ["model.safetensors: tensor ", name, "is missing", "[16]"] {
        assert!(message.contains(part), "{message}");
    }
    let message = damaged(|dir| {
        rewrite(dir, |tensors| drop(tensors.insert(name.into(), (vec![2, 8], vec![0.0; 16]))));
    });
    for part in ["model.safetensors: tensor ", name, "[2, 8]", "[16]", "config.json"] {
        assert!(message.contains(part), "{message}");
    }
    let message = damaged(|dir| {
        let mut config = small().to_json();
        config["text_config"]["hidden_size"] = 16.into();
        fs::write(dir.join("config.json"), config.to_string()).unwrap();
    });
    assert!(message.contains("[50, 8]") && message.contains("[50, 16]"), "{message}");
}

#[test]
fn tensors_that_the_config_does_not_ask_for_are_named() {
    let name = "text_model.encoder.layers.2.mlp.fc1.bias";
    let add = |tensors: &mut Tensors, name: &str| drop(tensors.insert(name.into(), (vec![16], vec![0.0; 16])));
    let message = damaged(|dir| rewrite(dir, |tensors| add(tensors, name)));
    for part in ["model.safetensors: tensor ", name, "[16]", "not expected", "config.json"] {
        assert!(message.contains(part), "{message}");
    }
    // Buffers that older versions wrote have no meaning.
    let (_dir, start) = created(Precision::F32);
    rewrite(&start, |tensors| add(tensors, "text_model.embeddings.position_ids"));
    Checkpoint::open(&start).unwrap();
}

#[test]
fn weights_under_a_name_of_their_own_are_found_or_asked_for() {
    let (_dir, start) = created(Precision::F32);
    let weights = start.join("model.safetensors");
    fs::rename(&weights, start.join("model.fp32.safetensors")).unwrap();
    let by_folder = Checkpoint::open(&start).unwrap();
    let by_file = Checkpoint::open(start.join("model.fp32.safetensors")).unwrap();
    assert_eq!((by_folder.dir(), by_file.dir()), (start.as_path(), start.as_path()));
    assert_eq!(by_folder.fingerprint(Tower::Text), by_file.fingerprint(Tower::Text));
    fs::copy(start.join("model.fp32.safetensors"), start.join("other.safetensors")).unwrap();
    let message = Checkpoint::open(&start).unwrap_err().to_string();
    assert!(message.contains("several files of weights"), "{message}");
    Checkpoint::open(start.join("other.safetensors")).unwrap();
    let message = Checkpoint::open(start.join("none.safetensors")).unwrap_err().to_string();
    assert!(message.contains("none.safetensors: No such file"), "{message}");
}

#[test]
fn a_conversion_of_damaged_weights_leaves_nothing() {
    let (dir, start) = created(Precision::F32);
    let name = "vision_model.post_layernorm.bias";
    rewrite(&start, |tensors| tensors.get_mut(name).unwrap().1[2] = f32::NAN);
    let out = dir.path().join("out");
    let refused = |to: &Path, target| Checkpoint::open(&start).unwrap().convert(to, target).unwrap_err().to_string();
    let message = refused(&out, clip::Target::HuggingFace);
    assert!(message.contains(name) && message.contains("value 2 is NaN"), "{message}");
    // The end token is not in the vocabulary of 50, and open_clip's config has no key for it.
    let message = refused(&out, clip::Target::OpenClip);
    assert!(message.contains("config.json: eos_token_id is 49407"), "{message}");
    let message = refused(&start, clip::Target::HuggingFace);
    assert!(message.contains("overwrite"), "{message}");
    assert!(!out.exists());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn damaged_files_are_refused() {
    let weights = |dir: &Path| dir.join("model.safetensors");
    let truncated = damaged(|dir| {
        let bytes = bytes_of(dir);
        fs::write(weights(dir), &bytes[..bytes.len() - 100]).unwrap();
    });
    assert!(truncated.contains("not a whole safetensors file"), "{truncated}");
    for length in [0u64, 7, 1 << 20, 1 << 40, u64::MAX] {
        let lying = damaged(|dir| {
            let mut bytes = bytes_of(dir);
            bytes[..8].copy_from_slice(&length.to_le_bytes());
            fs::write(weights(dir), bytes).unwrap();
        });
        assert!(lying.contains("not a whole safetensors file"), "{lying}");
    }
    let pointer = damaged(|dir| fs::write(weights(dir), "version https://git-lfs.github.com/spec/v1\n").unwrap());
    assert!(pointer.contains("Git LFS pointer"), "{pointer}");
    let empty = damaged(|dir| fs::write(weights(dir), "").unwrap());
    assert!(empty.contains("not a whole safetensors file"), "{empty}");
    // Offsets that overlap another tensor.
    let overlapping = damaged(|dir| {
        let text = String::from_utf8_lossy(&bytes_of(dir)).into_owned();
        let at = text.find("\"data_offsets\":[0,").unwrap();
        let mut bytes = bytes_of(dir);
        bytes[at + 16] = b'1';
        fs::write(weights(dir), bytes).unwrap();
    });
    assert!(overlapping.contains("not a whole safetensors file"), "{overlapping}");
}

#[test]
fn weights_that_are_not_finite_are_refused() {
    let (_dir, start) = created(Precision::F32);
    let name = "text_projection.weight";
    rewrite(&start, |tensors| tensors.get_mut(name).unwrap().1[3] = f32::INFINITY);
    let checkpoint = Checkpoint::open(&start).unwrap();
    let device = burn::tensor::Device::flex();
    let message = TextTower::load(&checkpoint, &device).unwrap_err().to_string();
    assert!(message.contains(name) && message.contains("value 3 is inf"), "{message}");
    VisionTower::load(&checkpoint, &device).unwrap();
}
