//! Fetching from a server on this machine that speaks the hub's protocol.
#![cfg(feature = "fetch")]
#![allow(clippy::unwrap_used)]

mod server;

use std::fs;
use std::ops::Deref;

use clip_hub::{Hub, Name};
use server::{FIRST, SECOND};
use tempfile::TempDir;

/// The server, and a cache for the files that are fetched from it.
struct Server {
    server: server::Server,
    _cache: TempDir,
    hub: Hub,
}

impl Deref for Server {
    type Target = server::Server;

    fn deref(&self) -> &server::Server {
        &self.server
    }
}

impl Server {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let server = server::Server::new(files);
        let cache = tempfile::tempdir().unwrap();
        let hub =
            Hub { endpoint: server.endpoint.clone(), cache: cache.path().join("hub"), token: None, offline: false };
        Self { server, _cache: cache, hub }
    }

    fn fetch(&self, name: &str) -> Result<std::path::PathBuf, String> {
        self.hub.fetch(&Name::parse(name).unwrap()).map_err(|error| error.to_string())
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
fn an_onnx_encoder_is_fetched_with_its_weights() {
    let mut files = WHOLE.to_vec();
    files.extend([
        ("vision_model.onnx", b"an encoder".as_slice()),
        ("vision_model.onnx.data", b"its weights"),
        ("text_model.onnx.data", b"not fetched"),
    ]);
    let server = Server::new(&files);
    let folder = server.fetch("me/clip").unwrap();
    assert_eq!(fs::read(folder.join("vision_model.onnx.data")).unwrap(), b"its weights");
    assert!(folder.join("vision_model.onnx").exists() && !folder.join("text_model.onnx.data").exists());
}

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
    // A commit never changes, so the server is not asked.
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
    // The cache does not help with a repository that was never fetched.
    let message = gone.fetch(&Name::parse("me/other").unwrap()).unwrap_err().to_string();
    assert!(message.contains("hf:me/other") && message.contains("http://127.0.0.1:1"), "{message}");
}

#[test]
fn what_needs_no_hub_is_settled_without_asking_it() {
    let server = Server::new(&WHOLE);
    let (branch, commit) = (Name::parse("me/clip").unwrap(), Name::parse(&format!("me/clip@{FIRST}")).unwrap());
    assert_eq!(server.hub.settled(&branch).unwrap(), None);
    let folder = server.fetch("me/clip").unwrap();
    server.asked();
    // The branch may have moved since, but the commit cannot have changed.
    assert_eq!(server.hub.settled(&branch).unwrap(), None);
    assert_eq!(server.hub.settled(&commit).unwrap(), Some(folder.clone()));
    let offline = Hub { offline: true, ..server.hub.clone() };
    assert_eq!(offline.settled(&branch).unwrap(), Some(folder));
    assert!(offline.settled(&Name::parse("me/other").unwrap()).is_err());
    assert!(server.asked().is_empty());
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
    // Each attempt gets half of the rest: the small files arrive, the weights do not.
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
    assert!(message.contains("has no CLIP checkpoint") && message.contains("model.gguf"), "{message}");
}
