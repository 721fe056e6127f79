//! Weights out: a copy with some tensors changed, or a checkpoint that was none before.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensorError, tensor::TensorView};

use super::folder::{self, Staged};
use super::weights::{Place, decode, encode, transpose};
use super::{CONFIG, Checkpoint, Format, OPEN_CLIP_WEIGHTS, Precision, Tensors, WEIGHTS};
use crate::config::ClipConfig;
use crate::error::Error;

/// Names under which a folder may hold the same weights once more. An export leaves out all but
/// those that it writes: they would still have the old values.
const WEIGHT_FILES: [&str; 8] = [
    WEIGHTS,
    "model.safetensors.index.json",
    OPEN_CLIP_WEIGHTS,
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "tf_model.h5",
    "flax_model.msgpack",
];

/// Under which keys a `config.json` names the type of the weights, in transformers before and since
/// version 5.
const DTYPE_KEYS: [&str; 2] = ["torch_dtype", "dtype"];

/// What an export did beside the weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Files of the folder that were not copied, because they hold the old weights in another
    /// format. Relative to the folder.
    pub left_out: Vec<PathBuf>,
}

/// How an export stores the changed tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stored {
    /// Each in the type that it came in. In 16 bits this rounds what training changed; see
    /// [`Checkpoint::rounding_loss`].
    #[default]
    AsBefore,
    /// In 32 bits, so that an export computes what training had. All other tensors keep their type and
    /// their bytes. Where the type of a tensor changes, its file is written anew, a `config.json` says
    /// `float32` (transformers would round to the type that it names), and an index has the new size.
    F32,
}

/// What is left of a training when its values are stored in the types of the starting checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundingLoss {
    /// Numbers of the tensors that were given.
    pub values: u64,
    /// Those that differ from the start before they are stored.
    pub moved: u64,
    /// Those of the latter that equal the start again as they are stored.
    pub lost: u64,
}

impl RoundingLoss {
    /// The share of all numbers, from 0 to 1, that are stored as they were at the start.
    pub fn unchanged(&self) -> f64 {
        share(self.values - self.moved + self.lost, self.values)
    }

    /// The share of what training moved, from 0 to 1, that storing moves back to the start.
    pub fn share(&self) -> f64 {
        share(self.lost, self.moved)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A tensor as a file gets it.
pub(super) struct Entry<'a> {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Cow<'a, [u8]>,
}

impl Checkpoint {
    /// Writes a copy of the folder to `dir` with the values of the `changed` tensors replaced,
    /// each in the type it came in. All other bytes of the weights, and all other files
    /// (config, tokenizer, preprocessor, an ONNX image encoder), are copied as they are.
    ///
    /// Weights that came as a PyTorch pickle go out as the safetensors file that transformers and
    /// open_clip look for first, with the same names (without wrappers), types and bytes.
    ///
    /// The copy is made beside `dir` and renamed into place when it is whole; what was at `dir`
    /// is replaced.
    ///
    /// # Errors
    /// A changed tensor that the checkpoint lacks or has in another shape; a value that is not
    /// finite or does not fit the type; `dir` being the checkpoint itself; I/O.
    pub fn export(&self, dir: impl AsRef<Path>, changed: &Tensors) -> Result<Exported, Error> {
        self.export_as(dir, changed, Stored::AsBefore)
    }

