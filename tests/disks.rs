//! Disks that are full, and folders that may only be read: real ones, mounted for the test.
//! Where nothing can be mounted (who is not root, or in a container that may not) the tests say
//! that they were skipped.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::Bench;

/// A file system of its own, unmounted in the end.
struct Mounted(PathBuf);

impl Mounted {
    fn new(at: &Path, arguments: &[&str]) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let output = Command::new("mount").args(arguments).arg(at).output();
        match output {
            Ok(output) if output.status.success() => Some(Self(at.to_owned())),
            Ok(output) => {
                println!("skipped: nothing can be mounted here: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                println!("skipped: there is no `mount` here: {error}");
                None
            }
        }
    }

    /// A disk of so many bytes, in memory.
    fn disk(at: &Path, bytes: u64) -> Option<Self> {
        Self::new(at, &["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
    }

    /// What lies there, and nobody may write, not even root.
    fn read_only(at: &Path) -> Option<Self> {
        let mounted = Self::new(at, &["--bind", at.to_str().unwrap()])?;
        let again = Command::new("mount").args(["-o", "remount,ro,bind"]).arg(at).status().unwrap();
        assert!(again.success());
        assert!(std::fs::write(at.join("probe"), "").is_err(), "it can be written");
        Some(mounted)
    }

    fn grow(&self, bytes: u64) {
        let grown = Command::new("mount").args(["-o", &format!("remount,size={bytes}")]).arg(&self.0).status().unwrap();
        assert!(grown.success());
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Bytes of all files in a folder.
fn size(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { size(&path) } else { path.metadata().unwrap().len() }).sum()
}

/// Names in a folder, sorted.
fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_full_disk_costs_no_more_than_the_steps_since_the_last_checkpoint() {
    let bench = Bench::new(40);
    let whole = bench.run("whole", &[]).whole();
    let weights = whole.weights();
    let checkpoint = size(&whole.dir.join("checkpoints/e0001-s000000"));
    let (export, all) = (size(&whole.dir.join("export")), size(&whole.dir));
    let rest = all - export - size(&whole.dir.join("checkpoints")) + (1 << 20);
    let Some(disk) = Mounted::disk(&bench.path("runs"), 1 << 20) else { return };

    // Room for one checkpoint and a half.
    disk.grow(checkpoint * 3 / 2 + rest);
    let cut = bench.run("cut", &[]);
    let said = cut.failed(1);
    assert!(said.contains("stage `train` failed in epoch 2"), "{said}");
    assert!(said.contains("checkpoints/e0002-s000000.part/") && said.contains("No space left on device"), "{said}");
    assert!(names(&cut.dir.join("checkpoints")).contains(&"e0001-s000000".to_owned()));
    // Nothing changes as long as there is no room.
    let said = bench.resume("cut", &[]).failed(1);
    assert!(said.contains("No space left on device"), "{said}");

    // Room for the checkpoints, and not for the export.
    disk.grow(2 * checkpoint + rest + export / 2);
    let said = bench.resume("cut", &[]).failed(1);
    assert!(said.contains("export") && said.contains("No space left on device"), "{said}");
    assert!(!cut.dir.join("export").exists(), "half an export: {:?}", names(&cut.dir));

    disk.grow(4 * all);
    let resumed = bench.resume("cut", &[]).whole();
    assert!(resumed.weights() == weights, "other weights");
    let left = names(&cut.dir.join("checkpoints"));
    assert_eq!(left, ["e0001-s000000", "e0002-s000000"], "and nothing half-written");
    assert!(!names(&cut.dir).iter().any(|name| name.contains(".part") || name.contains("partial")));
}

#[test]
fn a_cache_on_a_full_disk_is_a_warning_and_the_run_is_right() {
    let bench = Bench::new(40);
    let whole = bench.run("whole", &["stage.encode.cache="]).whole();
    let Some(_disk) = Mounted::disk(&bench.path("cache"), 64 << 10) else { return };
    let full = std::fs::write(bench.path("cache/filler"), vec![0; 1 << 20]);
    assert!(full.is_err());
    let run = bench.run("full", &[]).whole();
    let said = run.stdout() + &run.stderr();
    assert!(said.contains("cannot be cached in") && said.contains("No space left on device"), "{said}");
    assert!(run.weights() == whole.weights());
    assert_eq!(names(&bench.path("cache")), ["filler"], "nothing half-written");
}

#[test]
fn folders_that_may_only_be_read_are_named() {
    let bench = Bench::new(40);
    let whole = bench.run("whole", &[]).whole();
    let weights = whole.weights();
    let cached = names(&bench.path("cache"));

    let Some(runs) = Mounted::read_only(&bench.path("runs")) else { return };
    let said = bench.run("r", &[]).failed(1);
    assert!(said.contains("runs/r") && said.contains("Read-only file system"), "{said}");
    assert!(said.contains("run.dir=DIR"), "{said}");
    let said = bench.resume("whole", &["run.epochs=3"]).failed(1);
    assert!(said.contains("runs/whole") && said.contains("Read-only file system"), "{said}");
    drop(runs);
    assert!(whole.weights() == weights && names(&bench.path("runs")) == ["whole"]);

    // A cache that is there can be read.
    let cache = Mounted::read_only(&bench.path("cache")).unwrap();
    let run = bench.run("cached", &[]).whole();
    assert!(run.weights() == weights && run.kinds(1)[0] == "encode", "{:?}", run.kinds(1));
    drop(cache);
    // One that is empty is not filled, and that is said.
    cached.iter().for_each(|name| std::fs::remove_file(bench.path("cache").join(name)).unwrap());
    let _cache = Mounted::read_only(&bench.path("cache")).unwrap();
    let run = bench.run("uncached", &[]).whole();
    let said = run.stdout() + &run.stderr();
    assert!(said.contains("cannot be cached in") && said.contains("Read-only file system"), "{said}");
    assert!(run.weights() == weights);
}
