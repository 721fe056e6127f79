//! What is known of images: which things they show, and which they do not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use stage_captions::tagger::{Analysis, Noun, analyse};
use stage_captions::usage::{is_colour, is_no_object};
use stage_captions::wordnet::{Relation, WordNet, kind};
use benchmarks::files::{FileError, csv_rows, list_field};
use stage_shards::{Opener, Pipes, Rules, Samples, resolve};

use crate::words::Thing;

/// An object that captions name is taken as absent only if a caption of an image that shows it
/// would name it at least this often. On Flickr8k that leaves out, for instance, tree (0.46),
/// grass, wall, hat, shirt and road, and keeps dog (0.95), ball, car, bench and bike (0.52).
const MENTIONED: f64 = 0.5;
/// The same for what nature strews about: captions that name rocks are of those large ones.
const MENTIONED_NATURE: f64 = 0.65;
/// Named where it is the subject, and lying about elsewhere.
const STREWN: &[&str] = &["leaf", "rock", "stone"];
/// What is assumed of a thing that few captions name: this share, on the weight of so many
/// chances to name it.
const PRIOR: (f64, f64) = (0.3, 20.0);

/// Two nouns at fewer WordNet edges may mean the same thing.
const NEAR: u32 = 4;

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
    WordNet(&'static stage_captions::wordnet::WordNetError),
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

/// Images, the things they may show, and how often these come together.
#[derive(Debug)]
pub struct Known {
    /// The things.
    pub things: Vec<Thing>,
    /// The images.
    pub pictures: Vec<Picture>,
    /// In how many images each thing is present.
    pub count: Vec<u32>,
    /// In how many images two things are present: T x T.
    together: Vec<u32>,
    /// How often an absent thing would be there all the same for each time it is
    /// named; 0 where absence is known, not told from captions.
    pub hidden: Vec<f64>,
}

/// An image as a source tells of it: by names.
#[derive(Clone, Debug, Default)]
struct Told {
    image: String,
    captions: Vec<String>,
    present: Vec<String>,
    /// None: whatever is not present.
    absent: Option<Vec<String>>,
}

impl Known {
    /// From COCO's `instances_*.json`: categories without an annotation are absent. Captions of
    /// the same images may come from `captions_*.json`.
    ///
    /// # Errors
    /// Files of another layout, and references to an image or category that is not there.
    pub fn from_coco(instances: &Path, captions: Option<&Path>, least: u32) -> Result<Self, KnownError> {
        let file: Instances = json(instances, "COCO's instances (images, annotations, categories)")?;
        let wrong = |path: &Path, message: String| KnownError::Json { path: path.to_owned(), message };
        let names: HashMap<i64, &str> = file.categories.iter().map(|c| (c.id, c.name.as_str())).collect();
        let place: HashMap<i64, usize> = file.images.iter().enumerate().map(|(i, image)| (image.id, i)).collect();
        let mut told: Vec<Told> =
            file.images.iter().map(|image| Told { image: image.file_name.clone(), ..Told::default() }).collect();
        for (i, annotation) in file.annotations.iter().enumerate() {
            let image = place.get(&annotation.image_id).ok_or_else(|| {
                wrong(instances, format!("annotation {i} is of image {}, which is not listed", annotation.image_id))
            })?;
            let name = names.get(&annotation.category_id).ok_or_else(|| {
                wrong(
                    instances,
                    format!("annotation {i} is of category {}, which is not listed", annotation.category_id),
                )
            })?;
            told[*image].present.push((*name).to_owned());
        }
        if let Some(path) = captions {
            let file: Captions = json(path, "COCO's captions (annotations with image_id and caption)")?;
            for annotation in file.annotations {
                if let Some(image) = place.get(&annotation.image_id) {
                    told[*image].captions.push(annotation.caption.trim().to_owned());
                }
            }
        }
        let every = file.categories.iter().map(|c| c.name.clone());
        Self::told(told, every.collect(), least)
    }

    /// From a table: JSON lines or a CSV with `image`, `present` and, if known, `absent` and
    /// `captions`. Lists in a CSV are separated by `;`, or written as JSON or Python lists.
    /// Without `absent`, what other images show and this one does not is absent.
    ///
    /// # Errors
    /// A missing column or a row that is no such row: the file and the row.
    pub fn from_table(path: &Path, least: u32) -> Result<Self, KnownError> {
        let mut told = Vec::new();
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")) {
            let rows = csv_rows(path, &["image", "present"], &["absent", "captions"])?;
            for row in rows {
                let list = |name: &str| row.optional(name).map(list_field);
                told.push(Told {
                    image: row.text("image")?.to_owned(),
                    present: list_field(row.raw("present")),
                    absent: list("absent"),
                    captions: list("captions").unwrap_or_default(),
                });
            }
        } else {
            let text =
                std::fs::read_to_string(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
            for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
                let row: Row = serde_json::from_str(line).map_err(|e| FileError::Row {
                    path: path.to_owned(),
                    row: index + 1,
                    message: format!("{e}; needed are `image` and `present` (a list), and maybe `absent`, `captions`"),
                })?;
                told.push(Told { image: row.image, captions: row.captions, present: row.present, absent: row.absent });
            }
        }
        let every: BTreeSet<String> =
            told.iter().flat_map(|t| t.present.iter().chain(t.absent.iter().flatten())).cloned().collect();
        Self::told(told, every.into_iter().collect(), least)
    }

    /// From the shards themselves: `objects` of each KEY.json, a list of names or of objects with a
    /// `kind`, `name` or `category`. What is not listed is absent.
    ///
    /// # Errors
    /// A shard that cannot be read (local ones only), or has no such member.
    pub fn from_members(shards: &[String], base: &Path, least: u32) -> Result<Self, KnownError> {
        let fault = KnownError::Shards;
        let mut told = Vec::new();
        for source in resolve(shards, base, Pipes::Refused).map_err(|e| fault(e.to_string()))? {
            let stage_shards::Location::Local(path) = &source.location else {
                return Err(fault(format!(
                    "shard `{}` is not on this machine; give a table of what images show",
                    source.url
                )));
            };
            let read = |source| FileError::Read { path: path.clone(), source };
            let mut archive = tar::Archive::new(std::fs::File::open(path).map_err(read)?);
            for entry in archive.entries().map_err(read)? {
                let entry = entry.map_err(read)?;
                let name = entry.path().map_err(read)?.display().to_string();
                let Some(key) = name.strip_suffix(".json") else { continue };
                let wrong = |message: String| fault(format!("shard `{}`: {name}: {message}", source.url));
                let truth: Member = serde_json::from_reader(entry).map_err(|e| wrong(e.to_string()))?;
                told.push(Told {
                    image: key.to_owned(),
                    present: truth.objects.into_iter().map(Object::name).collect(),
                    ..Told::default()
                });
            }
        }
        if told.is_empty() {
            return Err(fault(format!("no KEY.json with `objects` in {}; give --truth FILE", shards.join(", "))));
        }
        let every: BTreeSet<String> = told.iter().flat_map(|t| t.present.iter()).cloned().collect();
        Self::told(told, every.into_iter().collect(), least)
    }

    /// From captions that the generator does not see: what any of them names is present, and
    /// everything else is taken as absent. Captions leave things out, so that a share of false
    /// captions that is measured with these is a lower bound.
    ///
    /// # Errors
    /// When WordNet cannot be read, or there is too little to ask about.
    pub fn from_held_out(images: Vec<(String, Vec<String>)>) -> Result<Self, KnownError> {
        let wordnet = WordNet::embedded().map_err(KnownError::WordNet)?;
        let tell = |(image, captions): (String, Vec<String>)| {
            let read: Vec<Analysis> = captions.iter().map(|caption| analyse(wordnet, caption)).collect();
            let present = read.iter().flat_map(things_of).map(str::to_owned).collect();
            Told { image, present, ..Told::default() }
        };
        let told: Vec<Told> = images.into_iter().map(tell).collect();
        let every: BTreeSet<String> = told.iter().flat_map(|told| told.present.iter()).cloned().collect();
        Self::told(told, every.into_iter().collect(), 1)
    }

    fn told(told: Vec<Told>, names: Vec<String>, least: u32) -> Result<Self, KnownError> {
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
        let mut pictures: Vec<Picture> = Vec::with_capacity(told.len());
        let mut listed = Vec::with_capacity(told.len());
        for told in told {
            let mut present: Vec<usize> = told.present.iter().filter_map(find).collect();
            present.sort_unstable();
            present.dedup();
            present.iter().for_each(|&thing| shown[thing] += 1);
            listed.push(told.absent.map(|absent| absent.iter().filter_map(find).collect::<BTreeSet<_>>()));
            pictures.push(Picture { image: told.image, captions: told.captions, present, absent: Vec::new() });
        }
        for (picture, listed) in pictures.iter_mut().zip(listed) {
            let is_absent = |thing: usize| match &listed {
                Some(listed) => listed.contains(&thing),
                None => shown[thing] >= least && !picture.present.iter().any(|&other| related(thing, other)),
            };
            let there: BTreeSet<usize> = picture.present.iter().copied().collect();
            picture.absent = (0..things.len()).filter(|thing| !there.contains(thing) && is_absent(*thing)).collect();
        }
        let hidden = vec![0.0; things.len()];
        Self::new(things, pictures, hidden)
    }

    /// From the captions of shards: what any caption of an image names is present; absent is
    /// what other images' captions name, and none of this image's says, implies, or says in
    /// another word (synonym, more general, more special, or near in WordNet).
    ///
    /// Captions leave things out. So a thing is taken as absent only if captions of an image that
    /// shows it mostly name it: how often one caption names what another one names.
    ///
    /// # Errors
    /// A shard that cannot be read or is damaged.
    pub fn from_captions(shards: &[String], base: &Path, least: u32) -> Result<Self, KnownError> {
        Self::from_described(read_captions(shards, base)?, least)
    }

    /// As [`Self::from_captions`], from images and their captions.
    ///
    /// # Errors
    /// When WordNet cannot be read, or there is too little to ask about.
    pub fn from_described(images: Vec<(String, Vec<String>)>, least: u32) -> Result<Self, KnownError> {
        let wordnet = WordNet::embedded().map_err(KnownError::WordNet)?;
        let read: Vec<Vec<Analysis>> =
            images.iter().map(|(_, captions)| captions.iter().map(|c| analyse(wordnet, c)).collect()).collect();
        let mut named: BTreeMap<&str, u32> = BTreeMap::new();
        for captions in &read {
            let names: BTreeSet<&str> = captions.iter().flat_map(things_of).collect();
            names.into_iter().for_each(|name| *named.entry(name).or_default() += 1);
        }
        named.retain(|_, count| *count >= least.max(1));
        let things: Vec<Thing> = named.keys().map(|name| Thing::new(wordnet, name)).collect();
        let place: HashMap<&str, usize> = named.keys().enumerate().map(|(i, name)| (*name, i)).collect();

        // Of n captions m name a thing: a caption names it with probability p, and
        // sum m (m - 1) / sum m (n - 1) estimates p without knowing the images where none does.
        let (mut pairs, mut chances, mut silence) =
            (vec![0.0; things.len()], vec![0.0; things.len()], vec![Vec::new(); things.len()]);
        for captions in &read {
            let n = captions.len() as f64;
            let names: BTreeSet<usize> =
                captions.iter().flat_map(things_of).filter_map(|n| place.get(n).copied()).collect();
            for thing in names {
                let m = captions.iter().filter(|c| c.says(&things[thing].name, false)).count() as f64;
                pairs[thing] += m * (m - 1.0);
                chances[thing] += m * (n - 1.0);
                silence[thing].push(n);
            }
        }
        let mut hidden = vec![0.0; things.len()];
        let mut told = vec![false; things.len()];
        for thing in 0..things.len() {
            let p: f64 = if chances[thing] > 0.0 { pairs[thing] / chances[thing] } else { 1.0 };
            let captions = silence[thing].iter().sum::<f64>() / silence[thing].len().max(1) as f64;
            let silent = (1.0 - p).powf(captions);
            hidden[thing] = if chances[thing] > 0.0 && silent < 1.0 { silent / (1.0 - silent) } else { 0.0 };
            let cautious = (pairs[thing] + PRIOR.0 * PRIOR.1) / (chances[thing] + PRIOR.1);
            let kind = things[thing].concept.as_ref().map_or(0, |c| c.kind);
            let nature = [kind::OBJECT, kind::PLANT, kind::SUBSTANCE].contains(&kind);
            told[thing] = !STREWN.contains(&things[thing].name.as_str())
                && if chances[thing] == 0.0 {
                    !nature
                } else {
                    cautious >= if nature { MENTIONED_NATURE } else { MENTIONED }
                };
        }

        let person = |thing: usize| things[thing].concept.as_ref().is_some_and(|c| c.kind == kind::PERSON);
        let mut pictures = Vec::with_capacity(images.len());
        for ((image, captions), read) in images.into_iter().zip(&read) {
            let mut count: BTreeMap<usize, usize> = BTreeMap::new();
            for caption in read {
                let names: BTreeSet<&str> = things_of(caption).collect();
                names.iter().filter_map(|n| place.get(n)).for_each(|&thing| *count.entry(thing).or_default() += 1);
            }
            // One caption's "man" is another's "boy": who it is needs two witnesses.
            let sure = |thing: usize, times: usize| times > 1 || read.len() < 2 || !person(thing);
            let present = count.iter().filter(|(thing, times)| sure(**thing, **times)).map(|(thing, _)| *thing);
            let absent =
                (0..things.len()).filter(|&thing| told[thing] && read.iter().all(|c| unsaid(&things[thing], c)));
            let (present, absent) = (present.collect(), absent.collect());
            pictures.push(Picture { image, captions, present, absent });
        }
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

    /// Whether both may stand in one statement: neither says the other.
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

/// The nouns of a caption that are things; a person is no thing of another colour.
fn things_of(caption: &Analysis) -> impl Iterator<Item = &str> {
    let is_thing = |noun: &Noun| {
        let coloured = noun.lemma.split_once(' ').is_some_and(|(first, _)| is_colour(first));
        noun.concept.as_ref().is_some_and(|c| c.concrete && !(coloured && c.kind == kind::PERSON))
            && !is_no_object(&noun.lemma)
    };
    caption.nouns.iter().filter(move |noun| is_thing(noun)).map(|n| n.lemma.as_str())
}

/// Whether a caption leaves the thing unsaid, also in other words.
fn unsaid(thing: &Thing, caption: &Analysis) -> bool {
    let Some(concept) = &thing.concept else { return false };
    !caption.says(&thing.name, true)
        && caption.concepts(true).all(|(other, certain)| match concept.relation(other) {
            Relation::Apart(edges) => {
                !(certain && edges < NEAR || concept.kind == kind::PERSON && other.kind == kind::PERSON)
            }
            _ => false,
        })
}

/// The images of shards (`key.extension`) with their captions.
fn read_captions(shards: &[String], base: &Path) -> Result<Vec<(String, Vec<String>)>, KnownError> {
    let fault = |text: String| KnownError::Shards(text);
    let sources = resolve(shards, base, Pipes::Refused).map_err(|e| fault(e.to_string()))?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| fault(e.to_string()))?;
    let opener = Opener::default();
    let rules = std::sync::Arc::new(Rules::default());
    let mut images = Vec::new();
    for source in &sources {
        runtime.block_on(async {
            let stream = opener.open(source).await.map_err(|e| fault(e.to_string()))?;
            let mut samples = Samples::new(stream, rules.clone());
            while let Some(sample) = samples.next().await {
                if let Ok(content) = sample.content {
                    images.push((format!("{}.{}", sample.key, content.extension), content.captions));
                }
            }
            match samples.finish().1 {
                Some(broken) => Err(fault(format!("shard `{}`: {broken}", source.url))),
                None => Ok(()),
            }
        })?;
    }
    Ok(images)
}

fn json<T: serde::de::DeserializeOwned>(path: &Path, what: &str) -> Result<T, KnownError> {
    let bytes = std::fs::read(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes)
        .map_err(|e| KnownError::Json { path: path.to_owned(), message: format!("not {what}: {e}") })
}

#[derive(Deserialize)]
struct Instances {
    images: Vec<Image>,
    annotations: Vec<Instance>,
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Image {
    id: i64,
    file_name: String,
}

#[derive(Deserialize)]
struct Instance {
    image_id: i64,
    category_id: i64,
}

#[derive(Deserialize)]
struct Category {
    id: i64,
    name: String,
}

#[derive(Deserialize)]
struct Captions {
    annotations: Vec<Caption>,
}

#[derive(Deserialize)]
struct Caption {
    image_id: i64,
    caption: String,
}

/// KEY.json.
#[derive(Deserialize)]
struct Member {
    objects: Vec<Object>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Object {
    Name(String),
    Named {
        #[serde(alias = "name", alias = "category")]
        kind: String,
    },
}

impl Object {
    fn name(self) -> String {
        match self {
            Self::Name(name) | Self::Named { kind: name } => name,
        }
    }
}

/// A line of a table.
#[derive(Deserialize)]
struct Row {
    image: String,
    present: Vec<String>,
    #[serde(default)]
    absent: Option<Vec<String>>,
    #[serde(default)]
    captions: Vec<String>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names<'a>(known: &'a Known, things: &[usize]) -> Vec<&'a str> {
        things.iter().map(|&thing| known.things[thing].name.as_str()).collect()
    }

    fn written(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    const COCO: &str = r#"{"images":[{"id":7,"file_name":"a.jpg"},{"id":9,"file_name":"b.jpg"}],
        "annotations":[{"image_id":7,"category_id":1},{"image_id":7,"category_id":1},{"image_id":7,"category_id":3},
                       {"image_id":9,"category_id":2}],
        "categories":[{"id":1,"name":"person"},{"id":2,"name":"hot dog"},{"id":3,"name":"dog"}]}"#;

    #[test]
    fn coco_says_what_is_there_and_what_is_not() {
        let (_dir, path) = written("instances.json", COCO);
        let known = Known::from_coco(&path, None, 1).unwrap();
        assert_eq!(names(&known, &known.pictures[0].present), ["person", "dog"]);
        assert_eq!(names(&known, &known.pictures[0].absent), ["hot dog"]);
        assert_eq!(known.count, [1, 1, 1]);
        assert_eq!(known.plausible(&known.pictures[0], 2), 1.0);
    }

    #[test]
    fn faults_of_coco_and_tables_are_named() {
        let said = |name: &str, text: &str| {
            let (_dir, path) = written(name, text);
            let known = if name == "c.json" { Known::from_coco(&path, None, 1) } else { Known::from_table(&path, 1) };
            known.unwrap_err().to_string()
        };
        assert!(
            said("c.json", &COCO.replace("\"category_id\":2", "\"category_id\":5"))
                .contains("annotation 3 is of category 5")
        );
        assert!(said("c.json", "[]").contains("not COCO's instances"));
        assert!(said("t.csv", "image,objects\na.jpg,dog\n").contains("no column `present`"));
        assert!(said("t.csv", "image,present\n,dog\n").contains("t.csv:2: `image` is empty"));
        assert!(
            said("t.jsonl", "{\"image\":\"a\",\"present\":[\"dog\"]}\n{\"image\":\"b\"}\n")
                .contains("t.jsonl:2: missing field `present`")
        );
        assert!(said("t.csv", "image,present\na.jpg,dog\n").contains("--least"));
    }

    #[test]
    fn a_table_may_list_what_is_absent() {
        let (_dir, path) =
            written("t.csv", "image,present,absent\na.jpg,dog;ball,cat\nb.jpg,\"['cat', 'boat']\",dog\n");
        let known = Known::from_table(&path, 1).unwrap();
        assert_eq!(names(&known, &known.pictures[0].absent), ["cat"]);
        let (_dir, path) = written("t.csv", "image,present\na.jpg,dog;ball\nb.jpg,puppy;boat\n");
        let known = Known::from_table(&path, 1).unwrap();
        assert_eq!(names(&known, &known.pictures[0].absent), ["boat"], "a puppy is a dog");
    }

    #[test]
    fn captions_held_out_name_what_is_there() {
        let own = |captions: &[&str]| captions.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>();
        let images = vec![
            ("a.jpg".to_owned(), own(&["A dog runs", "A puppy with its ball"])),
            ("b.jpg".to_owned(), own(&["A boat"])),
        ];
        let known = Known::from_held_out(images).unwrap();
        assert_eq!(names(&known, &known.pictures[0].present), ["ball", "dog", "puppy"]);
        assert_eq!(names(&known, &known.pictures[0].absent), ["boat"]);
        assert!(Known::from_held_out(vec![("a.jpg".to_owned(), own(&["Nothing"]))]).is_err());
    }

    #[test]
    fn captions_name_what_is_there_and_imply_more() {
        let dogs = [
            "A dog runs with a ball",
            "The brown dog plays",
            "A puppy and its ball",
            "A dog on grass",
            "Dog with ball",
        ];
        let surf = ["A surfer on a wave", "A man surfing", "A surfer", "The surfer rides", "A man in the sea"];
        let boards =
            ["A surfboard on the sand", "A surfboard", "One surfboard and a dog", "A surfboard, a dog", "A dog"];
        let own = |captions: [&str; 5]| captions.map(str::to_owned).to_vec();
        let mut images = vec![("a.jpg".into(), own(dogs)), ("b.jpg".into(), own(surf)), ("c.jpg".into(), own(boards))];
        // Enough of them to tell how often captions name what is there.
        images.extend((0..9).map(|i| (format!("{i}.jpg"), own(if i % 2 == 0 { dogs } else { boards }))));
        let known = Known::from_described(images, 1).unwrap();
        let all = |at: usize| (names(&known, &known.pictures[at].present), names(&known, &known.pictures[at].absent));
        let (present, absent) = all(0);
        assert!(present.contains(&"dog") && present.contains(&"ball"), "{present:?}");
        assert!(absent.contains(&"surfboard") && !absent.contains(&"puppy"), "{absent:?}");
        let (_, absent) = all(1);
        assert!(!absent.contains(&"surfboard"), "a surfer has one: {absent:?}");
        assert!(absent.contains(&"dog"), "{absent:?}");
        assert!(
            !names(&known, &known.pictures[2].absent).contains(&"grass"),
            "seldom named: cannot be told to be absent"
        );
    }
}