    /// As [`export`](Checkpoint::export), with the changed tensors stored as `stored` says.
    ///
    /// # Errors
    /// As [`export`](Checkpoint::export); with [`Stored::F32`] also a config or an index that is no JSON.
    pub fn export_as(&self, dir: impl AsRef<Path>, changed: &Tensors, stored: Stored) -> Result<Exported, Error> {
        let dir = dir.as_ref();
        self.refuse_own_folder(dir)?;
        // Encode first: a bad value must not cost the copy.
        let mut patches = Vec::new();
        for (name, tensor) in changed {
            let place = self.place(name)?;
            let dtype = if stored == Stored::F32 { Dtype::F32 } else { place.dtype };
            patches.push((place, self.encoded(name, place, tensor, dtype)?));
        }

        let staged = Staged::new(dir)?;
        let mut exported = Exported::default();
        let in_place = self.shards.iter().all(|shard| shard.is_safetensors);
        let ours: Vec<&OsStr> = match in_place {
            true => {
                let ours = self.shards.iter().map(|shard| &shard.path).chain([&self.weights_path]);
                ours.filter_map(|path| path.file_name()).collect()
            }
            false => Vec::new(),
        };
        let pickles: Vec<_> = match in_place {
            true => Vec::new(),
            false => self.shards.iter().filter_map(|shard| shard.path.file_name()).collect(),
        };
        let stale = |name: &OsStr| {
            let known =
                WEIGHT_FILES.iter().any(|file| name == *file) || name.to_string_lossy().starts_with("pytorch_model-");
            (known || pickles.contains(&name)) && !ours.contains(&name)
        };
        folder::copy(&self.dir, &staged.path, Path::new(""), &stale, &mut exported.left_out)?;
        if in_place {
            self.patch(&staged.path, &patches, stored)?;
        } else {
            let name = if self.format == Format::OpenClip { OPEN_CLIP_WEIGHTS } else { WEIGHTS };
            write_safetensors(&staged.path.join(name), &self.patched(&patches, stored, None)?)?;
        }
        if stored == Stored::F32 && patches.iter().any(|(place, _)| place.dtype != Dtype::F32) {
            self.say_f32(&staged.path)?;
        }
        staged.put_in_place()?;
        Ok(exported)
    }

    pub(super) fn refuse_own_folder(&self, dir: &Path) -> Result<(), Error> {
        match folder::same(dir, &self.dir) {
            true => Err(Error::Input(format!(
                "{}: an export would overwrite the checkpoint that it starts from; name another folder",
                dir.display()
            ))),
            false => Ok(()),
        }
    }

    /// How much of a training an export in the types of this checkpoint keeps: `trained` are the values
    /// of some of its tensors after training, in 32 bits.
    ///
    /// A step of training is often smaller than half the distance between two numbers of 16 bits, and
    /// rounding then gives the number of the start.
    ///
    /// # Errors
    /// A tensor that the checkpoint lacks or has in another shape; a value that is not finite or does
    /// not fit the type.
    pub fn rounding_loss(&self, trained: &Tensors) -> Result<RoundingLoss, Error> {
        let mut loss = RoundingLoss::default();
        for (name, tensor) in trained {
            let place = self.place(name)?;
            self.check_shape(name, place, tensor)?;
            let values = &tensor.1;
            let (_, start) = self.tensor(name)?;
            let kept = encode(values, place.dtype).and_then(|bytes| decode(&bytes, place.dtype));
            let kept = kept.map_err(|message| self.tensor_error(name, place, message))?;
            for ((value, kept), start) in values.iter().zip(&kept).zip(&start) {
                loss.values += 1;
                loss.moved += u64::from(value != start);
                loss.lost += u64::from(value != start && kept == start);
            }
        }
        Ok(loss)
    }

    fn check_shape(&self, name: &str, place: &Place, (shape, values): &(Vec<usize>, Vec<f32>)) -> Result<(), Error> {
        if *shape != place.shape || values.len() != place.shape.iter().product::<usize>() {
            return Err(Error::Shape {
                path: self.shards[place.shard].path.clone(),
                name: name.to_owned(),
                config: self.config_path.clone(),
                expected: place.shape.clone(),
                found: shape.clone(),
            });
        }
        Ok(())
    }

    /// The bytes of new values for a tensor, in the order that its file has them in.
    fn encoded(
        &self,
        name: &str,
        place: &Place,
        tensor: &(Vec<usize>, Vec<f32>),
        dtype: Dtype,
    ) -> Result<Vec<u8>, Error> {
        self.check_shape(name, place, tensor)?;
        let bytes = encode(&tensor.1, dtype).map_err(|message| self.tensor_error(name, place, message))?;
        match place.transposed {
            true => Ok(transpose(&bytes, place.matrix(), dtype.bitsize() / 8)),
            false => Ok(bytes),
        }
    }

