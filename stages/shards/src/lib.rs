//! Stage `shards`: WebDataset tars to samples.
//!
//! `urls` are resolved and split among processes once, before the run; each
//! epoch then visits the shards in an order of its own and sends their samples
//! through a shuffle buffer. A shard that is cut, or is not a tar, gives the samples it
//! has and is written to the skip ledger; a missing shard, or one that cannot be
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
mod types;
mod urls;

pub use members::Fault;
pub use open::Opener;
pub use options::{ShardsOptions, Split};
pub use samples::{CaptionSource, Content, Endings, RawSample, Reason, Rules, Samples, key_and_extension};
pub use split::{Rank, SplitError};
pub use stage::Shards;
pub use types::{ByteStream, Location, OpenError, Source};
pub use urls::{Pipes, UrlError, expand_braces, resolve, resolve_all};
