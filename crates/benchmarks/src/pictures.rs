//! The image features that a benchmark stands on. They come through the pipeline's own stages, so
//! that a benchmark sees what training sees, and from its cache.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use items::keys::Keys;
use items::{Encoded, Flow, Sample, Shard, Work};
use linalg::{Matrix, Threads, multiply};
use pipeline_engine::{Build, Source, StageError};

/// N images with their captions and features, in the order they were read.
#[derive(Debug, Default)]
pub struct Pictures {
    /// N keys.
    pub keys: Vec<Arc<str>>,
    /// N shards.
    pub shards: Vec<Arc<Shard>>,
    /// N lists of captions.
    pub captions: Vec<Arc<[String]>>,
    /// D.
    pub dim: usize,
    /// N x D, rows L2-normalised.
    pub features: Vec<f32>,
}

impl Pictures {
    /// Sends `shards` through the pipeline's own stages up to the encoder, for the benchmark `name`.
    ///
    /// # Errors
    /// A shard that cannot be read, or no usable image at all. Images that cannot be used are
    /// warned about.
    pub fn collect(name: &str, shards: &[String], build: &Build<'_>) -> Result<Self, StageError> {
        let pictures = Self::encode(name, &items::source::shards(shards), build)?;
        if pictures.keys.is_empty() {
            return Err(StageError::msg(format!("no usable image in {}", shards.join(", "))));
        }
        Ok(pictures)
    }

    /// The encoded images of `source`.
    fn encode(name: &str, source: &Source, build: &Build<'_>) -> Result<Self, StageError> {
        let side = build.side.as_ref().ok_or_else(|| StageError::msg("a benchmark was opened within a side run"))?;
        let mut pictures = Self::default();
        let skipped = side.collect::<Flow<Encoded>>(source, &mut |flow| {
            if let Flow::Sample(Sample { id, captions, work: Work::Done(feature) }) = flow {
                pictures.dim = feature.len();
                pictures.features.extend_from_slice(&feature);
                pictures.keys.push(id.key);
                pictures.shards.push(id.shard);
                pictures.captions.push(captions);
            }
            Ok(())
        })?;
        for (stage, reason, count) in skipped {
            tracing::warn!("eval {name}: not used: {count} by `{stage}`: {reason}");
        }
        Ok(pictures)
    }

    /// The mean feature of these images, at length 1.
    pub fn mean(&self, images: impl IntoIterator<Item = usize>) -> Vec<f32> {
        let mut sum = vec![0.0f64; self.dim];
        for image in images {
            sum.iter_mut().zip(self.feature(image)).for_each(|(sum, x)| *sum += f64::from(*x));
        }
        let norm = sum.iter().map(|x| x * x).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        sum.iter().map(|x| (x / norm) as f32).collect()
    }

    /// How many images.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The feature of image `index`.
    pub fn feature(&self, index: usize) -> &[f32] {
        &self.features[index * self.dim..][..self.dim]
    }
}

/// The images that a benchmark asks about.
#[derive(Debug)]
pub struct Gathered {
    /// Those that are found.
    pub pictures: Pictures,
    /// The place of each wanted image among them.
    pub places: Vec<Option<usize>>,
    /// The wanted images that are not found or cannot be used, each once.
    pub missing: Vec<String>,
}

/// The folder that `images` name, if it is one folder and not shards; `path` makes a path of the
/// config absolute.
pub fn folder(images: &[String], path: impl FnOnce(&str) -> PathBuf) -> Option<PathBuf> {
    match images {
        [one] => Some(path(one)).filter(|path| path.is_dir()),
        _ => None,
    }
}