    /// Writes the patches into the copied files, or a file anew where the type of a tensor changes.
    fn patch(&self, dir: &Path, patches: &[(&Place, Vec<u8>)], stored: Stored) -> Result<(), Error> {
        for (i, shard) in self.shards.iter().enumerate() {
            let Some(name) = shard.path.file_name() else { continue };
            let path = dir.join(name);
            let mut inside = patches.iter().filter(|(place, _)| place.shard == i);
            if stored == Stored::F32 && inside.clone().any(|(place, _)| place.dtype != Dtype::F32) {
                write_safetensors(&path, &self.patched(patches, stored, Some(i))?)?;
                continue;
            }
            let mut file = File::options().write(true).open(&path).map_err(Error::io(&path))?;
            inside.try_for_each(|(place, bytes)| {
                file.seek(SeekFrom::Start(place.bytes.start as u64)).map_err(Error::io(&path))?;
                file.write_all(bytes).map_err(Error::io(&path))
            })?;
            file.sync_all().map_err(Error::io(&path))?;
        }
        Ok(())
    }

    /// All tensors under their own names, of one shard or of all, with the patches.
    fn patched(
        &self,
        patches: &[(&Place, Vec<u8>)],
        stored: Stored,
        shard: Option<usize>,
    ) -> Result<BTreeMap<String, Entry<'_>>, Error> {
        // In open_clip's layout the towers' tensors stand among the others once more, cut from
        // those and under our names.
        let is_ours = |name: &str| {
            self.format == Format::OpenClip
                && (name.starts_with("text_model.")
                    || name.starts_with("vision_model.")
                    || name.ends_with("_projection.weight"))
        };
        let wanted = |place: &Place| shard.is_none_or(|shard| place.shard == shard);
        let mut entries = BTreeMap::new();
        for (name, place) in self.places.iter().filter(|(name, place)| !is_ours(name) && wanted(place)) {
            let inside: Vec<&(&Place, Vec<u8>)> = patches
                .iter()
                .filter(|(patch, _)| {
                    patch.shard == place.shard
                        && place.bytes.start <= patch.bytes.start
                        && patch.bytes.end <= place.bytes.end
                })
                .collect();
            let old = self.shards[place.shard].bytes(place);
            let (dtype, mut bytes) = match stored {
                Stored::F32 if !inside.is_empty() && place.dtype != Dtype::F32 => {
                    let wide = decode(old, place.dtype).and_then(|values| encode(&values, Dtype::F32));
                    (Dtype::F32, Cow::Owned(wide.map_err(|message| self.tensor_error(name, place, message))?))
                }
                _ => (place.dtype, Cow::Borrowed(old)),
            };
            let (size, old_size) = (dtype.bitsize() / 8, place.dtype.bitsize() / 8);
            for (patch, new) in inside {
                let at = (patch.bytes.start - place.bytes.start) / old_size * size;
                bytes.to_mut()[at..at + new.len()].copy_from_slice(new);
            }
            if place.transposed {
                let [rows, columns] = place.matrix();
                bytes = Cow::Owned(transpose(&bytes, [columns, rows], size));
            }
            entries.insert(name.clone(), Entry { dtype, shape: place.shape.clone(), bytes });
        }
        Ok(entries)
    }

