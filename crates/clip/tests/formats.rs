//! Checkpoints as other programs write them: PyTorch's files, single towers, open_clip's layout and back.
//! `tools/parity/goldens.py` makes the files and the numbers.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use clip::checkpoint::Format;
use clip::{Checkpoint, Layout, Preprocess, Target, Tensors, TextTower, Tokenizer, VisionTower};
use common::{Golden, data, formula, largest_difference};
use safetensors::SafeTensors;
use tempfile::TempDir;

/// The texts of `SMALL_IDS`, without padding.
const IDS: [u32; 6] = [48, 3, 7, 49, 48, 49];
const LENS: [usize; 2] = [4, 2];

fn texts(checkpoint: &Checkpoint) -> Vec<f32> {
    let tower = TextTower::load(checkpoint, &Device::flex()).unwrap();
    tower.forward(&IDS, &LENS, Layout::Packed).unwrap().into_data().try_to_vec().unwrap()
}

fn images(checkpoint: &Checkpoint) -> Vec<f32> {
    let tower = VisionTower::load(checkpoint, &Device::flex()).unwrap();
    let pixels = TensorData::new(formula::unit("pixel_values", 2 * 3 * 16 * 16, 2.0), [2, 3, 16, 16]);
    tower.forward(Tensor::from_data(pixels, &Device::flex())).unwrap().into_data().try_to_vec().unwrap()
}

/// A folder with one of the stored files and open_clip's config.
fn folder(file: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let start = dir.path().join("start");
    fs::create_dir(&start).unwrap();
    for name in [file, "open_clip_config.json"] {
        fs::copy(data("checkpoints").join(name), start.join(name)).unwrap();
    }
    (dir, start)
}

#[test]
fn files_of_torch_save_compute_what_open_clip_computes() {
    let expected = Golden::open(data("checkpoints/expected.safetensors"));
    for (file, bound) in [("plain.pt", 1e-5), ("legacy.pt", 1e-5), ("training.pt", 1e-5), ("half.pt", 0.02)] {
        let (_dir, start) = folder(file);
        for path in [start.clone(), start.join(file)] {
            let checkpoint = Checkpoint::open(path).unwrap();
            assert_eq!(checkpoint.format(), Format::OpenClip);
            let text = largest_difference(&texts(&checkpoint), &expected.f32("text_embeds").1);
            let image = largest_difference(&images(&checkpoint), &expected.f32("image_embeds").1);
            println!("{file}: texts off by {text:.1e}, images by {image:.1e}");
            assert!(text < bound && image < bound, "{file}");
        }
        let preprocess = Preprocess::open(&start, None).unwrap();
        let whole = preprocess.normalise(&[51, 102, 204]);
        for (found, expected) in whole.iter().zip([(0.2 - 0.5) / 0.2, (0.4 - 0.4) / 0.3, (0.8 - 0.3) / 0.4]) {
            assert!((found - expected).abs() < 1e-6, "{whole:?}");
        }
    }
}

