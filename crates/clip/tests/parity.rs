//! Both towers against PyTorch on the same weights: on a stored checkpoint, and on models whose
//! weights both sides fill by a formula (`tools/parity/goldens.py` makes the numbers).
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use clip::config::Activation;
use clip::text::TOKEN_EMBEDDING;
use clip::{Checkpoint, ClipConfig, Layout, Mapper, Params, TextConfig, TextTower, VisionConfig, VisionTower};
use common::{Golden, data, formula, largest_difference, shared};

struct Case {
    checkpoint: Checkpoint,
    golden: Golden,
}

fn tiny() -> Option<Case> {
    let dir = shared("golden/tiny_clip")?;
    Some(Case { checkpoint: Checkpoint::open(&dir).unwrap(), golden: Golden::open(dir.join("golden.safetensors")) })
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn compare(what: &str, ours: &[f32], golden: &[f32], bound: f32) {
    let largest = largest_difference(ours, golden);
    println!("{what}: largest difference {largest:.2e}, bound {bound:.0e}");
    assert!(largest <= bound, "{what}: {largest} > {bound}");
}

fn unit(tensor: Tensor<2>) -> Tensor<2> {
    let norm = tensor.clone().powi_scalar(2).sum_dim(1).sqrt();
    tensor / norm
}

/// Runs every check on one device.
fn check(case: &Case, device: &Device, bound: f32) {
    let Case { checkpoint, golden } = case;
    let text = TextTower::load(checkpoint, device).unwrap();
    let vision = VisionTower::load(checkpoint, device).unwrap();

    let ids = golden.ids();
    let lens = vec![77; ids.len() / 77];
    let expected = golden.f32("text_embeds").1;
    let mut texts = text.forward(&ids, &lens, Layout::Padded).unwrap();
    compare("text embeddings, padded", &values(texts.clone()), &expected, bound);
    let packed = text.forward(&ids, &lens, Layout::Packed).unwrap();
    compare("text embeddings, packed", &values(packed), &expected, bound);

    // Only positions up to a text's end token mean anything.
    let hidden = text.hidden(&ids, &lens).unwrap();
    let [_, longest, width] = hidden.dims();
    let (hidden, expected) = (values(hidden), golden.f32("text_last_hidden_state").1);
    for (i, row) in ids.chunks(77).enumerate() {
        let end = row.iter().position(|id| *id == 49407).unwrap();
        let ours = &hidden[i * longest * width..][..(end + 1) * width];
        let theirs = &expected[i * 77 * width..][..(end + 1) * width];
        compare(&format!("text {i}, hidden states"), ours, theirs, bound);
    }

    let (shape, pixels) = golden.f32("pixel_values");
    let pixels = Tensor::<4>::from_data(TensorData::new(pixels, shape), device);
    let hidden = values(vision.hidden(pixels.clone()).unwrap());
    compare("image hidden states", &hidden, &golden.f32("vision_last_hidden_state").1, bound);
    let mut images = vision.forward(pixels).unwrap();
    compare("image embeddings", &values(images.clone()), &golden.f32("image_embeds").1, bound);

    (texts, images) = (unit(texts), unit(images));
    let scale = checkpoint.logit_scale().unwrap().exp();
    let logits = images.matmul(texts.transpose()).mul_scalar(scale);
    compare("logits", &values(logits), &golden.f32("logits_per_image").1, bound);
}

#[test]
fn both_towers_match_pytorch_on_the_cpu() {
    let Some(case) = tiny() else { return };
    check(&case, &Device::flex(), 1e-4);
}

#[test]
fn both_towers_match_pytorch_on_wgpu() {
    let Some(case) = tiny() else { return };
    let Ok(clip::device::Picked { device, description: name, .. }) = clip::device::pick("wgpu") else {
        println!("skipped: no graphics adapter");
        return;
    };
    println!("{name}");
    check(&case, &device, 1e-4);
}

fn tiny_config() -> (TextConfig, VisionConfig) {
    let text = TextConfig {
        hidden_size: 32,
        intermediate_size: 64,
        projection_dim: 16,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        ..Default::default()
    };
    let vision = VisionConfig {
        hidden_size: 48,
        intermediate_size: 96,
        projection_dim: 16,
        num_hidden_layers: 2,
        num_attention_heads: 3,
        image_size: 32,
        patch_size: 8,
        hidden_act: Activation::Gelu,
        ..Default::default()
    };
    (text, vision)
}

/// Weights by formula, outputs of PyTorch in f64. Only one tower is in memory at a time.
fn check_filled(name: &str, (text, vision): (TextConfig, VisionConfig), device: &Device, bound: f32) {
    let golden = Golden::open(data(&format!("{name}.safetensors")));
    let ids = golden.ids();
    let lens = vec![77; ids.len() / 77];
    let texts = {
        let tower = TextTower::from_tensors(&text, &formula::weights(&text.tensors()), device).unwrap();
        for layout in [Layout::Padded, Layout::Packed, Layout::Tree] {
            let texts = values(tower.forward(&ids, &lens, layout).unwrap());
            compare(&format!("{name}, text embeddings, {layout:?}"), &texts, &golden.f32("text_embeds").1, bound);
        }
        tower.forward(&ids, &lens, Layout::Packed).unwrap()
    };
    let (shape, expected) = golden.f32("image_embeds");
    let side = vision.image_size;
    let pixels = formula::unit("pixel_values", shape[0] * 3 * side * side, 2.0);
    let pixels = Tensor::<4>::from_data(TensorData::new(pixels, [shape[0], 3, side, side]), device);
    let images = {
        let tower = VisionTower::from_tensors(&vision, &formula::weights(&vision.tensors()), device).unwrap();
        tower.forward(pixels).unwrap()
    };
    compare(&format!("{name}, image embeddings"), &values(images.clone()), &expected, bound);
    let logits = unit(images).matmul(unit(texts).transpose()).mul_scalar(2.5f32.exp());
    compare(&format!("{name}, logits"), &values(logits), &golden.f32("logits_per_image").1, bound);
}

#[test]
fn filled_tiny_clip_matches_pytorch_on_the_cpu() {
    check_filled("tiny", tiny_config(), &Device::flex(), 1e-4);
}

#[test]
fn filled_tiny_clip_matches_pytorch_on_wgpu() {
    match clip::device::pick("wgpu") {
        Ok(picked) => check_filled("tiny", tiny_config(), &picked.device, 1e-4),
        Err(_) => println!("skipped: no graphics adapter"),
    }
}

#[test]
fn vit_b_32_matches_pytorch_on_the_cpu() {
    check_filled("vit_b_32", Default::default(), &Device::flex(), 1e-4);
}

/// Shapes of OpenAI's models, as in `openai_config` of `tools/parity/goldens.py`.
fn openai_config(patch: usize, side: usize, width: usize, layers: usize, text: usize) -> (TextConfig, VisionConfig) {
    let texts = TextConfig {
        hidden_size: text,
        intermediate_size: 4 * text,
        num_attention_heads: text / 64,
        projection_dim: text,
        ..Default::default()
    };
    let images = VisionConfig {
        hidden_size: width,
        intermediate_size: 4 * width,
        num_hidden_layers: layers,
        num_attention_heads: width / 64,
        image_size: side,
        patch_size: patch,
        projection_dim: text,
        ..Default::default()
    };
    (texts, images)
}

#[test]
#[ignore = "150 M weights"]
fn vit_b_16_matches_pytorch_on_the_cpu() {
    check_filled("vit_b_16", openai_config(16, 224, 768, 12, 512), &Device::flex(), 1e-4);
}

#[test]
#[ignore = "428 M weights"]
fn vit_l_14_matches_pytorch_on_the_cpu() {
    check_filled("vit_l_14", openai_config(14, 224, 1024, 24, 768), &Device::flex(), 1e-4);
}

#[test]
#[ignore = "428 M weights"]
fn vit_l_14_336_matches_pytorch_on_the_cpu() {
    check_filled("vit_l_14_336", openai_config(14, 336, 1024, 24, 768), &Device::flex(), 1e-4);
}

/// Compares the gradient of each parameter with PyTorch's.
struct Gradient<'a> {
    gradients: &'a Gradients,
    golden: &'a Golden,
    used: Vec<u32>,
    /// The largest difference, relative to the largest value of the parameter's gradient, and its parameter.
    worst: (f32, String),
    seen: usize,
}

