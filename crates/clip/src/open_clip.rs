//! The layout of open_clip checkpoints: `open_clip_config.json` and other tensor names.
//!
//! Queries, keys and values are one tensor there, and the projections are transposed; otherwise
//! it is the same model under other names.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::config::{Activation, ClipConfig, TextConfig, VisionConfig};
use crate::error::Error;
use crate::files;

/// Where open_clip keeps one of our tensors.
#[derive(Debug, PartialEq)]
pub(crate) struct Location {
    /// The tensor's name in open_clip.
    pub name: String,
    /// Which third of the rows it is, if it shares the tensor with two others.
    pub third: Option<usize>,
    /// True if rows and columns are swapped.
    pub transposed: bool,
}

impl Location {
    pub(crate) fn same(name: &str) -> Self {
        Self { name: name.to_owned(), third: None, transposed: false }
    }
}

/// What the text tower's names begin with in a `CustomTextCLIP` (`"custom_text": true`).
pub(crate) const CUSTOM_TEXT: &str = "text.";

/// Finds the tensor with this Hugging Face name in an open_clip checkpoint. `text`: what the names of
/// the text tower begin with, nothing or [`CUSTOM_TEXT`].
pub(crate) fn locate(name: &str, text: &str) -> Location {
    let at = |name: String| Location { name, third: None, transposed: false };
    match name {
        "text_projection.weight" => {
            return Location { transposed: true, ..at(format!("{text}text_projection")) };
        }
        "visual_projection.weight" => {
            return Location { transposed: true, ..at("visual.proj".into()) };
        }
        _ => {}
    }
    let (prefix, rest) = match (name.strip_prefix("text_model."), name.strip_prefix("vision_model.")) {
        (Some(rest), _) => (text, rest),
        (_, Some(rest)) => ("visual.", rest),
        _ => return at(name.to_owned()),
    };
    let Some(block) = rest.strip_prefix("encoder.layers.") else {
        let rest = rest
            .replace("embeddings.token_embedding", "token_embedding")
            .replace("embeddings.position_embedding.weight", "positional_embedding")
            .replace("embeddings.class_embedding", "class_embedding")
            .replace("embeddings.patch_embedding", "conv1")
            .replace("final_layer_norm", "ln_final")
            .replace("pre_layrnorm", "ln_pre")
            .replace("post_layernorm", "ln_post");
        return at(format!("{prefix}{rest}"));
    };
    let block = block
        .replace("layer_norm", "ln_")
        .replace("self_attn", "attn")
        .replace("mlp.fc1", "mlp.c_fc")
        .replace("mlp.fc2", "mlp.c_proj");
    let mut location = at(format!("{prefix}transformer.resblocks.{block}"));
    for (third, part) in [".q_proj.", ".k_proj.", ".v_proj."].into_iter().enumerate() {
        if location.name.contains(part) {
            location.name = location.name.replace(part, ".in_proj_");
            location.third = Some(third);
        }
    }
    location
}

/// An image encoder of any kind, beside the config.
const ONNX: &str = "vision_model.onnx";

/// Reads the text of an `open_clip_config.json`. An image tower that is not computed here is none if
/// the folder of `path` has a `vision_model.onnx`, which computes it.
///
/// # Errors
/// [`Error::Config`] for a model that is not a CLIP of two plain transformers. A setting that this
/// crate does not know is refused, unless it is off: it may change what the weights mean.
pub(crate) fn parse(path: &Path, json: &str) -> Result<ClipConfig, Error> {
    let beside = |name: &str| files::has(&path.with_file_name(name));
    let with_onnx = beside(ONNX)?;
    let with_tokenizer = beside("tokenizer.json")? || beside("vocab.json")?;
    let root = serde_json::from_str(json).map_err(|error| error.to_string());
    root.and_then(|root| read(root, with_onnx, with_tokenizer))
        .map_err(|message| Error::Config { path: path.to_owned(), message })
}

