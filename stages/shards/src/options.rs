//! The options of the stage.

use pipeline_engine::{OptionValue, Value, choice, options};

use crate::samples::CaptionSource;

choice! {
    /// Which part of the shards a process reads.
    pub enum Split {
        /// Every shard; if a launcher (torchrun, Slurm, MPI) started several processes, that is an error.
        Auto = "auto",
        /// Its share, if a launcher started several processes; each trains a model of its own.
        Ranks = "ranks",
        /// Every shard.
        None = "none",
    }
}

options! {
    /// Options of the stage `shards`.
    pub struct ShardsOptions {
        /// The shards: paths, globs (*.tar), braces (train-{000..011}.tar), http(s)://, s3://, gs://; one or a list.
        urls: Vec<String>;
        /// Let a url `pipe:COMMAND` run a shell command, in the folder of this file, and read the tar that it
        /// prints. Such a shard is identified by its command alone.
        allow_pipes: bool = false;
        /// Draw a new order of shards and samples in each epoch.
        shuffle: bool = true;
        /// Samples in the shuffle buffer; 0: samples stay in the order of their shard.
        buffer: usize = 1000, 0..=10_000_000;
        /// Bytes of pictures that the shuffle buffer may hold; more is an error.
        buffer_bytes: u64 = 2 << 30, 1..=1u64 << 40 => free;
        /// Extensions of pictures; the first that a sample has is taken.
        images: Vec<String> = ["jpg", "jpeg", "png", "webp"].map(str::to_owned).to_vec();
        /// Where captions are: "txt" (one per line) or "json:FIELD" (a text or a list of texts).
        captions: CaptionSource = CaptionSource::Txt;
        /// Bytes of the largest picture; a larger one is skipped unread.
        max_member: u64 = 64 << 20, 1..=1u64 << 32;
        /// Bytes of the longest caption; a sample with a longer one is skipped.
        max_caption: usize = 4096, 1..=1 << 20;
        /// What a process reads that a launcher (torchrun, Slurm, MPI) started as one of several: nothing, which is an
        /// error, since they do not exchange what they learn ("auto"), its share of the shards ("ranks"), or all of
        /// them ("none").
        split: Split = Split::Auto;
    }
}

impl OptionValue for CaptionSource {
    fn expects() -> String {
        "\"txt\" or \"json:FIELD\"".to_owned()
    }

    fn read(value: &Value) -> Option<Self> {
        let Value::String(text) = value else { return None };
        match text.split_once(':') {
            None if text == "txt" => Some(Self::Txt),
            Some(("json", field)) if !field.is_empty() => Some(Self::Json(field.to_owned())),
            _ => None,
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Txt => "txt".to_owned().show(),
            Self::Json(field) => format!("json:{field}").show(),
            // No option can have this value.
            Self::Unread => String::new().show(),
        }
    }

    fn schema() -> pipeline_engine::options::Schema {
        serde_json::json!({ "type": "string", "pattern": "^(txt|json:.+)$" })
    }
}