impl Mapper for Gradient<'_> {
    fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
        let ours: Vec<f32> = tensor.grad(self.gradients).unwrap().into_data().try_to_vec().unwrap();
        let (shape, expected) = self.golden.f32(name);
        let ours = if name == TOKEN_EMBEDDING {
            let width = shape[1];
            let (mut kept, mut at) = (Vec::new(), self.used.iter().peekable());
            for (row, values) in ours.chunks(width).enumerate() {
                match at.next_if(|id| **id as usize == row) {
                    Some(_) => kept.extend_from_slice(values),
                    None => assert!(values.iter().all(|value| *value == 0.0), "row {row} is not used"),
                }
            }
            kept
        } else {
            assert_eq!(shape, tensor.dims(), "{name}");
            ours
        };
        let scale = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        // The bias of the keys shifts all scores of a query equally and changes nothing: its gradient is zero.
        let zero = name.ends_with("k_proj.bias");
        assert!(if zero { scale < 1e-6 } else { scale > 1e-3 }, "{name}: {scale}");
        let off = largest_difference(&ours, &expected) / if zero { 1.0 } else { scale };
        if off > self.worst.0 {
            self.worst = (off, name.to_owned());
        }
        self.seen += 1;
        tensor
    }
}

fn check_gradients(device: &Device, bound: f32) {
    let (text, _) = tiny_config();
    let golden = Golden::open(data("tiny_gradients.safetensors"));
    let ids = Golden::open(data("tiny.safetensors")).ids();
    let tower = TextTower::from_tensors(&text, &formula::weights(&text.tensors()), device).unwrap().trainable();
    let used: BTreeSet<u32> =
        ids.chunks(77).flat_map(|row| &row[..=row.iter().position(|id| *id == 49407).unwrap()]).copied().collect();
    for layout in [Layout::Padded, Layout::Packed, Layout::Tree] {
        let features = tower.forward(&ids, &vec![77; ids.len() / 77], layout).unwrap();
        let shape = features.dims();
        let cotangent = formula::unit("cotangent", shape[0] * shape[1], 1.0);
        let cotangent = Tensor::<2>::from_data(TensorData::new(cotangent, shape), device);
        let gradients = (features * cotangent.autodiff()).sum().backward();
        let used = used.iter().copied().collect();
        let mut read = Gradient { gradients: &gradients, golden: &golden, used, worst: (0.0, String::new()), seen: 0 };
        tower.mapped(&mut read);
        assert_eq!(read.seen, golden.names().len());
        let (off, name) = read.worst;
        println!(
            "text tower gradients, {layout:?}: largest difference {off:.2e} of the gradient's largest value, {name}"
        );
        assert!(off <= bound, "{name}: {off} > {bound}");
    }
}

