//! The stage: plans the shards once, reads them in each epoch.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use items::order::ShuffleBuffer;
use items::{CachedSample, Flow, ImageBytes, Memory, Recipe, Sample, SampleId, Shard, ShardFault, ShardPlan, Work};
use pipeline_engine::{Build, Built, Inlet, Look, Nothing, Outlet, Pass, Stage, StageError, StageKind};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::members::Fault;
use crate::open::Opener;
use crate::options::{ShardsOptions, Split};
use crate::samples::{RawSample, Rules, Samples};
use crate::split::{Rank, SplitError};
use crate::types::{Location, OpenError, Source};
use crate::urls::{Pipes, resolve, resolve_all};

/// The kind `shards`.
#[derive(Debug)]
pub struct Shards;

/// Remote shards that are looked up at the same time.
const LOOKUPS: usize = 16;

/// Samples read ahead of the stage's own thread.
const AHEAD: usize = 4;

/// How often a wait for bytes checks whether the run was stopped.
const TICK: Duration = Duration::from_millis(100);

/// Why a shard or the run cannot go on.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("shard `{url}`: {fault}; the run stops, since what is left of the shard would be lost")]
    Broken { url: String, fault: Fault },
    #[error(
        "the shuffle buffer would hold {bytes} bytes of pictures in {samples} samples, more than buffer_bytes = {limit}: \
         set buffer = {samples} or less, or raise buffer_bytes"
    )]
    BufferFull { bytes: u64, samples: usize, limit: u64 },
    #[error("{NO_EXTENSION}: {NAME_ONE}")]
    NoExtension,
}

const NO_EXTENSION: &str = "`images` is empty";
const NAME_ONE: &str = "name at least one extension, such as \"jpg\"";

impl StageKind for Shards {
    const KIND: &'static str = items::source::SHARDS;
    const ABOUT: &'static str = "reads pictures and captions from WebDataset tars";
    const CAPACITY: usize = 16;
    type In = Nothing;
    type Out = Flow<ImageBytes>;
    type Options = ShardsOptions;

    fn verify(options: &ShardsOptions, look: &mut Look<'_>) {
        if options.extensions().is_empty() {
            look.fault("images", NO_EXTENSION, NAME_ONE);
        }
        let (shards, faults) = resolve_all(&options.urls, look.base, options.pipes());
        match options.rank() {
            Err(error) => look.fault("split", error.to_string(), ""),
            Ok(rank) if faults.is_empty() => {
                if let Err(error) = rank.share(shards) {
                    look.fault("split", error.to_string(), "");
                }
            }
            Ok(_) => {}
        }
        for fault in faults {
            look.fault("urls", fault.message(), fault.help());
        }
    }

    fn build(options: ShardsOptions, build: &mut Build<'_>) -> Result<Built<Nothing, Flow<ImageBytes>>, StageError> {
        let images = options.extensions();
        if images.is_empty() {
            return Err(ReadError::NoExtension.into());
        }
        // An [[eval]] measures on all of its data, in every process.
        let rank = if build.dir.is_some() { options.rank()? } else { Rank::ALONE };
        let all = resolve(&options.urls, build.base, options.pipes())?;
        let total = all.len();
        let sources = rank.share(all)?;
        if let Some((rank_name, size_name)) = rank.from.filter(|_| rank.size > 1) {
            let Rank { rank, size, .. } = rank;
            tracing::warn!("{rank_name} = {rank}, {size_name} = {size}: {} of {total} shards are read", sources.len());
        }
        let rules = Rules {
            images,
            captions: options.captions,
            max_member: options.max_member,
            max_caption: options.max_caption,
        };
        Recipe::note(build.services, Self::KIND, format!("{rules:?}"));

        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("shards").enable_all().build()?;
        let opener = Arc::new(Opener::default());
        let shards = runtime.block_on(look_up(&opener, &sources))?;
        for shard in &shards {
            build.input(format!("shard `{}`", shard.url), shard.identity.clone());
        }
        let plan = ShardPlan { shards, shuffle: options.shuffle, buffer: options.buffer };
        build.services.publish(Arc::new(plan.clone()));
        let sources = sources.into_iter().map(|(_, source)| source).collect();
        let buffer_bytes = options.buffer_bytes;
        Ok(Built::Stage(Box::new(Reader { plan, sources, rules: Arc::new(rules), opener, runtime, buffer_bytes })))
    }
}

