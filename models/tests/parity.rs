//! Both towers against PyTorch on the same weights.
#![allow(clippy::unwrap_used)]

mod common;

use burn::tensor::{Device, Tensor, TensorData};
use clip::{Checkpoint, Layout, TextTower, VisionTower};
use common::{Golden, largest_difference, shared};

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
    let Ok((device, name)) = clip::device::pick("wgpu") else {
        println!("skipped: no graphics adapter");
        return;
    };
    println!("{name}");
    check(&case, &device, 1e-4);
}