#[test]
fn gradients_of_the_text_tower_match_pytorch_on_the_cpu() {
    check_gradients(&Device::flex(), 1e-5);
}

#[test]
fn gradients_of_the_text_tower_match_pytorch_on_wgpu() {
    match clip::device::pick("wgpu") {
        Ok(picked) => check_gradients(&picked.device, 2e-5),
        Err(_) => println!("skipped: no graphics adapter"),
    }
}

/// Sizes of OpenAI's four models from their configs, and the number of weights that they imply.
#[test]
fn configs_of_the_known_models_give_their_number_of_weights() {
    for (vision, text, heads, projection, weights) in [
        // layers, width, patch, side; width
        ((12, 768, 32, 224), 512, 8, 512, 151_277_312u64),
        ((12, 768, 16, 224), 512, 8, 512, 149_620_736),
        ((24, 1024, 14, 224), 768, 12, 768, 427_616_512),
        ((24, 1024, 14, 336), 768, 12, 768, 427_944_192),
    ] {
        let (layers, width, patch, side) = vision;
        let json = serde_json::json!({
            "model_type": "clip", "projection_dim": projection,
            "text_config": {
                "hidden_size": text, "intermediate_size": 4 * text, "num_attention_heads": heads, "eos_token_id": 2,
            },
            "vision_config": {
                "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers,
                "num_attention_heads": width / 64, "patch_size": patch, "image_size": side,
            },
        });
        let config = ClipConfig::parse("config.json".as_ref(), &json.to_string()).unwrap();
        let count: u64 = config.tensors().iter().map(|(_, shape)| shape.iter().product::<usize>() as u64).sum();
        assert_eq!(count, weights, "{vision:?}");
    }
}
