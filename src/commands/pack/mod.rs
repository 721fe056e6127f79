//! `pipeline pack`

mod sources;
mod writer;

use std::collections::{BTreeMap, HashSet};
use std::io::{IsTerminal, Write as _};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use clip::{DecodeError, Limits, Preprocess};
use pipeline_engine::files::write_atomically;
use pipeline_engine::rng::Draw;
use rand::seq::SliceRandom;
use serde_json::json;
use thiserror::Error;

use super::{Context, Failure};
use crate::print;
use crate::text::size;
use sources::Columns;
use writer::Shards;

/// Pack pictures and captions into WebDataset shards.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline pack annotations/captions_train2017.json --images train2017 --out shards --prefix train
  pipeline pack pairs.csv --image-column file --caption-column text --out shards
  pipeline pack photos/ --out shards --seed 1

The same input gives the same bytes. Rows that cannot be used are listed in PREFIX-skipped.jsonl.")]
pub struct Arguments {
    /// COCO captions (.json), a table (.csv, .tsv, .jsonl), or a folder of pictures, each with a .txt beside it.
    source: PathBuf,
    /// Folder to write the shards to.
    #[arg(long, short)]
    out: PathBuf,
    /// Folder that the paths of pictures are relative to [default: that of the source].
    #[arg(long)]
    images: Option<PathBuf>,
    /// Shards are named PREFIX-000000.tar and so on.
    #[arg(long, default_value = "train")]
    prefix: String,
    /// Maximum number of samples per shard.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    max_count: u64,
    /// Maximum size of a shard: 500MB, 2G.
    #[arg(long, default_value = "500MB", value_parser = bytes)]
    max_size: u64,
    /// Column with the path of the picture.
    #[arg(long)]
    image_column: Option<String>,
    /// Column with the caption.
    #[arg(long)]
    caption_column: Option<String>,
    /// Quotes in a table are characters like any other [default: a field may stand in double quotes].
    #[arg(long)]
    unquoted: bool,
    /// Shuffle the samples with this seed [default: keep their order].
    #[arg(long)]
    seed: Option<u64>,
    /// Decode every picture as training does, to find damaged ones now.
    #[arg(long)]
    verify: bool,
    /// Replace shards of this prefix.
    #[arg(long)]
    force: bool,
}

/// Skipped rows and reasons that are printed.
const SHOWN: usize = 10;
/// The default limits of the stage `shards`, in bytes.
const MAX_CAPTION: usize = 4096;
const MAX_PICTURE: u64 = 64 << 20;

/// Reads a number of bytes: `500MB`, `2G`, `4096`.
fn bytes(text: &str) -> anyhow::Result<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor: u64 = match unit.trim().to_ascii_lowercase().trim_end_matches('b') {
        "" => 1,
        "k" => 1_000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        _ => bail!("write a number of bytes with K, M or G after it, such as 500MB"),
    };
    let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).filter(|n| *n > 0);
    bytes.context("write a number of bytes above 0, such as 500MB")
}

/// Why a row cannot be packed.
#[derive(Debug, Error)]
pub enum Unusable {
    #[error("it has no caption")]
    NoCaption,
    #[error("{} is not UTF-8 (byte {} is the first that is not); convert it", .0.display(), .1 + 1)]
    NotUtf8(PathBuf, usize),
    #[error("{} cannot be read: {}", .0.display(), .1)]
    UnreadableCaptions(PathBuf, std::io::Error),
    #[error("a link to a folder, which is not followed; pack that folder by itself, or move it here")]
    LinkedFolder,
    #[error(".{0} pictures are not packed; convert it to JPEG, PNG or WebP, with an ending that says so")]
    Ending(String),
    #[error("a caption of {0} bytes, more than {MAX_CAPTION}")]
    LongCaption(usize),
    #[error("a caption holds a NUL byte")]
    NulByte,
    #[error("the picture does not exist")]
    Missing,
    #[error("the picture cannot be read: {0}")]
    Unreadable(std::io::Error),
    #[error("a picture of {}, more than {}", size(*.0), size(MAX_PICTURE))]
    LargePicture(u64),
    #[error("it is not a JPEG, PNG or WebP picture")]
    NotAPicture,
    #[error("{0:?} is not supported; convert the picture to JPEG, PNG or WebP")]
    Format(image::ImageFormat),
    #[error("it cannot be decoded: {0}")]
    Damaged(DecodeError),
}