fn read(root: Value, with_onnx: bool, with_tokenizer: bool) -> Result<ClipConfig, String> {
    let mut model = Section::new("the file", root)?.section("model_cfg")?;
    let text = model.section("text_cfg")?;
    let vision = model.section("vision_cfg")?;
    let projection_dim = model.size("embed_dim", None)?;
    let hidden_act = match model.take("quick_gelu") {
        Value::Bool(true) => Activation::QuickGelu,
        _ => Activation::Gelu,
    };
    // Features depend neither on where training begins nor on the shape of the scale. Whether the text
    // tower has a prefix is seen in the weights.
    model.finish(&["init_logit_scale", "init_logit_bias", "nonscalar_logit_scale", "custom_text"])?;

    let text = text_config(text, projection_dim, hidden_act, with_tokenizer)?;
    let vision = match vision_config(vision, projection_dim, hidden_act) {
        Ok(vision) => Some(vision),
        Err(_) if with_onnx => None,
        Err(message) => {
            return Err(format!(
                "{message}. Image towers that are not plain ViTs are computed from {ONNX}: write one beside this file \
                 (torch.onnx.export of model.visual, with the input pixel_values and the output image_embeds)"
            ));
        }
    };
    let config = ClipConfig { text: Some(text), vision };
    config.check().map(|()| config)
}

fn text_config(
    mut text: Section,
    projection_dim: usize,
    hidden_act: Activation,
    with_tokenizer: bool,
) -> Result<TextConfig, String> {
    let width = text.size("width", Some(512))?;
    let texts = TextConfig {
        vocab_size: text.size("vocab_size", Some(49408))?,
        hidden_size: width,
        intermediate_size: text.middle(width)?,
        projection_dim,
        num_hidden_layers: text.size("layers", Some(12))?,
        num_attention_heads: text.size("heads", Some(8))?,
        max_position_embeddings: text.size("context_length", Some(77))?,
        hidden_act,
        layer_norm_eps: text.eps()?,
        // Texts are read at their largest id.
        eos_token_id: 2,
        projected: true,
    };
    text.only("pool_type", "argmax")?;
    text.only("proj_type", "linear")?;
    if let Value::String(name) = text.take("hf_tokenizer_name")
        && !name.is_empty()
        && !with_tokenizer
    {
        return Err(format!(
            "text_cfg.hf_tokenizer_name is {name:?}, and there is no tokenizer.json beside this file; fetch it too"
        ));
    }
    // CLIP's cleaning of a text ("lower") is done here, and its vocabulary has no tokens beside.
    match text.take("tokenizer_kwargs") {
        Value::Object(given) if given.iter().all(|(key, value)| off(value) || (key == "clean" && value == "lower")) => {
        }
        Value::Null => {}
        other => return Err(format!("text_cfg.tokenizer_kwargs = {other} is not supported; it changes what is read")),
    }
    // For positions that nothing sees; and a norm of each position by itself is the same before and
    // after one is picked.
    text.finish(&["tokenizer_mode", "pad_id", "eos_id", "final_ln_after_pool"])?;
    Ok(texts)
}

fn vision_config(mut vision: Section, projection_dim: usize, hidden_act: Activation) -> Result<VisionConfig, String> {
    match (vision.take("timm_model_name"), vision.keys.get("layers")) {
        (Value::String(name), _) => return Err(format!("vision_cfg.timm_model_name is {name:?}, a model of timm")),
        (_, Some(Value::Array(layers))) => {
            return Err(format!("vision_cfg.layers is {}, a ResNet", Value::from(layers.clone())));
        }
        _ => {}
    }
    let width = vision.size("width", Some(768))?;
    let head_width = vision.size("head_width", Some(64))?.max(1);
    let images = VisionConfig {
        hidden_size: width,
        intermediate_size: vision.middle(width)?,
        projection_dim,
        num_hidden_layers: vision.size("layers", Some(12))?,
        num_attention_heads: width / head_width,
        num_channels: 3,
        image_size: vision.size("image_size", Some(224))?,
        patch_size: vision.size("patch_size", Some(16))?,
        hidden_act,
        layer_norm_eps: vision.eps()?,
        projected: true,
    };
    vision.only("pool_type", "tok")?;
    vision.only("pos_embed_type", "learnable")?;
    // Has a meaning in training only.
    vision.finish(&["patch_dropout", "final_ln_after_pool"])?;
    ClipConfig { text: None, vision: Some(images.clone()) }.check()?;
    Ok(images)
}

