//! Any text as pipeline.toml, and as a list of shards.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pipeline_engine::{Config, Registry, check};
use stage_captions::Captions;
use stage_shards::{Shards, expand_braces};

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| Registry::new().stage::<Shards>().stage::<Captions>());

fuzz_target!(|text: &str| {
    match Config::parse("fuzz.toml", text.to_owned(), PathBuf::from("/nowhere")) {
        Ok(config) => {
            if let Err(faults) = check(&config, &REGISTRY) {
                assert!(!faults.is_empty());
                // Each has its place, and can be shown.
                faults.iter().for_each(|fault| assert!(!fault.to_string().is_empty()));
            }
        }
        Err(faults) => faults.iter().for_each(|fault| assert!(!fault.to_string().is_empty())),
    }
    if text.len() < 200 && !text.contains("..") {
        let _ = expand_braces(text);
    }
});