/// A row that is not packed.
struct Skipped {
    row: String,
    image: String,
    reason: String,
}

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        if self.prefix.is_empty() || self.prefix.contains(['/', '\\', '*', '{', '}']) {
            return Err(Failure::Usage(format!("--prefix {:?} is not a plain name", self.prefix)));
        }
        Ok(self.pack(context.quiet)?)
    }

    fn pack(&self, quiet: bool) -> anyhow::Result<()> {
        let columns = Columns {
            image: self.image_column.as_deref(),
            caption: self.caption_column.as_deref(),
            unquoted: self.unquoted,
        };
        let mut rows = sources::read(&self.source, self.images.as_deref(), &columns)?;
        if rows.is_empty() {
            bail!("{} has no pictures to pack", self.source.display());
        }
        if let Some(seed) = self.seed {
            rows.shuffle(&mut Draw::new(seed, "pack.shuffle").rng());
        }
        let mut shards = Shards::open(&self.out, &self.prefix, self.max_count, self.max_size, self.force)?;
        let mut progress = Progress::new(rows.len(), quiet);
        let mut keys = HashSet::new();
        let mut skipped = Vec::new();
        let count = rows.len();
        for row in rows {
            let usable = row.captions.and_then(|captions| Ok((self.picture(&row.image, &captions)?, captions)));
            match usable {
                Ok(((picture, extension), captions)) => {
                    let key = unique(&mut keys, &row.key);
                    let captions = captions.join("\n");
                    shards.add(&key, &[(extension, &picture), ("txt", captions.as_bytes())])?;
                }
                Err(reason) => skipped.push(Skipped {
                    row: row.at,
                    image: row.image.display().to_string(),
                    reason: reason.to_string(),
                }),
            }
            progress.step(shards.bytes(), skipped.len());
        }
        progress.end();
        if skipped.len() == count {
            // No shard was written, and old ones stay.
            self.list(&skipped)?;
            self.report(&skipped);
            let first = skipped.first().map_or(String::new(), |s| format!("{}, {}: {}", s.row, s.image, s.reason));
            bail!("none of the {count} rows of {} can be packed; the first is {first}", self.source.display());
        }
        let packed = shards.finish()?;
        self.list(&skipped)?;
        print::stdout(&format!(
            "{} samples in {} shards, {}: {}\n",
            packed.samples,
            packed.shards,
            size(packed.bytes),
            self.pattern(packed.shards)
        ));
        self.report(&skipped);
        Ok(())
    }

    /// The bytes and the extension of a picture, or why it cannot be used with these captions.
    fn picture(&self, image: &Path, captions: &[String]) -> Result<(Vec<u8>, &'static str), Unusable> {
        if captions.is_empty() {
            return Err(Unusable::NoCaption);
        }
        if let Some(long) = captions.iter().find(|caption| caption.len() > MAX_CAPTION) {
            return Err(Unusable::LongCaption(long.len()));
        }
        if captions.iter().any(|caption| caption.contains('\0')) {
            return Err(Unusable::NulByte);
        }
        let broken = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => Unusable::Missing,
            _ => Unusable::Unreadable(error),
        };
        let length = std::fs::metadata(image).map_err(broken)?.len();
        if length > MAX_PICTURE {
            return Err(Unusable::LargePicture(length));
        }
        let bytes = std::fs::read(image).map_err(broken)?;
        let format = image::guess_format(&bytes).map_err(|_| Unusable::NotAPicture)?;
        let extension = match format {
            image::ImageFormat::Jpeg => "jpg",
            image::ImageFormat::Png => "png",
            image::ImageFormat::WebP => "webp",
            other => return Err(Unusable::Format(other)),
        };
        if self.verify {
            // The decoder of the stage `decode`; to which size makes no difference.
            Preprocess::openai(32).decode(&bytes, &Limits::default()).map_err(Unusable::Damaged)?;
        }
        Ok((bytes, extension))
    }

    /// The shards as the option `urls` takes them.
    fn pattern(&self, shards: usize) -> String {
        let name = match shards {
            1 => format!("{}-000000.tar", self.prefix),
            n => format!("{}-{{000000..{:06}}}.tar", self.prefix, n - 1),
        };
        self.out.join(name).display().to_string()
    }

    fn skipped_path(&self) -> PathBuf {
        self.out.join(format!("{}-skipped.jsonl", self.prefix))
    }

    /// Writes the skipped rows to a file, or deletes the file if there are none.
    fn list(&self, skipped: &[Skipped]) -> anyhow::Result<()> {
        let path = self.skipped_path();
        if skipped.is_empty() {
            if path.exists() {
                std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
            }
            return Ok(());
        }
        let line = |s: &Skipped| format!("{}\n", json!({ "row": s.row, "image": s.image, "reason": s.reason }));
        let text: String = skipped.iter().map(line).collect();
        write_atomically(&path, text.as_bytes()).with_context(|| path.display().to_string())
    }

    /// Prints the reasons and the first rows.
    fn report(&self, skipped: &[Skipped]) {
        if skipped.is_empty() {
            return;
        }
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for skip in skipped {
            *reasons.entry(&skip.reason).or_default() += 1;
        }
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        eprintln!("{} rows were skipped, all listed in {}:", skipped.len(), self.skipped_path().display());
        for (reason, count) in reasons.iter().take(SHOWN) {
            eprintln!("  {count:>6}  {reason}");
        }
        for skip in skipped.iter().take(SHOWN) {
            eprintln!("  {}, {}: {}", skip.row, skip.image, skip.reason);
        }
        if skipped.len() > SHOWN {
            eprintln!("  and {} more", skipped.len() - SHOWN);
        }
    }
}

