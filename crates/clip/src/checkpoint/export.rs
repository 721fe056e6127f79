//! Weights out: a copy with some tensors changed, or a checkpoint that was none before.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensorError, tensor::TensorView};

use super::folder::{self, Staged};
use super::weights::{Place, encode, transpose};
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

/// What an export did beside the weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Files of the folder that were not copied, because they hold the old weights in another
    /// format. Relative to the folder.
    pub left_out: Vec<PathBuf>,
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
        let dir = dir.as_ref();
        self.refuse_own_folder(dir)?;
        // Encode first: a bad value must not cost the copy.
        let mut patches = Vec::new();
        for (name, tensor) in changed {
            let place = self.place(name)?;
            patches.push((place, self.encoded(name, place, tensor)?));
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
            self.patch(&staged.path, &patches)?;
        } else {
            let name = if self.format == Format::OpenClip { OPEN_CLIP_WEIGHTS } else { WEIGHTS };
            write_safetensors(&staged.path.join(name), &self.patched(&patches))?;
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

    /// The bytes of new values for a tensor, as its file has them.
    fn encoded(&self, name: &str, place: &Place, (shape, values): &(Vec<usize>, Vec<f32>)) -> Result<Vec<u8>, Error> {
        if *shape != place.shape || values.len() != place.shape.iter().product::<usize>() {
            return Err(Error::Shape {
                path: self.shards[place.shard].path.clone(),
                name: name.to_owned(),
                config: self.config_path.clone(),
                expected: place.shape.clone(),
                found: shape.clone(),
            });
        }
        let bytes = encode(values, place.dtype).map_err(|message| self.tensor_error(name, place, message))?;
        match place.transposed {
            true => Ok(transpose(&bytes, place.matrix(), place.dtype.bitsize() / 8)),
            false => Ok(bytes),
        }
    }

    /// Writes the patches into the copied files.
    fn patch(&self, dir: &Path, patches: &[(&Place, Vec<u8>)]) -> Result<(), Error> {
        for (i, shard) in self.shards.iter().enumerate() {
            let Some(name) = shard.path.file_name() else { continue };
            let path = dir.join(name);
            let mut file = File::options().write(true).open(&path).map_err(Error::io(&path))?;
            for (place, bytes) in patches.iter().filter(|(place, _)| place.shard == i) {
                file.seek(SeekFrom::Start(place.bytes.start as u64)).map_err(Error::io(&path))?;
                file.write_all(bytes).map_err(Error::io(&path))?;
            }
            file.sync_all().map_err(Error::io(&path))?;
        }
        Ok(())
    }

    /// All tensors of PyTorch's files under their own names, with the patches.
    fn patched(&self, patches: &[(&Place, Vec<u8>)]) -> BTreeMap<String, Entry<'_>> {
        // In open_clip's layout the towers' tensors stand among the others once more, cut from
        // those and under our names.
        let is_ours = |name: &str| {
            self.format == Format::OpenClip
                && (name.starts_with("text_model.")
                    || name.starts_with("vision_model.")
                    || name.ends_with("_projection.weight"))
        };
        let mut entries = BTreeMap::new();
        for (name, place) in self.places.iter().filter(|(name, _)| !is_ours(name)) {
            let shard = &self.shards[place.shard];
            let mut bytes = Cow::Borrowed(shard.bytes(place));
            for (patch, new) in patches {
                let inside = patch.shard == place.shard
                    && place.bytes.start <= patch.bytes.start
                    && patch.bytes.end <= place.bytes.end;
                if inside {
                    let at = patch.bytes.start - place.bytes.start;
                    bytes.to_mut()[at..at + new.len()].copy_from_slice(new);
                }
            }
            if place.transposed {
                let [rows, columns] = place.matrix();
                bytes = Cow::Owned(transpose(&bytes, [columns, rows], place.dtype.bitsize() / 8));
            }
            entries.insert(name.clone(), Entry { dtype: place.dtype, shape: place.shape.clone(), bytes });
        }
        entries
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
