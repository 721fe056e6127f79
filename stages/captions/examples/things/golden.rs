//! The golden set: captions drawn from the train shards of Flickr8k, the things that each of them names, and what the
//! tagger finds.
//!
//! The captions themselves stay in `../shared`. The repository holds only where each one stands, a hash of it and
//! its labels. `docs/tagger.md` says what counts as a thing and how the captions were drawn and labelled.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::iter::Sum;
use std::ops::Add;
use std::path::{Path, PathBuf};

use stage_captions::tagger::analyse;
use stage_captions::usage::SAME_AS;
use stage_captions::wordnet::WordNet;

/// The rows of the golden set, without captions.
pub const TABLE: &str = include_str!("../../tests/data/things.tsv");
/// Train shards of Flickr8k.
const SHARDS: usize = 12;
/// Captions that are drawn from each shard.
const PER_SHARD: usize = 25;
/// Start of the text whose hash orders the photos of a shard.
const SEED: &str = "things 14";
/// Bytes of a block of a tar file.
const BLOCK: usize = 512;

/// Captions of one photo, by its key.
type Captions = BTreeMap<String, Vec<String>>;

/// A caption that was drawn, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drawn {
    /// Shard and photo: `train-000/3639684919_cb6fbf5638`.
    pub photo: String,
    /// Line of the photo's text, from 1.
    pub line: usize,
    /// The caption, which the repository does not hold.
    pub caption: String,
}

impl Drawn {
    /// The row of `things.tsv` without its labels: photo, line, and the first 8 hex digits of the caption's BLAKE3
    /// hash, between tabs.
    pub fn row(&self) -> String {
        format!("{}\t{}\t{}", self.photo, self.line, &blake3::hash(self.caption.as_bytes()).to_hex()[..8])
    }
}

/// A caption and the things that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    /// The caption.
    pub drawn: Drawn,
    /// Lemmas of the things, labelled by hand.
    pub things: BTreeSet<String>,
}

/// The folder of the shards, which is beside the repository; `None` if it is not there.
pub fn shards() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/flickr8k");
    folder.is_dir().then_some(folder)
}

/// Draws the captions of the golden set, always the same ones.
///
/// The hash of "things 14 SHARD KEY" orders the photos of a shard, and its last 8 bytes choose one caption of the
/// photo.
///
/// # Errors
/// A shard cannot be read.
pub fn draw(folder: &Path) -> Result<Vec<Drawn>, String> {
    let mut drawn = Vec::new();
    for shard in (0..SHARDS).map(|number| format!("train-{number:03}")) {
        let mut photos: Vec<_> = captions(folder, &shard)?
            .into_iter()
            .map(|(key, captions)| {
                (*blake3::hash(format!("{SEED} {shard} {key}").as_bytes()).as_bytes(), key, captions)
            })
            .collect();
        photos.sort();
        drawn.extend(photos.into_iter().take(PER_SHARD).map(|(hash, key, mut captions)| {
            let last = hash[24..].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
            let index = (last % captions.len() as u64) as usize;
            Drawn { photo: format!("{shard}/{key}"), line: index + 1, caption: captions.swap_remove(index) }
        }));
    }
    Ok(drawn)
}

/// Reads the rows of a table such as [`TABLE`], and the captions that they belong to.
///
/// # Errors
/// A shard cannot be read, a row is malformed, or the caption at that place is not the one that was labelled.
pub fn read(folder: &Path, table: &str) -> Result<Vec<Labelled>, String> {
    let mut shards: BTreeMap<String, Captions> = BTreeMap::new();
    let mut labelled = Vec::new();
    for row in table.lines().filter(|row| !row.starts_with('#')) {
        let malformed = || format!("things.tsv: malformed row `{row}`");
        let [photo, line, hash, things] = row.split('\t').collect::<Vec<_>>()[..] else { return Err(malformed()) };
        let (shard, key) = photo.split_once('/').ok_or_else(malformed)?;
        let line: usize = line.parse().map_err(|_| malformed())?;
        if !shards.contains_key(shard) {
            shards.insert(shard.to_owned(), captions(folder, shard)?);
        }
        let of_photo = shards.get(shard).and_then(|photos| photos.get(key));
        let caption = of_photo.and_then(|captions| captions.get(line.checked_sub(1)?)).cloned();
        let caption = caption.ok_or_else(|| format!("{photo} has no caption {line}"))?;
        let drawn = Drawn { photo: photo.to_owned(), line, caption };
        if drawn.row() != format!("{photo}\t{line}\t{hash}") {
            return Err(format!("caption {line} of {photo} is not the one that was labelled: its hash is not {hash}"));
        }
        let things = things.split(", ").filter(|thing| !thing.is_empty()).map(str::to_owned).collect();
        labelled.push(Labelled { drawn, things });
    }
    Ok(labelled)
}

