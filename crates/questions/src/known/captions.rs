//! What captions tell of images.
//!
//! Captions leave things out. So a thing is taken as absent only if captions of an image that shows
//! it mostly name it: how often one caption names what another one names.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use stage_captions::tagger::{Analysis, Noun, analyse};
use stage_captions::usage::{is_colour, is_no_object};
use stage_captions::wordnet::{Relation, WordNet, kind};
use stage_shards::{Opener, Pipes, Rules, Samples, resolve};

use super::{Known, KnownError, Listed, Picture, names_of};
use crate::thing::Thing;

/// An object that captions name is taken as absent only if a caption of an image that shows it
/// would name it at least this often. On Flickr8k that leaves out, for instance, tree (0.46),
/// grass, wall, hat, shirt and road, and keeps dog (0.95), ball, car, bench and bike (0.52).
const MENTIONED: f64 = 0.5;
/// The same for natural objects: captions that name rocks are about large ones.
const MENTIONED_NATURE: f64 = 0.65;
/// Named when they are the subject, and lying about elsewhere.
const STREWN: &[&str] = &["leaf", "rock", "stone"];
/// What is assumed of a thing that few captions name: this share, with the weight of so many
/// chances to name it.
const PRIOR: (f64, f64) = (0.3, 20.0);

/// Two nouns with fewer WordNet edges between them may mean the same thing.
const NEAR: u32 = 4;

impl Known {
    /// From captions that the generator does not see: what any of them names is present, and
    /// everything else is taken as absent. Captions leave things out, so that a share of false
    /// captions that is measured with these is a lower bound.
    ///
    /// # Errors
    /// When WordNet cannot be read, or there is too little to ask about.
    pub fn from_held_out(images: Vec<(String, Vec<String>)>) -> Result<Self, KnownError> {
        let wordnet = WordNet::embedded().map_err(KnownError::WordNet)?;
        let list = |(image, captions): (String, Vec<String>)| {
            let read: Vec<Analysis> = captions.iter().map(|caption| analyse(wordnet, caption)).collect();
            let present = read.iter().flat_map(things_of).map(str::to_owned).collect();
            Listed { image, present, ..Listed::default() }
        };
        let listed: Vec<Listed> = images.into_iter().map(list).collect();
        let names = names_of(&listed);
        Self::from_listed(listed, &names, 1)
    }

    /// From the captions of shards: what any caption of an image names is present; absent is
    /// what other images' captions name, and none of this image's captions names, implies, or says
    /// in another word (a synonym, something more general or more special, or near in WordNet).
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
        let mentions = Mentions::count(&read, &things, &place);
        let deniable: Vec<bool> = (0..things.len()).map(|i| mentions.tell_absence(i, &things[i])).collect();

        let mut pictures = Vec::with_capacity(images.len());
        for ((image, captions), read) in images.into_iter().zip(&read) {
            let present = present(read, &things, &place);
            let absent =
                (0..things.len()).filter(|&i| deniable[i] && read.iter().all(|c| is_unsaid(&things[i], c))).collect();
            pictures.push(Picture { image, captions, present, absent });
        }
        let hidden = (0..things.len()).map(|i| mentions.hidden(i)).collect();
        Self::new(things, pictures, hidden)
    }
}

/// The things that captions of one image name.
fn present(read: &[Analysis], things: &[Thing], place: &HashMap<&str, usize>) -> Vec<usize> {
    let is_person = |thing: usize| things[thing].concept.as_ref().is_some_and(|c| c.kind == kind::PERSON);
    let mut count: BTreeMap<usize, usize> = BTreeMap::new();
    for caption in read {
        let names: BTreeSet<&str> = things_of(caption).collect();
        names.iter().filter_map(|n| place.get(n)).for_each(|&thing| *count.entry(thing).or_default() += 1);
    }
    // One caption's "man" is another one's "boy": two captions must agree on who it is.
    let is_sure = |thing: usize, times: usize| times > 1 || read.len() < 2 || !is_person(thing);
    count.into_iter().filter(|(thing, times)| is_sure(*thing, *times)).map(|(thing, _)| thing).collect()
}

/// How often captions name what another caption of the same image names.
///
/// Of n captions of an image m name a thing: if a caption names it with probability p, then
/// sum m (m - 1) / sum m (n - 1) estimates p without knowing in which images no caption does.
struct Mentions {
    /// For each thing, sum m (m - 1).
    pairs: Vec<f64>,
    /// For each thing, sum m (n - 1).
    chances: Vec<f64>,
    /// For each thing, n of each image whose captions name it.
    captions: Vec<Vec<f64>>,
}