    /// Makes the config and the index of an export say what [`Stored::F32`] made of the weights.
    fn say_f32(&self, dir: &Path) -> Result<(), Error> {
        let edit = |path: &Path, change: &dyn Fn(&mut serde_json::Value) -> Result<(), Error>| {
            let text = fs::read_to_string(path).map_err(Error::io(path))?;
            let fail = |error: serde_json::Error| Error::Config { path: path.to_owned(), message: error.to_string() };
            let mut json = serde_json::from_str(&text).map_err(fail)?;
            change(&mut json)?;
            write_json(path, &json)
        };
        if self.format != Format::OpenClip {
            edit(&dir.join(CONFIG), &|json| {
                let named = DTYPE_KEYS.iter().any(|key| !json[key].is_null());
                for part in ["", "/text_config", "/vision_config"] {
                    let Some(part) = json.pointer_mut(part).and_then(|part| part.as_object_mut()) else { continue };
                    for key in DTYPE_KEYS {
                        if let Some(dtype) = part.get_mut(key) {
                            *dtype = "float32".into();
                        }
                    }
                }
                if !named {
                    // Without the word, transformers takes the type of some tensor for all of them.
                    json[DTYPE_KEYS[0]] = "float32".into();
                }
                Ok(())
            })?;
        }
        match self.weights_path.file_name() {
            Some(index) if self.weights_path.extension().is_some_and(|kind| kind == "json") => {
                let path = dir.join(index);
                if !path.exists() {
                    // Of PyTorch's shards, which are one file in an export.
                    return Ok(());
                }
                edit(&path, &|json| {
                    let mut size = 0u64;
                    for shard in self.shards.iter().filter_map(|shard| shard.path.file_name()) {
                        let path = dir.join(shard);
                        let file = File::open(&path).map_err(Error::io(&path))?;
                        let mut header = [0; 8];
                        (&file).read_exact(&mut header).map_err(Error::io(&path))?;
                        let whole = file.metadata().map_err(Error::io(&path))?.len();
                        size += whole.saturating_sub(8 + u64::from_le_bytes(header));
                    }
                    if let Some(total) = json.pointer_mut("/metadata/total_size") {
                        *total = size.into();
                    }
                    Ok(())
                })
            }
            _ => Ok(()),
        }
    }

    /// Writes a new checkpoint folder: `config.json` and `model.safetensors`, nothing else.
    ///
    /// # Errors
    /// A tensor that the config asks for and `tensors` lacks or has in another shape; a value
    /// that is not finite or does not fit; I/O.
    pub fn create(
        dir: impl AsRef<Path>,
        config: &ClipConfig,
        tensors: &Tensors,
        precision: Precision,
    ) -> Result<(), Error> {
        let staged = Staged::new(dir.as_ref())?;
        let path = staged.path.join(WEIGHTS);
        for (name, expected) in config.tensors() {
            match tensors.get(&name) {
                Some((shape, _)) if *shape == expected => {}
                found => {
                    return Err(Error::Tensor {
                        path,
                        name,
                        message: format!("must have shape {expected:?}, but is {:?}", found.map(|(shape, _)| shape)),
                    });
                }
            }
        }
        let dtype = match precision {
            Precision::F32 => Dtype::F32,
            Precision::F16 => Dtype::F16,
        };
        let mut entries = BTreeMap::new();
        for (name, (shape, values)) in tensors {
            let fail = |message| Error::Tensor { path: path.clone(), name: name.clone(), message };
            let bytes = Cow::Owned(encode(values, dtype).map_err(fail)?);
            entries.insert(name.clone(), Entry { dtype, shape: shape.clone(), bytes });
        }
        write_safetensors(&path, &entries)?;
        write_json(&staged.path.join(CONFIG), &config.to_json())?;
        staged.put_in_place()
    }
}

pub(super) fn write_json(path: &Path, json: &serde_json::Value) -> Result<(), Error> {
    fs::write(path, format!("{json:#}\n")).map_err(Error::io(path))
}

/// Writes a file of weights as transformers and open_clip read it.
pub(super) fn write_safetensors(path: &Path, entries: &BTreeMap<String, Entry<'_>>) -> Result<(), Error> {
    let mut views = Vec::new();
    for (name, entry) in entries {
        let view = TensorView::new(entry.dtype, entry.shape.clone(), &entry.bytes).map_err(|error| Error::Tensor {
            path: path.to_owned(),
            name: name.clone(),
            message: error.to_string(),
        })?;
        views.push((name.as_str(), view));
    }
    // transformers refuses a file without this entry.
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    // It writes a file that its owner alone may read.
    let permissions = File::create(path).and_then(|file| file.metadata()).map_err(Error::io(path))?.permissions();
    safetensors::serialize_to_file(views, Some(metadata), path).map_err(|error| match error {
        SafeTensorError::IoError(error) => Error::io(path)(error),
        other => Error::Safetensors { path: path.to_owned(), message: other.to_string() },
    })?;
    fs::set_permissions(path, permissions).map_err(Error::io(path))?;
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::io(path))
}
