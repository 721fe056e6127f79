//! A shard as a stream of bytes, and its identity: what tells one version of it from the next.

use std::time::UNIX_EPOCH;

use tokio::io::BufReader;

use crate::types::{ByteStream, Location, OpenError, Source};

/// Bytes that one read of a file asks for.
const READ_SIZE: usize = 1 << 20;

/// The identity of every shard that a command prints.
const PIPED: &str = "printed by a command";

/// Opens shards; keeps the connections to their servers.
#[derive(Debug, Default)]
pub struct Opener {
    #[cfg(feature = "cloud")]
    stores: crate::remote::Stores,
}

impl Opener {
    /// The bytes of a shard.
    ///
    /// # Errors
    /// As [`open_identified`](Self::open_identified).
    pub async fn open(&self, shard: &Source) -> Result<ByteStream, OpenError> {
        Ok(self.open_identified(shard).await?.0)
    }

    /// The bytes of a shard, and the [`identity`](Self::identity) of what was opened.
    ///
    /// # Errors
    /// [`OpenError`], which names the shard; for a remote one after bounded retries.
    pub async fn open_identified(&self, shard: &Source) -> Result<(ByteStream, String), OpenError> {
        match &shard.location {
            Location::Local(path) => {
                let fault = |error| OpenError::File { url: shard.url.clone(), error };
                let file = tokio::fs::File::open(path).await.map_err(fault)?;
                let identity = of_file(&file.metadata().await.map_err(fault)?);
                Ok((Box::new(BufReader::with_capacity(READ_SIZE, file)), identity))
            }
            Location::Pipe { command, folder } => {
                let fault = |error| OpenError::File { url: shard.url.clone(), error };
                Ok((crate::pipe::open(command, folder).map_err(fault)?, PIPED.to_owned()))
            }
            #[cfg(feature = "cloud")]
            Location::Remote(url) => self.stores.open(url).await,
            #[cfg(not(feature = "cloud"))]
            Location::Remote(url) => Err(no_cloud(url)),
        }
    }

    /// A text that changes when the shard does: size and time of a file, tag (or
    /// time) and size of a remote object. For the output of a command there is no such text:
    /// such a shard is identified by the command alone.
    ///
    /// # Errors
    /// [`OpenError`], which names the shard.
    pub async fn identity(&self, shard: &Source) -> Result<String, OpenError> {
        match &shard.location {
            Location::Local(path) => {
                let fault = |error| OpenError::File { url: shard.url.clone(), error };
                Ok(of_file(&tokio::fs::metadata(path).await.map_err(fault)?))
            }
            Location::Pipe { .. } => Ok(PIPED.to_owned()),
            #[cfg(feature = "cloud")]
            Location::Remote(url) => self.stores.identity(url).await,
            #[cfg(not(feature = "cloud"))]
            Location::Remote(url) => Err(no_cloud(url)),
        }
    }
}

fn of_file(file: &std::fs::Metadata) -> String {
    let time = file.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("size={} mtime={}", file.len(), time.unwrap_or_default().as_nanos())
}

#[cfg(not(feature = "cloud"))]
fn no_cloud(url: &url::Url) -> OpenError {
    let fault = "this build is without the feature `cloud`".to_owned();
    OpenError::Remote { url: url.to_string(), fault }
}
