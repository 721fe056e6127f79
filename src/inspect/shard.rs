//! What a shard holds.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;
use stage_shards::{CaptionSource, Rules, Samples, key_and_extension};

/// JSON members that are read to find the field with the captions.
const JSON_READ: usize = 20;
/// Fields in which datasets keep captions, the most likely first.
const FIELDS: [&str; 6] = ["caption", "captions", "text", "texts", "sentences", "sentence"];

/// What a shard holds, as the stage `shards` would read it.
#[derive(Debug, Clone, Serialize)]
pub struct ShardInfo {
    pub path: PathBuf,
    pub bytes: u64,
    /// Members by extension.
    pub extensions: BTreeMap<String, usize>,
    /// Members that belong to no sample: hidden files, those that macOS adds (`._NAME`), names without a dot.
    pub passed_over: usize,
    /// The value that the option `captions` of the stage `shards` needs.
    pub captions: Option<String>,
    /// Samples, usable or not.
    pub samples: u32,
    pub usable: usize,
    /// Captions of all usable samples.
    pub captions_in_all: usize,
    /// Bytes of the pictures of all usable samples.
    pub picture_bytes: u64,
    /// Width and height of the smallest and of the largest picture.
    pub smallest: Option<(u32, u32)>,
    pub largest: Option<(u32, u32)>,
    /// The first usable sample: its key and a caption.
    pub example: Option<(String, String)>,
    /// Samples that cannot be used: key and reason.
    pub faults: Vec<(String, String)>,
    /// Why the shard ended early, if it did.
    pub ended: Option<String>,
}

impl ShardInfo {
    /// Reads a whole shard.
    ///
    /// # Errors
    /// The file cannot be opened. Damage inside is part of the result.
    pub fn read(path: &Path) -> Result<Self> {
        let (extensions, passed_over, json_field) = members(path)?;
        let source = match (extensions.contains_key("txt"), json_field) {
            (true, _) => Some(CaptionSource::Txt),
            (false, Some(field)) => Some(CaptionSource::Json(field)),
            (false, None) => None,
        };
        let bytes = std::fs::metadata(path).with_context(|| path.display().to_string())?.len();
        let mut info = Self {
            path: path.to_owned(),
            bytes,
            extensions,
            passed_over,
            captions: source.as_ref().map(word),
            samples: 0,
            usable: 0,
            captions_in_all: 0,
            picture_bytes: 0,
            smallest: None,
            largest: None,
            example: None,
            faults: Vec::new(),
            ended: None,
        };
        let rules = Rules { captions: source.unwrap_or(CaptionSource::Txt), ..Rules::default() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().context("cannot read files")?;
        runtime.block_on(info.samples(rules))?;
        Ok(info)
    }

    async fn samples(&mut self, rules: Rules) -> Result<()> {
        let file = tokio::fs::File::open(&self.path).await.with_context(|| self.path.display().to_string())?;
        let mut samples = Samples::new(tokio::io::BufReader::with_capacity(1 << 20, file), Arc::new(rules));
        while let Some(sample) = samples.next().await {
            match sample.content {
                Ok(content) => {
                    self.usable += 1;
                    self.captions_in_all += content.captions.len();
                    self.picture_bytes += content.image.len() as u64;
                    self.picture(&content.image);
                    if self.example.is_none() {
                        self.example = content.captions.into_iter().next().map(|caption| (sample.key, caption));
                    }
                }
                Err(reason) => self.faults.push((sample.key, reason.to_string())),
            }
        }
        let (count, fault) = samples.finish();
        self.samples = count;
        self.ended = fault.map(|fault| fault.to_string());
        Ok(())
    }

    /// Mean size of a picture in bytes.
    pub fn mean_picture_bytes(&self) -> u64 {
        self.picture_bytes / (self.usable as u64).max(1)
    }

    /// Takes the size from the header of a picture.
    fn picture(&mut self, bytes: &[u8]) {
        let reader = image::ImageReader::new(Cursor::new(bytes)).with_guessed_format();
        let Some(size) = reader.ok().and_then(|reader| reader.into_dimensions().ok()) else { return };
        let area = |(width, height): (u32, u32)| u64::from(width) * u64::from(height);
        if self.smallest.is_none_or(|smallest| area(size) < area(smallest)) {
            self.smallest = Some(size);
        }
        if self.largest.is_none_or(|largest| area(size) > area(largest)) {
            self.largest = Some(size);
        }
    }
}

/// A source as the option `captions` is written.
fn word(source: &CaptionSource) -> String {
    match source {
        CaptionSource::Txt => "txt".into(),
        CaptionSource::Json(field) => format!("json:{field}"),
        CaptionSource::Unread => "none".into(),
    }
}

/// Counts members by extension, and those that belong to no sample, and finds the field of the JSON members that holds captions. A damaged tar ends the
/// list early; reading the samples reports the damage.
fn members(path: &Path) -> Result<(BTreeMap<String, usize>, usize, Option<String>)> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 20, file));
    let mut extensions: BTreeMap<String, usize> = BTreeMap::new();
    let mut fields: BTreeMap<String, usize> = BTreeMap::new();
    let (mut json_members, mut passed_over) = (0, 0);
    for entry in archive.entries().with_context(|| path.display().to_string())? {
        let Ok(mut entry) = entry else { break };
        let path = entry.path_bytes().into_owned();
        let path = String::from_utf8_lossy(&path).into_owned();
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let Some((_, extension)) = key_and_extension(&path) else {
            passed_over += 1;
            continue;
        };
        *extensions.entry(extension.clone()).or_default() += 1;
        if extension == "json" && json_members < JSON_READ {
            json_members += 1;
            let mut text = String::new();
            if entry.by_ref().take(1 << 20).read_to_string(&mut text).is_ok() {
                for field in text_fields(&text) {
                    *fields.entry(field).or_default() += 1;
                }
            }
        }
    }
    let known = FIELDS.iter().find(|field| fields.contains_key(**field)).map(ToString::to_string);
    let commonest = fields.iter().max_by_key(|(_, count)| **count).map(|(field, _)| field.clone());
    Ok((extensions, passed_over, known.or(commonest)))
}

/// The fields that hold a text or a list of texts.
fn text_fields(json: &str) -> Vec<String> {
    let Ok(serde_json::Value::Object(object)) = serde_json::from_str(json) else { return Vec::new() };
    let is_text = |value: &serde_json::Value| {
        value.is_string() || value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(|v| v.is_string()))
    };
    object.into_iter().filter(|(_, value)| is_text(value)).map(|(field, _)| field).collect()
}