impl ShardsOptions {
    /// Extensions of pictures, lowercase. `images = "jpg;png;webp"`, as WebDataset writes it, is a
    /// list too.
    fn extensions(&self) -> Vec<String> {
        let extensions = self.images.iter().flat_map(|list| list.split(';'));
        extensions
            .map(|extension| extension.trim().trim_start_matches('.').to_lowercase())
            .filter(|extension| !extension.is_empty())
            .collect()
    }

    fn pipes(&self) -> Pipes {
        if self.allow_pipes { Pipes::Allowed } else { Pipes::Refused }
    }

    /// This process among those of the launcher.
    fn rank(&self) -> Result<Rank, SplitError> {
        let from_env = || Rank::from_env(|name| std::env::var(name).ok());
        match self.split {
            Split::Auto => from_env()?.alone(),
            Split::Ranks => from_env(),
            Split::None => Ok(Rank::ALONE),
        }
    }
}

/// The shards with their identities; a missing one is an error.
async fn look_up(opener: &Opener, sources: &[(usize, Source)]) -> Result<Vec<Arc<Shard>>, OpenError> {
    let shards = sources.iter().map(|(number, source)| async move {
        let identity = opener.identity(source).await?;
        Ok(Arc::new(Shard { number: *number as u32, url: source.url.clone(), identity }))
    });
    stream::iter(shards).buffered(LOOKUPS).try_collect().await
}

/// The stage while it runs.
struct Reader {
    plan: ShardPlan,
    /// Where each shard of the plan is.
    sources: Vec<Source>,
    rules: Arc<Rules>,
    opener: Arc<Opener>,
    runtime: Runtime,
    buffer_bytes: u64,
}

impl Stage<Nothing, Flow<ImageBytes>> for Reader {
    fn run(
        &mut self,
        pass: &Pass<'_>,
        _input: Inlet<Nothing>,
        output: Outlet<Flow<ImageBytes>>,
    ) -> Result<(), StageError> {
        let memory = pass.services.get::<Memory>();
        let buffer = self.plan.shuffle_buffer(pass.seed, pass.epoch);
        let mut out = Shuffled { buffer, bytes: 0, limit: self.buffer_bytes, output };
        for (read, position) in self.plan.order(pass.seed, pass.epoch).into_iter().enumerate() {
            pass.meter.progress(read, self.plan.shards.len());
            let shard = &self.plan.shards[position];
            let remembered = match &memory {
                Some(memory) => memory.0.recall(shard)?,
                None => None,
            };
            let (samples, fault) = match remembered {
                Some((samples, fault)) => (replay(shard, samples, &mut out)?, fault),
                None => self.read(position, pass, &mut out)?,
            };
            if let Some(fault) = &fault {
                let skip = fault.skip(shard, samples);
                tracing::warn!(shard = shard.url, "{}", skip.reason);
                pass.ledger.skip(skip)?;
            } else if samples == 0 {
                tracing::warn!(shard = shard.url, "it holds no sample");
            }
            out.output.send(Flow::ShardEnd { shard: shard.clone(), samples, fault })?;
        }
        out.drain()
    }
}

impl Reader {
    /// Sends on the samples of a tar; returns how many, and what is wrong with the tar.
    fn read(
        &self,
        position: usize,
        pass: &Pass<'_>,
        out: &mut Shuffled,
    ) -> Result<(u32, Option<ShardFault>), StageError> {
        let shard = &self.plan.shards[position];
        let (sender, mut receiver) = mpsc::channel(AHEAD);
        let (opener, source, rules) = (self.opener.clone(), self.sources[position].clone(), self.rules.clone());
        let version = shard.identity.clone();
        self.runtime.spawn(async move {
            // A closed channel: the run was stopped, and so is the reading.
            let _ = read_shard(&opener, &source, &version, rules, &sender).await;
        });
        loop {
            let waited = self.runtime.block_on(async { tokio::time::timeout(TICK, receiver.recv()).await });
            match waited {
                Err(_) if pass.stopped() => return Err(StageError::Stopped),
                Err(_) => {}
                Ok(None) => return Err(StageError::msg(format!("reading shard `{}` ended unexpectedly", shard.url))),
                Ok(Some(Read::Sample(raw))) => out.push(sample(shard, raw))?,
                Ok(Some(Read::Failed(error))) => return Err(error.into()),
                Ok(Some(Read::End { samples, fault })) => {
                    return match fault {
                        // A failing server or disk says nothing about the shard itself: going on
                        // without it would make the result depend on chance.
                        Some(fault @ Fault::Read { .. }) => {
                            Err(ReadError::Broken { url: shard.url.clone(), fault }.into())
                        }
                        Some(fault) => Ok((samples, Some(ShardFault { reason: fault.to_string() }))),
                        None => Ok((samples, None)),
                    };
                }
            }
        }
    }
}

