//! The shards and questions under assets/world are the output of this crate:
//!
//!     scenes pack --out assets/world --split train --count 880 --shard-size 220
//!     scenes pack --out assets/world --split test --count 320 --shard-size 160
//!     scenes questions --out assets/world/questions.jsonl --count 320 --shard-size 160
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;

use scenes::{Scene, Split, questions, shard_name};

const SEED: u64 = 1;

fn assets() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets/world"))
}

#[test]
fn shards_hold_the_scenes_that_the_generator_makes() {
    for (split, count, shard_size) in [(Split::Train, 880, 220), (Split::Test, 320, 160)] {
        let mut index = 0;
        for shard in 0..count / shard_size {
            let mut tar = tar::Archive::new(File::open(assets().join(shard_name(split, shard))).unwrap());
            let mut members = tar.entries().unwrap().map(|entry| {
                let mut entry = entry.unwrap();
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).unwrap();
                (entry.path().unwrap().display().to_string(), bytes)
            });
            for _ in 0..shard_size {
                let scene = Scene::new(SEED, split, index);
                let key = scene.key();
                let (name, jpeg) = members.next().unwrap();
                assert_eq!(name, format!("{key}.jpg"));
                same_picture(&key, &jpeg, &scene.jpeg().unwrap());
                let texts = [("txt", scene.captions.join("\n")), ("json", scene.truth_json().unwrap())];
                for (ending, text) in texts {
                    let (name, bytes) = members.next().unwrap();
                    assert_eq!(name, format!("{key}.{ending}"));
                    assert_eq!(String::from_utf8(bytes).unwrap(), text);
                }
                index += 1;
            }
            assert!(members.next().is_none());
        }
        assert_eq!(index, count);
    }
}

/// Another processor may round the pixels of an edge differently, so pixels are
/// compared, not bytes.
fn same_picture(key: &str, a: &[u8], b: &[u8]) {
    let pixels = |bytes| image::load_from_memory(bytes).unwrap().into_rgb8().into_raw();
    let (a, b) = (pixels(a), pixels(b));
    assert_eq!(a.len(), b.len(), "{key}");
    let difference: u64 = a.iter().zip(&b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    assert!(difference <= a.len() as u64 / 4, "{key} differs by {difference} levels");
}

#[test]
fn questions_are_those_of_the_test_shards() {
    let file = fs::read_to_string(assets().join("questions.jsonl")).unwrap();
    let made: Vec<_> = questions(SEED, Split::Test, 320, 160, 2)
        .iter()
        .map(|question| serde_json::to_string(question).unwrap())
        .collect();
    assert!(made.len() >= 600);
    assert_eq!(file.lines().collect::<Vec<_>>(), made);
}