/// The captions of a shard: the lines of each `KEY.txt` of the tar file.
fn captions(folder: &Path, shard: &str) -> Result<Captions, String> {
    let path = folder.join(format!("{shard}.tar"));
    let fault = |what: &str| format!("{}: {what}", path.display());
    let bytes = fs::read(&path).map_err(|error| fault(&error.to_string()))?;
    let mut photos = Captions::new();
    let mut at = 0;
    // A block of zeros ends a tar file.
    while let Some(header) = bytes.get(at..at + BLOCK).filter(|header| header[0] != 0) {
        let text = |field: &[u8]| String::from_utf8_lossy(field).trim_matches(['\0', ' ']).to_owned();
        let size = usize::from_str_radix(&text(&header[124..136]), 8).map_err(|_| fault("not a tar file"))?;
        let content = bytes.get(at + BLOCK..at + BLOCK + size).ok_or_else(|| fault("ends early"))?;
        if let Some(key) = text(&header[..100]).strip_suffix(".txt") {
            photos.insert(key.to_owned(), String::from_utf8_lossy(content).lines().map(str::to_owned).collect());
        }
        at += BLOCK + size.next_multiple_of(BLOCK);
    }
    Ok(photos)
}

/// What the tagger finds in a caption, against its labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Labels that it finds.
    pub right: BTreeSet<String>,
    /// Labels that it does not find.
    pub missed: BTreeSet<String>,
    /// What it finds that is no label.
    pub wrong: BTreeSet<String>,
}

/// Compares the things that the generator would take from the caption with the labels, by lemma.
///
/// Where the tagger writes another word on purpose ([`SAME_AS`]: "biker" is "cyclist"), that word is the label.
pub fn compare(wordnet: &WordNet, labelled: &Labelled) -> Found {
    let renamed = |label: &String| SAME_AS.iter().find(|(own, _)| own == label).map(|(_, known)| (*known).to_owned());
    let labels = labelled.things.iter().map(|label| renamed(label).unwrap_or_else(|| label.clone()));
    let labels: BTreeSet<String> = labels.collect();
    let analysis = analyse(wordnet, &labelled.drawn.caption);
    let found: BTreeSet<String> = analysis.things().map(|noun| noun.lemma.clone()).collect();
    Found { right: &labels & &found, missed: &labels - &found, wrong: &found - &labels }
}

/// Things of some captions, counted once per caption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Labels that were found.
    pub right: usize,
    /// Labels that were not found.
    pub missed: usize,
    /// What was found and is no label.
    pub wrong: usize,
}

impl From<&Found> for Score {
    fn from(found: &Found) -> Self {
        Self { right: found.right.len(), missed: found.missed.len(), wrong: found.wrong.len() }
    }
}

impl Add for Score {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { right: self.right + other.right, missed: self.missed + other.missed, wrong: self.wrong + other.wrong }
    }
}

impl Sum for Score {
    fn sum<I: Iterator<Item = Self>>(scores: I) -> Self {
        scores.fold(Self::default(), Self::add)
    }
}

impl Score {
    /// Share of what was found that is a label.
    pub fn precision(&self) -> f64 {
        share(self.right, self.right + self.wrong)
    }

    /// Share of the labels that was found.
    pub fn recall(&self) -> f64 {
        share(self.right, self.right + self.missed)
    }

    /// Harmonic mean of precision and recall.
    pub fn f1(&self) -> f64 {
        share(2 * self.right, 2 * self.right + self.missed + self.wrong)
    }
}

fn share(part: usize, of: usize) -> f64 {
    part as f64 / of.max(1) as f64
}