/// Makes a key unique by a number at its end.
fn unique(keys: &mut HashSet<String>, wanted: &str) -> String {
    let mut key = wanted.to_owned();
    let mut number = 2;
    while !keys.insert(key.clone()) {
        key = format!("{wanted}-{number}");
        number += 1;
    }
    key
}

/// The key of a picture: its path below `root` without the extension, as benchmarks look it up. A WebDataset key ends
/// at the first dot of the file name, so that it must not contain any.
fn key_of(image: &Path, root: &Path) -> String {
    let below = image.strip_prefix(root).ok().or_else(|| image.file_name().map(Path::new)).unwrap_or(image);
    let below = below.with_extension("");
    // Neither an absolute path nor a step up has a place in a tar.
    let names = below.components().filter_map(|part| match part {
        Component::Normal(name) => Some(items::keys::packed_name(&name.to_string_lossy())),
        _ => None,
    });
    names.collect::<Vec<_>>().join("/")
}

/// A line on the terminal that counts rows.
struct Progress {
    total: usize,
    done: usize,
    shown: Option<Instant>,
}

impl Progress {
    fn new(total: usize, quiet: bool) -> Self {
        let shown = (!quiet && std::io::stderr().is_terminal()).then(Instant::now);
        Self { total, done: 0, shown }
    }

    fn step(&mut self, bytes: u64, skipped: usize) {
        self.done += 1;
        let Some(last) = self.shown.filter(|last| last.elapsed() > Duration::from_millis(100)) else { return };
        let _ = last;
        let percent = 100 * self.done / self.total.max(1);
        eprint!("\r{percent:>3} %  {} of {} rows, {}, {skipped} skipped ", self.done, self.total, size(bytes));
        let _ = std::io::stderr().flush();
        self.shown = Some(Instant::now());
    }

    fn end(&mut self) {
        if self.shown.is_some() {
            eprint!("\r{:70}\r", "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_units() {
        for (text, size) in [("500MB", 500_000_000), ("2G", 2_000_000_000), ("4096", 4096)] {
            assert_eq!(bytes(text).ok(), Some(size), "{text}");
        }
        for wrong in ["", "0", "MB", "5 apples", "-1", "99999999999G"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_have_no_dots_and_are_never_shared() {
        assert_eq!(key_of(Path::new("data/cats/a.b.jpg"), Path::new("data")), "cats/a_b");
        assert_eq!(key_of(Path::new("../big cats/./a.jpg"), Path::new("")), "big_cats/a");
        assert_eq!(key_of(Path::new("/data/a.b/c.jpg"), Path::new("")), "data/a_b/c");
        assert_eq!(key_of(Path::new("/elsewhere/a.jpg"), Path::new("data")), "a");
        let mut keys = HashSet::new();
        let made: Vec<String> = ["a", "a", "a-2", "a"].iter().map(|key| unique(&mut keys, key)).collect();
        assert_eq!(made, ["a", "a-2", "a-2-2", "a-3"]);
    }
}
