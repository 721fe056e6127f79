//! Functions that take bytes from strangers, and what must hold for any bytes.
//!
//! There is one function per fuzz target of `tools/fuzz`. Each takes any bytes and returns, or
//! panics: a panic is a finding, in the code under test or in an assertion about its result. The
//! tests here run the seeds, which include every input that once was a finding.
#![allow(clippy::unwrap_used)] // a panic is a finding

mod models;
mod texts;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use features::{Entry, EntryInfo, EntryKey};
use items::Work;
use pipeline_engine::{Config, Registry, Section, check, options};
use stage_shards::{CaptionSource, Pipes, Rules, Samples, expand_braces, resolve};
use tokio::runtime::{Builder, Runtime};

pub use models::{model_config, pickle, picture, safetensors, tiny_files};
pub use texts::{captions, templates};

/// A target: takes a fuzzer's bytes; a fault is a panic.
pub type Target = fn(&[u8]);

/// All targets by their names.
pub const ALL: [(&str, Target); 11] = [
    ("tar", tar),
    ("captions", captions),
    ("templates", templates),
    ("config", config),
    ("shard_list", shard_list),
    ("safetensors", safetensors),
    ("pickle", pickle),
    ("model_config", model_config),
    ("cache", cache),
    ("cache_sealed", cache_sealed),
    ("picture", picture),
];

thread_local! {
    /// A folder for targets that read files; in memory if the system has `/dev/shm`.
    static FOLDER: tempfile::TempDir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
}

/// Runs `with` in a folder of this thread. Its files stay there for the next call.
fn in_folder<R>(with: impl FnOnce(&Path) -> R) -> R {
    FOLDER.with(|folder| with(folder.path()))
}

/// A shard. The first byte chooses where its captions are, the rest is the tar.
pub fn tar(data: &[u8]) {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let Some((how, tar)) = data.split_first() else { return };
    let captions = match how % 3 {
        0 => CaptionSource::Txt,
        1 => CaptionSource::Json("caption".into()),
        _ => CaptionSource::Unread,
    };
    let unread = captions == CaptionSource::Unread;
    let rules = Arc::new(Rules { captions, max_member: 1 << 20, max_caption: 256, ..Rules::default() });
    let mut samples = Samples::new(tar, rules.clone());
    let mut seen = 0;
    let runtime = RUNTIME.get_or_init(|| Builder::new_current_thread().build().unwrap());
    while let Some(sample) = runtime.block_on(samples.next()) {
        assert_eq!(sample.index, seen, "samples are counted");
        seen += 1;
        match sample.content {
            Ok(content) => {
                assert!(!content.image.is_empty() && content.image.len() as u64 <= rules.max_member);
                assert_eq!(content.captions.is_empty(), unread);
                let sound = |text: &String| !text.is_empty() && text.len() <= rules.max_caption && !text.contains('\0');
                assert!(content.captions.iter().all(sound));
            }
            Err(reason) => assert!(!reason.to_string().is_empty()),
        }
        assert!(seen as usize <= tar.len() / 512, "more samples than headers");
    }
    let (count, fault) = samples.finish();
    assert_eq!(count, seen);
    assert!(fault.is_none_or(|fault| !fault.to_string().is_empty()));
}

options! {
    /// A table such as `[model]`, whose real definition needs burn.
    pub struct Model {
        /// The checkpoint.
        weights: std::path::PathBuf => free;
    }
}

impl Section for Model {
    const NAME: &'static str = "model";
    const ABOUT: &'static str = "the checkpoint";
}

/// The text of a pipeline.toml, checked with the kinds that need no model.
pub fn config(data: &[u8]) {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    let registry = REGISTRY.get_or_init(|| {
        Registry::new()
            .section::<Model>()
            .stage::<stage_shards::Shards>()
            .stage::<stage_files::Files>()
            .stage::<stage_captions::Captions>()
    });
    let Ok(text) = std::str::from_utf8(data) else { return };
    let checked =
        Config::parse("pipeline.toml", text.to_owned(), ".".into()).and_then(|config| check(&config, registry));
    match checked {
        // The resolved config, which a run writes, must be a config that means the same.
        Ok(plan) => {
            let again = Config::parse("resolved", plan.resolved().to_owned(), ".".into());
            let again = again.and_then(|config| check(&config, registry));
            assert_eq!(again.map(|plan| plan.resolved().to_owned()).ok().as_deref(), Some(plan.resolved()));
        }
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a message");
            for fault in faults {
                assert!(!fault.message.is_empty() && !fault.to_string().is_empty());
            }
        }
    }
}

/// The patterns of a shard list, one per line.
pub fn shard_list(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let patterns: Vec<String> = text.lines().map(str::to_owned).collect();
    for pattern in &patterns {
        match expand_braces(pattern) {
            Ok(urls) => assert!(!urls.is_empty() && urls.len() <= 1_000_000),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    // A `*` may search the whole disk, which tests nothing.
    if !text.contains(['*', '?', '[', '/']) {
        in_folder(|folder| {
            if let Ok(sources) = resolve(&patterns, folder, Pipes::Refused) {
                assert!(!sources.is_empty());
                assert!(patterns.iter().all(|pattern| !pattern.trim_start().starts_with("pipe:")));
            }
        });
    }
}

/// A file of the feature cache.
pub fn cache(data: &[u8]) {
    let key = EntryKey { fingerprint: "f".into(), shard: "s.tar".into(), identity: "size=1".into() };
    if let Ok(entry) = Entry::from_bytes(data, &key) {
        sound(&entry);
        // An entry that was read is written unchanged, whoever made the file.
        assert_eq!(
            format!("{:?}", Entry::from_bytes(&entry.to_bytes(&key).unwrap(), &key).unwrap()),
            format!("{entry:?}")
        );
    }
    in_folder(|folder| {
        let path = folder.join("entry.arrow");
        std::fs::write(&path, data).unwrap();
        if let Err(fault) = EntryInfo::open(&path) {
            assert!(!fault.to_string().is_empty());
        }
    });
}

/// The same, behind a correct seal, which an attacker could forge.
pub fn cache_sealed(data: &[u8]) {
    if let Ok(sealed) = features::sealed(data.to_vec()) {
        cache(&sealed);
    }
}

fn sound(entry: &Entry) {
    for sample in &entry.samples {
        if let Work::Skipped { stage, reason } = &sample.work {
            assert!(stage.len() + reason.len() < 1 << 31);
        }
    }
}
