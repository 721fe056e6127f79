//! A small world to break: two shards of drawn scenes and the config of a run that takes seconds.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// A member of a tar: name and bytes.
pub type Member = (String, Vec<u8>);

/// The members of the first `count` samples of the embedded world.
///
/// # Errors
/// If the world cannot be read.
pub fn samples(count: usize) -> Result<Vec<Member>> {
    let path = root().join("assets/world/train-000.tar");
    let file = std::fs::File::open(&path).with_context(|| path.display().to_string())?;
    let (mut members, mut keys) = (Vec::new(), Vec::<String>::new());
    for entry in tar::Archive::new(file).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        let key = key(&name).to_owned();
        if keys.last() != Some(&key) {
            if keys.len() == count {
                break;
            }
            keys.push(key);
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        members.push((name, bytes));
    }
    Ok(members)
}

/// The part of a member's name that its sample shares.
pub fn key(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

/// A plain tar of these members.
///
/// # Errors
/// If a name does not fit into a tar.
pub fn tar(members: &[Member]) -> Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, bytes.as_slice())?;
    }
    Ok(builder.into_inner()?)
}

/// Fills `folder` with two shards of `count` samples in all (one of them without a picture),
/// a third shard to measure on, and `pipeline.toml`.
///
/// # Errors
/// If the folder cannot be written.
pub fn make(folder: &Path, count: usize) -> Result<()> {
    let mut members = samples(count)?;
    if let Some(at) = members.iter().position(|(name, _)| !name.ends_with(".txt")) {
        members[at].1 = b"no picture".to_vec();
    }
    let half = members.len() / 2;
    let cut = (half..members.len()).find(|&i| key(&members[i].0) != key(&members[i - 1].0)).unwrap_or(half);
    std::fs::write(folder.join("a-000.tar"), tar(&members[..cut])?)?;
    std::fs::write(folder.join("a-001.tar"), tar(&members[cut..])?)?;
    std::fs::write(folder.join("b-000.tar"), tar(&samples(12)?)?)?;
    let config = format!(
        r#"[run]
seed = 3
epochs = 3
device = "cpu"
dir = "runs"

[model]
weights = {weights:?}

[[stage]]
kind = "shards"
urls = "a-{{000..001}}.tar"
buffer = 16

[[stage]]
kind = "decode"

[[stage]]
kind = "encode"
cache = "cache"

[[stage]]
kind = "batch"
size = 12

[[stage]]
kind = "pairs"
on = "cpu"
k = 2

[[stage]]
kind = "captions"
writer = "tng"

[[stage]]
kind = "tokenize"

[[stage]]
kind = "train"
loss = "tng"
lr = 1e-3
checkpoint_steps = 1
log_every = 0

[[eval]]
kind = "retrieval"
name = "found"
every = 1
images = ["b-000.tar"]
"#,
        weights = root().join("assets/clip-world").display().to_string(),
    );
    std::fs::write(
        folder.join("pipeline.toml"),
        config.replace("dir = \"runs\"", &format!("dir = {:?}", folder.join("runs"))),
    )?;
    Ok(())
}
