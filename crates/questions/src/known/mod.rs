//! What is known of images: which things they show, and which they do not.

mod captions;
mod coco;
mod members;
mod table;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use benchmarks::files::FileError;
use stage_captions::wordnet::{Relation, WordNet, WordNetError, kind};

use crate::thing::Thing;

/// Why a source cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KnownError {
    /// A file that cannot be read, or a row that is wrong.
    #[error(transparent)]
    File(#[from] FileError),
    /// A JSON file of another layout.
    #[error("{}: {message}", .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A shard.
    #[error("{0}")]
    Shards(String),
    /// The embedded WordNet.
    #[error("{0}")]
    WordNet(&'static WordNetError),
    /// There is nothing to ask about.
    #[error("{0}")]
    TooLittle(String),
}

/// An image and what is known of it; things are positions in [`Known::things`].
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// Its path or name.
    pub image: String,
    /// Its captions, if there are any.
    pub captions: Vec<String>,
    /// Things that it shows.
    pub present: Vec<usize>,
    /// Things that it does not show and that may be denied.
    pub absent: Vec<usize>,
}

/// Images, the things they may show, and how often these occur together.
#[derive(Debug)]
pub struct Known {
    /// T things.
    pub things: Vec<Thing>,
    /// The images.
    pub pictures: Vec<Picture>,
    /// For each thing, the number of images that show it.
    pub count: Vec<u32>,
    /// The number of images that show two things: T x T.
    together: Vec<u32>,
    /// For each thing, how many images show it without a caption that names it, per image with such
    /// a caption; 0 if absence is known, not inferred from captions.
    pub hidden: Vec<f64>,
}

/// An image as a source lists it: by names.
#[derive(Clone, Debug, Default)]
struct Listed {
    image: String,
    captions: Vec<String>,
    present: Vec<String>,
    /// None: whatever is not present is absent.
    absent: Option<Vec<String>>,
}

impl Known {
    /// From what a source lists; `names` are those of all things that images may show.
    fn from_listed(listed: Vec<Listed>, names: &[String], least: u32) -> Result<Self, KnownError> {
        let wordnet = WordNet::embedded().map_err(KnownError::WordNet)?;
        let things: Vec<Thing> = names.iter().map(|name| Thing::new(wordnet, name)).collect();
        let place: HashMap<&str, usize> = things.iter().enumerate().map(|(i, t)| (t.name.as_str(), i)).collect();
        let find = |name: &String| {
            let name = name.trim().to_lowercase().replace('_', " ");
            place.get(name.as_str()).copied()
        };
        let related = |a: usize, b: usize| match (&things[a].concept, &things[b].concept) {
            (Some(one), Some(two)) => !matches!(one.relation(two), Relation::Apart(_)),
            _ => false,
        };
        let mut shown = vec![0u32; things.len()];
        let mut pictures: Vec<Picture> = Vec::with_capacity(listed.len());
        let mut absences = Vec::with_capacity(listed.len());
        for Listed { image, captions, present, absent } in listed {
            let mut present: Vec<usize> = present.iter().filter_map(find).collect();
            present.sort_unstable();
            present.dedup();
            present.iter().for_each(|&thing| shown[thing] += 1);
            absences.push(absent.map(|absent| absent.iter().filter_map(find).collect::<BTreeSet<_>>()));
            pictures.push(Picture { image, captions, present, absent: Vec::new() });
        }
        for (picture, absence) in pictures.iter_mut().zip(absences) {
            let is_absent = |thing: usize| match &absence {
                Some(listed) => listed.contains(&thing),
                None => shown[thing] >= least && !picture.present.iter().any(|&other| related(thing, other)),
            };
            let present: BTreeSet<usize> = picture.present.iter().copied().collect();
            picture.absent = (0..things.len()).filter(|thing| !present.contains(thing) && is_absent(*thing)).collect();
        }
        let hidden = vec![0.0; things.len()];
        Self::new(things, pictures, hidden)
    }

    fn new(things: Vec<Thing>, pictures: Vec<Picture>, hidden: Vec<f64>) -> Result<Self, KnownError> {
        let n = things.len();
        let (mut count, mut together) = (vec![0; n], vec![0; n * n]);
        for picture in &pictures {
            for &a in &picture.present {
                count[a] += 1;
                picture.present.iter().for_each(|&b| together[a * n + b] += 1);
            }
        }
        if pictures.iter().all(|picture| picture.present.is_empty() || picture.absent.is_empty()) {
            return Err(KnownError::TooLittle(format!(
                "of {} images none has both a thing that it shows and one that it does not, among {n} things; \
                 lower --least, or give more images",
                pictures.len()
            )));
        }
        Ok(Self { things, pictures, count, together, hidden })
    }

    /// The share of images with things like this picture's that show `thing` too: the mean of
    /// P(thing | a) over the things a that it shows.
    pub fn plausible(&self, picture: &Picture, thing: usize) -> f64 {
        let n = self.things.len();
        let given = |a: usize| f64::from(self.together[a * n + thing]) / f64::from(self.count[a].max(1));
        picture.present.iter().map(|&a| given(a)).sum::<f64>() / picture.present.len().max(1) as f64
    }

    /// Whether one statement may name both: neither implies the other.
    pub fn apart(&self, a: usize, b: usize) -> bool {
        a != b
            && match (&self.things[a].concept, &self.things[b].concept) {
                (Some(one), Some(two)) => {
                    matches!(one.relation(two), Relation::Apart(_))
                        && !(one.kind == kind::PERSON && two.kind == kind::PERSON)
                }
                _ => true,
            }
    }
}

/// The names that listed images show, each once.
fn names_of(listed: &[Listed]) -> Vec<String> {
    let names: BTreeSet<&String> =
        listed.iter().flat_map(|image| image.present.iter().chain(image.absent.iter().flatten())).collect();
    names.into_iter().cloned().collect()
}

fn json<T: serde::de::DeserializeOwned>(path: &Path, what: &str) -> Result<T, KnownError> {
    let bytes = benchmarks::files::read(path)?;
    serde_json::from_slice(&bytes)
        .map_err(|e| KnownError::Json { path: path.to_owned(), message: format!("not {what}: {e}") })
}

#[cfg(test)]
mod testing {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The names of things.
    pub fn names<'a>(known: &'a Known, things: &[usize]) -> Vec<&'a str> {
        things.iter().map(|&thing| known.things[thing].name.as_str()).collect()
    }

    /// A file of this name and text, and its folder.
    pub fn written(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }
}
