//! Encodes on worker threads, several pictures a call, and keeps the order.

use std::collections::VecDeque;

use crossbeam_channel::{Receiver, Sender, bounded};
use pipeline_engine::{Helper, StageError, idle, work};
use items::{Encoded, Flow, Pixels, Sample, Work};

use crate::encoder::{EncodeError, Encoder, normalised};
use crate::stage::KIND;

/// Items that may wait for a chunk to fill: samples that are done or skipped
/// already come between the pictures, and must not pile up behind them.
const HELD: usize = 1024;

/// Features, as [`Encoder::encode`] gives them.
type Features = Result<Vec<f32>, EncodeError>;

/// A chunk of pictures, and where its features go.
struct Job {
    pictures: Vec<Pixels>,
    reply: Sender<Features>,
}

/// Part of the stream whose pictures are with a worker.
struct Chunk {
    frames: Vec<Flow<()>>,
    reply: Option<Receiver<Features>>,
}

/// Takes items from `next` until there are no more, and gives each to `emit` in
/// the order they came, with the features of its pictures.
///
/// Each worker becomes a helper of the stage through `helper`.
///
/// What a feature is does not depend on `workers`: they only decide which thread
/// makes it, and the pictures are cut into chunks before.
pub(crate) fn encode_in_order(
    encoder: &dyn Encoder,
    workers: usize,
    helper: &(dyn Fn(usize) -> Option<Helper> + Sync),
    mut next: impl FnMut() -> Result<Option<Flow<Pixels>>, StageError>,
    mut emit: impl FnMut(Flow<Encoded>) -> Result<(), StageError>,
) -> Result<(), StageError> {
    std::thread::scope(|scope| {
        // Dropped when this closure returns, however it does; that ends the workers.
        let (jobs, queue) = bounded::<Job>(workers);
        for number in 1..=workers {
            let queue = queue.clone();
            let run = move || {
                let _helper = helper(number);
                while let Ok(job) = idle(|| queue.recv()) {
                    let pictures = job.pictures.len();
                    let features = work(|| format!("{pictures} pictures"), || encoder.encode(&job.pictures));
                    // Nobody waits any more when the run was stopped.
                    let _ = job.reply.send(features);
                }
            };
            std::thread::Builder::new().name(format!("{KIND} {number}")).spawn_scoped(scope, run)?;
        }
        drop(queue);

        let mut waiting: VecDeque<Chunk> = VecDeque::new();
        let (mut frames, mut pictures) = (Vec::new(), Vec::new());
        loop {
            let item = next()?;
            let ended = item.is_none();
            if let Some(flow) = item {
                frames.push(take_picture(flow, &mut pictures));
            }
            if ended
                || pictures.len() == encoder.chunk()
                || frames.len() == HELD
                || waiting.is_empty() && pictures.is_empty()
            {
                let frames = std::mem::take(&mut frames);
                let reply = send(std::mem::take(&mut pictures), &jobs)?;
                waiting.push_back(Chunk { frames, reply });
            }
            // One chunk with each worker and one more for it in the queue.
            while waiting.len() > if ended { 0 } else { 2 * workers }
                || waiting.front().is_some_and(|first| first.reply.is_none())
            {
                let Some(first) = waiting.pop_front() else { break };
                finish(first, encoder.dim(), &mut emit)?;
            }
            if ended {
                return Ok(());
            }
        }
    })
}

/// The item without its picture.
fn take_picture(flow: Flow<Pixels>, pictures: &mut Vec<Pixels>) -> Flow<()> {
    flow.map(|sample| {
        sample.map_todo(|_, pixels| {
            pictures.push(pixels);
            Work::Todo(())
        })
    })
}

fn send(pictures: Vec<Pixels>, jobs: &Sender<Job>) -> Result<Option<Receiver<Features>>, StageError> {
    if pictures.is_empty() {
        return Ok(None);
    }
    let (reply, receiver) = bounded(1);
    idle(|| jobs.send(Job { pictures, reply })).map_err(|_| StageError::msg("every encoder thread has ended"))?;
    Ok(Some(receiver))
}

/// Waits for the features of a chunk and hands its items on.
fn finish(
    chunk: Chunk,
    dim: usize,
    emit: &mut impl FnMut(Flow<Encoded>) -> Result<(), StageError>,
) -> Result<(), StageError> {
    let features = match chunk.reply {
        Some(reply) => {
            idle(|| reply.recv()).map_err(|_| StageError::msg("an encoder thread ended without an answer"))??
        }
        None => Vec::new(),
    };
    let mut rows = features.chunks_exact(dim);
    for frame in chunk.frames {
        emit(frame.map(|sample| encoded(sample, &mut rows)))?;
    }
    Ok(())
}

fn encoded<'a>(sample: Sample<()>, rows: &mut impl Iterator<Item = &'a [f32]>) -> Sample<Encoded> {
    sample.map_todo(|_, ()| match normalised(rows.next().unwrap_or_default()) {
        Ok(feature) => Work::Done(feature),
        Err(reason) => Work::Skipped { stage: KIND.into(), reason: reason.into() },
    })
}
