//! Pictures from files, folders and shards, in order.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use stage_shards::{CaptionSource, Opener, Pipes, Rules, Samples, Source, resolve};

/// The source of a picture.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The path of a file, or the key in a shard.
    pub name: String,
    /// The shard.
    pub shard: Option<Arc<str>>,
}

impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.shard {
            Some(shard) => write!(f, "{shard}, sample {}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

/// The pictures to embed: found, not yet read.
#[derive(Debug)]
pub struct Pictures(Vec<Origin>);

#[derive(Debug)]
enum Origin {
    File(PathBuf),
    Shard(Source),
}

/// Finds what `--image` names: shards by their ending, braces, globs or scheme; folders with all
/// pictures below them, sorted; anything else is a file.
///
/// # Errors
/// A path that does not exist; a folder without pictures.
pub fn find(paths: &[String]) -> anyhow::Result<Pictures> {
    let mut origins = Vec::new();
    for path in paths {
        let is_shards = path.ends_with(".tar")
            || path.contains("://")
            || (path.contains(['{', '*', '?', '[']) && !Path::new(path).exists());
        if is_shards {
            origins.extend(
                resolve(std::slice::from_ref(path), Path::new(""), Pipes::Refused)?.into_iter().map(Origin::Shard),
            );
        } else if Path::new(path).is_dir() {
            let before = origins.len();
            folder(Path::new(path), &mut origins)?;
            if origins.len() == before {
                bail!("{path} holds no picture ({})", Rules::default().images.join(", "));
            }
        } else {
            std::fs::metadata(path).with_context(|| format!("cannot read {path}"))?;
            origins.push(Origin::File(path.into()));
        }
    }
    Ok(Pictures(origins))
}

fn folder(dir: &Path, origins: &mut Vec<Origin>) -> anyhow::Result<()> {
    let extensions = Rules::default().images;
    let picture = |path: &Path| {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        extension.is_some_and(|extension| extensions.contains(&extension))
    };
    let fault = || format!("cannot read the folder {}", dir.display());
    let entries: Result<Vec<_>, _> = std::fs::read_dir(dir).with_context(fault)?.collect();
    let mut entries = entries.with_context(fault)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type().with_context(fault)?);
        // A link to a folder may lead back up.
        if kind.is_dir() {
            folder(&path, origins)?;
        } else if picture(&path) {
            origins.push(Origin::File(path));
        }
    }
    Ok(())
}

impl Pictures {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the pictures in order. `with` gets each, or why it cannot be read.
    ///
    /// # Errors
    /// A damaged shard, and the errors of `with`.
    pub fn each(
        self,
        with: &mut dyn FnMut(Picture, anyhow::Result<Vec<u8>>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let opener = Opener::default();
        for origin in self.0 {
            match origin {
                Origin::File(path) => {
                    let bytes = std::fs::read(&path).map_err(anyhow::Error::from);
                    with(Picture { name: path.display().to_string(), shard: None }, bytes)?;
                }
                Origin::Shard(source) => runtime.block_on(shard(&opener, &source, with))?,
            }
        }
        Ok(())
    }
}

async fn shard(
    opener: &Opener,
    source: &Source,
    with: &mut dyn FnMut(Picture, anyhow::Result<Vec<u8>>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let name: Arc<str> = source.url.as_str().into();
    let rules = Rules { captions: CaptionSource::Unread, ..Rules::default() };
    let mut samples = Samples::new(opener.open(source).await?, Arc::new(rules));
    while let Some(sample) = samples.next().await {
        let picture = Picture { name: sample.key, shard: Some(name.clone()) };
        with(picture, sample.content.map(|content| content.image).map_err(anyhow::Error::from))?;
    }
    match samples.finish().1 {
        Some(fault) => Err(anyhow!("shard {name}: {fault}")),
        None => Ok(()),
    }
}
