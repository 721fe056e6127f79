//! What is in a shard.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;
use stage_shards::{CaptionSource, Rules, Samples};

/// Members of captions in JSON that are looked at to find the field.
const JSON_LOOKED_AT: usize = 20;
/// Fields that data sets keep captions in, the likeliest first.
const FIELDS: [&str; 6] = ["caption", "captions", "text", "texts", "sentences", "sentence"];

/// What is in a shard, as the stage `shards` would read it.
#[derive(Debug, Clone, Serialize)]
pub struct ShardInfo {
    pub path: PathBuf,
    pub bytes: u64,
    /// Members by extension.
    pub extensions: BTreeMap<String, usize>,
    /// `captions` of the stage `shards`, as it should be.
    pub captions: Option<String>,
    /// Samples, usable or not.
    pub samples: u32,
    pub usable: usize,
    /// Captions of the usable ones, in all.
    pub captions_in_all: usize,
    /// Bytes of the pictures of the usable ones.
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
    /// Reads a shard whole.
    ///
    /// # Errors
    /// When it cannot be opened; what is wrong inside is in the result.
    pub fn read(path: &Path) -> Result<Self> {
        let (extensions, json_field) = members(path)?;
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

    /// Notes the size that the header of a picture gives.
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

/// As `captions` of the stage `shards` is written.
fn word(source: &CaptionSource) -> String {
    match source {
        CaptionSource::Txt => "txt".into(),
        CaptionSource::Json(field) => format!("json:{field}"),
        CaptionSource::Unread => "none".into(),
    }
}

/// Members by extension, and the field of the JSON members that holds captions. What is
/// wrong with the tar is found again, and told, by who reads its samples.
fn members(path: &Path) -> Result<(BTreeMap<String, usize>, Option<String>)> {
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 20, file));
    let mut extensions: BTreeMap<String, usize> = BTreeMap::new();
    let mut fields: BTreeMap<String, usize> = BTreeMap::new();
    let mut looked_at = 0;
    for entry in archive.entries().with_context(|| path.display().to_string())? {
        let Ok(mut entry) = entry else { break };
        let path = entry.path_bytes().into_owned();
        let path = String::from_utf8_lossy(&path).into_owned();
        let name = path.rsplit('/').next().unwrap_or_default();
        let Some((_, extension)) = name.split_once('.').filter(|_| entry.header().entry_type().is_file()) else {
            continue;
        };
        *extensions.entry(extension.to_lowercase()).or_default() += 1;
        if extension.eq_ignore_ascii_case("json") && looked_at < JSON_LOOKED_AT {
            looked_at += 1;
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
    Ok((extensions, known.or(commonest)))
}

/// Fields with a text or a list of texts.
fn text_fields(json: &str) -> Vec<String> {
    let Ok(serde_json::Value::Object(object)) = serde_json::from_str(json) else { return Vec::new() };
    let is_text = |value: &serde_json::Value| {
        value.is_string() || value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(|v| v.is_string()))
    };
    object.into_iter().filter(|(_, value)| is_text(value)).map(|(field, _)| field).collect()
}
