//! A sample on its way from the shard to its feature.

use std::sync::Arc;

use pipeline_engine::{Item, Skip};

/// A tar shard that this run reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its place in the sorted list of all shards; the same on every rank and in every epoch.
    pub number: u32,
    /// Path or URL, as it is shown to people.
    pub url: String,
    /// Changes when the shard's content does: size and time of a file, ETag of an object.
    pub identity: String,
}

/// The file name of a shard's path or URL; of a command (`pipe:`), the whole. Draws are keyed by it, so that the
/// same data in another place gives the same run. Shards of equal names in different folders share their draws.
pub fn shard_name(url: &str) -> &str {
    if url.starts_with("pipe:") {
        return url;
    }
    let path = if url.contains("://") { url.split(['?', '#']).next().unwrap_or(url) } else { url };
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// Which sample, for draws, for the cache and for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleId {
    /// Where it comes from.
    pub shard: Arc<Shard>,
    /// Its place in the shard, counted from 0 over all samples of it, usable or not.
    pub index: u32,
    /// Its WebDataset key.
    pub key: Arc<str>,
}

/// What is left to do on a sample.
#[derive(Debug, Clone)]
pub enum Work<P> {
    /// Not encoded yet: the payload of this edge.
    Todo(P),
    /// Its feature is known.
    Done(Feature),
    /// It cannot be used. It travels on, so that the cache remembers it too, and is
    /// dropped where batches are made.
    Skipped {
        /// The kind of the stage that found out.
        stage: Arc<str>,
        /// Why, as a sentence for people.
        reason: Arc<str>,
    },
}

impl Work<Encoded> {
    /// The same on another edge: nothing is left to do, whatever the payload there.
    pub fn settled<P>(self) -> Work<P> {
        match self {
            Self::Todo(encoded) => match encoded {},
            Self::Done(feature) => Work::Done(feature),
            Self::Skipped { stage, reason } => Work::Skipped { stage, reason },
        }
    }
}

/// An image feature: D numbers, L2-normalised.
pub type Feature = Arc<[f32]>;

/// An image with its captions.
#[derive(Debug, Clone)]
pub struct Sample<P> {
    /// Which one.
    pub id: SampleId,
    /// All captions known for the image; at least one unless it is skipped.
    pub captions: Arc<[String]>,
    /// What is left to do.
    pub work: Work<P>,
}

impl<P> Sample<P> {
    /// The line of the skip ledger, if the sample is skipped.
    pub fn skip(&self) -> Option<Skip> {
        let Work::Skipped { stage, reason } = &self.work else { return None };
        Some(Skip {
            shard: self.id.shard.url.clone(),
            key: self.id.key.to_string(),
            index: Some(self.id.index),
            stage: stage.to_string(),
            reason: reason.to_string(),
        })
    }

    /// Does `todo` to the payload; a sample that is done or skipped passes unchanged.
    pub fn map_todo<Q>(self, todo: impl FnOnce(&SampleId, P) -> Work<Q>) -> Sample<Q> {
        let Self { id, captions, work } = self;
        let work = match work {
            Work::Todo(payload) => todo(&id, payload),
            Work::Done(feature) => Work::Done(feature),
            Work::Skipped { stage, reason } => Work::Skipped { stage, reason },
        };
        Sample { id, captions, work }
    }
}

/// Why a shard did not give all its samples: it is cut, or not a tar. Reading it again would
/// not help; a fault that may pass (a server that fails) ends the run instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardFault {
    /// A sentence for people.
    pub reason: String,
}

impl ShardFault {
    /// The line of the skip ledger: the shard itself, of which `samples` were read, skipped by the stage that reads
    /// shards.
    pub fn skip(&self, shard: &Shard, samples: u32) -> Skip {
        let lost = if samples == 0 { "the whole shard is lost" } else { "the shard is lost in part" };
        let (shard, reason) = (shard.url.clone(), format!("{lost}: {}", self.reason));
        Skip { shard, key: String::new(), index: None, stage: crate::source::SHARDS.into(), reason }
    }
}

