//! A model small enough to be written out, in both layouts.

use std::fs;
use std::path::Path;

use clip::{ClipConfig, Tensors, TextConfig, VisionConfig};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;

pub fn small() -> ClipConfig {
    ClipConfig {
        text: Some(TextConfig {
            vocab_size: 50,
            hidden_size: 8,
            intermediate_size: 16,
            projection_dim: 4,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            ..Default::default()
        }),
        vision: Some(VisionConfig {
            hidden_size: 8,
            intermediate_size: 16,
            projection_dim: 4,
            num_hidden_layers: 1,
            num_attention_heads: 2,
            image_size: 16,
            patch_size: 8,
            ..Default::default()
        }),
    }
}

/// Its `open_clip_config.json`.
pub fn small_open_clip() -> Value {
    serde_json::json!({"model_cfg": {
        "embed_dim": 4,
        "quick_gelu": true,
        "vision_cfg": {
            "image_size": 16, "layers": 1, "width": 8, "head_width": 4, "patch_size": 8,
            "mlp_ratio": 2.0
        },
        "text_cfg": {
            "context_length": 77, "vocab_size": 50, "width": 8, "heads": 2, "layers": 2,
            "mlp_ratio": 2.0
        }
    }})
}

/// The weights as open_clip's `CLIP` names and cuts them.
pub fn as_open_clip(ours: &Tensors) -> Tensors {
    let mut theirs = Tensors::new();
    let mut copy = |name: String, from: &str| drop(theirs.insert(name, ours[from].clone()));
    copy("logit_scale".into(), "logit_scale");
    copy("token_embedding.weight".into(), "text_model.embeddings.token_embedding.weight");
    copy("positional_embedding".into(), "text_model.embeddings.position_embedding.weight");
    let vision = "vision_model.embeddings";
    copy("visual.class_embedding".into(), &format!("{vision}.class_embedding"));
    copy("visual.conv1.weight".into(), &format!("{vision}.patch_embedding.weight"));
    copy("visual.positional_embedding".into(), &format!("{vision}.position_embedding.weight"));
    for part in ["weight", "bias"] {
        copy(format!("ln_final.{part}"), &format!("text_model.final_layer_norm.{part}"));
        copy(format!("visual.ln_pre.{part}"), &format!("vision_model.pre_layrnorm.{part}"));
        copy(format!("visual.ln_post.{part}"), &format!("vision_model.post_layernorm.{part}"));
    }
    for (block, layer) in [
        ("transformer.resblocks.0", "text_model.encoder.layers.0"),
        ("transformer.resblocks.1", "text_model.encoder.layers.1"),
        ("visual.transformer.resblocks.0", "vision_model.encoder.layers.0"),
    ] {
        for part in ["weight", "bias"] {
            for (theirs, ours) in [
                ("ln_1", "layer_norm1"),
                ("ln_2", "layer_norm2"),
                ("attn.out_proj", "self_attn.out_proj"),
                ("mlp.c_fc", "mlp.fc1"),
                ("mlp.c_proj", "mlp.fc2"),
            ] {
                copy(format!("{block}.{theirs}.{part}"), &format!("{layer}.{ours}.{part}"));
            }
        }
    }
    for (block, layer) in [
        ("transformer.resblocks.0", "text_model.encoder.layers.0"),
        ("transformer.resblocks.1", "text_model.encoder.layers.1"),
        ("visual.transformer.resblocks.0", "vision_model.encoder.layers.0"),
    ] {
        for (part, shape) in [("weight", vec![24, 8]), ("bias", vec![24])] {
            let third = |name| ours[&format!("{layer}.self_attn.{name}.{part}")].1.clone();
            let values = [third("q_proj"), third("k_proj"), third("v_proj")].concat();
            theirs.insert(format!("{block}.attn.in_proj_{part}"), (shape, values));
        }
    }
    for (name, from) in [("text_projection", "text_projection.weight"), ("visual.proj", "visual_projection.weight")] {
        // [4, 8] to [8, 4].
        let values = &ours[from].1;
        let values = (0..32).map(|i| values[i % 4 * 8 + i / 4]).collect();
        theirs.insert(name.into(), (vec![8, 4], values));
    }
    theirs
}

/// Writes a file of weights in 32 bits.
pub fn write_weights(path: &Path, tensors: &Tensors) {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, v))| (name, shape, v.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes);
        (name.as_str(), view.unwrap())
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}