impl Mentions {
    fn count(read: &[Vec<Analysis>], things: &[Thing], place: &HashMap<&str, usize>) -> Self {
        let none = vec![0.0; things.len()];
        let mut mentions = Self { pairs: none.clone(), chances: none, captions: vec![Vec::new(); things.len()] };
        for captions in read {
            let n = captions.len() as f64;
            let names: BTreeSet<usize> =
                captions.iter().flat_map(things_of).filter_map(|n| place.get(n).copied()).collect();
            for thing in names {
                let m = captions.iter().filter(|c| c.says(&things[thing].name, false)).count() as f64;
                mentions.pairs[thing] += m * (m - 1.0);
                mentions.chances[thing] += m * (n - 1.0);
                mentions.captions[thing].push(n);
            }
        }
        mentions
    }

    /// How many images show the thing without a caption that names it, per image with such a caption.
    fn hidden(&self, thing: usize) -> f64 {
        let (pairs, chances, captions) = (self.pairs[thing], self.chances[thing], &self.captions[thing]);
        let p: f64 = if chances > 0.0 { pairs / chances } else { 1.0 };
        let mean = captions.iter().sum::<f64>() / captions.len().max(1) as f64;
        let silent = (1.0 - p).powf(mean);
        if chances > 0.0 && silent < 1.0 { silent / (1.0 - silent) } else { 0.0 }
    }

    /// Whether captions that do not name the thing tell that it is absent.
    fn tell_absence(&self, index: usize, thing: &Thing) -> bool {
        let kind = thing.concept.as_ref().map_or(0, |c| c.kind);
        let is_nature = [kind::OBJECT, kind::PLANT, kind::SUBSTANCE].contains(&kind);
        if STREWN.contains(&thing.name.as_str()) {
            return false;
        }
        if self.chances[index] == 0.0 {
            return !is_nature;
        }
        let cautious = (self.pairs[index] + PRIOR.0 * PRIOR.1) / (self.chances[index] + PRIOR.1);
        cautious >= if is_nature { MENTIONED_NATURE } else { MENTIONED }
    }
}

/// The nouns of a caption that are things; a person with a colour, such as "blue man", is not one.
fn things_of(caption: &Analysis) -> impl Iterator<Item = &str> {
    let is_thing = |noun: &Noun| {
        let has_colour = noun.lemma.split_once(' ').is_some_and(|(first, _)| is_colour(first));
        noun.concept.as_ref().is_some_and(|c| c.concrete && !(has_colour && c.kind == kind::PERSON))
            && !is_no_object(&noun.lemma)
    };
    caption.nouns.iter().filter(move |noun| is_thing(noun)).map(|n| n.lemma.as_str())
}

/// Whether a caption does not say the thing, in this or in other words.
fn is_unsaid(thing: &Thing, caption: &Analysis) -> bool {
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
    let rules = Arc::new(Rules::default());
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::names;
    use super::*;

    fn own(captions: &[&str]) -> Vec<String> {
        captions.iter().map(|caption| (*caption).to_owned()).collect()
    }

    #[test]
    fn captions_held_out_name_what_is_there() {
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
        let dogs = own(&[
            "A dog runs with a ball",
            "The brown dog plays",
            "A puppy and its ball",
            "A dog on grass",
            "Dog with ball",
        ]);
        let surf = own(&["A surfer on a wave", "A man surfing", "A surfer", "The surfer rides", "A man in the sea"]);
        let boards =
            own(&["A surfboard on the sand", "A surfboard", "One surfboard and a dog", "A surfboard, a dog", "A dog"]);
        let mut images = vec![("a.jpg".into(), dogs.clone()), ("b.jpg".into(), surf), ("c.jpg".into(), boards.clone())];
        // Enough of them to tell how often captions name what is there.
        images.extend((0..9).map(|i| (format!("{i}.jpg"), if i % 2 == 0 { dogs.clone() } else { boards.clone() })));
        let known = Known::from_described(images, 1).unwrap();
        let all = |at: usize| (names(&known, &known.pictures[at].present), names(&known, &known.pictures[at].absent));
        let (present, absent) = all(0);
        assert!(present.contains(&"dog") && present.contains(&"ball"), "{present:?}");
        assert!(absent.contains(&"surfboard") && !absent.contains(&"puppy"), "{absent:?}");
        let (_, absent) = all(1);
        assert!(!absent.contains(&"surfboard"), "a surfer has one: {absent:?}");
        assert!(absent.contains(&"dog"), "{absent:?}");
        assert!(!all(2).1.contains(&"grass"), "seldom named: captions do not tell that it is absent");
    }
}
