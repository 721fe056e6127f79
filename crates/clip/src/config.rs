//! `config.json` of Hugging Face CLIP checkpoints.
//!
//! Keys that are absent take the defaults of transformers' `CLIPTextConfig` and
//! `CLIPVisionConfig`, because `save_pretrained` may omit defaults.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;

/// The activation between the two linear layers of an MLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x * sigmoid(1.702 x)`, OpenAI's CLIP.
    #[default]
    QuickGelu,
    /// `x * Phi(x)` with the error function, most open_clip models.
    Gelu,
}

/// Shape of the text tower.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TextConfig {
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width W of the tower.
    pub hidden_size: usize,
    /// Width of the MLP's hidden layer.
    pub intermediate_size: usize,
    /// Width D of the space shared with the images.
    pub projection_dim: usize,
    /// Number of transformer blocks.
    pub num_hidden_layers: usize,
    /// Attention heads; must divide `hidden_size`.
    pub num_attention_heads: usize,
    /// The most tokens a text may have, start and end tokens included.
    pub max_position_embeddings: usize,
    /// The MLP's activation.
    pub hidden_act: Activation,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f64,
    /// Id of the end-of-text token; a text is read at its first occurrence. Old configs have 2 here by
    /// mistake, which means "the largest id".
    pub eos_token_id: u32,
    /// True if the tower ends in a projection. Without one (`CLIPTextModel`) its features are the
    /// normed hidden states, and `projection_dim` is `hidden_size`.
    #[serde(skip)]
    pub projected: bool,
}

impl Default for TextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 49408,
            hidden_size: 512,
            intermediate_size: 2048,
            projection_dim: 512,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
            eos_token_id: 49407,
            projected: true,
        }
    }
}

/// Shape of the image tower (a ViT).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VisionConfig {
    /// Width W of the tower.
    pub hidden_size: usize,
    /// Width of the MLP's hidden layer.
    pub intermediate_size: usize,
    /// Width D of the space shared with the texts.
    pub projection_dim: usize,
    /// Number of transformer blocks.
    pub num_hidden_layers: usize,
    /// Attention heads; must divide `hidden_size`.
    pub num_attention_heads: usize,
    /// Colour channels; 3.
    pub num_channels: usize,
    /// Side of the square input, in pixels.
    pub image_size: usize,
    /// Side of a patch, in pixels; must divide `image_size`.
    pub patch_size: usize,
    /// The MLP's activation.
    pub hidden_act: Activation,
    /// Added to the variance in layer norms.
    pub layer_norm_eps: f64,
    /// True if the tower ends in a projection. Without one (`CLIPVisionModel`) its features are
    /// the normed hidden states, and `projection_dim` is `hidden_size`.
    #[serde(skip)]
    pub projected: bool,
}

impl Default for VisionConfig {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            projection_dim: 512,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: Activation::QuickGelu,
            layer_norm_eps: 1e-5,
            projected: true,
        }
    }
}

const TEXT_PROJECTION: &str = "text_projection.weight";
const VISUAL_PROJECTION: &str = "visual_projection.weight";

/// A tensor's name in the checkpoint and its shape.
pub type Spec = (String, Vec<usize>);

impl TextConfig {
    /// The tower's tensors, in the order of the forward pass.
    pub fn tensors(&self) -> Vec<Spec> {
        let (w, t) = (self.hidden_size, "text_model");
        let mut specs = vec![
            (format!("{t}.embeddings.token_embedding.weight"), vec![self.vocab_size, w]),
            (format!("{t}.embeddings.position_embedding.weight"), vec![self.max_position_embeddings, w]),
        ];
        blocks(t, self.num_hidden_layers, w, self.intermediate_size, &mut specs);
        norm(&format!("{t}.final_layer_norm"), w, &mut specs);
        if self.projected {
            specs.push((TEXT_PROJECTION.into(), vec![self.projection_dim, w]));
        }
        specs
    }

