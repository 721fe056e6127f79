//! One file of the cache: what became of the samples of one shard.
//!
//! An Arrow IPC file with one record batch, one row per sample in the order of the
//! tar; any Arrow reader opens it. Its last bytes before Arrow's own trailer are a
//! seal, a BLAKE3 hash of everything else in the file. The seal lies inside what the
//! trailer calls the footer, after the footer's data, where readers do not look.
//!
//! The seal is checked before Arrow parses anything: a file that passes is neither cut
//! nor damaged, and the lengths and offsets that the parser trusts are as they were
//! written. The key of the hash is a constant in this file. It tells our entries from
//! other files; it does not protect against someone who forges one.

use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_ipc::reader::FileReader;
use arrow_ipc::root_as_footer;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, Metadata, Schema};
use items::{CachedSample, Encoded, Feature, ShardFault, Work};

/// Incremented when files of the version before can no longer be read.
pub(crate) const VERSION: u32 = 1;

/// Arrow's trailer: the footer's length in 4 bytes, and the magic word in 6.
const TRAILER: usize = 10;
const SEAL: usize = 32;
const SEAL_KEY: &str = "pipeline 2026-11-22 seal of a feature cache entry v1";

/// A larger file is not written, and not read into memory.
pub(crate) const MAX_BYTES: u64 = 1 << 31;

/// What an entry was made from; under another key it is stale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryKey {
    /// The fingerprint of encoder, preprocessing and recipe.
    pub fingerprint: String,
    /// Where the shard is.
    pub shard: String,
    /// Which version of the shard.
    pub identity: String,
}

/// The content of an entry.
#[derive(Debug)]
pub struct Entry {
    /// In the order of the tar.
    pub samples: Vec<CachedSample>,
    /// What is wrong with the shard itself.
    pub fault: Option<ShardFault>,
}

