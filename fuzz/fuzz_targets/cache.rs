//! Any bytes as an entry of the feature cache; and an entry made of them, with one byte changed.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pipeline_fuzz::cache::FeatureCache;
use stage_items::{CachedSample, FeatureMemory, Shard};
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

fn shard() -> Shard {
    Shard { number: 0, url: "a.tar".into(), identity: "size=1".into() }
}

fn cache() -> FeatureCache {
    FeatureCache::open(FOLDER.path(), FOLDER.path(), "fuzz".into(), 1 << 20).unwrap()
}

fuzz_target!(|data: &[u8]| {
    let samples: Vec<CachedSample> = data
        .chunks(24)
        .take(20)
        .map(|part| CachedSample {
            key: String::from_utf8_lossy(&part[..part.len() / 2]).into(),
            captions: [String::from_utf8_lossy(&part[part.len() / 2..]).into_owned()].into(),
            outcome: if part[0] % 5 == 0 { Err(("decode".into(), "no picture".into())) } else { Ok(vec![0.5; 3].into()) },
        })
        .collect();
    for entry in std::fs::read_dir(FOLDER.path()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    cache().remember(&shard(), samples.clone(), None);
    let file = std::fs::read_dir(FOLDER.path()).unwrap().next().unwrap().unwrap().path();
    let (back, fault) = cache().recall(&shard()).unwrap().expect("what was remembered");
    assert_eq!(format!("{back:?}"), format!("{samples:?}"));
    assert!(fault.is_none());

    let mut bytes = std::fs::read(&file).unwrap();
    let at = data.iter().fold(7usize, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % bytes.len();
    bytes[at] ^= data.first().copied().unwrap_or(1).max(1);
    std::fs::write(&file, bytes).unwrap();
    assert!(cache().recall(&shard()).unwrap().is_none(), "byte {at} was changed");

    std::fs::write(&file, data).unwrap();
    assert!(cache().recall(&shard()).unwrap().is_none());
});
