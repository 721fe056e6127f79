//! What is in a checkpoint folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clip::checkpoint::{Format, Tower};
use clip::{Checkpoint, Preprocess, Tokenizer};
use serde::Serialize;

/// The file that the stage `encode` takes for an image encoder in ONNX.
const ONNX: &str = "vision_model.onnx";

/// A checkpoint folder.
#[derive(Debug, Clone, Serialize)]
pub struct CheckpointInfo {
    pub path: PathBuf,
    /// Whose layout it has: that of a class of transformers, or open_clip's.
    pub layout: String,
    pub text: Option<TowerInfo>,
    pub vision: Option<TowerInfo>,
    /// Size of vision_model.onnx, if it is there.
    pub onnx_bytes: Option<u64>,
    /// Width and height that pictures are brought to, or why that is not known.
    pub picture: Result<(usize, usize), String>,
    /// Tokens of the tokenizer, or why there is none.
    pub vocabulary: Result<usize, String>,
}

/// One tower.
#[derive(Debug, Clone, Serialize)]
pub struct TowerInfo {
    pub width: usize,
    pub layers: usize,
    pub heads: usize,
    /// Width of the features.
    pub projection: usize,
    pub tensors: usize,
    pub parameters: u64,
    /// How the tensors are stored: `F16`, `F32`.
    pub dtypes: BTreeSet<String>,
    /// Digest of config and weights.
    pub fingerprint: String,
}

impl CheckpointInfo {
    /// Whether a folder looks like one.
    pub fn is_one(path: &Path) -> bool {
        ["config.json", "open_clip_config.json", "model.safetensors", "open_clip_model.safetensors"]
            .iter()
            .any(|name| path.join(name).is_file())
    }

    /// Opens a checkpoint, a folder or a file of weights, and checks its tensors.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn read(path: &Path) -> Result<Self> {
        let checkpoint = Checkpoint::open(path)?;
        let config = checkpoint.config();
        let tower = |which, specs: Vec<clip::config::Spec>, shape: [usize; 4]| TowerInfo {
            width: shape[0],
            layers: shape[1],
            heads: shape[2],
            projection: shape[3],
            tensors: specs.len(),
            parameters: specs.iter().map(|(_, shape)| shape.iter().map(|n| *n as u64).product::<u64>()).sum(),
            dtypes: specs.iter().filter_map(|(name, _)| checkpoint.dtype(name)).collect(),
            fingerprint: checkpoint.fingerprint(which),
        };
        let text = config.text.as_ref().map(|t| {
            let shape = [t.hidden_size, t.num_hidden_layers, t.num_attention_heads, t.projection_dim];
            tower(Tower::Text, t.tensors(), shape)
        });
        let vision = config.vision.as_ref().map(|v| {
            let shape = [v.hidden_size, v.num_hidden_layers, v.num_attention_heads, v.projection_dim];
            tower(Tower::Vision, v.tensors(), shape)
        });
        let image_size = config.vision.as_ref().map(|vision| vision.image_size as u32);
        // Of a file of weights, the folder that it lies in.
        let dir = checkpoint.dir();
        let picture = Preprocess::open(dir, image_size).map(|p| p.size()).map_err(|e| e.to_string());
        let vocabulary = Tokenizer::open(dir).map(|t| t.vocab_size()).map_err(|e| e.to_string());
        let projected = |is: bool| if is { "WithProjection" } else { "" };
        Ok(Self {
            path: path.to_owned(),
            layout: match checkpoint.format() {
                Format::HfClip => "Hugging Face CLIPModel".into(),
                Format::HfText => {
                    let is = config.text.as_ref().is_some_and(|tower| tower.projected);
                    format!("Hugging Face CLIPTextModel{}", projected(is))
                }
                Format::HfVision => {
                    let is = config.vision.as_ref().is_some_and(|tower| tower.projected);
                    format!("Hugging Face CLIPVisionModel{}", projected(is))
                }
                Format::OpenClip => "open_clip".into(),
            },
            text,
            vision,
            onnx_bytes: std::fs::metadata(dir.join(ONNX)).ok().map(|file| file.len()),
            picture,
            vocabulary,
        })
    }

    /// What the stage `encode` would take: `onnx`, `clip`, or neither.
    pub fn encoder(&self) -> Option<&'static str> {
        match (self.onnx_bytes, &self.vision) {
            (Some(_), _) => Some("onnx"),
            (None, Some(_)) => Some("clip"),
            (None, None) => None,
        }
    }
}
