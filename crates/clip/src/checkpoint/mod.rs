//! Checkpoints: config and weights in, and out again in the layout they came in.

mod convert;
mod export;
mod folder;
mod pickle;
mod weights;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{Activation, ClipConfig, TextConfig, VisionConfig};
use crate::error::Error;
use crate::files;
use crate::open_clip::{self, Location};
pub use convert::Target;
pub use export::{Exported, RoundingLoss, Stored};
use weights::{Place, Places, Shard, decode, open_index, transpose};

/// Tensors on the host by checkpoint name: shape and values, row-major.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const OPEN_CLIP_CONFIG: &str = "open_clip_config.json";
const OPEN_CLIP_WEIGHTS: &str = "open_clip_model.safetensors";

/// Under which names a folder may hold its weights, the best first.
const HF_FILES: [&str; 4] =
    [WEIGHTS, "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];
const OPEN_CLIP_FILES: [&str; 2] = [OPEN_CLIP_WEIGHTS, "open_clip_pytorch_model.bin"];
/// Extensions of files of weights, for a folder that has one under a name of its own.
const EXTENSIONS: [&str; 4] = ["safetensors", "pt", "pth", "bin"];

/// Buffers and scalars that are no part of a tower.
///
/// open_clip has a bias of the logits where a model was trained with `--siglip`.
const BESIDE: [&str; 4] = ["logit_scale", "logit_bias", "attn_mask", "position_ids"];
/// Sizes that OpenAI's archives carry beside the weights.
const SIZES: [&str; 3] = ["input_resolution", "context_length", "vocab_size"];

/// How a checkpoint names and cuts its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// transformers' `CLIPModel`: both towers.
    HfClip,
    /// transformers' `CLIPTextModelWithProjection` and `CLIPTextModel`.
    HfText,
    /// transformers' `CLIPVisionModelWithProjection` and `CLIPVisionModel`.
    HfVision,
    /// open_clip's `CLIP` and `CustomTextCLIP`: both towers, or the text tower with an image tower that
    /// `vision_model.onnx` computes.
    OpenClip,
}

/// One of the two towers of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tower {
    /// `text_model.*` and `text_projection.*`.
    Text,
    /// `vision_model.*` and `visual_projection.*`.
    Vision,
}

/// The type that a created checkpoint stores its weights in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 16 bits, IEEE half.
    F16,
}

/// A CLIP checkpoint, opened for reading. Weights stay on disk until asked for.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    config_path: PathBuf,
    /// The weights, or the index of their shards.
    weights_path: PathBuf,
    config: ClipConfig,
    format: Format,
    shards: Vec<Shard>,
    /// Of the towers under their Hugging Face names, and of the files under their own.
    places: Places,
    /// What the names of an open_clip text tower begin with.
    text_prefix: &'static str,
}

impl Checkpoint {
    /// Opens the folder of a Hugging Face or an open_clip model and checks the names and shapes of
    /// all tensors against its config. Reads headers only.
    ///
    /// * Hugging Face: `config.json` with `model.safetensors` or `pytorch_model.bin`, or with the
    ///   shards that an index beside them lists.
    /// * open_clip: `open_clip_config.json` with `open_clip_model.safetensors` or
    ///   `open_clip_pytorch_model.bin`, or with the only file of weights in the folder. A folder
    ///   that has both is read as Hugging Face.
    ///   Where the folder has a `vision_model.onnx`, an image tower that is no plain ViT may be missing
    ///   here: the text tower alone is read.
    /// * A file of weights (`.safetensors`, `.pt`, `.pth`, `.bin`) in place of the folder: the
    ///   config lies beside it.
    ///
    /// PyTorch's files may hold the state dict itself or have it under `state_dict`, and its names
    /// may carry `module.` or `_orig_mod.`. No code of such a file is ever run.
    ///
    /// # Errors
    /// A missing or damaged file; a config that contradicts the weights, be it by a tensor that is
    /// missing, has another shape, or is there without being asked for.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let Files { dir, open_clip, config: config_path, weights: weights_path } = Files::find(path.as_ref())?;
        let json = fs::read_to_string(&config_path).map_err(Error::io(&config_path))?;
        let mut config =
            if open_clip { open_clip::parse(&config_path, &json)? } else { ClipConfig::parse(&config_path, &json)? };
        let format = match (&config.text, &config.vision) {
            _ if open_clip => Format::OpenClip,
            (Some(_), Some(_)) => Format::HfClip,
            (None, Some(_)) => Format::HfVision,
            _ => Format::HfText,
        };
        let mut places = Places::new();
        let shards = if weights_path.extension().is_some_and(|extension| extension == "json") {
            open_index(&weights_path, &mut places)?
        } else {
            vec![Shard::open(weights_path.clone(), 0, &mut places)?]
        };
        prefix_bare_names(format, &mut places);
        config.settle_projections(|name| places.contains_key(name));