/// The stream of samples, with a marker after the last sample that was read of a shard.
///
/// The end-of-shard marker is sent as soon as the shard is read; some of its samples may
/// still wait in the shuffle buffer. A stage that needs whole shards counts samples.
#[derive(Debug, Clone)]
pub enum Flow<P> {
    /// A sample.
    Sample(Sample<P>),
    /// A shard has been read to its end.
    ShardEnd {
        /// Which.
        shard: Arc<Shard>,
        /// How many samples it gave, skipped ones included.
        samples: u32,
        /// What was wrong with it.
        fault: Option<ShardFault>,
    },
}

impl<P> Flow<P> {
    /// Does `f` to a sample and passes an end-of-shard marker on.
    pub fn map<Q>(self, f: impl FnOnce(Sample<P>) -> Sample<Q>) -> Flow<Q> {
        match self {
            Self::Sample(sample) => Flow::Sample(f(sample)),
            Self::ShardEnd { shard, samples, fault } => Flow::ShardEnd { shard, samples, fault },
        }
    }
}

/// An image file, not yet decoded.
#[derive(Debug, Clone)]
pub struct ImageBytes {
    /// Lower-cased extension of its tar member.
    pub extension: String,
    /// The file.
    pub bytes: Vec<u8>,
}

/// A picture as the encoder takes it: resized and cropped, RGB, 8 bits per channel,
/// height x width x 3.
#[derive(Debug, Clone)]
pub struct Pixels {
    /// `height * width * 3` bytes.
    pub rgb: Vec<u8>,
    /// Pixels per row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// The payload after the encoder. It has no value: every sample is done or skipped.
#[derive(Debug, Clone)]
pub enum Encoded {}

/// About how much memory an item of an edge holds.
fn frame_bytes<P>(flow: &Flow<P>, payload: impl FnOnce(&P) -> usize) -> usize {
    let Flow::Sample(sample) = flow else { return 128 };
    let captions: usize = sample.captions.iter().map(|caption| caption.len() + 24).sum();
    let work = match &sample.work {
        Work::Todo(p) => payload(p),
        Work::Done(feature) => feature.len() * 4,
        Work::Skipped { .. } => 64,
    };
    128 + captions + work
}

/// The key of a sample, for traces.
fn label<P>(flow: &Flow<P>) -> String {
    match flow {
        Flow::Sample(sample) => sample.id.key.to_string(),
        Flow::ShardEnd { shard, .. } => format!("end of {}", shard.url.rsplit('/').next().unwrap_or_default()),
    }
}

impl Item for Flow<ImageBytes> {
    const NAME: &'static str = "image files with captions";

    fn bytes(&self) -> usize {
        frame_bytes(self, |image| image.bytes.len())
    }

    fn label(&self) -> String {
        label(self)
    }
}

impl Item for Flow<Pixels> {
    const NAME: &'static str = "pictures with captions";

    fn bytes(&self) -> usize {
        frame_bytes(self, |pixels| pixels.rgb.len())
    }

    fn label(&self) -> String {
        label(self)
    }
}

impl Item for Flow<Encoded> {
    const NAME: &'static str = "image features with captions";

    fn bytes(&self) -> usize {
        frame_bytes(self, |encoded| match *encoded {})
    }

    fn label(&self) -> String {
        label(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_shard_does_not_depend_on_where_it_lies() {
        for url in
            ["a-0.tar", "/data/a-0.tar", "s3://bucket/x/a-0.tar", "https://host/a-0.tar?token=/1", "C:\\d\\a-0.tar"]
        {
            assert_eq!(shard_name(url), "a-0.tar", "{url}");
        }
        assert_eq!((shard_name("/data/a#1.tar"), shard_name("pipe:cat a > /x")), ("a#1.tar", "pipe:cat a > /x"));
    }
}