    fn check(&self) -> Result<(), String> {
        in_range(&[
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("projection_dim", self.projection_dim),
            ("max_position_embeddings", self.max_position_embeddings),
        ])?;
        // A config without this key gets the default, which need not fit its vocabulary.
        let said = self.eos_token_id != Self::default().eos_token_id;
        if said && self.eos_token_id as usize >= self.vocab_size {
            return Err(format!("eos_token_id {} is not below vocab_size {}", self.eos_token_id, self.vocab_size));
        }
        layers_and_heads(self.num_hidden_layers, self.hidden_size, self.num_attention_heads)
    }
}

impl VisionConfig {
    /// Patches along one side of the image.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }

    /// The tower's tensors, in the order of the forward pass.
    pub fn tensors(&self) -> Vec<Spec> {
        let (w, p, v) = (self.hidden_size, self.patch_size, "vision_model");
        let mut specs = vec![
            (format!("{v}.embeddings.class_embedding"), vec![w]),
            (format!("{v}.embeddings.patch_embedding.weight"), vec![w, self.num_channels, p, p]),
            (format!("{v}.embeddings.position_embedding.weight"), vec![self.grid() * self.grid() + 1, w]),
        ];
        // The misspelling is the checkpoint's.
        norm(&format!("{v}.pre_layrnorm"), w, &mut specs);
        blocks(v, self.num_hidden_layers, w, self.intermediate_size, &mut specs);
        norm(&format!("{v}.post_layernorm"), w, &mut specs);
        if self.projected {
            specs.push((VISUAL_PROJECTION.into(), vec![self.projection_dim, w]));
        }
        specs
    }

    fn check(&self) -> Result<(), String> {
        in_range(&[
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("projection_dim", self.projection_dim),
            ("num_channels", self.num_channels),
            ("patch_size", self.patch_size),
            ("image_size", self.image_size),
        ])?;
        layers_and_heads(self.num_hidden_layers, self.hidden_size, self.num_attention_heads)?;
        if !self.image_size.is_multiple_of(self.patch_size) {
            return Err(format!("image_size {} is not a multiple of patch_size {}", self.image_size, self.patch_size));
        }
        Ok(())
    }
}

fn blocks(tower: &str, layers: usize, w: usize, middle: usize, specs: &mut Vec<Spec>) {
    for i in 0..layers {
        let block = format!("{tower}.encoder.layers.{i}");
        norm(&format!("{block}.layer_norm1"), w, specs);
        for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            linear(&format!("{block}.self_attn.{part}"), w, w, specs);
        }
        norm(&format!("{block}.layer_norm2"), w, specs);
        linear(&format!("{block}.mlp.fc1"), middle, w, specs);
        linear(&format!("{block}.mlp.fc2"), w, middle, specs);
    }
}

fn norm(name: &str, w: usize, specs: &mut Vec<Spec>) {
    specs.push((format!("{name}.weight"), vec![w]));
    specs.push((format!("{name}.bias"), vec![w]));
}

fn linear(name: &str, output: usize, input: usize, specs: &mut Vec<Spec>) {
    specs.push((format!("{name}.weight"), vec![output, input]));
    specs.push((format!("{name}.bias"), vec![output]));
}

fn layers_and_heads(layers: usize, width: usize, heads: usize) -> Result<(), String> {
    if layers > 1000 {
        return Err(format!("num_hidden_layers {layers} is more than 1000"));
    }
    if heads == 0 || !width.is_multiple_of(heads) {
        return Err(format!("num_attention_heads {heads} does not divide hidden_size {width}"));
    }
    Ok(())
}

/// Bounds each size, so that products of two sizes, and the memory for them, stay within reason.
fn in_range(fields: &[(&str, usize)]) -> Result<(), String> {
    match fields.iter().find(|(_, value)| !(1..=1 << 20).contains(value)) {
        Some((key, value)) => Err(format!("{key} is {value}; it must be in 1..={}", 1 << 20)),
        None => Ok(()),
    }
}

