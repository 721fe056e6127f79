//! From the layout of Hugging Face to that of open_clip and back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::export::{Entry, write_json, write_safetensors};
use super::folder::Staged;
use super::weights::{Place, decode, transpose};
use super::{CONFIG, Checkpoint, Format, OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS, WEIGHTS};
use crate::error::Error;
use crate::files;
use crate::open_clip::{self, Location};
use crate::preprocess::Preprocess;
use crate::tokenizer::Tokenizer;

/// What a checkpoint is converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// `config.json`, `model.safetensors`, `preprocessor_config.json`, tokenizer files.
    HuggingFace,
    /// `open_clip_config.json`, `open_clip_model.safetensors`, tokenizer files.
    OpenClip,
}

/// Files that both layouts have, taken along as they are.
const TOKENIZER_FILES: [&str; 6] = [
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
];
/// An image encoder beside a text tower. External data lie in files whose names begin with it.
const ONNX: &str = "vision_model.onnx";
const PREPROCESSOR: &str = "preprocessor_config.json";
const SCALE: &str = "logit_scale";
/// What `--siglip` adds to logits; transformers' CLIP has none.
const BIAS: &str = "logit_bias";

impl Checkpoint {
    /// Writes the model in another layout. Every value keeps its bits; only names, cuts and the
    /// order of rows and columns change. Also makes safetensors of a PyTorch state dict when the
    /// layout stays.
    ///
    /// # Errors
    /// A model that the layout cannot say (a tower alone in open_clip's); a damaged tensor;
    /// preprocessing that the layout cannot say; `dir` being the checkpoint itself; I/O.
    pub fn convert(&self, dir: impl AsRef<Path>, target: Target) -> Result<(), Error> {
        let dir = dir.as_ref();
        self.refuse_own_folder(dir)?;
        let config_fault = |message: String| Error::Config { path: self.config_path.clone(), message };
        let image_size = self.config.vision.as_ref().map(|vision| vision.image_size as u32);
        let preprocess = Preprocess::open(&self.dir, image_size)?;
        let staged = Staged::new(dir)?;
        match target {
            Target::HuggingFace => {
                let mut config = self.config.clone();
                if let Some(text) = config.text.as_mut().filter(|_| self.format == Format::OpenClip) {
                    // Where open_clip looks for the largest id.
                    text.eos_token_id = text.vocab_size as u32 - 1;
                }
                if self.contains(BIAS) {
                    tracing::warn!(
                        "{}: {BIAS} is not converted: transformers' CLIPModel has none; features do not depend on it",
                        self.weights_path.display()
                    );
                }
                write_safetensors(&staged.path.join(WEIGHTS), &self.hugging_face()?)?;
                write_json(&staged.path.join(CONFIG), &config.to_json())?;
                if config.vision.is_some() || Preprocess::is_given(&self.dir)? {
                    let json = preprocess.to_hugging_face().map_err(config_fault)?;
                    write_json(&staged.path.join(PREPROCESSOR), &json)?;
                }
            }
            Target::OpenClip => {
                let (Some(text), Some(vision)) = (&self.config.text, &self.config.vision) else {
                    let why = match self.format {
                        Format::OpenClip => "its image tower is not read here, and open_clip wants both towers",
                        _ => "one tower alone has no layout in open_clip, which wants both",
                    };
                    return Err(config_fault(why.into()));
                };
                let mut json = serde_json::json!({
                    "model_cfg": open_clip::model_config(text, vision).map_err(config_fault)?,
                    "preprocess_cfg": preprocess.to_open_clip().map_err(config_fault)?,
                });
                let mut tensors = self.open_clip()?;
                if self.contains(BIAS) {
                    // Without the word, open_clip builds a model that has no place for the tensor.
                    json["model_cfg"]["init_logit_bias"] = self.tensor(BIAS)?.1.first().copied().into();
                    tensors.insert(BIAS.to_owned(), self.scalar(BIAS)?);
                }
                write_safetensors(&staged.path.join(OPEN_CLIP_WEIGHTS), &tensors)?;
                write_json(&staged.path.join(OPEN_CLIP_CONFIG), &json)?;
            }
        }
        self.copy_tokenizer(&staged.path, target)?;
        if self.config.vision.is_none() {
            self.copy_onnx(&staged.path)?;
        }
        staged.put_in_place()
    }

