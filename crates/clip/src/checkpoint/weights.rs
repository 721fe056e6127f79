//! Files of weights: safetensors, and PyTorch's pickled state dicts.
//!
//! Nothing of a file is believed before it is checked, and no code of it is run.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use super::pickle::{Pickle, Tensor};
use crate::error::Error;

/// Each wrapper is taken off for all names at once, so that many of them would take long.
const MOST_WRAPPERS: usize = 16;
/// What data-parallel training and `torch.compile` put before every name.
const WRAPPERS: [&str; 2] = ["module.", "_orig_mod."];
/// How files of PyTorch before 1.6 begin: a pickle of this number.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// A file of weights, open for reading.
#[derive(Debug)]
pub(super) struct Shard {
    pub path: PathBuf,
    bytes: Mmap,
    /// Not a PyTorch file.
    pub is_safetensors: bool,
}

/// Where a tensor lies.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub shard: usize,
    /// From the first byte of the file.
    pub bytes: Range<usize>,
    pub dtype: Dtype,
    /// As our towers have it.
    pub shape: Vec<usize>,
    /// Whether the file has rows and columns swapped.
    pub transposed: bool,
}

impl Place {
    /// Rows and columns as our towers have them.
    pub fn matrix(&self) -> [usize; 2] {
        match self.shape[..] {
            [rows, columns] => [rows, columns],
            _ => [1, self.shape.iter().product()],
        }
    }
}

/// Tensors by name, wrappers left off.
pub(super) type Places = BTreeMap<String, Place>;

impl Shard {
    /// Opens a file by its extension: `.safetensors`, anything else is a PyTorch state dict. Its
    /// tensors are added to `places`.
    pub fn open(path: PathBuf, shard: usize, places: &mut Places) -> Result<Self, Error> {
        let is_safetensors = path.extension().is_some_and(|extension| extension == "safetensors");
        let file = File::open(&path).map_err(Error::io(&path))?;
        // SAFETY: the map is read-only and private to this struct. As with every reader of
        // mapped weights, nobody may truncate the file while it is open; our own writers never
        // write into a weights file that is in place, they rename a new one over it.
        let bytes = unsafe { Mmap::map(&file) }.map_err(Error::io(&path))?;
        let found = match is_safetensors {
            _ if bytes.is_empty() => Err("it is empty".into()),
            _ if bytes.starts_with(b"version https://git-lfs") => {
                Err("it is a Git LFS pointer, and the weights are elsewhere".into())
            }
            _ if bytes.starts_with(b"<") => Err("it is a web page, which a server gave in its place".into()),
            true => safetensors(&bytes, shard),
            false => pytorch(&bytes, shard),
        };
        let found = found.map_err(|message| match is_safetensors {
            true => Error::Safetensors { path: path.clone(), message },
            false => Error::PyTorch { path: path.clone(), message },
        })?;
        for (name, place) in unwrapped(found) {
            if places.insert(name.clone(), place).is_some() {
                return Err(Error::Tensor { path, name, message: "stands in two shards".into() });
            }
        }
        Ok(Self { path, bytes, is_safetensors })
    }

    /// The bytes of a tensor of this file, as they lie there.
    pub fn bytes(&self, place: &Place) -> &[u8] {
        &self.bytes[place.bytes.clone()]
    }
}

fn safetensors(bytes: &[u8], shard: usize) -> Result<Places, String> {
    // Checks the header's length against the file's, that the tensors cover the data without
    // gaps or overlaps, and each one's bytes against its shape and type.
    let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| match error {
        SafeTensorError::MetadataIncompleteBuffer => other_length(bytes),
        other => other.to_string(),
    })?;
    let data = 8 + header;
    let places = metadata.tensors().into_iter().map(|(name, info)| {
        let (start, end) = info.data_offsets;
        let bytes = data + start..data + end;
        (name, Place { shard, bytes, dtype: info.dtype, shape: info.shape.clone(), transposed: false })
    });
    Ok(places.collect())
}

/// What is wrong with a file whose tensors do not end where it ends.
fn other_length(bytes: &[u8]) -> String {
    let header = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length) as usize);
    let json = bytes.get(8..8 + header).unwrap_or_default();
    let tensors: BTreeMap<String, serde_json::Value> = serde_json::from_slice(json).unwrap_or_default();
    let ends = tensors.values().filter_map(|tensor| tensor["data_offsets"][1].as_u64());
    let expected = ends.max().unwrap_or(0).saturating_add(8 + header as u64);
    let what = if (bytes.len() as u64) < expected { "cut short" } else { "too long" };
    format!("it is {what}: its tensors end at byte {expected}, and it has {} bytes", bytes.len())
}