/// The towers that a checkpoint holds.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ClipConfig {
    /// The text tower, if the checkpoint has one.
    pub text: Option<TextConfig>,
    /// The image tower, if the checkpoint has one.
    pub vision: Option<VisionConfig>,
}

impl ClipConfig {
    /// Every tensor that the towers need.
    pub fn tensors(&self) -> Vec<Spec> {
        let text = self.text.iter().flat_map(TextConfig::tensors);
        text.chain(self.vision.iter().flat_map(VisionConfig::tensors)).collect()
    }

    /// Reads the text of a Hugging Face `config.json`: `CLIPModel` (two nested configs),
    /// `CLIPTextModel`, `CLIPVisionModel` or one of these `WithProjection` (flat).
    ///
    /// # Errors
    /// [`Error::Config`] if the text is not such a config or a value cannot be used, naming the key.
    pub fn parse(path: &Path, json: &str) -> Result<Self, Error> {
        let fail = |message: String| Error::Config { path: path.to_owned(), message };
        let root: Value = serde_json::from_str(json).map_err(|e| fail(e.to_string()))?;
        let model_type = root.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let mut config = Self::default();
        match model_type {
            "clip" => {
                let mut text: TextConfig = nested(&root, "text_config").map_err(fail)?;
                let mut vision: VisionConfig = nested(&root, "vision_config").map_err(fail)?;
                // CLIPModel builds both projections from its own key, not from the towers'.
                let shared = root.get("projection_dim").and_then(Value::as_u64).unwrap_or(512);
                text.projection_dim = shared as usize;
                vision.projection_dim = shared as usize;
                config = Self { text: Some(text), vision: Some(vision) };
            }
            "clip_text_model" => {
                let text: TextConfig = read(&root, "").map_err(fail)?;
                config.text = Some(TextConfig { projected: names_projection(&root), ..text });
            }
            "clip_vision_model" => {
                let vision: VisionConfig = read(&root, "").map_err(fail)?;
                config.vision = Some(VisionConfig { projected: names_projection(&root), ..vision });
            }
            other => {
                let found = if other.is_empty() { "missing".to_owned() } else { format!("{other:?}") };
                return Err(fail(format!(
                    "model_type is {found}; use \"clip\", \"clip_text_model\" or \
                     \"clip_vision_model\""
                )));
            }
        }
        config.check().map_err(fail)?;
        Ok(config)
    }

    /// Decides whether a tower that was saved alone ends in a projection: it does if the config names a
    /// class that has one, or if the weights hold one.
    pub(crate) fn settle_projections(&mut self, has: impl Fn(&str) -> bool) {
        if let Some(text) = &mut self.text {
            text.projected |= has(TEXT_PROJECTION);
            text.projection_dim = if text.projected { text.projection_dim } else { text.hidden_size };
        }
        if let Some(vision) = &mut self.vision {
            vision.projected |= has(VISUAL_PROJECTION);
            vision.projection_dim = if vision.projected { vision.projection_dim } else { vision.hidden_size };
        }
    }

    /// Checks that the sizes fit together.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Some(text) = &self.text {
            text.check().map_err(|message| format!("text tower: {message}"))?;
        }
        if let Some(vision) = &self.vision {
            vision.check().map_err(|message| format!("image tower: {message}"))?;
        }
        Ok(())
    }

    /// The `config.json` of a checkpoint with these towers, as transformers reads it.
    pub fn to_json(&self) -> Value {
        let typed = |config: Value, model_type: &str, architecture: Option<&str>| {
            let mut config = config;
            config["model_type"] = model_type.into();
            if let Some(name) = architecture {
                config["architectures"] = serde_json::json!([name]);
            }
            config
        };
        match (&self.text, &self.vision) {
            (Some(text), None) => {
                let class = if text.projected { "CLIPTextModelWithProjection" } else { "CLIPTextModel" };
                typed(serde_json::json!(text), "clip_text_model", Some(class))
            }
            (None, Some(vision)) => {
                let class = if vision.projected { "CLIPVisionModelWithProjection" } else { "CLIPVisionModel" };
                typed(serde_json::json!(vision), "clip_vision_model", Some(class))
            }
            (text, vision) => {
                let (text, vision) = (text.clone().unwrap_or_default(), vision.clone().unwrap_or_default());
                serde_json::json!({
                    "architectures": ["CLIPModel"],
                    "model_type": "clip",
                    "projection_dim": text.projection_dim,
                    "text_config": typed(serde_json::json!(text), "clip_text_model", None),
                    "vision_config": typed(serde_json::json!(vision), "clip_vision_model", None),
                })
            }
        }
    }
}