        let custom = format == Format::OpenClip && places.contains_key("text.token_embedding.weight");
        let text_prefix = if custom { open_clip::CUSTOM_TEXT } else { "" };
        let mut checkpoint = Self { dir, config_path, weights_path, config, format, shards, places, text_prefix };
        checkpoint.warn_of_gelu();
        let specs = checkpoint.config.tensors();
        let mut used = BTreeSet::new();
        let mut found = Places::new();
        for (name, shape) in specs {
            let (key, place) = checkpoint.find(&name, &shape)?;
            used.insert(key);
            found.insert(name, place);
        }
        checkpoint.refuse_extra(&used)?;
        checkpoint.places.extend(found);
        Ok(checkpoint)
    }

    /// A tensor of our towers, by its name and shape: its name in the checkpoint's own format, and
    /// its place.
    fn find(&self, name: &str, shape: &[usize]) -> Result<(String, Place), Error> {
        let Location { name, third, transposed } = match self.format {
            Format::OpenClip => open_clip::locate(name, self.text_prefix),
            _ => Location::same(name),
        };
        let mut expected = shape.to_vec();
        if transposed {
            expected.reverse();
        }
        if third.is_some() {
            expected[0] *= 3;
        }
        let config = self.config_path.clone();
        let Some(place) = self.places.get(&name) else {
            let path = self.weights_path.clone();
            return Err(Error::MissingTensor { path, name, config, expected });
        };
        if place.shape != expected {
            let path = self.shards[place.shard].path.clone();
            let found = place.shape.clone();
            return Err(Error::Shape { path, name, config, expected, found });
        }
        let (start, end) = (place.bytes.start, place.bytes.end);
        let bytes = match third {
            Some(_) if place.transposed => {
                let message = "is stored by columns, and its rows are needed apart; save it with .contiguous()".into();
                return Err(self.tensor_error(&name, place, message));
            }
            Some(third) => {
                let run = (end - start) / 3;
                start + third * run..start + (third + 1) * run
            }
            None => start..end,
        };
        let transposed = transposed != place.transposed;
        let place = Place { bytes, shape: shape.to_vec(), transposed, ..place.clone() };
        Ok((name, place))
    }

    /// OpenAI's weights were trained with QuickGELU, and a config without that word computes other
    /// features from them.
    fn warn_of_gelu(&self) {
        let openai = SIZES.iter().all(|name| self.places.contains_key(*name));
        let gelu = self.config.text.as_ref().is_some_and(|text| text.hidden_act == Activation::Gelu);
        if openai && gelu && files::first_time("activation", &self.config_path) {
            tracing::warn!(
                "{}: OpenAI's weights need \"quick_gelu\": true in model_cfg, which is not there; the features are of \
                 another function without it",
                self.config_path.display()
            );
        }
    }

    /// A tensor that the config does not ask for means that it describes another model.
    fn refuse_extra(&self, used: &BTreeSet<String>) -> Result<(), Error> {
        let elsewhere = self.format == Format::OpenClip && self.config.vision.is_none();
        let beside = |name: &str| {
            (elsewhere && name.starts_with("visual."))
                || BESIDE.iter().any(|known| name == *known || name.ends_with(&format!(".{known}")))
                || SIZES.contains(&name)
        };
        match self.places.iter().find(|(name, _)| !used.contains(*name) && !beside(name)) {
            Some((name, place)) => Err(Error::ExtraTensor {
                path: self.shards[place.shard].path.clone(),
                name: name.clone(),
                config: self.config_path.clone(),
                found: place.shape.clone(),
            }),
            None => Ok(()),
        }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// How the tensors are laid out.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The towers.
    pub fn config(&self) -> &ClipConfig {
        &self.config
    }

    /// The text tower's config.
    ///
    /// # Errors
    /// When the checkpoint has no text tower.
    pub fn text_config(&self) -> Result<&TextConfig, Error> {
        self.config.text.as_ref().ok_or_else(|| self.no_tower("text"))
    }

    /// The image tower's config.
    ///
    /// # Errors
    /// When the checkpoint has no image tower.
    pub fn vision_config(&self) -> Result<&VisionConfig, Error> {
        self.config.vision.as_ref().ok_or_else(|| self.no_tower("image"))
    }

    fn no_tower(&self, tower: &str) -> Error {
        let why = match (self.format, tower) {
            (Format::OpenClip, "image") => " that is computed here; vision_model.onnx beside it is its image encoder",
            _ => "",
        };
        Error::Config { path: self.config_path.clone(), message: format!("this checkpoint has no {tower} tower{why}") }
    }

    /// The names of all tensors, sorted: those of the towers under their Hugging Face names, and
    /// all of the files under their own.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// One tensor as f32: its shape and values.
    ///
    /// # Errors
    /// A tensor that is missing, of a type other than f32, f16 or bf16, or holds NaN or infinity.
    pub fn tensor(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), Error> {
        let place = self.place(name)?;
        let bytes = self.bytes(place);
        let values = decode(&bytes, place.dtype).map_err(|message| self.tensor_error(name, place, message))?;
        Ok((place.shape.clone(), values))
    }

    /// The bytes of a tensor in the order that our towers have it in.
    fn bytes(&self, place: &Place) -> Cow<'_, [u8]> {
        let bytes = self.shards[place.shard].bytes(place);
        let size = place.dtype.bitsize() / 8;
        match place.transposed {
            true => {
                let [rows, columns] = place.matrix();
                Cow::Owned(transpose(bytes, [columns, rows], size))
            }
            false => Cow::Borrowed(bytes),
        }
    }

    /// The learned temperature: logits are `exp(logit_scale)` times the cosine.
    ///
    /// # Errors
    /// When it is not in the checkpoint (a tower saved alone seldom has it), or not one number.
    pub fn logit_scale(&self) -> Result<f32, Error> {
        let (shape, values) = self.tensor("logit_scale")?;
        match values.as_slice() {
            [value] => Ok(*value),
            _ => Err(Error::Shape {
                path: self.weights_path.clone(),
                name: "logit_scale".into(),
                config: self.config_path.clone(),
                expected: vec![],
                found: shape,
            }),
        }
    }

    /// The type that a tensor is stored in, as safetensors names it (`F16`); none where it is missing.
    pub fn dtype(&self, name: &str) -> Option<String> {
        self.places.get(name).map(|place| format!("{:?}", place.dtype))
    }

    /// Whether the files hold this tensor.
    pub fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    fn place(&self, name: &str) -> Result<&Place, Error> {
        self.places.get(name).ok_or_else(|| Error::Tensor {
            path: self.weights_path.clone(),
            name: name.to_owned(),
            message: "the checkpoint has no such tensor".into(),
        })
    }

    fn tensor_error(&self, name: &str, place: &Place, message: String) -> Error {
        Error::Tensor { path: self.shards[place.shard].path.clone(), name: name.to_owned(), message }
    }

    /// A digest of one tower: the names, types, shapes and bytes of its tensors, and its config.
    /// Equal weights in other files or beside another tower give the same digest.
    pub fn fingerprint(&self, tower: Tower) -> String {
        let (prefixes, config) = match tower {
            Tower::Text => (["text_model.", "text_projection."], format!("{:?}", self.config.text)),
            Tower::Vision => (["vision_model.", "visual_projection."], format!("{:?}", self.config.vision)),
        };
        let mut hash = blake3::Hasher::new();
        let mut part = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(config.as_bytes());
        for (name, place) in &self.places {
            if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                part(name.as_bytes());
                part(format!("{:?} {:?}", place.dtype, place.shape).as_bytes());
                part(self.shards[place.shard].bytes(place));
            }
        }
        hash.finalize().to_hex().to_string()
    }
}