/// Finds and encodes the images that the benchmark `name` asks about, in a folder or in shards.
///
/// In a folder a path is found by its longest end that is a file there; in shards by its longest end
/// that is a sample's key, as it is (up to the first dot of the file name) or as `pipeline pack`
/// writes it, or by its file name alone.
///
/// # Errors
/// When none is found, or encoding fails.
pub fn gather(name: &str, images: &[String], wanted: &[&str], build: &Build<'_>) -> Result<Gathered, StageError> {
    let (pictures, places) = match folder(images, |path| build.path(path)) {
        Some(folder) => in_folder(name, &folder, wanted, build)?,
        None => {
            let pictures = Pictures::collect(name, images, build)?;
            let places = in_shards(&pictures, wanted)?;
            (pictures, places)
        }
    };
    let mut missing: Vec<String> = Vec::new();
    for (image, place) in wanted.iter().zip(&places) {
        if place.is_none() && !missing.iter().any(|m| m == image) {
            missing.push((*image).to_owned());
        }
    }
    if places.iter().all(Option::is_none) {
        return Err(StageError::msg(format!(
            "the benchmark asks about {} images, none of which is in {} (the first is `{}`); give the folder or the \
             shards that hold them",
            missing.len(),
            images.join(", "),
            wanted.first().copied().unwrap_or_default()
        )));
    }
    Ok(Gathered { pictures, places, missing })
}

/// Encodes those of the wanted images that lie in the folder, each once.
fn in_folder(
    name: &str,
    folder: &Path,
    wanted: &[&str],
    build: &Build<'_>,
) -> Result<(Pictures, Vec<Option<usize>>), StageError> {
    let mut found: HashMap<&str, Option<String>> = HashMap::new();
    let mut files: BTreeSet<String> = BTreeSet::new();
    for &image in wanted {
        let path = found.entry(image).or_insert_with(|| find(folder, image));
        files.extend(path.clone());
    }
    if files.is_empty() {
        return Ok((Pictures::default(), vec![None; wanted.len()]));
    }
    let pictures = Pictures::encode(name, &items::source::files(folder, files), build)?;
    let by_key: HashMap<&str, usize> = pictures.keys.iter().enumerate().map(|(i, key)| (&**key, i)).collect();
    let place = |image: &&str| by_key.get(found.get(*image)?.as_deref()?).copied();
    let places = wanted.iter().map(place).collect();
    Ok((pictures, places))
}

/// The longest end of a path that is a file in the folder; what follows a `#` stays.
fn find(folder: &Path, image: &str) -> Option<String> {
    let (path, part) = match image.rsplit_once('#') {
        Some((path, part)) if !folder.join(image).is_file() => (path, format!("#{part}")),
        _ => (image, String::new()),
    };
    let names: Vec<&str> = path.split(['/', '\\']).filter(|name| !name.is_empty() && *name != ".").collect();
    (0..names.len())
        .map(|from| names[from..].join("/"))
        .find(|end| folder.join(PathBuf::from(end)).is_file())
        .map(|end| end + &part)
}

/// Two pictures have the key that is asked about.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{wanted}` is asked about, but the key names one picture in {first} and another in {second}; the keys of pictures \
     that are asked about must be unique: give fewer shards, or pack them anew"
)]
struct TwoPictures {
    wanted: String,
    first: String,
    second: String,
}

/// Finds images by the keys of samples. The same picture twice under one key does no harm.
fn in_shards(pictures: &Pictures, wanted: &[&str]) -> Result<Vec<Option<usize>>, TwoPictures> {
    // The first picture, and one that differs from it.
    let mut by_key: HashMap<&str, (usize, Option<usize>)> = HashMap::new();
    let mut by_name = by_key.clone();
    for (index, key) in pictures.keys.iter().enumerate() {
        let name = key.rsplit('/').next().unwrap_or(key);
        for (map, word) in [(&mut by_key, &**key), (&mut by_name, name)] {
            let (first, other) = map.entry(word).or_insert((index, None));
            if pictures.feature(*first) != pictures.feature(index) {
                other.get_or_insert(index);
            }
        }
    }
    let shard = |index: usize| pictures.shards.get(index).map_or_else(String::new, |shard| shard.url.clone());
    wanted
        .iter()
        .map(|image| {
            let keys = Keys::of(image);
            let by_key = keys.whole.iter().find_map(|key| by_key.get(key.as_str()));
            match by_key.or_else(|| keys.names.iter().find_map(|name| by_name.get(name.as_str()))) {
                Some(&(first, Some(other))) => {
                    Err(TwoPictures { wanted: (*image).to_owned(), first: shard(first), second: shard(other) })
                }
                found => Ok(found.map(|(first, _)| *first)),
            }
        })
        .collect()
}

