//! Towers that multiply in f16 give nearly the same results as those in f32.
#![allow(clippy::unwrap_used)]

mod common;

use burn::tensor::{DType, Tensor, TensorData};
use clip::{ClipConfig, Layout, Params, TextConfig, TextTower, VisionConfig, VisionTower, device, in_products, init};
use common::largest_difference;

fn config() -> ClipConfig {
    let text = TextConfig {
        vocab_size: 60,
        hidden_size: 64,
        intermediate_size: 128,
        projection_dim: 32,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        max_position_embeddings: 20,
        eos_token_id: 59,
        ..Default::default()
    };
    let vision = VisionConfig {
        hidden_size: 64,
        intermediate_size: 128,
        projection_dim: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        image_size: 32,
        patch_size: 8,
        ..Default::default()
    };
    ClipConfig { text: Some(text), vision: Some(vision) }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().unwrap()
}

/// The largest difference, as a share of the largest value.
fn off(ours: &[f32], theirs: &[f32]) -> f32 {
    largest_difference(ours, theirs) / theirs.iter().fold(0.0f32, |largest, value| largest.max(value.abs()))
}

#[test]
fn matrices_are_those_that_activations_meet() {
    let named = |name: &str, rank| in_products(name, rank);
    assert!(named("text_model.encoder.layers.0.self_attn.q_proj.weight", 2) && named("text_projection.weight", 2));
    assert!(named("vision_model.embeddings.patch_embedding.weight", 4));
    assert!(!named("text_model.embeddings.token_embedding.weight", 2));
    assert!(!named("vision_model.embeddings.position_embedding.weight", 2));
    assert!(!named("text_model.encoder.layers.0.mlp.fc1.bias", 1));
}

#[test]
fn the_cpu_says_that_it_multiplies_in_f32() {
    let message = device::half(&device::pick("cpu").unwrap()).unwrap_err().to_string();
    assert!(message.contains("precision = \"f32\"") && message.contains("cpu"), "{message}");
}

#[test]
fn features_and_gradients_are_near_those_in_f32() {
    let Ok(picked) = device::pick("wgpu") else {
        println!("skipped: no graphics adapter");
        return;
    };
    if let Err(error) = device::half(&picked) {
        println!("skipped: {error}");
        return;
    }
    let (gpu, description) = (picked.device, picked.description);
    let config = config();
    let tensors = init::random(&config, 3);
    let vision = VisionTower::from_tensors(config.vision.as_ref().unwrap(), &tensors, &gpu).unwrap();
    let pixels: Vec<f32> = (0..2 * 3 * 32 * 32).map(|i| (i as f32 * 0.37).sin()).collect();
    let pixels = || Tensor::<4>::from_data(TensorData::new(pixels.clone(), [2, 3, 32, 32]), &gpu);
    let [whole, half] = [vision.clone(), vision.half()].map(|tower| values(tower.forward(pixels()).unwrap()));
    println!("{description}: image features in f16 are off by {:.1e}", off(&half, &whole));
    assert!(off(&half, &whole) < 5e-3 && half != whole);

    let text = TextTower::from_tensors(config.text.as_ref().unwrap(), &tensors, &gpu).unwrap();
    let lens = [4usize, 12, 7];
    let text_ids = |(i, len): (usize, &usize)| -> Vec<u32> {
        (1..*len).map(move |j| ((i * 13 + j * 7) % 58) as u32).chain([59]).collect()
    };
    let ids: Vec<u32> = lens.iter().enumerate().flat_map(text_ids).collect();
    let outcome = |tower: TextTower| {
        let tower = tower.trainable();
        let features = tower.forward(&ids, &lens, Layout::Tree).unwrap();
        let gradients = features.clone().powi_scalar(2).mean().backward();
        struct Read(burn::tensor::Gradients, Vec<(String, Vec<f32>, DType)>);
        impl clip::Mapper for Read {
            fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
                self.1.push((name.to_owned(), values(tensor.grad(&self.0).unwrap()), tensor.dtype()));
                tensor
            }
        }
        let mut read = Read(gradients, Vec::new());
        tower.mapped(&mut read);
        (values(features), read.1)
    };
    let (whole, expected) = outcome(text.clone());
    let (half, found) = outcome(text.half());
    println!("text features in f16 are off by {:.1e}", off(&half, &whole));
    assert!(off(&half, &whole) < 5e-3 && half != whole);
    let mut worst = (0.0, "");
    for ((name, found, dtype), (_, expected, _)) in found.iter().zip(&expected) {
        let rank = if name.ends_with("weight") && !name.contains("norm") { 2 } else { 1 };
        assert_eq!(*dtype == DType::F16, in_products(name, rank), "{name}");
        // The gradient of the keys' bias is nothing but rounding.
        if !name.ends_with("k_proj.bias") && off(found, expected) > worst.0 {
            worst = (off(found, expected), name);
        }
    }
    println!("its gradients by at most {:.1e}, {}", worst.0, worst.1);
    assert!(worst.0 < 2e-2, "{worst:?}");
}
