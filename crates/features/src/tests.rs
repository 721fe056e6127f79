//! Entries come back as they were, or not at all.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use items::{CachedSample, Shard, ShardFault, Work};

use crate::{Entry, EntryFault, EntryInfo, EntryKey, FeatureCache};

/// An entry with a bit of everything.
fn entry(rows: usize, dim: usize) -> Entry {
    let sample = |row: usize| CachedSample {
        key: format!("key {row}").into(),
        captions: (0..row % 4).map(|i| format!("ein Käfer {i}")).collect(),
        work: if row % 5 == 2 {
            Work::Skipped { stage: "decode".into(), reason: format!("reason {row}").into() }
        } else {
            Work::Done((0..dim).map(|i| (row * dim + i) as f32 * 0.1).collect())
        },
    };
    Entry { samples: (0..rows).map(sample).collect(), fault: None }
}

fn key() -> EntryKey {
    EntryKey { fingerprint: "f".into(), shard: "/data/s.tar".into(), identity: "size=1".into() }
}

#[test]
fn an_entry_comes_back_as_it_was() {
    let fault = Some(ShardFault { reason: "cut at 700".into() });
    for (rows, dim, fault) in [(0, 1, None), (0, 1, fault.clone()), (1, 1, None), (3, 256, fault), (40, 7, None)] {
        let entry = Entry { fault, ..entry(rows, dim) };
        let bytes = entry.to_bytes(&key()).unwrap();
        assert_eq!(bytes, entry.to_bytes(&key()).unwrap());
        let back = Entry::from_bytes(&bytes, &key()).unwrap();
        assert_eq!(format!("{back:?}"), format!("{entry:?}"));
    }
}

#[test]
fn a_damaged_entry_is_never_taken_for_a_sound_one() {
    let bytes = entry(12, 5).to_bytes(&key()).unwrap();
    for position in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let mut damaged = bytes.clone();
            damaged[position] ^= 1 << bit;
            assert!(Entry::from_bytes(&damaged, &key()).is_err(), "bit {bit} of byte {position}");
        }
    }
    for length in 0..bytes.len() {
        assert!(Entry::from_bytes(&bytes[..length], &key()).is_err(), "cut to {length} bytes");
    }
    assert!(Entry::from_bytes(&[&bytes[..], b"more"].concat(), &key()).is_err());
    // A file of zeros, as some file systems leave it after a power cut.
    assert!(Entry::from_bytes(&vec![0; bytes.len()], &key()).is_err());
    // An Arrow file that is not ours.
    let mut foreign = Vec::new();
    let batch = arrow_array::RecordBatch::try_from_iter([(
        "key",
        Arc::new(arrow_array::StringArray::from(vec!["a"])) as arrow_array::ArrayRef,
    )]);
    let batch = batch.unwrap();
    let mut writer = arrow_ipc::writer::FileWriter::try_new(&mut foreign, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    assert!(matches!(Entry::from_bytes(&foreign, &key()), Err(EntryFault::Damaged(_))));
}

#[test]
fn an_entry_of_another_key_is_stale() {
    let bytes = entry(3, 4).to_bytes(&key()).unwrap();
    for other in [
        EntryKey { fingerprint: "g".into(), ..key() },
        EntryKey { shard: "/data/t.tar".into(), ..key() },
        EntryKey { identity: "size=2".into(), ..key() },
    ] {
        assert!(matches!(Entry::from_bytes(&bytes, &other), Err(EntryFault::Stale)));
    }
}

#[test]
fn features_of_two_widths_are_not_written() {
    let mut mixed = entry(2, 4);
    mixed.samples[1].work = Work::Done([1.0].into());
    assert!(mixed.to_bytes(&key()).is_err());
}

#[test]
fn the_same_name_in_two_folders_is_two_shards() {
    let dir = tempfile::tempdir().unwrap();
    let shard = Shard { number: 0, url: "train-000.tar.gz".into(), identity: "size=1".into() };
    let cache = |base: &str| FeatureCache::open(dir.path(), Path::new(base), "f".into(), 0).unwrap();
    let (a, b) = (cache("/a").path(&shard), cache("/b").path(&shard));
    assert_ne!(a, b);
    assert!(a.file_name().unwrap().to_str().unwrap().starts_with("train-000-"));
    let remote = Shard { url: "https://host/a.tar?token=x/../../y".into(), ..shard };
    assert_eq!(cache("/a").path(&remote), cache("/b").path(&remote));
    assert_eq!(cache("/a").path(&remote).parent(), Some(dir.path()));
}

#[test]
fn an_entry_that_was_forged_is_refused_and_not_a_panic() {
    // A buffer that is said to be longer than the file: Arrow panics at it.
    let found = include_bytes!("../../../tools/fuzz/seeds/cache_sealed/found-length");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), crate::sealed(found.to_vec()).unwrap()).unwrap();
    // Whatever it is of, as `inspect` reads it.
    let refused = EntryInfo::open(file.path());
    assert!(matches!(refused, Err(EntryFault::Damaged(_) | EntryFault::Arrow(_))), "{refused:?}");
    // A record batch of 2^60 bytes: Arrow would take memory for them.
    let bytes = entry(3, 4).to_bytes(&key()).unwrap();
    let (arrow, trailer) = bytes.split_at(bytes.len() - 42);
    let length = i32::from_le_bytes(trailer[32..36].try_into().unwrap()) - 32;
    let plain = [arrow, &length.to_le_bytes(), &trailer[36..]].concat();
    assert_eq!(crate::sealed(plain.clone()).unwrap(), bytes);
    let footer = plain.len() - 10 - length as usize;
    let mut refused = 0;
    for at in footer..plain.len() - 18 {
        let mut forged = plain.clone();
        forged[at..at + 8].copy_from_slice(&(1i64 << 60).to_le_bytes());
        refused += u32::from(Entry::from_bytes(&crate::sealed(forged).unwrap(), &key()).is_err());
    }
    assert!(refused > 0);
}