/// A file that `torch.save` wrote: a ZIP archive since PyTorch 1.6, pickles one after the other
/// before that. Numbers lie in both as they are, so they are mapped like those of safetensors.
fn pytorch(bytes: &[u8], shard: usize) -> Result<Places, String> {
    if bytes.starts_with(LEGACY) { legacy(bytes, shard) } else { archive(bytes, shard) }
}

fn archive(bytes: &[u8], shard: usize) -> Result<Places, String> {
    let damaged = |error: rawzip::Error| format!("its archive is damaged or cut short: {error}");
    if !bytes.starts_with(b"PK") {
        return Err("it does not begin as files of torch.save do".into());
    }
    let archive = rawzip::ZipArchive::from_slice(bytes).map_err(damaged)?;
    let mut files: HashMap<String, Range<usize>> = HashMap::new();
    let mut entries = archive.entries();
    while let Some(entry) = entries.next_entry().map_err(damaged)? {
        let path = String::from_utf8_lossy(entry.file_path().as_bytes()).into_owned();
        if entry.compression_method() != rawzip::CompressionMethod::STORE {
            return Err(format!("its part {path} is compressed, which torch.save does not do"));
        }
        let (start, end) = archive.get_entry(entry.wayfinder()).map_err(damaged)?.compressed_data_range();
        // All parts lie in one folder, under any name.
        let name = path.split_once('/').map_or(&*path, |(_, name)| name).to_owned();
        files.insert(name, start as usize..end as usize);
    }
    if files.contains_key("constants.pkl") {
        return Err("it is a TorchScript program; in Python, torch.save(torch.jit.load(FILE).state_dict(), NEW) \
                    takes its weights out"
            .into());
    }
    let content = |range: &Range<usize>| bytes.get(range.clone()).ok_or("a part reaches beyond the file's end");
    if let Some(order) = files.get("byteorder")
        && content(order)? != b"little"
    {
        return Err("it is from a big-endian machine".into());
    }
    let program = files.get("data.pkl").ok_or("it has no data.pkl")?;
    let pickle = Pickle::read(content(program)?)?;
    state_dict(&pickle, bytes.len(), shard, |key| files.get(&format!("data/{key}")).cloned())
}

fn legacy(bytes: &[u8], shard: usize) -> Result<Places, String> {
    let mut at = LEGACY.len();
    let mut next = || {
        let pickle = Pickle::read(&bytes[at..])?;
        at += pickle.len;
        Ok::<_, String>(pickle)
    };
    let (_version, machine, pickle, keys) = (next()?, next()?, next()?, next()?);
    if machine.flag("little_endian") != Some(true) {
        return Err("it is not from a little-endian machine".into());
    }
    let sizes: HashMap<&str, usize> = pickle.storages().map(|storage| (storage.key, width(storage.kind))).collect();
    let mut files = HashMap::new();
    for key in keys.texts().ok_or("its list of storages is damaged")? {
        let cut = || format!("it is cut short at storage {key}");
        let count = bytes.get(at..at + 8).and_then(|count| count.try_into().ok()).ok_or_else(cut)?;
        let count = usize::try_from(u64::from_le_bytes(count)).map_err(|_| cut())?;
        let end = count.checked_mul(sizes.get(key).copied().unwrap_or(0)).and_then(|len| len.checked_add(at + 8));
        let end = end.filter(|end| *end <= bytes.len()).ok_or_else(cut)?;
        files.insert(key, at + 8..end);
        at = end;
    }
    state_dict(&pickle, bytes.len(), shard, |key| files.get(key).cloned())
}

/// The places of a state dict's tensors. `storage` says where in the file the bytes of one are.
fn state_dict(
    pickle: &Pickle<'_>,
    len: usize,
    shard: usize,
    storage: impl Fn(&str) -> Option<Range<usize>>,
) -> Result<Places, String> {
    let mut places = Places::new();
    for (name, Tensor { storage: from, offset, shape, stride }) in pickle.tensors()? {
        let dtype = storage_type(from.kind).ok_or_else(|| format!("tensor {name} is of the type {}", from.kind))?;
        let whole = storage(from.key).filter(|range| range.end <= len && range.start <= range.end);
        let whole = whole.ok_or_else(|| format!("the numbers of tensor {name} are missing"))?;
        // Rows one after the other, or columns.
        let contiguous = is_contiguous(shape, stride);
        let flipped = shape.len() == 2 && is_contiguous(&[shape[1], shape[0]], &[stride[1], stride[0]]);
        if !contiguous && !flipped {
            return Err(format!("tensor {name} is a view with gaps; save it with .contiguous()"));
        }
        let size = width(from.kind);
        let count = shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side));
        let bytes = count.and_then(|count| {
            let start = offset.checked_mul(size)?.checked_add(whole.start)?;
            let end = count.checked_mul(size)?.checked_add(start)?;
            (end <= whole.end).then_some(start..end)
        });
        let bytes = bytes.ok_or_else(|| {
            format!("tensor {name} has shape {shape:?}, but its storage has {} bytes; the file is damaged", whole.len())
        })?;
        places.insert(name.to_owned(), Place { shard, bytes, dtype, shape: shape.clone(), transposed: !contiguous });
    }
    if places.is_empty() {
        return Err("it holds no tensors".into());
    }
    Ok(places)
}