    /// Takes an image encoder along that the text tower has in place of a vision tower: the ONNX file,
    /// and what it may keep its weights in.
    fn copy_onnx(&self, to: &Path) -> Result<(), Error> {
        let entries = fs::read_dir(&self.dir).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        for entry in entries.map_err(Error::io(&self.dir))? {
            let (name, path) = (entry.file_name(), entry.path());
            if name.to_string_lossy().starts_with(ONNX) && files::has(&path)? {
                fs::copy(&path, to.join(&name)).map_err(Error::io(&path))?;
            }
        }
        Ok(())
    }

    /// The tensors under the names of Hugging Face.
    fn hugging_face(&self) -> Result<BTreeMap<String, Entry<'_>>, Error> {
        let names = self.config.tensors().into_iter().map(|(name, _)| name);
        let entry = |name: String| {
            let place = self.place(&name)?;
            let bytes = self.checked(&name, place)?;
            Ok((name, Entry { dtype: place.dtype, shape: place.shape.clone(), bytes }))
        };
        let mut entries: BTreeMap<String, Entry<'_>> = names.map(entry).collect::<Result<_, Error>>()?;
        if self.contains(SCALE) {
            entries.insert(SCALE.to_owned(), self.scalar(SCALE)?);
        }
        Ok(entries)
    }

    /// A tensor of one value, which may be a list of one, as a scalar: transformers and open_clip have
    /// it so.
    fn scalar(&self, name: &str) -> Result<Entry<'_>, Error> {
        let place = self.place(name)?;
        let bytes = self.checked(name, place)?;
        match place.shape.iter().product::<usize>() {
            1 => Ok(Entry { dtype: place.dtype, shape: vec![], bytes }),
            _ => Err(self.tensor_error(name, place, format!("has shape {:?}, not one value", place.shape))),
        }
    }

    /// The tensors under the names of open_clip, cut as it cuts them.
    fn open_clip(&self) -> Result<BTreeMap<String, Entry<'_>>, Error> {
        let mut entries: BTreeMap<String, Entry<'_>> = BTreeMap::new();
        // The thirds of a tensor in their order: queries, keys, values.
        let mut parts: Vec<(String, Option<usize>, Entry<'_>)> = Vec::new();
        for (name, mut entry) in self.hugging_face()? {
            let Location { name, third, transposed } = open_clip::locate(&name, "");
            if transposed && let [rows, columns] = entry.shape[..] {
                entry.bytes = Cow::Owned(transpose(&entry.bytes, [rows, columns], entry.dtype.bitsize() / 8));
                entry.shape = vec![columns, rows];
            }
            parts.push((name, third, entry));
        }
        parts.sort_by(|(a, third_a, _), (b, third_b, _)| (a, third_a).cmp(&(b, third_b)));
        for (name, third, part) in parts {
            match entries.get_mut(&name).filter(|_| third.is_some()) {
                None => drop(entries.insert(name, part)),
                Some(whole) if whole.dtype == part.dtype => {
                    whole.bytes.to_mut().extend_from_slice(&part.bytes);
                    whole.shape[0] += part.shape[0];
                }
                Some(whole) => {
                    let message = format!("its parts have the types {:?} and {:?}", whole.dtype, part.dtype);
                    return Err(Error::Tensor { path: self.weights_path.clone(), name, message });
                }
            }
        }
        Ok(entries)
    }

    /// The bytes of a tensor as our towers have it, if its values are numbers.
    fn checked(&self, name: &str, place: &Place) -> Result<Cow<'_, [u8]>, Error> {
        let bytes = self.bytes(place);
        decode(&bytes, place.dtype).map_err(|message| self.tensor_error(name, place, message))?;
        Ok(bytes)
    }

    /// Takes the vocabulary along; a folder for transformers gets OpenAI's where there is none,
    /// as it is open_clip's default.
    fn copy_tokenizer(&self, to: &Path, target: Target) -> Result<(), Error> {
        let mut any = false;
        for name in TOKENIZER_FILES {
            let (from, to) = (self.dir.join(name), to.join(name));
            if files::has(&from)? {
                any = true;
                let bytes = fs::read(&from).map_err(Error::io(&from))?;
                fs::write(&to, bytes).map_err(Error::io(&to))?;
            }
        }
        match (&self.config.text, target) {
            (Some(text), Target::HuggingFace) if !any => Tokenizer::write_clip(to, text.max_position_embeddings),
            _ => Ok(()),
        }
    }
}
