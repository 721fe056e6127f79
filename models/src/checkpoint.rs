//! Checkpoint folders: config and safetensors in, and out again in the layout they came in.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::config::{ClipConfig, TextConfig, VisionConfig};
use crate::error::Error;
use crate::open_clip::{self, Location};

/// Tensors on the host by checkpoint name: shape and values, row-major.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const OPEN_CLIP_CONFIG: &str = "open_clip_config.json";
const OPEN_CLIP_WEIGHTS: &str = "open_clip_model.safetensors";

/// Names under which a folder may hold the same weights once more. An export leaves out all but
/// those that it writes: they would still have the old values.
const WEIGHT_FILES: [&str; 8] = [
    WEIGHTS,
    INDEX,
    OPEN_CLIP_WEIGHTS,
    "open_clip_pytorch_model.bin",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "tf_model.h5",
    "flax_model.msgpack",
];

/// How a checkpoint names and cuts its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// transformers' `CLIPModel`: both towers.
    HfClip,
    /// transformers' `CLIPTextModelWithProjection`.
    HfText,
    /// transformers' `CLIPVisionModelWithProjection`.
    HfVision,
    /// open_clip's `CLIP`: both towers.
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

/// A CLIP checkpoint folder, opened for reading. Weights stay on disk until asked for.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    config_path: PathBuf,
    /// The weights, or the index of their shards.
    weights_path: PathBuf,
    config: ClipConfig,
    format: Format,
    shards: Vec<Shard>,
    places: BTreeMap<String, Place>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    bytes: Mmap,
}

/// Where a tensor lies.
#[derive(Clone, Debug)]
struct Place {
    shard: usize,
    bytes: Range<usize>,
    dtype: Dtype,
    /// As our towers have it.
    shape: Vec<usize>,
    /// Whether the file has rows and columns swapped.
    transposed: bool,
}

/// What an export did beside the weights.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Files of the folder that were not copied, because they hold the old weights in another
    /// format. Relative to the folder.
    pub left_out: Vec<PathBuf>,
}

impl Checkpoint {
    /// Opens a folder of a Hugging Face or an open_clip model and checks the names and shapes of
    /// all tensors that its config asks for. Reads headers only.
    ///
    /// Hugging Face: `config.json` with `model.safetensors`, or with the shards that
    /// `model.safetensors.index.json` lists. open_clip: `open_clip_config.json` with
    /// `open_clip_model.safetensors`. A folder that has both is read as Hugging Face.
    ///
    /// # Errors
    /// A missing or damaged file; a config that contradicts the weights.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, Error> {
        let dir = dir.as_ref().to_owned();
        let has = |name: &str| dir.join(name).is_file();
        let hugging_face = has(CONFIG) && (has(WEIGHTS) || has(INDEX));
        let open_clip = !hugging_face && has(OPEN_CLIP_CONFIG);
        let missing =
            |missing: &str, hint| Err(Error::NotACheckpoint { dir: dir.clone(), missing: missing.to_owned(), hint });
        let config_name = if open_clip { OPEN_CLIP_CONFIG } else { CONFIG };
        if !has(config_name) {
            return missing(
                CONFIG,
                "name the folder that transformers' save_pretrained wrote, \
                 or a downloaded copy of a hub repository",
            );
        }
        let config_path = dir.join(config_name);
        let json = fs::read_to_string(&config_path).map_err(Error::io(&config_path))?;
        let config =
            if open_clip { open_clip::parse(&config_path, &json)? } else { ClipConfig::parse(&config_path, &json)? };
        let format = match (&config.text, &config.vision) {
            _ if open_clip => Format::OpenClip,
            (Some(_), Some(_)) => Format::HfClip,
            (None, Some(_)) => Format::HfVision,
            _ => Format::HfText,
        };

        let weights = if open_clip { OPEN_CLIP_WEIGHTS } else { WEIGHTS };
        let (mut shards, mut places) = (Vec::new(), BTreeMap::new());
        let weights_path = if has(weights) {
            shards.push(Shard::open(dir.join(weights), 0, &mut places)?);
            dir.join(weights)
        } else if !open_clip && has(INDEX) {
            shards = open_shards(&dir, &mut places)?;
            dir.join(INDEX)
        } else {
            return missing(weights, "weights must be in safetensors; convert others with save_pretrained");
        };

