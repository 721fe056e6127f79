//! Shards over HTTP, S3 and Google Cloud Storage.
//!
//! A shard is read by one request for as long as that lasts. A training run may
//! take minutes over what it has, and a server hangs up meanwhile: then the
//! reading goes on from the byte it had reached, as long as the object is the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{BoxStream, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig,
};
use tokio_util::bytes::Bytes;
use tokio_util::io::StreamReader;
use url::{Position, Url};

use crate::open::{ByteStream, OpenError};

/// How patient to be.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Tries after a failed request, and resumes of a read without a byte between them.
    pub retries: u32,
    /// The first wait between two tries; it doubles.
    pub wait: Duration,
    /// The longest silence of a server.
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
    /// Clients of this patience.
    #[cfg(test)]
    pub fn new(patience: Patience) -> Self {
        Self { patience, ..Self::default() }
    }

    /// The bytes of an object, and its identity.
    pub async fn open(&self, url: &Url) -> Result<(ByteStream, String), OpenError> {
        let (store, path) = self.locate(url)?;
        let got = store.get(&path).await.map_err(|error| fault(url, &error))?;
        let identity = identity(&got.meta);
        let read = Read {
            url: url.clone(),
            store,
            path,
            patience: self.patience,
            meta: got.meta.clone(),
            at: 0,
            resumes: 0,
            stream: got.into_stream(),
        };
        let bytes = futures::stream::try_unfold(read, |mut read| async move {
            let bytes = read.next().await.map_err(std::io::Error::other)?;
            Ok::<_, std::io::Error>(bytes.map(|bytes| (bytes, read)))
        });
        Ok((Box::new(StreamReader::new(Box::pin(bytes))), identity))
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
        let mut stores = self.by_host.lock().unwrap_or_else(PoisonError::into_inner);
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

/// A read that is under way.
struct Read {
    url: Url,
    store: Arc<dyn ObjectStore>,
    path: Path,
    patience: Patience,
    meta: ObjectMeta,
    /// Bytes handed out.
    at: u64,
    /// Resumes since the last byte.
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
            tracing::info!(url = %self.url, at = self.at, "going on where the reading broke off: {broken}");
            tokio::time::sleep(self.patience.wait * 2u32.saturating_pow(self.resumes)).await;
            self.resumes += 1;
            self.resume().await?;
        }
    }

    /// Asks for the rest, of the same version of the object.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;

    use tokio::io::AsyncReadExt;

    use super::*;

    /// One answer of the server: to a request with these head lines, these bytes;
    /// then it hangs up.
    type Answer = Box<dyn Fn(&[String]) -> Vec<u8> + Send>;

    /// A server that gives these answers, one a connection, then refuses.
    fn serve(answers: Vec<Answer>) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/d/a%20b.tar", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                assert_eq!(head[0].split(' ').nth(1), Some("/d/a%20b.tar"));
                let _ = stream.write_all(&answer(&head));
            }
        });
        url.parse().unwrap()
    }

    fn answer(status: &str, headers: &str, length: usize, body: &[u8]) -> Vec<u8> {
        let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
        [head.as_bytes(), body].concat()
    }

    fn status(status: &'static str) -> Answer {
        Box::new(move |_| answer(status, "", 4, b"oops"))
    }

    const TAG: &str = "etag: \"v1\"\r\n";

    /// `body` whole, but only its first `sent` bytes arrive.
    fn part(body: &'static [u8], sent: usize) -> Answer {
        Box::new(move |_| answer("200 OK", TAG, body.len(), &body[..sent]))
    }

    /// The bytes from `from` on, of which only those before `until` arrive; the request must ask for them.
    fn rest(body: &'static [u8], from: usize, until: usize, tag: &'static str) -> Answer {
        Box::new(move |head| {
            let (last, len) = (body.len() - 1, body.len());
            assert!(
                head.iter().any(|line| line.eq_ignore_ascii_case(&format!("range: bytes={from}-{last}"))),
                "{head:?}"
            );
            let headers = format!("{tag}content-range: bytes {from}-{last}/{len}\r\n");
            answer("206 Partial Content", &headers, len - from, &body[from..until])
        })
    }

    fn stores() -> Stores {
        let (wait, silence) = (Duration::from_millis(1), Duration::from_secs(20));
        Stores::new(Patience { retries: 2, wait, silence })
    }

    /// What was read, and how it ended.
    async fn get(url: &Url) -> (Vec<u8>, Result<(), String>) {
        let mut bytes = Vec::new();
        match stores().open(url).await {
            Ok((mut stream, _)) => {
                let end = stream.read_to_end(&mut bytes).await.map(drop).map_err(|error| error.to_string());
                (bytes, end)
            }
            Err(error) => (bytes, Err(error.to_string())),
        }
    }

    const BODY: &[u8] = b"0123456789";

    #[tokio::test]
    async fn reads_what_a_server_sends() {
        let url = serve(vec![part(BODY, 10)]);
        assert_eq!(get(&url).await, (BODY.to_vec(), Ok(())));
    }

    #[tokio::test]
    async fn errors_name_the_url_and_the_status() {
        for code in ["404 Not Found", "403 Forbidden"] {
            let url = serve(vec![status(code)]);
            let (_, end) = get(&url).await;
            let error = end.unwrap_err();
            assert!(error.contains(url.as_str()) && error.contains(code), "{error}");
        }
    }

    #[tokio::test]
    async fn a_server_in_trouble_is_asked_again_but_not_for_ever() {
        let trouble = || status("500 Internal Server Error");
        let url = serve(vec![trouble(), trouble(), part(BODY, 10)]);
        assert_eq!(get(&url).await, (BODY.to_vec(), Ok(())));
        let url = serve(vec![trouble(), trouble(), trouble()]);
        let error = get(&url).await.1.unwrap_err();
        assert!(error.contains(url.as_str()) && error.contains("500"), "{error}");
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_read_on_from_there() {
        let url = serve(vec![part(BODY, 4), rest(BODY, 4, 7, TAG), rest(BODY, 7, 10, TAG)]);
        assert_eq!(get(&url).await, (BODY.to_vec(), Ok(())));
    }

    #[tokio::test]
    async fn a_body_that_keeps_breaking_off_is_an_error_after_what_came() {
        // Each try may be repeated by the client below as well: offer enough of them.
        let mut answers = vec![part(BODY, 4)];
        answers.extend((0..20).map(|_| rest(BODY, 4, 4, TAG)));
        let url = serve(answers);
        let (bytes, end) = get(&url).await;
        assert_eq!(bytes, b"0123");
        let error = end.unwrap_err();
        assert!(error.contains(url.as_str()) && error.contains("after 4 of 10 bytes"), "{error}");
    }

    #[tokio::test]
    async fn an_object_that_changed_meanwhile_is_not_stitched_together() {
        let new = "etag: \"v2\"\r\n";
        let mut answers = vec![part(BODY, 4)];
        answers.extend((0..20).map(|_| rest(BODY, 4, 10, new)));
        let url = serve(answers);
        let (bytes, end) = get(&url).await;
        assert_eq!(bytes, b"0123");
        assert!(end.is_err());
    }

    /// A server that takes every connection, sends `sent` and is silent for good.
    fn stall(sent: Vec<u8>) -> Url {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/d/a%20b.tar", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // An answer to a request that was not made yet would be no answer.
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let _ = stream.write_all(&sent);
                open.push(stream);
            }
        });
        url.parse().unwrap()
    }

    #[tokio::test]
    async fn a_server_that_stalls_is_given_up_by_name() {
        for sent in [Vec::new(), answer("200 OK", TAG, BODY.len(), &BODY[..4])] {
            let url = stall(sent.clone());
            let (wait, silence) = (Duration::from_millis(1), Duration::from_millis(200));
            let stores = Stores::new(Patience { retries: 1, wait, silence });
            let mut bytes = Vec::new();
            let error = match stores.open(&url).await {
                Ok((mut stream, _)) => stream.read_to_end(&mut bytes).await.unwrap_err().to_string(),
                Err(error) => error.to_string(),
            };
            assert!(error.contains(url.as_str()), "{error}");
            // What came before the silence is never taken for the whole.
            assert!(bytes.len() <= 4 && sent.is_empty() == bytes.is_empty(), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn identity_is_tag_and_size() {
        let head: Answer = Box::new(|head| {
            assert!(head[0].starts_with("HEAD"));
            answer("200 OK", TAG, 10, b"")
        });
        let url = serve(vec![head]);
        assert_eq!(stores().identity(&url).await.unwrap(), "size=10 etag=\"v1\"");
        let url = serve(vec![status("404 Not Found")]);
        assert!(stores().identity(&url).await.unwrap_err().to_string().contains("404"));
    }

    #[test]
    fn the_query_of_a_signed_url_is_kept_and_buckets_are_found() {
        let stores = Stores::default();
        let path = |url: &str| stores.locate(&url.parse().unwrap()).unwrap().1.to_string();
        assert_eq!(path("https://host/d/a.tar?sig=1"), "d/a.tar");
        assert_eq!(path("https://host/d/a.tar?sig=2"), "d/a.tar");
        assert_eq!(stores.by_host.lock().unwrap().len(), 2);
        assert_eq!(path("s3://bucket/d/a.tar"), "d/a.tar");
    }
}
