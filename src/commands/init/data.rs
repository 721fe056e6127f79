//! The shards that a config is written for.

use std::path::Path;

use anyhow::{Context as _, bail};
use questions::{Known, LEAST};
use stage_shards::Location;

use crate::inspect::shard::ShardInfo;

/// What the first shard shows about all.
pub struct Data {
    /// Number of shards.
    pub shards: usize,
    /// About how many samples all shards hold, by the samples per byte of the first.
    pub samples: u64,
    /// The value of `captions` of the stage `shards`.
    pub captions: String,
    /// Mean size of a picture in bytes.
    pub picture_bytes: u64,
    /// The path of the first shard.
    first: String,
}

impl Data {
    /// Reads the first shard of these patterns.
    ///
    /// # Errors
    /// Shards that are missing, not on this machine, or without a usable sample.
    pub fn read(patterns: &[String]) -> anyhow::Result<Self> {
        let sources = stage_shards::resolve(patterns, Path::new(""), stage_shards::Pipes::Refused)?;
        let mut bytes = 0;
        let mut first = None;
        for source in &sources {
            let Location::Local(path) = &source.location else {
                bail!(
                    "`init` reads local shards only; copy the first shard here, and write its URL into the config afterwards"
                );
            };
            let file = std::fs::metadata(path).with_context(|| format!("shard {}", path.display()))?;
            bytes += file.len();
            first.get_or_insert(path);
        }
        let Some(first) = first else { bail!("no shard was found") };
        let info = ShardInfo::read(first)?;
        let shown = first.display();
        if let Some(ended) = info.ended.as_ref().filter(|_| info.samples == 0) {
            bail!("{shown}: {ended}");
        }
        let picture_bytes = info.mean_picture_bytes();
        let Some(captions) = info.captions.clone() else {
            bail!(
                "{shown} has no captions: neither .txt members nor .json members with a text (see `pipeline inspect {shown}`)"
            );
        };
        if info.usable == 0 {
            let why = info.ended.or_else(|| info.faults.first().map(|(key, reason)| format!("{key}: {reason}")));
            bail!("{shown} has no usable sample: {}", why.unwrap_or_else(|| "it is empty".into()));
        }
        let samples = (info.usable as f64 * bytes as f64 / info.bytes.max(1) as f64).round() as u64;
        Ok(Self { shards: sources.len(), samples, captions, picture_bytes, first: shown.to_string() })
    }

    /// True if the captions name enough things that captions with a denied one can be made of them. More shards name
    /// more, so the first one decides.
    pub fn can_be_negated(&self) -> bool {
        Known::from_captions(std::slice::from_ref(&self.first), Path::new(""), LEAST).is_ok()
    }
}