/// What the reading task reports.
enum Read {
    Sample(RawSample),
    Failed(OpenError),
    End { samples: u32, fault: Option<Fault> },
}

/// Reads one shard into a channel, if it is still the version that the run began with.
async fn read_shard(
    opener: &Opener,
    source: &Source,
    version: &str,
    rules: Arc<Rules>,
    sender: &mpsc::Sender<Read>,
) -> Result<(), mpsc::error::SendError<Read>> {
    let same = |is: String| {
        let changed = || OpenError::Changed { url: source.url.clone(), was: version.to_owned(), is: is.clone() };
        if is == version { Ok(()) } else { Err(changed()) }
    };
    let opened = opener.open_identified(source).await.and_then(|(stream, is)| same(is).map(|()| stream));
    let stream = match opened {
        Ok(stream) => stream,
        Err(error) => return sender.send(Read::Failed(error)).await,
    };
    let mut samples = Samples::new(stream, rules);
    while let Some(sample) = samples.next().await {
        sender.send(Read::Sample(sample)).await?;
    }
    let (samples, fault) = samples.finish();
    // A file may have been changed while it was read; a server sends one version or an error.
    if let Location::Local(_) = source.location
        && let Err(error) = opener.identity(source).await.and_then(same)
    {
        return sender.send(Read::Failed(error)).await;
    }
    sender.send(Read::End { samples, fault }).await
}

/// A sample of a tar, with its place in the run.
fn sample(shard: &Arc<Shard>, raw: RawSample) -> Sample<ImageBytes> {
    let id = SampleId { shard: shard.clone(), index: raw.index, key: raw.key.into() };
    match raw.content {
        Ok(content) => {
            let image = ImageBytes { extension: content.extension, bytes: content.image };
            Sample { id, captions: content.captions.into(), work: Work::Todo(image) }
        }
        Err(reason) => {
            let work = Work::Skipped { stage: Shards::KIND.into(), reason: reason.to_string().into() };
            Sample { id, captions: [].into(), work }
        }
    }
}

/// Sends on the samples of a cached shard; returns how many.
fn replay(shard: &Arc<Shard>, samples: Vec<CachedSample>, out: &mut Shuffled) -> Result<u32, StageError> {
    let mut index = 0;
    for sample in samples {
        out.push(sample.recalled(shard, index))?;
        index += 1;
    }
    Ok(index)
}

/// The outlet after the shuffle buffer.
struct Shuffled {
    buffer: ShuffleBuffer<Sample<ImageBytes>>,
    /// Bytes of pictures in the buffer.
    bytes: u64,
    limit: u64,
    output: Outlet<Flow<ImageBytes>>,
}

impl Shuffled {
    fn push(&mut self, sample: Sample<ImageBytes>) -> Result<(), StageError> {
        self.bytes += picture_bytes(&sample);
        if let Some(leaving) = self.buffer.push(sample) {
            self.send(leaving)?;
        }
        // Sending samples early would bound the memory as well, but then the order would
        // depend on the sizes of pictures, which a cached epoch does not know.
        if self.bytes > self.limit {
            let (bytes, samples, limit) = (self.bytes, self.buffer.len(), self.limit);
            return Err(ReadError::BufferFull { bytes, samples: samples.saturating_sub(1), limit }.into());
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), StageError> {
        while let Some(leaving) = self.buffer.pop() {
            self.send(leaving)?;
        }
        Ok(())
    }

    fn send(&mut self, sample: Sample<ImageBytes>) -> Result<(), StageError> {
        self.bytes -= picture_bytes(&sample);
        Ok(self.output.send(Flow::Sample(sample))?)
    }
}

fn picture_bytes(sample: &Sample<ImageBytes>) -> u64 {
    match &sample.work {
        Work::Todo(image) => image.bytes.len() as u64,
        Work::Done(_) | Work::Skipped { .. } => 0,
    }
}
