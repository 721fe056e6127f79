//! Reading a remote shard to its end, across connections.
//!
//! A shard is read by one request for as long as the connection lasts. A training run may
//! take minutes over what it has, and the server hangs up meanwhile: reading then
//! resumes at the byte it had reached, as long as the object is the same.

use std::sync::Arc;

use futures::stream::{BoxStream, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectMeta, ObjectStore};
use tokio_util::bytes::Bytes;
use tokio_util::io::StreamReader;
use url::Url;

use super::{Patience, fault, message};
use crate::types::{ByteStream, OpenError};

/// The bytes of the object that `got` answers for.
pub(super) fn stream(
    url: Url,
    store: Arc<dyn ObjectStore>,
    path: Path,
    patience: Patience,
    got: GetResult,
) -> ByteStream {
    let meta = got.meta.clone();
    let read = Read { url, store, path, patience, meta, at: 0, resumes: 0, stream: got.into_stream() };
    let bytes = futures::stream::try_unfold(read, |mut read| async move {
        let bytes = read.next().await.map_err(std::io::Error::other)?;
        Ok::<_, std::io::Error>(bytes.map(|bytes| (bytes, read)))
    });
    Box::new(StreamReader::new(Box::pin(bytes)))
}

/// A read in progress.
struct Read {
    url: Url,
    store: Arc<dyn ObjectStore>,
    path: Path,
    patience: Patience,
    meta: ObjectMeta,
    /// Bytes handed out.
    at: u64,
    /// Resumes since the last byte came.
    resumes: u32,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
}

impl Read {
    /// The next bytes; `None` when the whole object was read.
    async fn next(&mut self) -> Result<Option<Bytes>, OpenError> {
        loop {
            let broken = match tokio::time::timeout(self.patience.silence, self.stream.try_next()).await {
                Ok(Ok(Some(bytes))) if bytes.is_empty() => continue,
                Ok(Ok(Some(bytes))) => {
                    self.at += bytes.len() as u64;
                    self.resumes = 0;
                    return Ok(Some(bytes));
                }
                Ok(Ok(None)) if self.at >= self.meta.size => return Ok(None),
                Ok(Ok(None)) => "the connection was closed".to_owned(),
                Ok(Err(error)) => message(&error),
                Err(_) => format!("silent for {} s", self.patience.silence.as_secs_f32()),
            };
            if self.resumes == self.patience.retries {
                let fault = format!(
                    "{broken}, after {} of {} bytes and {} more tries from there",
                    self.at, self.meta.size, self.resumes
                );
                return Err(OpenError::Remote { url: self.url.to_string(), fault });
            }
            tracing::info!(url = %self.url, at = self.at, "resuming the read where it broke off: {broken}");
            tokio::time::sleep(self.patience.wait * 2u32.saturating_pow(self.resumes)).await;
            self.resumes += 1;
            self.resume().await?;
        }
    }

    /// Asks for the rest of the same version of the object.
    async fn resume(&mut self) -> Result<(), OpenError> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(self.at..self.meta.size)),
            if_match: self.meta.e_tag.clone(),
            ..GetOptions::default()
        };
        let got = self.store.get_opts(&self.path, options).await.map_err(|error| fault(&self.url, &error))?;
        if got.meta.size != self.meta.size || got.meta.e_tag != self.meta.e_tag {
            let fault = format!("it changed on the server after {} bytes were read", self.at);
            return Err(OpenError::Remote { url: self.url.to_string(), fault });
        }
        self.stream = got.into_stream();
        Ok(())
    }
}
