//! The image features that a probe stands on.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipeline_engine::{Build, SideRun, StageError, Value};
use items::{Encoded, Flow, Sample, Shard, Work};

/// N images with their captions and features, in the order of the shards.
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
    /// Sends `shards` through the pipeline's own stages up to the encoder.
    ///
    /// # Errors
    /// A shard that cannot be read, or no usable image at all; a probe that can only
    /// measure a part says on how many images it stands.
    pub fn collect(name: &str, shards: &[String], build: &Build<'_>) -> Result<Self, StageError> {
        let list = shards.iter().map(|url| format!("{url:?}")).collect::<Vec<_>>().join(", ");
        let sets = [
            ("stage.shards.urls", format!("[{list}]")),
            ("stage.shards.shuffle", "false".to_owned()),
            ("stage.shards.split", "\"none\"".to_owned()),
        ];
        let (pictures, skipped) = Self::encode(side(build)?, &sets)?;
        for (stage, reason, count) in skipped {
            tracing::warn!("eval {name}: {count} samples not used ({stage}: {reason})");
        }
        if pictures.keys.is_empty() {
            return Err(StageError::msg(format!("no usable image in {}", shards.join(", "))));
        }
        Ok(pictures)
    }

    /// What leaves the encoder, and what was skipped: stage, reason, count.
    fn encode(side: &SideRun, sets: &[(&str, String)]) -> Result<(Self, Skipped), StageError> {
        let mut pictures = Self::default();
        let skipped = side.collect::<Flow<Encoded>>("encode", sets, &mut |flow| {
            if let Flow::Sample(Sample { id, captions, work: Work::Done(feature) }) = flow {
                pictures.dim = feature.len();
                pictures.features.extend_from_slice(&feature);
                pictures.keys.push(id.key);
                pictures.shards.push(id.shard);
                pictures.captions.push(captions);
            }
            Ok(())
        })?;
        Ok((pictures, skipped))
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

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The feature of image `index`.
    pub fn feature(&self, index: usize) -> &[f32] {
        &self.features[index * self.dim..][..self.dim]
    }
}

/// Stage, reason, count.
type Skipped = Vec<(String, String, u64)>;

fn side<'a>(build: &'a Build<'_>) -> Result<&'a SideRun, StageError> {
    build.side.as_ref().ok_or_else(|| StageError::msg("a probe was built outside a run"))
}

/// The images that a benchmark's file names, from a folder or from shards: their features, the
/// place of each wanted one, and those that cannot be used.
///
/// In a folder a path is found by its longest end that is there; in shards by its name without
/// what follows the first dot, which is a sample's key.
///
/// # Errors
/// When none is there, or encoding fails.
#[allow(clippy::type_complexity)]
pub fn gather(
    name: &str,
    images: &[String],
    wanted: &[&str],
    build: &Build<'_>,
) -> Result<(Pictures, Vec<Option<usize>>, Vec<String>), StageError> {
    let folder = match images {
        [one] => Some(build.path(one)).filter(|path| path.is_dir()),
        _ => None,
    };
    let (pictures, places) = match &folder {
        Some(folder) => in_folder(name, folder, wanted, build)?,
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
            "the benchmark asks about {} images, of which {} has none (the first is `{}`); give the folder or the \
             shards that hold them",
            missing.len(),
            images.join(", "),
            wanted.first().copied().unwrap_or_default()
        )));
    }
    Ok((pictures, places, missing))
}

/// Encodes those of the wanted images that lie in the folder, each once.
fn in_folder(
    name: &str,
    folder: &Path,
    wanted: &[&str],
    build: &Build<'_>,
) -> Result<(Pictures, Vec<Option<usize>>), StageError> {
    let mut found: HashMap<&str, Option<String>> = HashMap::new();
    let mut files: BTreeMap<String, ()> = BTreeMap::new();
    for &image in wanted {
        let path = found.entry(image).or_insert_with(|| find(folder, image));
        if let Some(path) = path {
            files.insert(path.clone(), ());
        }
    }
    if files.is_empty() {
        return Ok((Pictures::default(), vec![None; wanted.len()]));
    }
    let list = files.into_keys().map(Value::String).collect();
    let options = vec![("folder", Value::String(folder.display().to_string())), ("files", Value::Array(list))];
    let (pictures, skipped) = Pictures::encode(&side(build)?.with_source("files", options), &[])?;
    for (stage, reason, count) in skipped {
        tracing::warn!("eval {name}: {count} images cannot be used ({stage}: {reason})");
    }
    let by_key: HashMap<&str, usize> = pictures.keys.iter().enumerate().map(|(i, key)| (&**key, i)).collect();
    let place = |image: &&str| by_key.get(found.get(*image)?.as_deref()?).copied();
    let places = wanted.iter().map(place).collect();
    Ok((pictures, places))
}

/// The longest end of a path that is a file in the folder; what stands after a `#` stays.
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

/// A key that is asked about is two pictures.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{wanted}` is asked about, and is one picture in {first} and another in {second}; the keys of pictures that are \
     asked about must be unique: give fewer shards, or pack them anew"
)]
struct TwoPictures {
    wanted: String,
    first: String,
    second: String,
}

/// Finds images by the keys of samples. The same picture twice under one key is no matter.
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
            let image = image.trim_start_matches("./");
            let name = image.rfind('/').map_or(0, |slash| slash + 1);
            let stem = &image[..image[name..].find('.').map_or(image.len(), |dot| name + dot)];
            match by_key.get(stem).or_else(|| by_name.get(&stem[name.min(stem.len())..])) {
                Some(&(first, Some(other))) => {
                    Err(TwoPictures { wanted: image.to_owned(), first: shard(first), second: shard(other) })
                }
                found => Ok(found.map(|(first, _)| *first)),
            }
        })
        .collect()
}

/// Cosines of N texts with M images, both normalised: N x M.
pub fn cosines(texts: &[f32], images: &[f32], dim: usize) -> Vec<f32> {
    let (n, m) = (texts.len() / dim, images.len() / dim);
    let mut out = vec![0.0f32; n * m];
    if n == 0 || m == 0 {
        return out;
    }
    // SAFETY: the three slices have n*dim, m*dim and n*m elements, which the strides stay within,
    // and `out` is not read (`read_dst = false`) nor aliased.
    unsafe {
        gemm::gemm(
            n,
            m,
            dim,
            out.as_mut_ptr(),
            1,
            m as isize,
            false,
            texts.as_ptr(),
            1,
            dim as isize,
            images.as_ptr(),
            dim as isize,
            1,
            0.0f32,
            1.0f32,
            false,
            false,
            false,
            gemm::Parallelism::Rayon(0),
        );
    }
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
