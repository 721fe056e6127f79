//! Shards over HTTP, S3 and Google Cloud Storage: the clients.

mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig};
use parking_lot::Mutex;
use url::{Position, Url};

use crate::types::{ByteStream, OpenError};

/// How long to wait and how often to try again.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Tries after a failed request, and resumes of a read that give no byte.
    pub retries: u32,
    /// The wait before the second try; it doubles with each further one.
    pub wait: Duration,
    /// How long a server may send nothing.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { retries: 5, wait: Duration::from_millis(200), silence: Duration::from_secs(60) }
    }
}

/// The servers that shards come from, one client each.
#[derive(Debug, Default)]
pub struct Stores {
    patience: Patience,
    by_host: Mutex<BTreeMap<String, Arc<dyn ObjectStore>>>,
}

impl Stores {
    /// Clients with this patience.
    #[cfg(test)]
    pub fn new(patience: Patience) -> Self {
        Self { patience, ..Self::default() }
    }

    /// The bytes of an object, and its identity.
    pub async fn open(&self, url: &Url) -> Result<(ByteStream, String), OpenError> {
        let (store, path) = self.locate(url)?;
        let got = store.get(&path).await.map_err(|error| fault(url, &error))?;
        let identity = identity(&got.meta);
        Ok((read::stream(url.clone(), store, path, self.patience, got), identity))
    }

    /// The tag (or time) and the size of an object.
    pub async fn identity(&self, url: &Url) -> Result<String, OpenError> {
        let (store, path) = self.locate(url)?;
        Ok(identity(&store.head(&path).await.map_err(|error| fault(url, &error))?))
    }

    /// The client for a url and the path to ask it for.
    fn locate(&self, url: &Url) -> Result<(Arc<dyn ObjectStore>, Path), OpenError> {
        let path = Path::from_url_path(url.path()).map_err(|error| fault(url, &error))?;
        // A signed url carries its permission in the query, so the query is part of the client.
        let host = format!("{}?{}", &url[..Position::BeforePath], url.query().unwrap_or_default());
        let mut stores = self.by_host.lock();
        if let Some(store) = stores.get(&host) {
            return Ok((store.clone(), path));
        }
        let store = self.connect(url).map_err(|error| fault(url, &error))?;
        stores.insert(host, store.clone());
        Ok((store, path))
    }

    /// A client. Permissions of S3 and Google come from the usual variables
    /// (`AWS_*`, `GOOGLE_*`) or the machine's role.
    fn connect(&self, url: &Url) -> object_store::Result<Arc<dyn ObjectStore>> {
        let Patience { retries, wait, silence } = self.patience;
        let retry = RetryConfig {
            backoff: BackoffConfig { init_backoff: wait, max_backoff: wait * 64, base: 2.0 },
            max_retries: retries as usize,
            retry_timeout: silence * 2,
        };
        // The cryptography of TLS, which reqwest is built without. It may be chosen already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // No limit on a whole request: a shard is read at the pace of the training.
        let client = ClientOptions::new()
            .with_allow_http(true)
            .with_connect_timeout(silence / 4)
            .with_read_timeout(silence)
            .with_timeout_disabled();
        Ok(match url.scheme() {
            "s3" => Arc::new(
                AmazonS3Builder::from_env()
                    .with_url(url.as_str())
                    .with_client_options(client)
                    .with_retry(retry)
                    .build()?,
            ),
            "gs" => Arc::new(
                GoogleCloudStorageBuilder::from_env()
                    .with_url(url.as_str())
                    .with_client_options(client)
                    .with_retry(retry)
                    .build()?,
            ),
            _ => {
                let mut server = url.clone();
                server.set_path("/");
                server.set_fragment(None);
                let http = HttpBuilder::new().with_url(server).with_client_options(client);
                Arc::new(http.with_retry(retry).build()?)
            }
        })
    }
}

fn identity(meta: &ObjectMeta) -> String {
    match &meta.e_tag {
        Some(tag) => format!("size={} etag={tag}", meta.size),
        None => format!("size={} mtime={}", meta.size, meta.last_modified.timestamp()),
    }
}

fn fault(url: &Url, error: &(dyn std::error::Error + 'static)) -> OpenError {
    OpenError::Remote { url: url.to_string(), fault: message(error) }
}

/// An error and its causes on one line; servers answer with whole pages.
fn message(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(400) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