        let mut checkpoint = Self { dir, config_path, weights_path, config, format, shards, places };
        let specs = checkpoint.config.tensors();
        let found = specs.iter().map(|(name, shape)| checkpoint.find(name, shape));
        let found = found.collect::<Result<Vec<Place>, Error>>()?;
        for ((name, _), place) in specs.into_iter().zip(found) {
            checkpoint.places.insert(name, place);
        }
        Ok(checkpoint)
    }

    /// The place of a tensor of our towers, by its name and shape in the checkpoint's own format.
    fn find(&self, name: &str, shape: &[usize]) -> Result<Place, Error> {
        let Location { name, third, transposed } = match self.format {
            Format::OpenClip => open_clip::locate(name),
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
        let Range { start, end } = place.bytes;
        let bytes = match third {
            Some(third) => {
                let run = (end - start) / 3;
                start + third * run..start + (third + 1) * run
            }
            None => start..end,
        };
        Ok(Place { bytes, shape: shape.to_vec(), transposed, ..place.clone() })
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
        Error::Config { path: self.config_path.clone(), message: format!("this checkpoint has no {tower} tower") }
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
        let shard = &self.shards[place.shard];
        let mut values = decode(&shard.bytes[place.bytes.clone()], place.dtype)
            .map_err(|message| self.tensor_error(name, place, message))?;
        if place.transposed {
            let [rows, columns] = place.matrix();
            values = transpose(&values, columns, rows);
        }
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            let message = format!("value {at} is {}; the weights are damaged", values[at]);
            return Err(self.tensor_error(name, place, message));
        }
        Ok((place.shape.clone(), values))
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
                part(&self.shards[place.shard].bytes[place.bytes.clone()]);
            }
        }
        hash.finalize().to_hex().to_string()
    }

    /// Writes a copy of the folder to `dir` with the values of the `changed` tensors replaced,
    /// each in the type it came in. All other bytes of the weights, and all other files
    /// (config, tokenizer, preprocessor, an ONNX image encoder), are copied as they are.
    ///
    /// The copy is made beside `dir` and renamed into place when it is whole; what was at `dir`
    /// is replaced.
    ///
    /// # Errors
    /// A changed tensor that the checkpoint lacks or has in another shape; a value that is not
    /// finite or does not fit the type; `dir` being the checkpoint itself; I/O.
    pub fn export(&self, dir: impl AsRef<Path>, changed: &Tensors) -> Result<Exported, Error> {
        let dir = dir.as_ref();
        if same_folder(dir, &self.dir) {
            return Err(Error::Input(format!(
                "{}: an export would overwrite the checkpoint that it starts from; \
                 name another folder",
                dir.display()
            )));
        }
        // Encode first: a bad value must not cost the copy.
        let mut patches = Vec::new();
        for (name, (shape, values)) in changed {
            let place = self.place(name)?;
            if *shape != place.shape || values.len() != place.shape.iter().product::<usize>() {
                return Err(Error::Shape {
                    path: self.shards[place.shard].path.clone(),
                    name: name.clone(),
                    config: self.config_path.clone(),
                    expected: place.shape.clone(),
                    found: shape.clone(),
                });
            }
            let bytes = if place.transposed {
                let [rows, columns] = place.matrix();
                encode(&transpose(values, rows, columns), place.dtype)
            } else {
                encode(values, place.dtype)
            };
            let bytes = bytes.map_err(|message| self.tensor_error(name, place, message))?;
            patches.push((place.shard, place.bytes.start, bytes));
        }

        let staged = Staged::new(dir)?;
        let mut exported = Exported::default();
        let ours = self.shards.iter().map(|shard| &shard.path).chain([&self.weights_path]);
        let ours: Vec<_> = ours.filter_map(|path| path.file_name()).collect();
        let stale = |name: &OsStr| {
            let known =
                WEIGHT_FILES.iter().any(|file| name == *file) || name.to_string_lossy().starts_with("pytorch_model-");
            known && !ours.contains(&name)
        };
        copy_folder(&self.dir, &staged.path, Path::new(""), &stale, &mut exported.left_out)?;
        for (i, shard) in self.shards.iter().enumerate() {
            let Some(name) = shard.path.file_name() else { continue };
            let path = staged.path.join(name);
            let mut file = File::options().write(true).open(&path).map_err(Error::io(&path))?;
            for (_, at, bytes) in patches.iter().filter(|(shard, ..)| *shard == i) {
                file.seek(SeekFrom::Start(*at as u64)).map_err(Error::io(&path))?;
                file.write_all(bytes).map_err(Error::io(&path))?;
            }
            file.sync_all().map_err(Error::io(&path))?;
        }
        staged.put_in_place()?;
        Ok(exported)
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
        let mut encoded = Vec::new();
        for (name, (shape, values)) in tensors {
            let fail = |message| Error::Tensor { path: path.clone(), name: name.clone(), message };
            encoded.push((name, shape, encode(values, dtype).map_err(fail)?));
        }
        let mut views = Vec::new();
        for (name, shape, bytes) in &encoded {
            let view = TensorView::new(dtype, shape.to_vec(), bytes).map_err(|e| Error::Tensor {
                path: path.clone(),
                name: name.to_string(),
                message: e.to_string(),
            })?;
            views.push((name.as_str(), view));
        }
        // transformers refuses a file without this entry.
        let metadata = [("format".to_owned(), "pt".to_owned())].into();
        let bytes = safetensors::serialize(views, Some(metadata))
            .map_err(|e| Error::Safetensors { path: path.clone(), message: e.to_string() })?;
        fs::write(&path, bytes).map_err(Error::io(&path))?;
        let path = staged.path.join(CONFIG);
        let json = format!("{:#}\n", config.to_json());
        fs::write(&path, json).map_err(Error::io(&path))?;
        staged.put_in_place()
    }
}