/// Why a file of a cache cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each variant is its message
pub enum EntryFault {
    #[error("it was made for another version of the shard")]
    Stale,
    #[error("it is damaged or not a file of this cache: {0}")]
    Damaged(&'static str),
    #[error("{0}")]
    Unfit(&'static str),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("it is damaged: {0}")]
    Arrow(#[from] ArrowError),
}

/// About how much memory a sample holds.
pub fn sample_bytes(sample: &CachedSample) -> usize {
    let work = feature(sample).map_or(64, |feature| feature.len() * 4);
    let captions: usize = sample.captions.iter().map(|caption| caption.len() + 24).sum();
    128 + sample.key.len() + captions + work
}

fn feature(sample: &CachedSample) -> Option<&Feature> {
    if let Work::Done(feature) = &sample.work { Some(feature) } else { None }
}

/// The stage that skipped a sample, and why.
fn skip(sample: &CachedSample) -> Option<(&str, &str)> {
    if let Work::Skipped { stage, reason } = &sample.work { Some((stage, reason)) } else { None }
}

impl Entry {
    /// About how much memory it holds.
    pub fn bytes(&self) -> usize {
        self.samples.iter().map(sample_bytes).sum::<usize>() + 256
    }

    /// The file.
    ///
    /// # Errors
    /// More than [`MAX_BYTES`], or features of different widths.
    pub fn to_bytes(&self, key: &EntryKey) -> Result<Vec<u8>, EntryFault> {
        // Arrow counts the bytes of texts in 31 bits.
        let large = EntryFault::Unfit("the shard has more than 2 GiB of features and captions");
        if self.bytes() as u64 >= MAX_BYTES {
            return Err(large);
        }
        let batch = self.batch(key)?;
        let mut bytes = Vec::new();
        let mut writer = FileWriter::try_new(&mut bytes, &batch.schema())?;
        writer.write(&batch)?;
        writer.finish()?;
        drop(writer);
        let bytes = sealed(bytes)?;
        if bytes.len() as u64 > MAX_BYTES { Err(large) } else { Ok(bytes) }
    }

    fn batch(&self, key: &EntryKey) -> Result<RecordBatch, EntryFault> {
        let dim = self.samples.iter().find_map(feature).map_or(1, |feature| feature.len());
        let keys = StringArray::from_iter_values(self.samples.iter().map(|sample| &*sample.key));
        let mut captions = ListBuilder::new(StringBuilder::new());
        let mut features = FixedSizeListBuilder::new(Float32Builder::new(), dim as i32);
        for sample in &self.samples {
            captions.append_value(sample.captions.iter().map(Some));
            let feature = feature(sample);
            match feature {
                Some(feature) if feature.len() != dim => {
                    return Err(EntryFault::Unfit("its features have different widths"));
                }
                Some(feature) => features.values().append_slice(feature),
                None => features.values().append_value_n(0.0, dim),
            }
            features.append(feature.is_some());
        }
        let skips = || self.samples.iter().map(skip);
        let columns: [(&str, ArrayRef); 5] = [
            ("key", Arc::new(keys)),
            ("captions", Arc::new(captions.finish())),
            ("feature", Arc::new(features.finish())),
            ("stage", Arc::new(skips().map(|skip| skip.map(|(stage, _)| stage)).collect::<StringArray>())),
            ("reason", Arc::new(skips().map(|skip| skip.map(|(_, reason)| reason)).collect::<StringArray>())),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| {
            let nullable = matches!(name, "feature" | "stage" | "reason");
            (name, column, nullable)
        }))?;
        let mut metadata = key.metadata();
        if let Some(fault) = &self.fault {
            metadata.insert("fault".into(), fault.reason.clone());
        }
        let schema = Schema::clone(&batch.schema()).with_metadata(metadata);
        Ok(batch.with_schema(Arc::new(schema))?)
    }

    /// Reads a file and checks that it is whole and was made for `key`; `None` when it does not exist.
    ///
    /// # Errors
    /// [`EntryFault`], which the cache takes for an entry that is absent.
    pub fn read(path: &Path, key: &EntryKey) -> Result<Option<Self>, EntryFault> {
        match read(path) {
            Ok(bytes) => Self::from_bytes(&bytes, key).map(Some),
            Err(EntryFault::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// As [`Entry::read`], from a file in memory.
    pub fn from_bytes(bytes: &[u8], key: &EntryKey) -> Result<Self, EntryFault> {
        let fits = |metadata: &Metadata| key.metadata().iter().all(|(name, value)| metadata.get(name) == Some(value));
        Ok(Self::parse(bytes, fits)?.1)
    }

    /// The metadata and the content of a sealed file, if `wanted` accepts the metadata.
    fn parse(bytes: &[u8], wanted: impl Fn(&Metadata) -> bool) -> Result<(Metadata, Self), EntryFault> {
        let Some(sealed) = bytes.len().checked_sub(SEAL + TRAILER) else {
            return Err(EntryFault::Damaged("it is cut"));
        };
        let (body, rest) = bytes.split_at(sealed);
        let (found, trailer) = rest.split_at(SEAL);
        if seal(body, trailer).as_bytes() != found {
            return Err(EntryFault::Damaged("its checksum is wrong"));
        }
        // A forged seal may stand around anything, and Arrow panics at some of that.
        catch_unwind(AssertUnwindSafe(|| Self::unsealed(bytes, wanted)))
            .unwrap_or(Err(EntryFault::Damaged("Arrow's reader fails at it")))
    }

    fn unsealed(bytes: &[u8], wanted: impl Fn(&Metadata) -> bool) -> Result<(Metadata, Self), EntryFault> {
        blocks_lie_inside(bytes)?;
        let mut reader = FileReader::try_new(Cursor::new(bytes), None)?;
        let schema = reader.schema();
        let metadata = schema.metadata();
        if !wanted(metadata) {
            return Err(EntryFault::Stale);
        }
        let fault = metadata.get("fault").map(|reason| ShardFault { reason: reason.clone() });
        let batch = reader.next().ok_or(EntryFault::Damaged("it has no rows"))??;
        let samples = samples(&batch).ok_or(EntryFault::Damaged("its columns are not those of this cache"))?;
        Ok((metadata.clone(), Self { samples, fault }))
    }
}

/// What a file of a feature cache says about itself.
#[derive(Debug, Clone, serde::Serialize)]
pub struct EntryInfo {
    /// The fingerprint of encoder, preprocessing and the options that shape the encoder's input.
    pub fingerprint: String,
    /// The shard that it was made from.
    pub shard: String,
    /// Which version of the shard.
    pub identity: String,
    /// Samples, usable or not.
    pub rows: usize,
    /// Width of a feature; `None` where no sample was usable.
    pub dim: Option<usize>,
    /// Captions of all samples.
    pub captions: usize,
    /// Samples that were skipped: key, stage, reason.
    pub skipped: Vec<(String, String, String)>,
    /// What is wrong with the shard itself.
    pub fault: Option<String>,
    /// Size of the file.
    pub bytes: u64,
}

impl EntryInfo {
    /// Reads a file of a cache, whatever encoder and shard it was made from.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, or is not a file of a feature cache.
    pub fn open(path: &Path) -> Result<Self, EntryFault> {
        let bytes = read(path)?;
        let format = format!("features/{VERSION}");
        let (metadata, entry) = Entry::parse(&bytes, |metadata| metadata.get("format") == Some(&format))?;
        let text = |name: &str| metadata.get(name).cloned().unwrap_or_default();
        let skipped = entry.samples.iter().filter_map(|sample| {
            let (stage, reason) = skip(sample)?;
            Some((sample.key.to_string(), stage.to_string(), reason.to_string()))
        });
        Ok(Self {
            fingerprint: text("fingerprint"),
            shard: text("shard"),
            identity: text("identity"),
            rows: entry.samples.len(),
            dim: entry.samples.iter().find_map(feature).map(|feature| feature.len()),
            captions: entry.samples.iter().map(|sample| sample.captions.len()).sum(),
            skipped: skipped.collect(),
            fault: entry.fault.map(|fault| fault.reason),
            bytes: bytes.len() as u64,
        })
    }
}

impl EntryKey {
    fn metadata(&self) -> HashMap<String, String> {
        [
            ("format", format!("features/{VERSION}")),
            ("fingerprint", self.fingerprint.clone()),
            ("shard", self.shard.clone()),
            ("identity", self.identity.clone()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}

/// An Arrow IPC file with the seal of this cache in it.
///
/// # Errors
/// Bytes without the trailer of an Arrow IPC file.
pub fn sealed(mut arrow: Vec<u8>) -> Result<Vec<u8>, EntryFault> {
    let no_trailer = EntryFault::Damaged("it has no trailer");
    let Some(body) = arrow.len().checked_sub(TRAILER) else { return Err(no_trailer) };
    let trailer = arrow.split_off(body);
    let Some((length, magic)) = trailer.split_first_chunk::<4>() else { return Err(no_trailer) };
    let longer = i32::from_le_bytes(*length).checked_add(SEAL as i32).ok_or(no_trailer)?;
    let trailer = [&longer.to_le_bytes(), magic].concat();
    let seal = seal(&arrow, &trailer);
    arrow.extend(seal.as_bytes());
    arrow.extend(trailer);
    Ok(arrow)
}

/// Checks that everything the footer points at is in the file: Arrow allocates a block of any length.
fn blocks_lie_inside(bytes: &[u8]) -> Result<(), EntryFault> {
    let cut = || EntryFault::Damaged("its footer points outside of it");
    let body = bytes.len().checked_sub(TRAILER).ok_or_else(cut)?;
    let length: [u8; 4] = bytes[body..body + 4].try_into().map_err(|_| cut())?;
    let start = usize::try_from(i32::from_le_bytes(length)).ok().and_then(|length| body.checked_sub(length));
    let footer = root_as_footer(&bytes[start.ok_or_else(cut)?..body]).map_err(|_| cut())?;
    let blocks = footer.recordBatches().into_iter().flatten().chain(footer.dictionaries().into_iter().flatten());
    for block in blocks {
        let parts = [block.offset(), i64::from(block.metaDataLength()), block.bodyLength()];
        let end = parts.iter().try_fold(0u64, |end, part| end.checked_add(u64::try_from(*part).ok()?));
        if end.is_none_or(|end| end > body as u64) {
            return Err(cut());
        }
    }
    Ok(())
}

/// The bytes of a file that is no larger than an entry can be.
fn read(path: &Path) -> Result<Vec<u8>, EntryFault> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_BYTES {
        true => Err(EntryFault::Damaged("it is larger than any that is written here")),
        false => Ok(bytes),
    }
}

fn seal(body: &[u8], trailer: &[u8]) -> blake3::Hash {
    blake3::Hasher::new_derive_key(SEAL_KEY).update(body).update(trailer).finalize()
}

/// The rows; `None` when the columns are of other types or a row is neither done nor skipped.
fn samples(batch: &RecordBatch) -> Option<Vec<CachedSample>> {
    let keys = batch.column_by_name("key")?.as_string_opt::<i32>()?;
    let captions = batch.column_by_name("captions")?.as_list_opt::<i32>()?;
    let features = batch.column_by_name("feature")?.as_fixed_size_list_opt()?;
    let stages = batch.column_by_name("stage")?.as_string_opt::<i32>()?;
    let reasons = batch.column_by_name("reason")?.as_string_opt::<i32>()?;
    let mut samples = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let texts = captions.value(row);
        let captions = texts.as_string_opt::<i32>()?.iter().map(|text| text.map(str::to_owned));
        let work: Work<Encoded> = if features.is_valid(row) {
            Work::Done(features.value(row).as_primitive_opt::<Float32Type>()?.values()[..].into())
        } else {
            Work::Skipped {
                stage: stages.is_valid(row).then(|| stages.value(row).into())?,
                reason: reasons.is_valid(row).then(|| reasons.value(row).into())?,
            }
        };
        samples.push(CachedSample { key: keys.value(row).into(), captions: captions.collect::<Option<_>>()?, work });
    }
    Some(samples)
}
