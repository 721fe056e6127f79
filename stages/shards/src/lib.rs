//! Stage `shards`: WebDataset tars to samples.
//!
//! `urls` are resolved and split among processes once, before the run; each
//! epoch then visits the shards in an order of its own and sends their samples
//! through a shuffle buffer. A tar that is cut or no tar at all gives what it has
//! and is written to the skip ledger; a missing shard, or one that cannot be
//! read, ends the run.

mod members;
mod open;
mod options;
mod pipe;
#[cfg(feature = "cloud")]
mod remote;
mod samples;
mod split;
mod stage;
mod urls;

pub use members::Fault;
pub use open::{ByteStream, OpenError, Opener};
pub use options::{ShardsOptions, Split};
pub use samples::{CaptionSource, Content, RawSample, Reason, Rules, Samples};
pub use split::{Rank, SplitError};
pub use stage::Shards;
pub use urls::{Location, Pipes, Source, UrlError, expand_braces, resolve};