/// Cosines of N texts with M images, `[N, D]` and `[M, D]`, both of unit rows: `[N, M]`.
pub fn cosines(texts: &[f32], images: &[f32], dim: usize) -> Vec<f32> {
    let (n, m) = (texts.len() / dim, images.len() / dim);
    let mut out = vec![0.0f32; n * m];
    if n == 0 || m == 0 {
        return out;
    }
    multiply(&mut out, false, Matrix::new(texts, dim), Matrix::new(images, dim).transposed(), Threads::All);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_are_found_by_their_ends() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("val")).unwrap();
        std::fs::write(folder.path().join("val/a.jpg"), "x").unwrap();
        std::fs::write(folder.path().join("b.jpg"), "x").unwrap();
        let find = |image: &str| find(folder.path(), image);
        assert_eq!(find("data/coco/val/a.jpg").as_deref(), Some("val/a.jpg"));
        assert_eq!(find("/elsewhere/b.jpg#1,2,3,4").as_deref(), Some("b.jpg#1,2,3,4"));
        assert_eq!(find("a.jpg"), None);
        let keys = ["set/1", "2"].map(Arc::from).to_vec();
        let pictures = Pictures { keys, ..Pictures::default() };
        let wanted = ["set/1.jpg", "x/1.tar.jpg", "./2.png", "2", "3.jpg"];
        assert_eq!(in_shards(&pictures, &wanted).unwrap(), [Some(0), Some(0), Some(1), Some(1), None]);
    }

    #[test]
    fn paths_are_found_by_the_keys_of_pack() {
        let keys = ["val/a", "val_old/a", "train_b", "x_1", "c", "d/c"].map(Arc::from).to_vec();
        let pictures = Pictures { keys, dim: 1, features: vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0], ..Pictures::default() };
        let place = |image: &str| in_shards(&pictures, &[image]).map(|places| places[0]);
        assert_eq!(place("val/a.jpg").unwrap(), Some(0));
        assert_eq!(place("/root/coco/val.old/a.jpg").unwrap(), Some(1));
        assert_eq!(place("coco/train/b.png").unwrap(), Some(2), "keys as they were packed before");
        assert_eq!(place("elsewhere/x.1.jpg").unwrap(), Some(3));
        assert_eq!(place("c.jpg").unwrap(), Some(4));
        assert_eq!(place("root/d/c.jpg").unwrap(), Some(5));
        assert!(place("e/c.jpg").is_err(), "two pictures have this name");
        assert!(place("e/a.jpg").is_err());
        assert_eq!(place("").unwrap(), None);
    }

    #[test]
    fn the_mean_has_length_one() {
        let pictures = Pictures { dim: 2, features: vec![1.0, 0.0, 0.0, 1.0, 0.0, 1.0], ..Pictures::default() };
        let mean = pictures.mean([0, 1]);
        assert!((mean[0] - 0.5f32.sqrt()).abs() < 1e-6 && mean[0] == mean[1]);
    }

    #[test]
    fn product_of_rows() {
        let texts = [1.0, 0.0, 0.0, 1.0, 0.6, 0.8];
        let images = [0.0, 1.0, 1.0, 0.0];
        assert_eq!(cosines(&texts, &images, 2), [0.0, 1.0, 1.0, 0.0, 0.8, 0.6]);
    }
}