impl Place {
    fn matrix(&self) -> [usize; 2] {
        match self.shape[..] {
            [rows, columns] => [rows, columns],
            _ => [1, self.shape.iter().product()],
        }
    }
}

impl Shard {
    /// Maps the file and adds its tensors to `places`.
    fn open(path: PathBuf, shard: usize, places: &mut BTreeMap<String, Place>) -> Result<Self, Error> {
        let file = File::open(&path).map_err(Error::io(&path))?;
        // SAFETY: the map is read-only and private to this struct. As with every reader of
        // mapped weights, nobody may truncate the file while it is open; our own writers never
        // write into a weights file that is in place, they rename a new one over it.
        let bytes = unsafe { Mmap::map(&file) }.map_err(Error::io(&path))?;
        // Checks the header's length against the file's, that the tensors cover the data without
        // gaps or overlaps, and each one's bytes against its shape and type.
        let (header, metadata) = SafeTensors::read_metadata(&bytes)
            .map_err(|e| Error::Safetensors { path: path.clone(), message: e.to_string() })?;
        let data = 8 + header;
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            let place = Place {
                shard,
                bytes: data + start..data + end,
                dtype: info.dtype,
                shape: info.shape.clone(),
                transposed: false,
            };
            if places.insert(name.clone(), place).is_some() {
                let message = "stands in two shards".into();
                return Err(Error::Tensor { path, name, message });
            }
        }
        Ok(Self { path, bytes })
    }
}

/// Opens the shards that the index lists, and checks that they hold what it says.
fn open_shards(dir: &Path, places: &mut BTreeMap<String, Place>) -> Result<Vec<Shard>, Error> {
    let index = dir.join(INDEX);
    let listed = read_index(&index)?;
    let files: BTreeSet<&String> = listed.values().collect();
    let files = files.into_iter().enumerate();
    let shards: Vec<Shard> = files.map(|(i, file)| Shard::open(dir.join(file), i, places)).collect::<Result<_, _>>()?;
    for (name, file) in &listed {
        let found = places.get(name).map(|place| &shards[place.shard].path);
        if found != Some(&dir.join(file)) {
            let message = format!("tensor {name} is not in {file}, where it is listed");
            return Err(Error::Config { path: index, message });
        }
    }
    Ok(shards)
}

/// Tensor name to file name.
fn read_index(path: &Path) -> Result<BTreeMap<String, String>, Error> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let fail = |message: String| Error::Config { path: path.to_owned(), message };
    let json = fs::read_to_string(path).map_err(Error::io(path))?;
    let index: Index = serde_json::from_str(&json).map_err(|e| fail(e.to_string()))?;
    // The index may come from anywhere; it must not lead out of the folder.
    match index.weight_map.values().find(|file| Path::new(file).file_name() != Some(file.as_ref())) {
        Some(file) => Err(fail(format!("{file:?} is not the name of a file in this folder"))),
        None => Ok(index.weight_map),
    }
}

