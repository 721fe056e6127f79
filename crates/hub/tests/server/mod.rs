//! A server on this machine that speaks the hub's protocol.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// Commits that the server knows.
pub const FIRST: &str = "1111111111111111111111111111111111111111";
pub const SECOND: &str = "2222222222222222222222222222222222222222";

/// The server's files and behaviour.
#[derive(Default)]
pub struct Site {
    /// The commit of `main`.
    pub commit: String,
    pub files: BTreeMap<String, Vec<u8>>,
    /// The token that requests must carry; otherwise the answer is 401.
    pub token: Option<String>,
    /// The number of coming downloads that break off in the middle.
    pub break_off: usize,
    /// The status of every answer, if set.
    pub status: Option<u16>,
    /// Requests so far, as `METHOD path`, and the authorization of each.
    log: Vec<(String, String)>,
}

/// The server; it has one repository, `me/clip`.
pub struct Server {
    site: Arc<Mutex<Site>>,
    pub endpoint: String,
}

impl Server {
    pub fn new(files: &[(&str, &[u8])]) -> Self {
        let files = files.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
        let site = Arc::new(Mutex::new(Site { commit: FIRST.into(), files, ..Site::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (shared, own) = (site.clone(), endpoint.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (site, endpoint) = (shared.clone(), own.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &site, &endpoint));
            }
        });
        Self { site, endpoint }
    }

    pub fn change(&self, change: impl FnOnce(&mut Site)) {
        change(&mut self.site.lock().unwrap());
    }

    /// Requests since the last call.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.site.lock().unwrap().log).into_iter().map(|(request, _)| request).collect()
    }
}

/// Answers the requests of one connection. Weights are redirected to `/store/`, as the hub does.
fn serve(stream: TcpStream, site: &Mutex<Site>, endpoint: &str) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut out = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            match line.trim_end().split_once(": ") {
                Some((name, value)) => drop(headers.insert(name.to_lowercase(), value.to_owned())),
                None => break,
            }
        }
        let path = request.split(' ').nth(1).unwrap().to_owned();
        let mut site = site.lock().unwrap();
        let authorization = headers.get("authorization").cloned().unwrap_or_default();
        site.log.push((path.clone(), authorization.clone()));
        let commit = site.commit.clone();
        let plain = |status: &str| format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").into_bytes();
        let stored = path.strip_prefix("/store/");
        let answer = if let Some(status) = site.status {
            plain(&format!("{status} No"))
        } else if stored.is_none()
            && site.token.as_ref().is_some_and(|token| authorization != format!("Bearer {token}"))
        {
            plain("401 Unauthorized")
        } else if path.starts_with("/api/models/me/clip/revision/") {
            let known = ["main", "v1", FIRST, SECOND].iter().any(|revision| path.ends_with(revision));
            let siblings: Vec<_> = site.files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
            let body = serde_json::json!({ "sha": commit, "siblings": siblings }).to_string();
            match known {
                true => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes(),
                false => plain("404 Not Found"),
            }
        } else {
            let name = path.rsplit('/').next().unwrap().to_owned();
            let Some(bytes) = site.files.get(&name).cloned() else {
                out.write_all(&plain("404 Not Found")).unwrap();
                continue;
            };
            let etag = format!("etag: \"{name}-{commit}\"\r\nx-repo-commit: {commit}\r\n");
            if name.ends_with(".safetensors") && stored.is_none() {
                format!(
                    "HTTP/1.1 302 Found\r\n{etag}x-linked-etag: \"{name}-{commit}\"\r\nlocation: {endpoint}/store/{name}\r\ncontent-length: 0\r\n\r\n"
                )
                .into_bytes()
            } else {
                let range = headers.get("range").and_then(|range| range.strip_prefix("bytes=")).unwrap_or("0-");
                let (first, last) = range.split_once('-').unwrap();
                let first: usize = first.parse().unwrap();
                let last = last.parse().unwrap_or(bytes.len() - 1).min(bytes.len() - 1);
                let body = &bytes[first.min(last + 1)..=last];
                let mut answer = format!(
                    "HTTP/1.1 206 Partial Content\r\n{etag}content-range: bytes {first}-{last}/{}\r\ncontent-length: {}\r\n\r\n",
                    bytes.len(),
                    body.len()
                )
                .into_bytes();
                answer.extend_from_slice(body);
                // A request for one byte only asks for the size.
                if site.break_off > 0 && body.len() > 1 {
                    site.break_off -= 1;
                    out.write_all(&answer[..answer.len() - body.len() / 2]).unwrap();
                    return;
                }
                answer
            }
        };
        if out.write_all(&answer).is_err() {
            return;
        }
    }
}
