//! Folders as people have them: with things that features do not depend on, with an image encoder of
//! another kind, in half precision, and such that may not be read.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use clip::checkpoint::Format;
use clip::{Checkpoint, Precision, Preprocess, Stored, Target, Tensors, Tokenizer, init};
use common::messages;
use common::models::{as_open_clip, small, small_open_clip, write_weights};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use tempfile::TempDir;

const WEIGHTS: &str = "open_clip_model.safetensors";

/// An open_clip folder with this config and these weights.
fn folder(config: &Value, weights: &Tensors) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let start = dir.path().join("start");
    fs::create_dir(&start).unwrap();
    fs::write(start.join("open_clip_config.json"), config.to_string()).unwrap();
    write_weights(&start.join(WEIGHTS), weights);
    (dir, start)
}

fn weights() -> Tensors {
    as_open_clip(&init::random(&small(), 5))
}

/// Every tensor of the towers that a checkpoint has.
fn towers(checkpoint: &Checkpoint) -> Tensors {
    let names = checkpoint.config().tensors().into_iter().map(|(name, _)| name);
    names.map(|name| (name.clone(), checkpoint.tensor(&name).unwrap())).collect()
}

/// Name, type and bytes of all tensors of a file.
fn content(path: &Path) -> Vec<(String, Dtype, Vec<usize>, Vec<u8>)> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Vec<_> = file
        .tensors()
        .into_iter()
        .map(|(name, tensor)| (name, tensor.dtype(), tensor.shape().to_vec(), tensor.data().to_vec()))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