fn decode(bytes: &[u8], dtype: Dtype) -> Result<Vec<f32>, String> {
    let halves = bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
    Ok(match dtype {
        Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        Dtype::F16 => halves.map(|b| f16::from_le_bytes(b).to_f32()).collect(),
        Dtype::BF16 => halves.map(|b| bf16::from_le_bytes(b).to_f32()).collect(),
        other => return Err(format!("its type is {other:?}; known are F32, F16 and BF16")),
    })
}

fn encode(values: &[f32], dtype: Dtype) -> Result<Vec<u8>, String> {
    if let Some(at) = values.iter().position(|v| !v.is_finite()) {
        return Err(format!("value {at} is {}", values[at]));
    }
    let fits = |v: f32| match dtype {
        Dtype::F16 => f16::from_f32(v).is_finite(),
        Dtype::BF16 => bf16::from_f32(v).is_finite(),
        _ => true,
    };
    if let Some(at) = values.iter().position(|&v| !fits(v)) {
        return Err(format!("value {at} is {}, too large for {dtype:?}", values[at]));
    }
    Ok(match dtype {
        Dtype::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
        Dtype::BF16 => values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect(),
        other => return Err(format!("its type is {other:?}; known are F32, F16 and BF16")),
    })
}

/// `[rows, columns]` to `[columns, rows]`.
fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let column = |j: usize| (0..rows).map(move |i| values[i * columns + j]);
    (0..columns).flat_map(column).collect()
}

fn same_folder(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// Copies files, following links to files, and folders that are not links. `inside` is the path
/// of `from` inside the folder that is copied.
fn copy_folder(
    from: &Path,
    to: &Path,
    inside: &Path,
    stale: &dyn Fn(&OsStr) -> bool,
    left_out: &mut Vec<PathBuf>,
) -> Result<(), Error> {
    let mut entries: Vec<_> =
        fs::read_dir(from).and_then(Iterator::collect::<Result<_, _>>).map_err(Error::io(from))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let (source, target) = (entry.path(), to.join(&name));
        // Deeper down, the same name is another model's.
        if inside.as_os_str().is_empty() && stale(&name) {
            left_out.push(inside.join(&name));
        } else if source.is_file() {
            fs::copy(&source, &target).map_err(Error::io(&source))?;
            make_writable(&target)?;
        } else if entry.file_type().map_err(Error::io(&source))?.is_dir() {
            fs::create_dir(&target).map_err(Error::io(&target))?;
            copy_folder(&source, &target, &inside.join(&name), stale, left_out)?;
        }
    }
    Ok(())
}

/// `fs::copy` keeps permissions, and downloaded checkpoints are often read-only.
fn make_writable(path: &Path) -> Result<(), Error> {
    let metadata = fs::metadata(path).map_err(Error::io(path))?;
    let mut permissions = metadata.permissions();
    if permissions.readonly() {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            permissions.set_mode(permissions.mode() | 0o200);
        }
        #[cfg(not(unix))]
        permissions.set_readonly(false);
        fs::set_permissions(path, permissions).map_err(Error::io(path))?;
    }
    Ok(())
}

/// A folder that is filled beside its place and renamed into it when it is whole. Dropped
/// before that, it is removed.
struct Staged {
    path: PathBuf,
    place: PathBuf,
}

impl Staged {
    fn new(place: &Path) -> Result<Self, Error> {
        let path = beside(place, "partial")?;
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).map_err(Error::io(&path))?;
        Ok(Self { path, place: place.to_owned() })
    }

    fn put_in_place(self) -> Result<(), Error> {
        let old = beside(&self.place, "old")?;
        if self.place.exists() {
            let _ = fs::remove_dir_all(&old);
            fs::rename(&self.place, &old).map_err(Error::io(&self.place))?;
        }
        fs::rename(&self.path, &self.place).map_err(Error::io(&self.place))?;
        let _ = fs::remove_dir_all(&old);
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Gone already when it was put in place.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// `dir/name` to `dir/.name.suffix`: the same file system, and out of sight.
fn beside(place: &Path, suffix: &str) -> Result<PathBuf, Error> {
    match place.file_name() {
        Some(name) => Ok(place.with_file_name(format!(".{}.{suffix}", name.to_string_lossy()))),
        None => Err(Error::Input(format!("{}: not the name of a folder", place.display()))),
    }
}
