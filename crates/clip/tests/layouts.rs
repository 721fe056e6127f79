//! All layouts give the same features and the same gradients.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use burn::tensor::{Device, Gradients, Tensor};
use clip::config::Activation;
use clip::text::TokenRows;
use clip::{ClipConfig, Layout, Mapper, Params, TextConfig, TextTower, init};
use common::largest_difference;

fn tower(device: &Device, activation: Activation) -> TextTower {
    let config = TextConfig {
        vocab_size: 60,
        hidden_size: 32,
        intermediate_size: 64,
        projection_dim: 16,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        max_position_embeddings: 20,
        hidden_act: activation,
        eos_token_id: 59,
        ..Default::default()
    };
    let config = ClipConfig { text: Some(config), vision: None };
    let tensors = init::random(&config, 3);
    TextTower::from_tensors(config.text.as_ref().unwrap(), &tensors, device).unwrap().trainable()
}

/// Texts of different lengths; some begin alike, two are the same.
fn texts() -> (Vec<u32>, Vec<usize>) {
    let lens = vec![4, 12, 2, 20, 7, 7, 12, 9];
    let mut ids = Vec::new();
    for (i, len) in lens.iter().enumerate() {
        // Text 3 begins like text 1 and text 5 equals text 4. Text 6 departs from 1 and 3 later, text 7 from
        // 1, 3 and 6 earlier.
        let word = |j: usize| match (i, j) {
            (3, ..10) | (6, ..8) | (7, ..3) => 13 + j * 7,
            (5, _) => 4 * 13 + j * 7,
            _ => i * 13 + j * 7,
        };
        ids.extend((1..*len).map(|j| (word(j) % 58) as u32));
        ids.push(59);
    }
    (ids, lens)
}

const LAYOUTS: [Layout; 3] = [Layout::Padded, Layout::Packed, Layout::Tree];

type Named = BTreeMap<String, Vec<f32>>;

struct Read<'a>(&'a Gradients, Named);

impl Mapper for Read<'_> {
    fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
        let grad = tensor.grad(self.0).unwrap_or_else(|| panic!("{name} has no gradient"));
        self.1.insert(name.to_owned(), grad.into_data().try_to_vec().unwrap());
        tensor
    }
}

/// The features, and the gradient of each parameter for a loss in which each feature has a
/// different weight.
fn outcome(tower: &TextTower, ids: &[u32], lens: &[usize], layout: Layout) -> Named {
    let features = tower.forward(ids, lens, layout).unwrap();
    let [texts, width] = features.dims();
    let weights: Vec<f32> = (0..texts * width).map(|i| (i as f32 * 0.7).sin()).collect();
    let weights = Tensor::<1>::from_data(weights.as_slice(), &features.device());
    let grads = (features.clone() * weights.reshape([texts, width])).sum().backward();
    let mut read = Read(&grads, Named::new());
    tower.mapped(&mut read);
    let mut named = read.1;
    named.insert("features".into(), features.into_data().try_to_vec().unwrap());
    named
}

fn compare(ours: &Named, theirs: &Named, bound: f32) {
    assert_eq!(ours.len(), theirs.len());
    let mut worst = (0.0, "");
    for (name, ours) in ours {
        let theirs = &theirs[name];
        let scale = theirs.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        assert!(scale > 0.0 || name.ends_with("k_proj.bias"), "{name} is all zero");
        let largest = largest_difference(ours, theirs) / (1.0 + scale);
        if largest > worst.0 {
            worst = (largest, name);
        }
    }
    println!("largest difference {:.1e}, {}", worst.0, worst.1);
    assert!(worst.0 < bound, "{worst:?}");
}

fn check(device: &Device) {
    let (ids, lens) = texts();
    for activation in [Activation::QuickGelu, Activation::Gelu] {
        let tower = tower(device, activation);
        assert_eq!(tower.names().len(), tower.config().tensors().len());
        let [padded, packed, tree] = LAYOUTS.map(|layout| outcome(&tower, &ids, &lens, layout));
        compare(&packed, &padded, 1e-5);
        compare(&tree, &padded, 1e-5);
    }
}