/// The `model_cfg` of these towers.
///
/// # Errors
/// A value that open_clip's config cannot express, by the name of its Hugging Face key.
pub(crate) fn model_config(text: &TextConfig, vision: &VisionConfig) -> Result<Value, String> {
    if text.projection_dim != vision.projection_dim || !text.projected || !vision.projected {
        return Err("open_clip requires two towers whose projections have the same width".into());
    }
    if text.hidden_act != vision.hidden_act {
        return Err("hidden_act differs between the towers, but open_clip has one for both".into());
    }
    // open_clip reads a text at its largest id.
    if text.eos_token_id != 2 && text.eos_token_id as usize + 1 != text.vocab_size {
        return Err(format!(
            "eos_token_id is {}, but open_clip reads a text at its largest id, {}",
            text.eos_token_id,
            text.vocab_size - 1
        ));
    }
    if vision.num_channels != 3 {
        return Err(format!("num_channels is {}, but open_clip requires 3", vision.num_channels));
    }
    let mut texts = json!({
        "context_length": text.max_position_embeddings, "vocab_size": text.vocab_size, "width": text.hidden_size,
        "heads": text.num_attention_heads, "layers": text.num_hidden_layers,
    });
    let mut images = json!({
        "image_size": vision.image_size, "layers": vision.num_hidden_layers, "width": vision.hidden_size,
        "head_width": vision.hidden_size / vision.num_attention_heads, "patch_size": vision.patch_size,
    });
    for (section, width, middle, eps) in [
        (&mut texts, text.hidden_size, text.intermediate_size, text.layer_norm_eps),
        (&mut images, vision.hidden_size, vision.intermediate_size, vision.layer_norm_eps),
    ] {
        if middle != 4 * width {
            // open_clip truncates the product; half a unit more keeps the result from being one too small.
            let exact = middle as f64 / width as f64;
            let ratio =
                if (width as f64 * exact) as usize == middle { exact } else { (middle as f64 + 0.5) / width as f64 };
            section["mlp_ratio"] = ratio.into();
        }
        if eps != 1e-5 {
            section["norm_kwargs"] = json!({ "eps": eps });
        }
    }
    Ok(json!({
        "embed_dim": text.projection_dim,
        "quick_gelu": text.hidden_act == Activation::QuickGelu,
        "vision_cfg": images,
        "text_cfg": texts,
    }))
}

/// Whether a setting that has this value changes nothing.
fn off(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(false)) || value == "" || value.as_f64() == Some(0.0)
}

/// A JSON object whose keys are taken one by one.
struct Section {
    name: &'static str,
    keys: Map<String, Value>,
}

impl Section {
    fn new(name: &'static str, value: Value) -> Result<Self, String> {
        match value {
            Value::Object(keys) => Ok(Self { name, keys }),
            Value::Null => Err(format!("{name} is missing")),
            _ => Err(format!("{name} is not a JSON object")),
        }
    }

    fn section(&mut self, name: &'static str) -> Result<Self, String> {
        Self::new(name, self.take(name))
    }

    fn take(&mut self, key: &str) -> Value {
        self.keys.remove(key).unwrap_or(Value::Null)
    }

    fn size(&mut self, key: &str, default: Option<usize>) -> Result<usize, String> {
        let found = self.take(key);
        match (&found, default) {
            (Value::Null, Some(default)) => Ok(default),
            _ => found
                .as_u64()
                .and_then(|size| usize::try_from(size).ok())
                .ok_or_else(|| format!("{}.{key} is {found}, not a size", self.name)),
        }
    }

    /// Width of the MLP's hidden layer.
    fn middle(&mut self, width: usize) -> Result<usize, String> {
        match self.take("mlp_ratio") {
            Value::Null => Ok(width.saturating_mul(4)),
            ratio => {
                let ratio =
                    ratio.as_f64().ok_or_else(|| format!("{}.mlp_ratio is {ratio}, not a number", self.name))?;
                // Truncated, as in open_clip.
                Ok((width as f64 * ratio) as usize)
            }
        }
    }

    /// The epsilon of the layer norms, which is added to the variance.
    fn eps(&mut self) -> Result<f64, String> {
        match self.take("norm_kwargs") {
            Value::Null => Ok(1e-5),
            Value::Object(norm) if norm.keys().all(|key| key == "eps") => {
                let eps = norm.get("eps").map_or(Some(1e-5), Value::as_f64);
                eps.ok_or_else(|| format!("{}.norm_kwargs.eps is not a number", self.name))
            }
            other => Err(format!("{}.norm_kwargs = {other} is not supported", self.name)),
        }
    }

