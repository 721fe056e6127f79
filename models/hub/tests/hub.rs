//! Fetching from a server on this machine that speaks the hub's protocol.
#![cfg(feature = "fetch")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use clip_hub::{Hub, Name};
use tempfile::TempDir;

const FIRST: &str = "1111111111111111111111111111111111111111";
const SECOND: &str = "2222222222222222222222222222222222222222";

/// What the server has and how it behaves.
#[derive(Default)]
struct Site {
    /// The commit of `main`.
    commit: String,
    files: BTreeMap<String, Vec<u8>>,
    /// Without it, 401.
    token: Option<String>,
    /// How many of the next downloads break off in the middle.
    break_off: usize,
    /// Answer everything with this status.
    status: Option<u16>,
    /// Requests so far, as `METHOD path`, and the authorization of each.
    log: Vec<(String, String)>,
}

struct Server {
    site: Arc<Mutex<Site>>,
    endpoint: String,
    _cache: TempDir,
    hub: Hub,
}

impl Server {
    fn new(files: &[(&str, &[u8])]) -> Self {
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
        let cache = tempfile::tempdir().unwrap();
        let hub = Hub { endpoint: endpoint.clone(), cache: cache.path().join("hub"), token: None, offline: false };
        Self { site, endpoint, _cache: cache, hub }
    }

    fn change(&self, change: impl FnOnce(&mut Site)) {
        change(&mut self.site.lock().unwrap());
    }

    /// Requests since the last call.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.site.lock().unwrap().log).into_iter().map(|(request, _)| request).collect()
    }

    fn fetch(&self, name: &str) -> Result<std::path::PathBuf, String> {
        self.hub.fetch(&Name::parse(name).unwrap()).map_err(|error| error.to_string())
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
                // A request for one byte asks for the size.
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

const WHOLE: [(&str, &[u8]); 5] = [
    ("README.md", b"not fetched"),
    ("config.json", b"{}"),
    ("model.safetensors", b"weights weights weights weights"),
    ("pytorch_model.bin", b"the same once more"),
    ("tokenizer.json", b"{\"model\": {}}"),
];

#[test]
fn a_checkpoint_is_fetched_once() {
    let server = Server::new(&WHOLE);
    let folder = server.fetch("me/clip").unwrap();
    assert_eq!(folder, server.hub.cache.join(format!("models--me--clip/snapshots/{FIRST}")));
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["config.json", "model.safetensors", "tokenizer.json"]);
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), WHOLE[2].1);

    server.asked();
    assert_eq!(server.fetch("me/clip@main").unwrap(), folder);
    assert_eq!(server.asked(), ["/api/models/me/clip/revision/main"]);
    // A commit never changes, so nobody is asked.
    assert_eq!(server.fetch(&format!("me/clip@{FIRST}")).unwrap(), folder);
    assert!(server.asked().is_empty());
}

#[test]
fn a_branch_that_moved_is_fetched_anew_and_whole() {
    let server = Server::new(&WHOLE);
    let old = server.fetch("me/clip").unwrap();
    server.change(|site| {
        site.commit = SECOND.into();
        site.files.insert("model.safetensors".into(), b"other weights".to_vec());
    });
    let new = server.fetch("me/clip").unwrap();
    assert_ne!(old, new);
    assert_eq!(fs::read(new.join("model.safetensors")).unwrap(), b"other weights");
    assert!(new.join("config.json").is_file());
    assert_eq!(fs::read(old.join("model.safetensors")).unwrap(), WHOLE[2].1);
}

#[test]
fn without_a_network_the_cache_serves() {
    let server = Server::new(&WHOLE);
    let offline = Hub { offline: true, ..server.hub.clone() };
    let name = Name::parse("me/clip").unwrap();
    let message = offline.fetch(&name).unwrap_err().to_string();
    assert!(message.contains("HF_HUB_OFFLINE"), "{message}");
    assert!(server.asked().is_empty());

    let folder = server.fetch("me/clip").unwrap();
    assert_eq!(offline.fetch(&name).unwrap(), folder);
    let gone = Hub { endpoint: "http://127.0.0.1:1".into(), ..server.hub.clone() };
    assert_eq!(gone.fetch(&name).unwrap(), folder);
    server.change(|site| site.status = Some(503));
    assert_eq!(server.fetch("me/clip").unwrap(), folder);
    // What was never fetched is no help.
    let message = gone.fetch(&Name::parse("me/other").unwrap()).unwrap_err().to_string();
    assert!(message.contains("hf:me/other") && message.contains("http://127.0.0.1:1"), "{message}");
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_was() {
    let server = Server::new(&WHOLE);
    server.change(|site| site.break_off = 2);
    let folder = server.fetch("me/clip").unwrap();
    for (name, bytes) in WHOLE.iter().filter(|(name, _)| folder.join(name).exists()) {
        assert_eq!(fs::read(folder.join(name)).unwrap(), *bytes, "{name}");
    }
    let server = Server::new(&WHOLE);
    server.change(|site| site.break_off = 100);
    // Each attempt gets half of what is left: the small files come through, the weights do not.
    let message = server.fetch("me/clip").unwrap_err();
    assert!(message.contains("hf:me/clip, model.safetensors"), "{message}");
}

#[test]
fn shards_come_by_their_index() {
    let index = br#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
    let files: [(&str, &[u8]); 4] = [
        ("config.json", b"{}"),
        ("model.safetensors.index.json", index),
        ("model-1.safetensors", b"one"),
        ("model-2.safetensors", b"two"),
    ];
    let server = Server::new(&files);
    let folder = server.fetch("me/clip").unwrap();
    assert_eq!(fs::read(folder.join("model-2.safetensors")).unwrap(), b"two");

    let evil = br#"{"weight_map": {"a": "../../../evil"}}"#;
    let server = Server::new(&[("config.json", b"{}"), ("model.safetensors.index.json", evil)]);
    let message = server.fetch("me/clip").unwrap_err();
    assert!(message.contains("is not the name of a file"), "{message}");
}

#[test]
fn tokens_are_sent_to_the_hub_alone_and_refusals_say_what_to_do() {
    let server = Server::new(&WHOLE);
    server.change(|site| site.token = Some("secret".into()));
    let message = server.fetch("me/clip").unwrap_err();
    assert!(message.contains("401") && message.contains("HF_TOKEN"), "{message}");
    let known = Hub { token: Some("secret".into()), ..server.hub.clone() };
    known.fetch(&Name::parse("me/clip").unwrap()).unwrap();

    let message = server.fetch("me/clip@no-such").unwrap_err();
    assert!(message.contains("401"), "{message}");
    let message = known.fetch(&Name::parse("me/clip@no-such").unwrap()).unwrap_err().to_string();
    assert!(message.contains("404") && message.contains("no such repository or revision"), "{message}");
    assert!(message.contains(&server.endpoint), "{message}");
}

#[test]
fn a_repository_without_checkpoint_lists_what_it_has() {
    let server = Server::new(&[("README.md", b"x"), ("model.gguf", b"y"), ("config.json", b"{}")]);
    let message = server.fetch("me/clip").unwrap_err();
    assert!(message.contains("holds no CLIP checkpoint") && message.contains("model.gguf"), "{message}");
}