#[test]
fn all_layouts_agree_on_the_cpu() {
    check(&Device::flex());
}

#[test]
fn all_layouts_agree_on_wgpu_and_with_the_cpu() {
    let Ok(clip::device::Picked { device, description: name, .. }) = clip::device::pick("wgpu") else {
        println!("skipped: no graphics adapter");
        return;
    };
    println!("{name}");
    check(&device);
    let (ids, lens) = texts();
    for layout in LAYOUTS {
        let [there, here] = [device.clone(), Device::flex()]
            .map(|device| outcome(&tower(&device, Activation::QuickGelu), &ids, &lens, layout));
        compare(&there, &here, 1e-5);
    }
}

#[test]
fn a_tree_computes_what_is_common_once() {
    let tower = tower(&Device::flex(), Activation::QuickGelu);
    let (ids, lens) = texts();
    let rows = LAYOUTS.map(|layout| tower.rows(&ids, &lens, layout).unwrap());
    // Rows shared with the text before: 9 of 3 with 1, 7 of 5 with 4, 7 of 6, 2 of 7.
    assert_eq!(rows, [20 * 8, 73, 73 - 9 - 7 - 7 - 2]);
}

#[test]
fn texts_do_not_see_each_other_or_what_follows_their_end() {
    let tower = tower(&Device::flex(), Activation::QuickGelu).frozen();
    let features = |ids: &[u32], lens: &[usize], layout| -> Vec<f32> {
        tower.forward(ids, lens, layout).unwrap().into_data().try_to_vec().unwrap()
    };
    for layout in LAYOUTS {
        let (ids, lens) = texts();
        let together = features(&ids, &lens, layout);
        let mut start = 0;
        for (i, len) in lens.iter().enumerate() {
            let mut text = ids[start..start + len].to_vec();
            text.extend([59, 3, 59]);
            let alone = features(&text, &[text.len()], layout);
            assert!(largest_difference(&alone, &together[i * 16..][..16]) < 1e-5);
            start += len;
        }
    }
}

#[test]
fn rows_of_the_token_embedding_stand_for_all_of_it() {
    let device = Device::flex();
    let tower = tower(&device, Activation::QuickGelu);
    let (ids, lens) = texts();
    let whole = outcome(&tower, &ids, &lens, Layout::Packed);

    let mut known = ids.clone();
    known.sort_unstable();
    known.dedup();
    let values = &tower.tensors()[clip::text::TOKEN_EMBEDDING].1;
    let rows: Vec<f32> = known.iter().flat_map(|id| &values[*id as usize * 32..][..32]).copied().collect();
    let rows = Tensor::<1>::from_data(rows.as_slice(), &device).reshape([known.len(), 32]);
    let mut tokens = TokenRows { ids: known, rows: rows.autodiff().require_grad() };
    let features = tower.forward_rows(&tokens, &ids, &lens, Layout::Packed).unwrap();
    let values: Vec<f32> = features.clone().inner().into_data().try_to_vec().unwrap();
    assert_eq!(values, whole["features"]);

    let weights: Vec<f32> = (0..values.len()).map(|i| (i as f32 * 0.7).sin()).collect();
    let weights = Tensor::<1>::from_data(weights.as_slice(), &features.device());
    let grads = (features.clone() * weights.reshape(features.dims())).sum().backward();
    let grad: Vec<f32> = tokens.rows.grad(&grads).unwrap().into_data().try_to_vec().unwrap();
    let all = &whole[clip::text::TOKEN_EMBEDDING];
    for (i, id) in tokens.ids.iter().enumerate() {
        assert_eq!(grad[i * 32..][..32], all[*id as usize * 32..][..32]);
    }

    tokens.ids[0] = 58;
    tokens.ids.sort_unstable();
    let missing = tower.forward_rows(&tokens, &ids, &lens, Layout::Packed).unwrap_err();
    assert!(missing.to_string().contains("not among the given rows"), "{missing}");
}
