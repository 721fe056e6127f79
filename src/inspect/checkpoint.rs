//! What a checkpoint holds.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clip::checkpoint::{Format, Tower};
use clip::{Checkpoint, Preprocess, Tokenizer};
use serde::Serialize;

/// The file that the stage `encode` uses as an ONNX image encoder.
const ONNX: &str = "vision_model.onnx";

/// Why a part of a checkpoint cannot be read.
#[derive(Debug, Clone, Serialize)]
pub struct Unreadable(String);

impl Unreadable {
    fn new(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A checkpoint.
#[derive(Debug, Clone, Serialize)]
pub struct CheckpointInfo {
    pub path: PathBuf,
    /// Its layout: that of a class of transformers, or open_clip's.
    pub layout: String,
    pub text: Option<TowerInfo>,
    pub vision: Option<TowerInfo>,
    /// Size of vision_model.onnx in bytes, with the weights beside it, if the file exists.
    pub onnx_bytes: Option<u64>,
    /// Width and height of the pictures that preprocessing makes, in pixels.
    pub picture: Result<(usize, usize), Unreadable>,
    /// Number of tokens of the tokenizer.
    pub vocabulary: Result<usize, Unreadable>,
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
    /// True if a folder has a file of a checkpoint.
    pub fn is_one(path: &Path) -> bool {
        ["config.json", "open_clip_config.json", "model.safetensors", "open_clip_model.safetensors"]
            .iter()
            .any(|name| path.join(name).is_file())
    }

    /// Opens a checkpoint (a folder or a weights file) and checks its tensors.
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
        // For a weights file, this is its folder.
        let dir = checkpoint.dir();
        let picture = Preprocess::open(dir, image_size).map(|p| p.size()).map_err(Unreadable::new);
        let vocabulary = Tokenizer::open(dir).map(|t| t.vocab_size()).map_err(Unreadable::new);
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
            onnx_bytes: onnx_bytes(dir),
            picture,
            vocabulary,
        })
    }

    /// The encoder that the stage `encode` would choose: `onnx`, `clip`, or none.
    pub fn encoder(&self) -> Option<&'static str> {
        match (self.onnx_bytes, &self.vision) {
            (Some(_), _) => Some("onnx"),
            (None, Some(_)) => Some("clip"),
            (None, None) => None,
        }
    }
}

/// The size of vision_model.onnx and of the files beside it whose names begin so (`vision_model.onnx.data`), which hold its
/// weights.
fn onnx_bytes(dir: &Path) -> Option<u64> {
    let size = |path: &Path| std::fs::metadata(path).ok().map(|file| file.len());
    size(&dir.join(ONNX))?;
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
    Some(
        names
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(ONNX))
            .filter_map(|entry| size(&entry.path()))
            .sum(),
    )
}