/// True if the config names a class that has a projection.
fn names_projection(root: &Value) -> bool {
    let names = root["architectures"].as_array().into_iter().flatten();
    names.filter_map(Value::as_str).any(|name| name.ends_with("WithProjection"))
}

/// Reads a nested config. `text_config_dict` and `vision_config_dict` are older spellings that win
/// where they are given, as in transformers.
fn nested<T: for<'de> Deserialize<'de> + Default>(root: &Value, key: &str) -> Result<T, String> {
    let old = format!("{key}_dict");
    for key in [old.as_str(), key] {
        match root.get(key) {
            None | Some(Value::Null) => {}
            Some(value) => return read(value, key),
        }
    }
    Ok(T::default())
}

fn read<T: for<'de> Deserialize<'de>>(value: &Value, key: &str) -> Result<T, String> {
    T::deserialize(value).map_err(|e| if key.is_empty() { e.to_string() } else { format!("{key}: {e}") })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(json: &str) -> Result<ClipConfig, Error> {
        ClipConfig::parse(Path::new("config.json"), json)
    }

    #[test]
    fn absent_keys_are_vit_b_32() {
        let config = parse(r#"{"model_type": "clip"}"#).unwrap();
        assert_eq!(config.text, Some(TextConfig::default()));
        assert_eq!(config.vision, Some(VisionConfig::default()));
    }

    #[test]
    fn the_model_decides_the_projection() {
        let json = r#"{"model_type": "clip", "projection_dim": 768, "text_config": {"hidden_size": 768,
            "num_attention_heads": 12, "projection_dim": 5, "eos_token_id": 2}, "text_config_dict": null}"#;
        let text = parse(json).unwrap().text.unwrap();
        assert_eq!((text.projection_dim, text.hidden_size, text.eos_token_id), (768, 768, 2));
    }

    #[test]
    fn faults_name_the_key() {
        for (json, part) in [
            (r#"{"model_type": "bert"}"#, "model_type is \"bert\""),
            (r#"{"model_type": "clip", "text_config": {"hidden_size": "wide"}}"#, "text_config: "),
            (r#"{"model_type": "clip_text_model", "num_attention_heads": 7}"#, "does not divide"),
            (r#"{"model_type": "clip_text_model", "vocab_size": 0}"#, "vocab_size is 0"),
            (r#"{"model_type": "clip_vision_model", "patch_size": 15}"#, "not a multiple"),
            (r#"{"model_type": "clip_text_model", "hidden_act": "relu"}"#, "relu"),
            ("{", "EOF"),
        ] {
            let message = parse(json).unwrap_err().to_string();
            assert!(message.starts_with("config.json: ") && message.contains(part), "{message}");
        }
    }

    #[test]
    fn written_configs_read_back() {
        let text = TextConfig { hidden_size: 64, num_attention_heads: 4, ..Default::default() };
        let vision = VisionConfig { patch_size: 16, ..Default::default() };
        for config in [
            ClipConfig { text: Some(text.clone()), vision: None },
            ClipConfig { text: None, vision: Some(vision.clone()) },
            ClipConfig { text: Some(text), vision: Some(vision) },
        ] {
            assert_eq!(parse(&config.to_json().to_string()).unwrap(), config);
        }
    }
}