/// transformers 5 saves a tower without projection under names without the tower's prefix.
fn prefix_bare_names(format: Format, places: &mut Places) {
    let prefix = match format {
        Format::HfText => "text_model.",
        Format::HfVision => "vision_model.",
        Format::HfClip | Format::OpenClip => return,
    };
    if places.keys().any(|name| name.starts_with("embeddings.")) {
        let full = |(name, place): (String, Place)| match name.starts_with(prefix) {
            true => (name, place),
            false => (format!("{prefix}{name}"), place),
        };
        *places = std::mem::take(places).into_iter().map(full).collect();
    }
}

/// Where the parts of a checkpoint are.
struct Files {
    dir: PathBuf,
    /// In the layout of open_clip, not of Hugging Face.
    open_clip: bool,
    config: PathBuf,
    weights: PathBuf,
}

impl Files {
    fn find(path: &Path) -> Result<Self, Error> {
        let kind = fs::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::Absent { path: path.to_owned() },
            _ => Error::io(path)(error),
        })?;
        if kind.is_dir() { Self::inside(path) } else { Self::beside(path) }
    }

    /// Of a folder.
    fn inside(dir: &Path) -> Result<Self, Error> {
        let has = |name: &str| files::has(&dir.join(name));
        let first = |names: &[&'static str]| -> Result<Option<&'static str>, Error> {
            for name in names {
                if has(name)? {
                    return Ok(Some(name));
                }
            }
            Ok(None)
        };
        let missing =
            |missing: &str, hint| Err(Error::NotACheckpoint { dir: dir.to_owned(), missing: missing.to_owned(), hint });
        let hugging_face = if has(CONFIG)? { first(&HF_FILES)? } else { None };
        let open_clip = hugging_face.is_none() && has(OPEN_CLIP_CONFIG)?;
        let config = if open_clip { OPEN_CLIP_CONFIG } else { CONFIG };
        if !has(config)? {
            return missing(
                CONFIG,
                "name the folder that transformers' save_pretrained wrote, a downloaded copy of a hub repository, \
                 or an open_clip model's file with its open_clip_config.json beside it",
            );
        }
        let named = if open_clip { first(&OPEN_CLIP_FILES)? } else { hugging_face };
        let weights = match named {
            Some(name) => dir.join(name),
            None => match &weight_files(dir)?[..] {
                [only] => only.clone(),
                [] if open_clip => return missing(OPEN_CLIP_WEIGHTS, "fetch the weights too"),
                [] => return missing(WEIGHTS, "fetch the weights too, or write them with save_pretrained"),
                _ => {
                    return missing(
                        if open_clip { OPEN_CLIP_WEIGHTS } else { WEIGHTS },
                        "it has several files of weights under other names; name the one that is meant",
                    );
                }
            },
        };
        Ok(Self { dir: dir.to_owned(), open_clip, config: dir.join(config), weights })
    }

    /// Of a file of weights with its config beside it.
    fn beside(weights: &Path) -> Result<Self, Error> {
        let dir = match weights.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let has = |name: &str| files::has(&dir.join(name));
        let open_clip = match (has(CONFIG)?, has(OPEN_CLIP_CONFIG)?) {
            (true, false) => false,
            (false, true) => true,
            (true, true) => {
                let mut places = Places::new();
                let index = weights.extension().is_some_and(|extension| extension == "json");
                if !index {
                    Shard::open(weights.to_owned(), 0, &mut places)?;
                }
                places.contains_key("visual.conv1.weight")
            }
            (false, false) => {
                return Err(Error::NotACheckpoint {
                    dir: weights.to_owned(),
                    missing: "open_clip_config.json or config.json beside it".into(),
                    hint: "weights do not tell the model's heads and activation; for open_clip's NAME write \
                           {\"model_cfg\": open_clip.get_model_config(NAME)} there, with \"ViT-B-32-quickgelu\" and the \
                           like as NAME for weights of OpenAI and all others that were trained with QuickGELU",
                });
            }
        };
        let config = dir.join(if open_clip { OPEN_CLIP_CONFIG } else { CONFIG });
        Ok(Self { dir: dir.to_owned(), open_clip, config, weights: weights.to_owned() })
    }
}

/// Files of a folder that may be weights, sorted.
fn weight_files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(dir).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(Error::io(dir))?;
    let named = |path: &PathBuf| {
        let extension = path.extension().unwrap_or_default();
        EXTENSIONS.iter().any(|known| extension == *known)
    };
    let mut found = Vec::new();
    for path in entries.into_iter().map(|entry| entry.path()).filter(named) {
        if files::has(&path)? {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