    fn only(&mut self, key: &str, known: &str) -> Result<(), String> {
        match self.take(key) {
            Value::Null => Ok(()),
            value if value == known => Ok(()),
            value => Err(format!("{}.{key} is {value}; only {known:?} is known", self.name)),
        }
    }

    /// Refuses what is left, but for what is off or is to be ignored.
    fn finish(self, ignored: &[&str]) -> Result<(), String> {
        let mut left = self.keys.iter();
        match left.find(|(key, value)| !ignored.contains(&key.as_str()) && !off(value)) {
            Some((key, value)) => Err(format!("{}.{key} = {value} is not supported", self.name)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const B_32: &str = r#"{"model_cfg": {"embed_dim": 512, "quick_gelu": true,
        "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8,
                     "layers": 12, "EXTRA": 0}}, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5]}}"#;

    #[test]
    fn vit_b_32_is_the_default_of_hugging_face() {
        let config = parse(Path::new("c"), B_32).unwrap();
        let text = TextConfig { eos_token_id: 2, ..Default::default() };
        assert_eq!(config, ClipConfig { text: Some(text), vision: Some(VisionConfig::default()) });
        let gelu = parse(Path::new("c"), &B_32.replace("true", "false")).unwrap();
        assert_eq!(gelu.text.unwrap().hidden_act, Activation::Gelu);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (from, to, part) in [
            (r#""EXTRA": 0"#, r#""embed_cls": true"#, "text_cfg.embed_cls = true is not supported"),
            (r#""EXTRA": 0"#, r#""pool_type": "last""#, "only \"argmax\" is known"),
            (r#""layers": 12, "width""#, r#""layers": [3, 4], "width""#, "vision_cfg.layers is [3,4]"),
            (r#""embed_dim": 512,"#, "", "model_cfg.embed_dim is null"),
            ("text_cfg", "texts", "text_cfg is missing"),
            (r#""heads": 8"#, r#""heads": 7"#, "num_attention_heads 7 does not divide"),
        ] {
            let message = parse(Path::new("c"), &B_32.replace(from, to)).unwrap_err().to_string();
            assert!(message.starts_with("c: ") && message.contains(part), "{message}");
        }
        for whole in ["8", "[]", "\"model_cfg\""] {
            let message = parse(Path::new("c"), whole).unwrap_err().to_string();
            assert!(message.contains("the file is not a JSON object"), "{message}");
        }
    }

    #[test]
    fn tensors_have_other_names() {
        let name = |name: &str| {
            let Location { name, third, transposed } = locate(name, "");
            (name, third, transposed)
        };
        for (ours, theirs, third, transposed) in [
            ("logit_scale", "logit_scale", None, false),
            ("text_projection.weight", "text_projection", None, true),
            ("visual_projection.weight", "visual.proj", None, true),
            ("text_model.embeddings.token_embedding.weight", "token_embedding.weight", None, false),
            ("text_model.embeddings.position_embedding.weight", "positional_embedding", None, false),
            ("text_model.final_layer_norm.bias", "ln_final.bias", None, false),
            (
                "text_model.encoder.layers.11.self_attn.k_proj.bias",
                "transformer.resblocks.11.attn.in_proj_bias",
                Some(1),
                false,
            ),
            (
                "vision_model.encoder.layers.0.self_attn.out_proj.weight",
                "visual.transformer.resblocks.0.attn.out_proj.weight",
                None,
                false,
            ),
            (
                "vision_model.encoder.layers.3.layer_norm2.weight",
                "visual.transformer.resblocks.3.ln_2.weight",
                None,
                false,
            ),
            ("text_model.encoder.layers.3.mlp.fc2.weight", "transformer.resblocks.3.mlp.c_proj.weight", None, false),
            ("vision_model.embeddings.class_embedding", "visual.class_embedding", None, false),
            ("vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight", None, false),
            ("vision_model.pre_layrnorm.weight", "visual.ln_pre.weight", None, false),
            ("vision_model.post_layernorm.bias", "visual.ln_post.bias", None, false),
        ] {
            assert_eq!(name(ours), (theirs.to_owned(), third, transposed));
        }
    }
}