#[test]
fn an_export_of_a_pickle_is_safetensors_with_the_same_bits() {
    let (dir, start) = folder("training.pt");
    let checkpoint = Checkpoint::open(&start).unwrap();
    let name = "text_model.encoder.layers.1.self_attn.k_proj.bias".to_owned();
    let new: Vec<f32> = (0..8).map(|i| i as f32).collect();
    let out = dir.path().join("export");
    let exported = checkpoint.export(&out, &Tensors::from([(name.clone(), (vec![8], new.clone()))])).unwrap();
    assert_eq!(exported.left_out, [PathBuf::from("training.pt")]);
    let again = Checkpoint::open(&out).unwrap();
    for (name_here, _) in checkpoint.config().tensors() {
        let (before, after) = (checkpoint.tensor(&name_here).unwrap(), again.tensor(&name_here).unwrap());
        if name_here == name { assert_eq!(after.1, new) } else { assert_eq!(before, after, "{name_here}") }
    }
    // Under open_clip's names, without a wrapper, and nothing else.
    let bytes = fs::read(out.join("open_clip_model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert!(file.names().iter().all(|name| !name.starts_with("module.") && !name.starts_with("text_model.")));
    assert!(file.tensor("transformer.resblocks.1.attn.in_proj_bias").is_ok() && file.tensor("visual.proj").is_ok());
}

#[test]
fn there_and_back_keeps_every_bit() {
    for file in ["plain.pt", "half.pt"] {
        let (dir, start) = folder(file);
        let place = |name: &str| dir.path().join(name);
        let first = Checkpoint::open(&start).unwrap();
        first.convert(place("hf"), Target::HuggingFace).unwrap();
        let hf = Checkpoint::open(place("hf")).unwrap();
        assert_eq!(hf.format(), Format::HfClip);
        hf.convert(place("back"), Target::OpenClip).unwrap();
        let back = Checkpoint::open(place("back")).unwrap();
        back.convert(place("hf2"), Target::HuggingFace).unwrap();
        assert_eq!(
            fs::read(place("hf").join("model.safetensors")).unwrap(),
            fs::read(place("hf2").join("model.safetensors")).unwrap()
        );
        let open_clip = |checkpoint: &Checkpoint| {
            let names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
            names.into_iter().map(|name| (name.clone(), checkpoint.tensor(&name).unwrap())).collect::<Tensors>()
        };
        assert_eq!(open_clip(&first), open_clip(&back));
        assert_eq!((texts(&first), images(&first)), (texts(&hf), images(&hf)));
        assert_eq!((texts(&first), images(&first)), (texts(&back), images(&back)));
        // The files around the weights agree too.
        for other in [place("hf"), place("back")] {
            assert_eq!(Preprocess::open(&start, None).unwrap(), Preprocess::open(&other, None).unwrap());
        }
        assert_eq!(Tokenizer::open(&place("hf")).unwrap().vocab_size(), 49408);
    }
}

#[test]
fn towers_alone_without_projection_are_read() {
    let expected = Golden::open(data("bare_text/expected.safetensors")).f32("pooled").1;
    let text = Checkpoint::open(data("bare_text")).unwrap();
    assert_eq!(text.format(), Format::HfText);
    assert!(!text.text_config().unwrap().projected);
    assert!(largest_difference(&texts(&text), &expected) < 1e-5);
    assert!(text.vision_config().unwrap_err().to_string().contains("no image tower"));

    let expected = Golden::open(data("bare_vision/expected.safetensors")).f32("pooled").1;
    let vision = Checkpoint::open(data("bare_vision")).unwrap();
    assert_eq!(vision.format(), Format::HfVision);
    assert!(largest_difference(&images(&vision), &expected) < 1e-5);

    let dir = tempfile::tempdir().unwrap();
    let message = text.convert(dir.path().join("out"), Target::OpenClip).unwrap_err().to_string();
    assert!(message.contains("one tower alone") && !dir.path().join("out").exists(), "{message}");
    // The names become those that every version of transformers can read.
    vision.convert(dir.path().join("out"), Target::HuggingFace).unwrap();
    assert_eq!(images(&vision), images(&Checkpoint::open(dir.path().join("out")).unwrap()));
}

/// Opens one of the files after changing its bytes.
fn damaged(file: &str, change: impl FnOnce(&mut Vec<u8>)) -> String {
    let (_dir, start) = folder(file);
    let mut bytes = fs::read(start.join(file)).unwrap();
    change(&mut bytes);
    fs::write(start.join(file), bytes).unwrap();
    Checkpoint::open(start.join(file)).unwrap_err().to_string()
}

#[test]
fn a_pickle_that_would_run_code_is_refused_and_runs_none() {
    let message = damaged("evil.pt", |_| {});
    assert!(message.contains("evil.pt is not a PyTorch state dict"), "{message}");
    let trace = Path::new("/tmp/pipeline-parity-was-here");
    assert!(!trace.exists());
    // In an archive as in a bare pickle: the name of one constructor is replaced by another.
    let message = damaged("plain.pt", |bytes| {
        let at = bytes.windows(7).position(|window| window == b"_utils\n").unwrap();
        bytes[at..at + 6].copy_from_slice(b"_hacks");
    });
    assert!(message.contains("made by calling torch._hacks._rebuild_tensor_v2"), "{message}");
}

#[test]
fn damaged_pickles_are_refused() {
    for file in ["plain.pt", "legacy.pt", "training.pt"] {
        let size = fs::metadata(data("checkpoints").join(file)).unwrap().len() as usize;
        for cut in [0, 1, 15, 100, size / 3, size / 2, size - 200, size - 1] {
            let message = damaged(file, |bytes| bytes.truncate(cut));
            assert!(message.contains(file) && message.contains("not a PyTorch state dict"), "{cut}: {message}");
        }
        // Any single byte of the first kilobytes may be wrong: an error or other weights, never a panic.
        let (_dir, start) = folder(file);
        let whole = fs::read(start.join(file)).unwrap();
        for at in (0..4000).step_by(23) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            fs::write(start.join(file), bytes).unwrap();
            if let Ok(checkpoint) = Checkpoint::open(start.join(file)) {
                checkpoint.names().for_each(|name| drop(checkpoint.tensor(name)));
            }
        }
    }
    let message = damaged("plain.pt", |bytes| {
        // The byte that holds a storage's number of rows: 12 positions become 90.
        let at = bytes.windows(4).position(|window| window == b"K\x0cK\x08").unwrap();
        bytes[at + 1] = 90;
    });
    assert!(message.contains("positional_embedding has shape [90, 8]"), "{message}");
}

#[test]
fn a_file_without_config_says_what_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("epoch_3.pt");
    fs::copy(data("checkpoints/plain.pt"), &file).unwrap();
    let message = Checkpoint::open(&file).unwrap_err().to_string();
    assert!(message.contains("epoch_3.pt") && message.contains("open_clip.get_model_config(NAME)"), "{message}");
}

#[test]
fn weights_that_the_config_does_not_ask_for_are_named() {
    let (_dir, start) = folder("plain.pt");
    let config = start.join("open_clip_config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"layers\": 2", "\"layers\": 1")).unwrap();
    let message = Checkpoint::open(&start).unwrap_err().to_string();
    for part in ["plain.pt: tensor transformer.resblocks.1.", "not expected", "open_clip_config.json"] {
        assert!(message.contains(part), "{message}");
    }
}
