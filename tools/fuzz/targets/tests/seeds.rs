//! Runs every seed, cut and with flipped bytes too, through its target.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

#[test]
fn every_seed_passes() {
    let seeds = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../seeds"));
    let mut names: Vec<String> =
        std::fs::read_dir(&seeds).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut targets: Vec<&str> = fuzz_targets::ALL.iter().map(|(name, _)| *name).collect();
    targets.sort_unstable();
    assert_eq!(names, targets, "a folder of seeds for each target");
    for (name, target) in fuzz_targets::ALL {
        let mut count = 0;
        for entry in std::fs::read_dir(seeds.join(name)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            // The last name in the output is the seed that panics.
            println!("{}", path.display());
            target(&bytes);
            // A few of the changes that a fuzzer would try first.
            for at in (0..bytes.len()).step_by((bytes.len() / 40).max(1)) {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << (at % 8);
                target(&flipped);
                target(&bytes[..at]);
            }
            count += 1;
        }
        assert!(count > 1, "{name} has {count} seeds");
    }
}
