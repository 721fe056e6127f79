//! Cuts the stream into chunks of pictures, and encodes a chunk.

use items::{Encoded, Flow, Pixels, Work};
use pipeline_engine::StageError;

use crate::KIND;
use crate::encoder::{Encoder, normalised};

/// The most items in a chunk: samples that are done or skipped already come between the pictures,
/// and must not pile up behind them.
const HELD: usize = 1024;

/// A part of the stream: pictures for one call of the encoder, and the items between them.
#[derive(Default)]
pub(crate) struct Chunk {
    /// All items in their order, without their pictures.
    frames: Vec<Flow<()>>,
    pictures: Vec<Pixels>,
}

impl Chunk {
    /// Cuts the next chunk from the stream: up to `size` pictures, with the items between them. An
    /// item before the first picture does not wait for one: it is a chunk by itself. Where the cuts
    /// are depends on the stream alone.
    pub fn cut(
        size: usize,
        mut next: impl FnMut() -> Result<Option<Flow<Pixels>>, StageError>,
    ) -> Result<Option<Self>, StageError> {
        let mut chunk = Self::default();
        while let Some(flow) = next()? {
            chunk.take(flow);
            if chunk.pictures.is_empty() || chunk.pictures.len() == size || chunk.frames.len() == HELD {
                return Ok(Some(chunk));
            }
        }
        Ok((!chunk.frames.is_empty()).then_some(chunk))
    }

    fn take(&mut self, flow: Flow<Pixels>) {
        let frame = flow.map(|sample| {
            sample.map_todo(|_, pixels| {
                self.pictures.push(pixels);
                Work::Todo(())
            })
        });
        self.frames.push(frame);
    }

    /// What it is, for traces. The first item of a chunk with pictures is one.
    pub fn label(&self) -> String {
        match (self.pictures.len(), self.frames.first()) {
            (0 | 1, Some(Flow::Sample(sample))) => sample.id.key.to_string(),
            (0, Some(Flow::ShardEnd { shard, .. })) => format!("end of {}", shard.url),
            (pictures, _) => format!("{pictures} pictures"),
        }
    }

    /// The items with the features of their pictures. A picture whose feature has no direction is
    /// skipped.
    pub fn encode(self, encoder: &dyn Encoder) -> Result<Vec<Flow<Encoded>>, StageError> {
        let features = if self.pictures.is_empty() { Vec::new() } else { encoder.encode(&self.pictures)? };
        let mut rows = features.chunks_exact(encoder.dim());
        let mut feature = || normalised(rows.next().unwrap_or_default());
        let encoded = |frame: Flow<()>| {
            frame.map(|sample| {
                sample.map_todo(|_, ()| match feature() {
                    Ok(feature) => Work::Done(feature),
                    Err(reason) => Work::Skipped { stage: KIND.into(), reason: reason.into() },
                })
            })
        };
        Ok(self.frames.into_iter().map(encoded).collect())
    }
}
