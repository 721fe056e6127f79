//! Checkpoints and pictures from other sources.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use clip::checkpoint::Tower;
use clip::config::VisionConfig;
use clip::{Checkpoint, ClipConfig, Error, Limits, Precision, Preprocess, TextConfig, Tokenizer};

use crate::in_folder;

/// Both towers, as small as they can be.
pub fn tiny() -> ClipConfig {
    let text = TextConfig {
        vocab_size: 6,
        hidden_size: 2,
        intermediate_size: 3,
        projection_dim: 2,
        num_hidden_layers: 1,
        num_attention_heads: 1,
        max_position_embeddings: 4,
        ..TextConfig::default()
    };
    let vision = VisionConfig {
        hidden_size: 2,
        intermediate_size: 3,
        projection_dim: 2,
        num_hidden_layers: 1,
        num_attention_heads: 1,
        image_size: 2,
        patch_size: 1,
        ..VisionConfig::default()
    };
    ClipConfig { text: Some(text), vision: Some(vision) }
}

/// The files of a tiny checkpoint in both layouts: config.json, model.safetensors,
/// open_clip_config.json, open_clip_model.safetensors.
pub fn tiny_files() -> &'static [(&'static str, Vec<u8>)] {
    static FILES: OnceLock<Vec<(&str, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (folder.path().join("hf"), folder.path().join("open_clip"));
        Checkpoint::create(&ours, &tiny(), &clip::init::random(&tiny(), 1), Precision::F32).unwrap();
        // open_clip reads a text at its largest id.
        let json = fs::read_to_string(ours.join("config.json")).unwrap().replace("49407", "5");
        fs::write(ours.join("config.json"), json).unwrap();
        Checkpoint::open(&ours).unwrap().convert(&theirs, clip::Target::OpenClip).unwrap();
        let read = |dir: &Path, name| (name, fs::read(dir.join(name)).unwrap());
        vec![
            read(&ours, "config.json"),
            read(&ours, "model.safetensors"),
            read(&theirs, "open_clip_config.json"),
            read(&theirs, "open_clip_model.safetensors"),
        ]
    })
}

/// Fills a folder with these files and no others.
fn with_files<R>(name: &str, files: &[(&str, &[u8])], with: impl FnOnce(&Path) -> R) -> R {
    in_folder(|folder| {
        let dir = folder.join(name);
        if fs::create_dir(&dir).is_err() {
            for entry in fs::read_dir(&dir).unwrap() {
                fs::remove_file(entry.unwrap().path()).unwrap();
            }
        }
        for (file, bytes) in files {
            fs::write(dir.join(file), bytes).unwrap();
        }
        with(&dir)
    })
}

/// Opens a checkpoint and reads all of it.
fn read_all(path: &Path) {
    let read = |checkpoint: Checkpoint| {
        checkpoint.fingerprint(Tower::Text);
        checkpoint.fingerprint(Tower::Vision);
        let names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
        for name in names {
            if let Ok((shape, values)) = checkpoint.tensor(&name) {
                assert_eq!(shape.iter().product::<usize>(), values.len());
                assert!(values.iter().all(|value| value.is_finite()));
            }
        }
        for (name, shape) in checkpoint.config().tensors() {
            if let Ok((found, _)) = checkpoint.tensor(&name) {
                assert_eq!(found, shape);
            }
        }
        Ok(())
    };
    told(path, Checkpoint::open(path).and_then(read));
}

/// Checks that an error names its file.
fn told<R>(path: &Path, result: Result<R, Error>) {
    if let Err(error) = result {
        let dir = if path.is_dir() { path } else { path.parent().unwrap() };
        assert!(error.to_string().contains(&dir.display().to_string()), "{error}");
    }
}

/// A file of weights as safetensors, in the layout of Hugging Face or, by the first byte, of open_clip.
pub fn safetensors(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let [config, _, open_clip_config, _] = tiny_files() else { return };
    let (config, name) =
        if how & 1 == 0 { (config, "model.safetensors") } else { (open_clip_config, "open_clip_model.safetensors") };
    with_files("safetensors", &[(config.0, &config.1), (name, bytes)], read_all);
}

/// A file of weights as PyTorch saves it, in either layout.
pub fn pickle(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let [config, _, open_clip_config, _] = tiny_files() else { return };
    let (config, name) = if how & 1 == 0 { (config, "pytorch_model.bin") } else { (open_clip_config, "epoch_1.pt") };
    with_files("pickle", &[(config.0, &config.1), (name, bytes)], read_all);
}

/// One of the JSON files of a checkpoint; the first byte chooses which.
pub fn model_config(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else { return };
    let [config, weights, open_clip_config, open_clip_weights] = tiny_files() else { return };
    let (config, weights) = ((config.0, &config.1[..]), (weights.0, &weights.1[..]));
    let open_clip_weights = (open_clip_weights.0, &open_clip_weights.1[..]);
    match how % 5 {
        0 => with_files("model_config", &[(config.0, bytes), weights], read_all),
        1 => with_files("model_config", &[(open_clip_config.0, bytes), open_clip_weights], read_all),
        2 => with_files(
            "model_config",
            &[("model.safetensors.index.json", bytes), config, ("a.safetensors", weights.1)],
            read_all,
        ),
        3 => with_files("model_config", &[("preprocessor_config.json", bytes)], |dir| {
            told(
                dir,
                Preprocess::open(dir, Some(2)).map(|preprocess| {
                    let (height, width) = preprocess.size();
                    assert!(height > 0 && width > 0);
                    // The written config means the same; every config that was read can be written.
                    let written = preprocess.to_hugging_face().unwrap().to_string();
                    with_files("again", &[("preprocessor_config.json", written.as_bytes())], |dir| {
                        assert_eq!(Preprocess::open(dir, Some(2)).unwrap(), preprocess);
                    });
                }),
            );
        }),
        _ => with_files("model_config", &[("tokenizer.json", bytes)], |dir| {
            told(
                dir,
                Tokenizer::open(dir).map(|tokenizer| {
                    assert!(
                        tokenizer.encode("a dog with no ball").iter().all(|id| (*id as usize) < tokenizer.vocab_size())
                    );
                }),
            );
        }),
    }
}

/// A picture's file.
pub fn picture(data: &[u8]) {
    static PREPROCESS: OnceLock<Preprocess> = OnceLock::new();
    let preprocess = PREPROCESS.get_or_init(|| Preprocess::openai(16));
    match preprocess.decode(data, &Limits { max_pixels: 1 << 20 }) {
        Ok(pixels) => assert_eq!(pixels.rgb.len(), 16 * 16 * 3),
        Err(reason) => assert!(!reason.to_string().is_empty()),
    }
}
