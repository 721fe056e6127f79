//! WebDataset shards whose bytes depend only on the arguments.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::scene::{Scene, Split};

/// The file name of a shard.
pub fn shard_name(split: Split, shard: u64) -> String {
    format!("{}-{shard:03}.tar", split.name())
}

/// Writes scenes 0..`count` of a split as tar shards of `shard_size` samples
/// into `out` (created if missing): `key.jpg`, `key.txt` with one caption per line,
/// `key.json` with the ground truth. Files of the same name are replaced.
///
/// # Errors
/// If a file cannot be written, naming it.
pub fn pack(out: &Path, seed: u64, split: Split, count: u64, shard_size: u64) -> anyhow::Result<Vec<PathBuf>> {
    anyhow::ensure!(shard_size > 0, "a shard needs at least one sample: give --shard-size 1 or more");
    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let mut shards = Vec::new();
    for (shard, first) in (0..count).step_by(usize::try_from(shard_size)?).enumerate() {
        let path = out.join(shard_name(split, shard as u64));
        let scenes = first..count.min(first + shard_size);
        write_shard(&path, scenes.map(|index| Scene::new(seed, split, index)))
            .with_context(|| format!("cannot write {}", path.display()))?;
        shards.push(path);
    }
    Ok(shards)
}

fn write_shard(path: &Path, scenes: impl Iterator<Item = Scene>) -> anyhow::Result<()> {
    let mut tar = tar::Builder::new(BufWriter::new(File::create(path)?));
    for scene in scenes {
        let key = scene.key();
        append(&mut tar, &format!("{key}.jpg"), &scene.jpeg()?)?;
        append(&mut tar, &format!("{key}.txt"), scene.captions.join("\n").as_bytes())?;
        append(&mut tar, &format!("{key}.json"), scene.truth_json()?.as_bytes())?;
    }
    tar.into_inner()?.flush()?;
    Ok(())
}

/// Appends a member whose header holds no time, owner or machine.
fn append<W: Write>(tar: &mut tar::Builder<W>, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, bytes)?;
    Ok(())
}