/// Whether the last side varies fastest, without gaps. The stride of a side of length 1 means nothing.
fn is_contiguous(shape: &[usize], stride: &[usize]) -> bool {
    let mut expected = 1usize;
    for (side, step) in shape.iter().zip(stride).rev() {
        if *side != 1 && *step != expected {
            return false;
        }
        expected = expected.saturating_mul(*side);
    }
    true
}

fn storage_type(kind: &str) -> Option<Dtype> {
    Some(match kind {
        "DoubleStorage" => Dtype::F64,
        "FloatStorage" => Dtype::F32,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" => Dtype::U8,
        "BoolStorage" => Dtype::BOOL,
        _ => return None,
    })
}

/// Bytes of a number.
fn width(kind: &str) -> usize {
    storage_type(kind).map_or(0, |dtype| dtype.bitsize() / 8)
}

/// The same places without the wrappers that all names carry.
fn unwrapped(mut places: Places) -> Places {
    for _ in 0..MOST_WRAPPERS {
        let common = |wrapper: &&&str| !places.is_empty() && places.keys().all(|name| name.starts_with(**wrapper));
        let Some(wrapper) = WRAPPERS.iter().find(common) else { break };
        let inner = |(name, place): (String, Place)| (name[wrapper.len()..].to_owned(), place);
        places = places.into_iter().map(inner).collect();
    }
    places
}

/// Opens the shards that an index lists, and checks that they hold what it says.
pub(super) fn open_index(index: &Path, places: &mut Places) -> Result<Vec<Shard>, Error> {
    let listed = read_index(index)?;
    let files: BTreeSet<&String> = listed.values().collect();
    let files = files.into_iter().enumerate();
    let shards: Vec<Shard> =
        files.map(|(i, file)| Shard::open(index.with_file_name(file), i, places)).collect::<Result<_, _>>()?;
    for (name, file) in &listed {
        let found = places.get(name).map(|place| &shards[place.shard].path);
        if found != Some(&index.with_file_name(file)) {
            let message = format!("tensor {name} is not in {file}, where it is listed");
            return Err(Error::Config { path: index.to_owned(), message });
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

/// Values of a tensor's bytes.
pub(super) fn decode(bytes: &[u8], dtype: Dtype) -> Result<Vec<f32>, String> {
    let halves = bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
    let values: Vec<f32> = match dtype {
        Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        Dtype::F16 => halves.map(|b| f16::from_le_bytes(b).to_f32()).collect(),
        Dtype::BF16 => halves.map(|b| bf16::from_le_bytes(b).to_f32()).collect(),
        other => return Err(format!("its type is {other:?}; known are F32, F16 and BF16")),
    };
    match values.iter().position(|v| !v.is_finite()) {
        Some(at) => Err(format!("value {at} is {}; the weights are damaged", values[at])),
        None => Ok(values),
    }
}

/// Bytes of a tensor's values.
pub(super) fn encode(values: &[f32], dtype: Dtype) -> Result<Vec<u8>, String> {
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

/// `[rows, columns]` to `[columns, rows]`, of values that are `size` bytes each.
pub(super) fn transpose(bytes: &[u8], [rows, columns]: [usize; 2], size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for column in 0..columns {
        for row in 0..rows {
            let at = (row * columns + column) * size;
            out.extend_from_slice(&bytes[at..at + size]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_nothing_but_wrappers_is_no_work_without_end() {
        let place = Place { shard: 0, bytes: 0..4, dtype: Dtype::F32, shape: vec![], transposed: false };
        let name = "module.".repeat(1 << 20);
        let left = unwrapped([(name.clone(), place.clone())].into());
        assert_eq!(left.keys().next().map(String::len), Some(name.len() - 7 * MOST_WRAPPERS));
        let left = unwrapped([("module._orig_mod.a".to_owned(), place)].into());
        assert!(left.contains_key("a"));
    }
}