#[test]
fn a_bias_of_the_logits_stays_and_changes_nothing() {
    let mut theirs = weights();
    theirs.insert("logit_bias".into(), (vec![], vec![-10.5]));
    let mut config = small_open_clip();
    config["model_cfg"]["init_logit_bias"] = json!(-10);
    config["model_cfg"]["init_logit_scale"] = json!(2.3);
    let (dir, start) = folder(&config, &theirs);
    let checkpoint = Checkpoint::open(&start).unwrap();
    let (_plain, without) = folder(&small_open_clip(), &weights());
    assert_eq!(towers(&checkpoint), towers(&Checkpoint::open(without).unwrap()));

    let out = dir.path().join("export");
    let name = "text_projection.weight".to_owned();
    checkpoint.export(&out, &Tensors::from([(name, (vec![4, 8], vec![0.5; 32]))])).unwrap();
    let (before, after) = (content(&start.join(WEIGHTS)), content(&out.join(WEIGHTS)));
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before == after, before.0 != "text_projection", "{}", before.0);
    }

    // open_clip builds a place for the tensor if the config has the word.
    let converted = dir.path().join("converted");
    checkpoint.convert(&converted, Target::OpenClip).unwrap();
    let again = Checkpoint::open(&converted).unwrap();
    assert_eq!(again.tensor("logit_bias").unwrap(), (vec![], vec![-10.5]));
    let text = fs::read_to_string(converted.join("open_clip_config.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["model_cfg"]["init_logit_bias"], json!(-10.5));
    // transformers' CLIPModel has none, and a tensor that is left over is an error to check.py.
    let (log, hf) = (dir.path().join("hf"), Target::HuggingFace);
    let warned = messages(|| checkpoint.convert(&log, hf).unwrap());
    assert!(warned.contains("logit_bias is not converted"), "{warned}");
    assert!(!Checkpoint::open(&log).unwrap().contains("logit_bias"));
}

/// Weights whose image tower is of another kind, and configs of such towers.
fn other_image_towers() -> (Tensors, [(&'static str, Value); 3]) {
    let mut theirs = weights();
    theirs.retain(|name, _| !name.starts_with("visual."));
    theirs.insert("visual.layer1.0.conv1.weight".into(), (vec![2, 2, 1, 1], vec![1.0, 2.0, 3.0, 4.0]));
    theirs.insert("visual.attnpool.positional_embedding".into(), (vec![5], vec![0.25; 5]));
    let towers = [
        ("vision_cfg.layers is [1,1,1,1], a ResNet", json!({"image_size": 64, "layers": [1, 1, 1, 1], "width": 8})),
        (
            "vision_cfg.timm_model_name is \"convnext_base\", a model of timm",
            json!({"timm_model_name": "convnext_base", "timm_model_pretrained": false, "timm_pool": "",
                   "timm_proj": "linear", "image_size": 64}),
        ),
        (
            "vision_cfg.ls_init_value = 0.1 is not supported",
            json!({"image_size": 16, "layers": 1, "width": 8, "head_width": 4, "patch_size": 8, "ls_init_value": 0.1}),
        ),
    ];
    (theirs, towers)
}

#[test]
fn an_onnx_encoder_stands_in_for_an_image_tower_that_is_not_computed() {
    let (theirs, towers) = other_image_towers();
    for (fault, vision) in towers {
        let mut config = small_open_clip();
        config["model_cfg"]["vision_cfg"] = vision;
        let (dir, start) = folder(&config, &theirs);
        let message = Checkpoint::open(&start).unwrap_err().to_string();
        for part in ["open_clip_config.json", fault, "vision_model.onnx", "pixel_values", "image_embeds"] {
            assert!(message.contains(part), "{message}");
        }

        fs::write(start.join("vision_model.onnx"), "an encoder").unwrap();
        fs::write(start.join("vision_model.onnx.data"), "its weights").unwrap();
        let checkpoint = Checkpoint::open(&start).unwrap();
        assert_eq!(checkpoint.format(), Format::OpenClip);
        assert!(checkpoint.text_config().is_ok());
        let message = checkpoint.vision_config().unwrap_err().to_string();
        assert!(message.contains("no image tower that is computed here"), "{message}");
        let side = config["model_cfg"]["vision_cfg"]["image_size"].as_u64().unwrap() as usize;
        assert_eq!(Preprocess::open(&start, None).unwrap().size(), (side, side));

        let out = dir.path().join("export");
        let name = "text_model.final_layer_norm.bias".to_owned();
        checkpoint.export(&out, &Tensors::from([(name, (vec![8], vec![2.0; 8]))])).unwrap();
        for (before, after) in content(&start.join(WEIGHTS)).iter().zip(&content(&out.join(WEIGHTS))) {
            assert_eq!(before == after, before.0 != "ln_final.bias", "{}", before.0);
        }
        assert_eq!(fs::read(out.join("vision_model.onnx")).unwrap(), b"an encoder");
        Checkpoint::open(&out).unwrap();

        // The text tower for transformers takes its image encoder along.
        let hf = dir.path().join("hf");
        checkpoint.convert(&hf, Target::HuggingFace).unwrap();
        assert_eq!(Checkpoint::open(&hf).unwrap().format(), Format::HfText);
        assert_eq!(fs::read(hf.join("vision_model.onnx.data")).unwrap(), b"its weights");
        assert_eq!(Preprocess::open(&hf, None).unwrap(), Preprocess::open(&start, None).unwrap());
        let message = checkpoint.convert(dir.path().join("oc"), Target::OpenClip).unwrap_err().to_string();
        assert!(message.contains("open_clip wants both towers"), "{message}");
    }
    // A tensor that belongs to no tower is still a sign of another model.
    let (_dir, start) = {
        let (mut theirs, [(_, vision), ..]) = other_image_towers();
        theirs.insert("text_decoder.ln.bias".into(), (vec![2], vec![0.0; 2]));
        let mut config = small_open_clip();
        config["model_cfg"]["vision_cfg"] = vision;
        folder(&config, &theirs)
    };
    fs::write(start.join("vision_model.onnx"), "an encoder").unwrap();
    let message = Checkpoint::open(&start).unwrap_err().to_string();
    assert!(message.contains("text_decoder.ln.bias"), "{message}");
}

#[test]
fn a_text_tower_with_a_prefix_is_the_same_tower() {
    let of_text = ["token_embedding.", "positional_embedding", "transformer.", "ln_final.", "text_projection"];
    let custom: Tensors = weights()
        .into_iter()
        .map(|(name, tensor)| match of_text.iter().any(|start| name.starts_with(start)) {
            true => (format!("text.{name}"), tensor),
            false => (name, tensor),
        })
        .collect();
    let mut config = small_open_clip();
    config["model_cfg"]["custom_text"] = json!(true);
    let (dir, start) = folder(&config, &custom);
    let checkpoint = Checkpoint::open(&start).unwrap();
    let (_plain, without) = folder(&small_open_clip(), &weights());
    let plain = Checkpoint::open(without).unwrap();
    assert_eq!(towers(&checkpoint), towers(&plain));

    // Out under the names that it came in with.
    let out = dir.path().join("export");
    let other = init::random(&small(), 6);
    checkpoint.export(&out, &other).unwrap();
    let names = |path: &Path| content(path).into_iter().map(|(name, ..)| name).collect::<Vec<_>>();
    assert_eq!(names(&out.join(WEIGHTS)), names(&start.join(WEIGHTS)));
    let again = Checkpoint::open(&out).unwrap();
    for (name, tensor) in towers(&again) {
        assert_eq!(tensor, other[&name], "{name}");
    }
    // Converted, it is a plain CLIP.
    checkpoint.convert(dir.path().join("plain"), Target::OpenClip).unwrap();
    let converted = Checkpoint::open(dir.path().join("plain")).unwrap();
    assert!(converted.contains("ln_final.bias") && !converted.contains("text.ln_final.bias"));
    assert_eq!(towers(&converted), towers(&plain));
}

#[test]
fn another_tokenizer_is_not_taken_for_clips() {
    let refused = |key: &str, value: Value| {
        let mut config = small_open_clip();
        config["model_cfg"]["text_cfg"][key] = value;
        let (_dir, start) = folder(&config, &weights());
        Checkpoint::open(&start).unwrap_err().to_string()
    };
    let message = refused("tokenizer_kwargs", json!({"clean": "canonicalize"}));
    assert!(message.contains("text_cfg.tokenizer_kwargs") && message.contains("canonicalize"), "{message}");
    let message = refused("hf_tokenizer_name", json!("bert-base-uncased"));
    assert!(message.contains("bert-base-uncased") && message.contains("tokenizer.json"), "{message}");

    let mut config = small_open_clip();
    config["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = json!({"clean": "lower", "reduction_mask": ""});
    config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = json!("openai/clip-vit-base-patch32");
    let (_dir, start) = folder(&config, &weights());
    Tokenizer::write_clip(&start, 77).unwrap();
    Checkpoint::open(&start).unwrap();
}

#[test]
fn what_is_guessed_is_said() {
    // OpenAI's weights, by the sizes that they carry, beside a config for other activations.
    let mut theirs = weights();
    for name in ["input_resolution", "context_length", "vocab_size"] {
        theirs.insert(name.into(), (vec![], vec![1.0]));
    }
    let mut config = small_open_clip();
    config["model_cfg"]["quick_gelu"] = json!(false);
    let (_dir, start) = folder(&config, &theirs);
    let warned = messages(|| drop(Checkpoint::open(&start).unwrap()));
    assert!(warned.contains("quick_gelu") && warned.contains("open_clip_config.json"), "{warned}");
    let (_dir, start) = folder(&small_open_clip(), &theirs);
    assert_eq!(messages(|| drop(Checkpoint::open(&start).unwrap())), "");

    // Weights alone: the advice has the activation in it.
    let dir = tempfile::tempdir().unwrap();
    write_weights(&dir.path().join("epoch_1.safetensors"), &weights());
    let message = Checkpoint::open(dir.path().join("epoch_1.safetensors")).unwrap_err().to_string();
    assert!(message.contains("get_model_config(NAME)") && message.contains("ViT-B-32-quickgelu"), "{message}");
}

/// A checkpoint of transformers in 16 bits, whose config names the type.
fn in_half() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let start = dir.path().join("start");
    Checkpoint::create(&start, &small(), &init::random(&small(), 5), Precision::F16).unwrap();
    let path = start.join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    config["dtype"] = "float16".into();
    config["text_config"]["dtype"] = "float16".into();
    fs::write(&path, config.to_string()).unwrap();
    (dir, start)
}

#[test]
fn what_half_precision_takes_away_is_counted() {
    let (_dir, start) = in_half();
    let checkpoint = Checkpoint::open(&start).unwrap();
    let name = "text_model.final_layer_norm.weight";
    // Around 1, numbers of 16 bits are 1/1024 apart above and 1/2048 below.
    let trained = vec![1.0, 1.0001, 0.9999, 1.0004, 1.001, 0.999, 1.0, 1.5];
    let trained = Tensors::from([(name.to_owned(), (vec![8], trained))]);
    let loss = checkpoint.rounding_loss(&trained).unwrap();
    assert_eq!((loss.values, loss.moved, loss.lost), (8, 6, 3));
    assert_eq!((loss.share(), loss.unchanged()), (0.5, 5.0 / 8.0));
    let shape = Tensors::from([(name.to_owned(), (vec![4], vec![1.0; 4]))]);
    assert!(checkpoint.rounding_loss(&shape).unwrap_err().to_string().contains("[4]"));
    assert_eq!(checkpoint.rounding_loss(&Tensors::new()).unwrap().share(), 0.0);

    let dir = tempfile::tempdir().unwrap();
    Checkpoint::create(dir.path().join("whole"), &small(), &init::random(&small(), 5), Precision::F32).unwrap();
    let whole = Checkpoint::open(dir.path().join("whole")).unwrap();
    assert_eq!(whole.rounding_loss(&trained).unwrap().lost, 0);
}

#[test]
fn an_export_in_32_bits_keeps_what_training_had() {
    let (dir, start) = in_half();
    let checkpoint = Checkpoint::open(&start).unwrap();
    let trained: Tensors =
        init::random(&small(), 6).into_iter().filter(|(name, _)| name.starts_with("text_")).collect();
    let out = dir.path().join("export");
    checkpoint.export_as(&out, &trained, Stored::F32).unwrap();
    let exported = Checkpoint::open(&out).unwrap();
    for (name, tensor) in &trained {
        assert_eq!(exported.tensor(name).unwrap(), *tensor, "{name}");
        assert_eq!(exported.dtype(name).as_deref(), Some("F32"));
    }
    let untouched = |all: Vec<(String, Dtype, Vec<usize>, Vec<u8>)>| {
        all.into_iter().filter(|(name, ..)| !trained.contains_key(name)).collect::<Vec<_>>()
    };
    let file = "model.safetensors";
    assert_eq!(untouched(content(&out.join(file))), untouched(content(&start.join(file))));
    let config: Value = serde_json::from_str(&fs::read_to_string(out.join("config.json")).unwrap()).unwrap();
    assert_eq!((&config["dtype"], &config["text_config"]["dtype"]), (&json!("float32"), &json!("float32")));
    assert_eq!(config["vision_config"].get("dtype"), None);

    // Without a change of type everything stays as it is.
    let same = dir.path().join("same");
    checkpoint.export_as(&same, &trained, Stored::AsBefore).unwrap();
    assert_eq!(fs::read(same.join("config.json")).unwrap(), fs::read(start.join("config.json")).unwrap());
    let whole = dir.path().join("whole");
    exported.export_as(dir.path().join("again"), &trained, Stored::F32).unwrap();
    exported.export(&whole, &trained).unwrap();
    assert_eq!(fs::read(dir.path().join("again").join(file)).unwrap(), fs::read(whole.join(file)).unwrap());
}

#[test]
fn parts_of_a_tensor_become_32_bits_with_the_whole() {
    // One third of a tensor changes; the others keep their values.
    let (dir, start) = folder(&small_open_clip(), &weights());
    let bytes = fs::read(start.join(WEIGHTS)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let half: Vec<(String, Vec<usize>, Vec<u8>)> = file
        .tensors()
        .into_iter()
        .map(|(name, tensor)| {
            let values = tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            (name, tensor.shape().to_vec(), values.flat_map(|v| half::bf16::from_f32(v).to_le_bytes()).collect())
        })
        .collect();
    let views = half.iter().map(|(name, shape, bytes)| {
        (name.as_str(), safetensors::tensor::TensorView::new(Dtype::BF16, shape.clone(), bytes).unwrap())
    });
    fs::write(start.join(WEIGHTS), safetensors::serialize(views, None).unwrap()).unwrap();

    let checkpoint = Checkpoint::open(&start).unwrap();
    let layer = "text_model.encoder.layers.1.self_attn";
    let new = (vec![8, 8], (0..64).map(|i| 1.0 + i as f32 * 1e-5).collect::<Vec<_>>());
    let transposed = (vec![4, 8], (0..32).map(|i| 2.0 + i as f32 * 1e-5).collect::<Vec<_>>());
    let changed = Tensors::from([
        (format!("{layer}.k_proj.weight"), new.clone()),
        ("text_projection.weight".to_owned(), transposed.clone()),
    ]);
    let out = dir.path().join("export");
    checkpoint.export_as(&out, &changed, Stored::F32).unwrap();
    let exported = Checkpoint::open(&out).unwrap();
    assert_eq!(exported.tensor(&format!("{layer}.k_proj.weight")).unwrap(), new);
    assert_eq!(exported.tensor("text_projection.weight").unwrap(), transposed);
    for other in ["q_proj", "v_proj"] {
        let name = format!("{layer}.{other}.weight");
        assert_eq!(exported.tensor(&name).unwrap(), checkpoint.tensor(&name).unwrap());
    }
    assert_eq!(exported.dtype("transformer.resblocks.1.attn.in_proj_weight").as_deref(), Some("F32"));
    assert_eq!(exported.dtype("transformer.resblocks.0.attn.in_proj_weight").as_deref(), Some("BF16"));
}

#[test]
fn shards_in_32_bits_have_a_new_size() {
    let (dir, start) = in_half();
    let bytes = fs::read(start.join("model.safetensors")).unwrap();
    let whole = SafeTensors::deserialize(&bytes).unwrap();
    let mut map = serde_json::Map::new();
    for (file, text) in [("model-1.safetensors", true), ("model-2.safetensors", false)] {
        let part: Vec<_> = whole.tensors().into_iter().filter(|(name, _)| name.starts_with("text") == text).collect();
        map.extend(part.iter().map(|(name, _)| (name.clone(), file.into())));
        fs::write(start.join(file), safetensors::serialize(part, None).unwrap()).unwrap();
    }
    let index = json!({"metadata": {"total_size": bytes.len()}, "weight_map": map});
    fs::write(start.join("model.safetensors.index.json"), index.to_string()).unwrap();
    fs::remove_file(start.join("model.safetensors")).unwrap();

    let checkpoint = Checkpoint::open(&start).unwrap();
    let changed = Tensors::from([("text_projection.weight".to_owned(), (vec![4, 8], vec![0.1; 32]))]);
    let out = dir.path().join("export");
    checkpoint.export_as(&out, &changed, Stored::F32).unwrap();
    assert_eq!(Checkpoint::open(&out).unwrap().tensor("text_projection.weight").unwrap().1, vec![0.1; 32]);
    let second = "model-2.safetensors";
    assert_eq!(fs::read(out.join(second)).unwrap(), fs::read(start.join(second)).unwrap());
    let text = fs::read_to_string(out.join("model.safetensors.index.json")).unwrap();
    let index: Value = serde_json::from_str(&text).unwrap();
    let data = |path: PathBuf| content(&path).iter().map(|(_, _, _, bytes)| bytes.len()).sum::<usize>();
    let expected = data(out.join("model-1.safetensors")) + data(out.join(second));
    assert_eq!(index["metadata"]["total_size"], json!(expected));
}

#[cfg(unix)]
mod unreadable {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::process::CommandExt;

    use super::*;

    const REFUSED: &str = "PIPELINE_TEST_REFUSED_FOLDER";

    /// What every reader of a folder says of one that may not be entered.
    fn reasons(start: &Path) -> Vec<String> {
        vec![
            Checkpoint::open(start).unwrap_err().to_string(),
            Checkpoint::open(start.join("model.safetensors")).unwrap_err().to_string(),
            Preprocess::open(start, Some(16)).unwrap_err().to_string(),
            Tokenizer::open(start).unwrap_err().to_string(),
        ]
    }

    #[test]
    fn a_folder_that_may_not_be_read_is_not_an_empty_one() {
        if let Some(start) = std::env::var_os(REFUSED) {
            for reason in reasons(Path::new(&start)) {
                assert!(reason.contains("Permission denied") && !reason.contains("missing"), "{reason}");
            }
            return;
        }
        let (dir, start) = in_half();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&start, fs::Permissions::from_mode(0o000)).unwrap();
        let name = "unreadable::a_folder_that_may_not_be_read_is_not_an_empty_one";
        if fs::read_dir(&start).is_err() {
            reasons(&start).iter().for_each(|reason| assert!(reason.contains("Permission denied"), "{reason}"));
        } else {
            // Root reads everything; a user that is nobody does not.
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", name, "--nocapture"]).env(REFUSED, &start).uid(65534).gid(65534);
            match child.output() {
                Ok(output) => {
                    let said = String::from_utf8_lossy(&output.stdout);
                    assert!(output.status.success() && said.contains("1 passed"), "{said}");
                }
                Err(error) => println!("skipped: this test cannot be run as another user: {error}"),
            }
        }
        fs::set_permissions(&start, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_link_that_leads_nowhere_is_named() {
        for (file, open) in [
            ("config.json", (|dir| Checkpoint::open(dir).map(drop)) as fn(&Path) -> Result<(), clip::Error>),
            ("model.safetensors", |dir| Checkpoint::open(dir).map(drop)),
            ("preprocessor_config.json", |dir| Preprocess::open(dir, Some(16)).map(drop)),
            ("processor_config.json", |dir| Preprocess::open(dir, Some(16)).map(drop)),
            ("tokenizer.json", |dir| Tokenizer::open(dir).map(drop)),
        ] {
            let (_dir, start) = in_half();
            let _ = fs::remove_file(start.join(file));
            symlink("../blobs/nowhere", start.join(file)).unwrap();
            let message = open(&start).unwrap_err().to_string();
            assert!(message.contains(file) && message.contains("link to a file that does not exist"), "{message}");
            fs::remove_file(start.join(file)).unwrap();
            symlink(file, start.join(file)).unwrap();
            let message = open(&start).unwrap_err().to_string();
            assert!(message.contains(file) && message.contains("symbolic links"), "{message}");
        }
    }

    #[test]
    fn a_file_beside_the_weights_does_not_stop_an_export() {
        let (dir, start) = in_half();
        symlink("nowhere", start.join("README.md")).unwrap();
        let checkpoint = Checkpoint::open(&start).unwrap();
        let out = dir.path().join("export");
        let warned = messages(|| drop(checkpoint.export(&out, &Tensors::new()).unwrap()));
        assert!(warned.contains("README.md"), "{warned}");
        assert!(out.join("config.json").is_file() && !out.join("README.md").exists());
    }
}
