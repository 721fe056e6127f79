//! The stage `files`: pictures in a folder, without captions. Benchmarks name their
//! images by path; for them this stage replaces `shards`.
//!
//! `PATH#x,y,w,h` is a part of a picture: w x h pixels whose upper left corner is (x, y).

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use items::{Flow, ImageBytes, Memory, Recipe, Sample, SampleId, Shard, ShardPlan, Work};
use pipeline_engine::{Build, Built, Inlet, Look, Nothing, Outlet, Pass, Stage, StageError, StageKind, options};

options! {
    /// Options of the stage `files`.
    pub struct FilesOptions {
        /// The folder.
        folder: PathBuf;
        /// Paths of pictures in it; PATH#x,y,w,h is a part of one.
        files: Vec<String>;
        /// Pictures that the feature cache keeps in one file.
        group: usize = 256, 1..=1_000_000;
        /// Bytes of the largest picture; a larger one is skipped unread.
        max_bytes: u64 = 64 << 20, 1..=1u64 << 32;
    }
}

/// The kind `files`.
#[derive(Debug)]
pub struct Files;

/// What keeps a picture from being read.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("cannot be read: {0}")]
    Read(#[from] std::io::Error),
    #[error("{size} bytes, more than {limit}")]
    TooLarge { size: u64, limit: u64 },
    #[error("the part must be written PATH#x,y,w,h in whole pixels, w and h at least 1")]
    Part,
    #[error("not a picture: {0}")]
    Picture(#[from] image::ImageError),
    #[error("the part begins outside of the picture of {0} x {1} pixels")]
    Outside(u32, u32),
}

impl StageKind for Files {
    const KIND: &'static str = items::source::FILES;
    const ABOUT: &'static str = "reads pictures from a folder, without captions: the images of benchmarks";
    const CAPACITY: usize = 16;
    type In = Nothing;
    type Out = Flow<ImageBytes>;
    type Options = FilesOptions;

    /// The folder exists, and at least one of the files in it: a single missing file is skipped.
    fn verify(options: &FilesOptions, look: &mut Look<'_>) {
        let folder = look.path(&options.folder);
        if !folder.is_dir() {
            look.fault("folder", not_a_folder(&folder), "name the folder that the pictures are in");
        } else if let Some(first) = options.files.first()
            && !options.files.iter().any(|file| folder.join(path_of(file)).is_file())
        {
            let message =
                format!("none of the {} files is in {}; the first is `{first}`", options.files.len(), folder.display());
            look.fault("files", message, "paths are relative to `folder`");
        }
    }

    fn build(options: FilesOptions, build: &mut Build<'_>) -> Result<Built<Nothing, Flow<ImageBytes>>, StageError> {
        let folder = build.path(&options.folder);
        if !folder.is_dir() {
            return Err(StageError::msg(not_a_folder(&folder)));
        }
        Recipe::note(build.services, Self::KIND, format!("max_bytes={}", options.max_bytes));
        let groups: Vec<Vec<String>> = options.files.chunks(options.group).map(<[String]>::to_vec).collect();
        let shards = groups.iter().enumerate().map(|(number, group)| Arc::new(shard(&folder, number, group))).collect();
        let plan = ShardPlan { shards, shuffle: false, buffer: 0 };
        build.services.publish(Arc::new(plan.clone()));
        Ok(Built::Stage(Box::new(Reader { folder, plan, groups, max_bytes: options.max_bytes })))
    }
}

fn not_a_folder(path: &Path) -> String {
    format!("{} is not a folder", path.display())
}

/// The group as the cache knows it: with other names, sizes or times it is another one.
fn shard(folder: &Path, number: usize, group: &[String]) -> Shard {
    let (mut names, mut versions) = (blake3::Hasher::new(), blake3::Hasher::new());
    for file in group {
        names.update(&(file.len() as u64).to_le_bytes()).update(file.as_bytes());
        let Ok(metadata) = folder.join(path_of(file)).metadata() else { continue };
        let time = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
        versions.update(&metadata.len().to_le_bytes()).update(&time.as_nanos().to_le_bytes());
    }
    let name = &names.finalize().to_hex()[..16];
    let url = format!("{}/ ({} files, {name})", folder.display(), group.len());
    Shard { number: number as u32, url, identity: versions.finalize().to_hex().to_string() }
}

/// A path without its part.
fn path_of(file: &str) -> &str {
    split(file).map_or(file, |(path, _)| path)
}

/// The path and the part, if there is one: `#` and four numbers.
fn split(file: &str) -> Option<(&str, &str)> {
    file.rsplit_once('#').filter(|(_, part)| part.chars().all(|c| c.is_ascii_digit() || ",.-".contains(c)))
}

struct Reader {
    folder: PathBuf,
    plan: ShardPlan,
    groups: Vec<Vec<String>>,
    max_bytes: u64,
}

impl Stage<Nothing, Flow<ImageBytes>> for Reader {
    fn run(
        &mut self,
        pass: &Pass<'_>,
        _input: Inlet<Nothing>,
        mut output: Outlet<Flow<ImageBytes>>,
    ) -> Result<(), StageError> {
        let memory = pass.services.get::<Memory>();
        for (shard, group) in self.plan.shards.iter().zip(&self.groups) {
            let remembered = match &memory {
                Some(memory) => memory.0.recall(shard)?,
                None => None,
            };
            match remembered {
                Some((samples, _)) => {
                    for (index, sample) in (0..).zip(samples) {
                        output.send(Flow::Sample(sample.recalled(shard, index)))?;
                    }
                }
                None => {
                    for (index, file) in (0..).zip(group) {
                        let id = SampleId { shard: shard.clone(), index, key: file.as_str().into() };
                        let work = match read(&self.folder, file, self.max_bytes) {
                            Ok(image) => Work::Todo(image),
                            Err(reason) => {
                                Work::Skipped { stage: Files::KIND.into(), reason: reason.to_string().into() }
                            }
                        };
                        output.send(Flow::Sample(Sample { id, captions: [].into(), work }))?;
                    }
                }
            }
            output.send(Flow::ShardEnd { shard: shard.clone(), samples: group.len() as u32, fault: None })?;
        }
        Ok(())
    }
}

fn read(folder: &Path, file: &str, limit: u64) -> Result<ImageBytes, Unusable> {
    let path = folder.join(path_of(file));
    let size = path.metadata()?.len();
    if size > limit {
        return Err(Unusable::TooLarge { size, limit });
    }
    let bytes = std::fs::read(&path)?;
    match split(file) {
        Some((_, part)) => Ok(ImageBytes { extension: "png".into(), bytes: cut(&bytes, part)? }),
        None => {
            let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
            Ok(ImageBytes { extension, bytes })
        }
    }
}

/// A part of a picture as a PNG. Whatever is outside of the picture is left out.
fn cut(bytes: &[u8], part: &str) -> Result<Vec<u8>, Unusable> {
    let numbers: Vec<i64> = part
        .split(',')
        .map(|n| n.parse::<f64>().ok().filter(|n| n.is_finite()).map(|n| n.round() as i64))
        .collect::<Option<_>>()
        .ok_or(Unusable::Part)?;
    let [x, y, width, height] = numbers[..] else { return Err(Unusable::Part) };
    if width < 1 || height < 1 {
        return Err(Unusable::Part);
    }
    let picture = image::load_from_memory(bytes)?.into_rgb8();
    let (all_width, all_height) = picture.dimensions();
    let clamp = |from: i64, length: i64, all: u32| {
        let (start, end) = (from.clamp(0, all.into()), (from + length).clamp(0, all.into()));
        (start as u32, (end - start) as u32)
    };
    let ((x, width), (y, height)) = (clamp(x, width, all_width), clamp(y, height, all_height));
    if width == 0 || height == 0 {
        return Err(Unusable::Outside(all_width, all_height));
    }
    let mut out = Cursor::new(Vec::new());
    image::imageops::crop_imm(&picture, x, y, width, height).to_image().write_to(&mut out, image::ImageFormat::Png)?;
    Ok(out.into_inner())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn picture(width: u32, height: u32) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        let pixel = |x: u32, y: u32| image::Rgb([x as u8, y as u8, 0]);
        image::RgbImage::from_fn(width, height, pixel).write_to(&mut out, image::ImageFormat::Png).unwrap();
        out.into_inner()
    }

    #[test]
    fn a_part_is_cut_out_and_stays_inside() {
        let cut = |part: &str| image::load_from_memory(&cut(&picture(40, 30), part).unwrap()).unwrap().into_rgb8();
        let part = cut("10,5,8,6");
        assert_eq!(
            (part.dimensions(), part.get_pixel(0, 0).0, part.get_pixel(7, 5).0),
            ((8, 6), [10, 5, 0], [17, 10, 0])
        );
        assert_eq!(cut("-3,25.4,10,10").dimensions(), (7, 5));
    }

    #[test]
    fn what_cannot_be_used_says_why() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a#1.png"), picture(4, 4)).unwrap();
        let reason = |file: &str, limit| read(folder.path(), file, limit).unwrap_err().to_string();
        assert_eq!(read(folder.path(), "a#1.png", 1000).unwrap().extension, "png");
        assert!(reason("b.png", 1000).contains("cannot be read"));
        assert!(reason("a#1.png", 3).contains("more than 3"));
        assert!(reason("a#1.png#1,2,3", 1000).contains("x,y,w,h"));
        assert!(reason("a#1.png#1,2,0,3", 1000).contains("x,y,w,h"));
        assert!(reason("a#1.png#9,9,2,2", 1000).contains("outside of the picture of 4 x 4"));
    }

    #[test]
    fn another_version_of_a_file_is_another_shard() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        std::fs::write(&path, picture(4, 4)).unwrap();
        let group = ["a.png".to_owned()];
        let first = shard(folder.path(), 0, &group);
        assert_eq!(first, shard(folder.path(), 0, &group));
        std::fs::write(&path, picture(9, 9)).unwrap();
        let second = shard(folder.path(), 0, &group);
        assert_eq!(first.url, second.url);
        assert_ne!(first.identity, second.identity);
    }
}
