//! Batches of new scenes, drawn ahead of training.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use anyhow::Context;
use clip::{Limits, Preprocess, Tokenizer};
use scenes::{Area, Dice, Object, Purpose, SIDE, Scene, Split, things};

/// Scenes whose captions are read for the list of tokens in use. The grammar
/// of captions is small: a few hundred scenes already use all of it.
const VOCABULARY_SCENES: u64 = 5000;

/// Captions per scene in a batch.
pub const CAPTIONS: usize = 3;

/// Side of the image tower's patches, in pixels.
pub const PATCH: u32 = 8;

/// Batches drawn ahead.
const AHEAD: usize = 4;

/// The tokens that captions use, numbered densely in the order of their ids:
/// training then carries a table of hundreds of rows, not of 49,408.
pub struct Vocabulary {
    tokenizer: Tokenizer,
    ids: Vec<u32>,
    place: BTreeMap<u32, u32>,
}

impl Vocabulary {
    /// Reads captions until the grammar is exhausted.
    pub fn new(seed: u64) -> Self {
        let tokenizer = Tokenizer::clip();
        let ids: BTreeSet<u32> = (0..VOCABULARY_SCENES)
            .flat_map(|index| Scene::new(seed, Split::Pretrain, index).captions)
            .flat_map(|caption| tokenizer.encode(&caption))
            .collect();
        let place = (0..).zip(&ids).map(|(place, &id)| (id, place)).collect();
        Self { tokenizer, ids: ids.into_iter().collect(), place }
    }

    /// The ids in use; the place in this list is the dense number.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The dense number of the end token: the largest id comes last.
    pub fn end(&self) -> u32 {
        self.ids.len() as u32 - 1
    }

    fn encode(&self, text: &str) -> anyhow::Result<Vec<u32>> {
        let dense = |id: u32| self.place.get(&id).copied().with_context(|| format!("{text:?} has the new token {id}"));
        self.tokenizer.encode(text).into_iter().map(dense).collect()
    }
}

/// Images, their captions, and where their things are.
pub struct Batch {
    /// `[images, 3, SIDE, SIDE]`, normalised.
    pub pixels: Vec<f32>,
    /// Token ids of all captions end to end: first one caption of every image,
    /// then another of every image, [`CAPTIONS`] times.
    pub ids: Vec<u32>,
    /// Number of tokens of each caption.
    pub lens: Vec<usize>,
    /// `[images, 1 + patches, things + 1]`: the share of each thing, in the order
    /// of [`things`], in the whole picture and then in each patch. The last column
    /// is "none of them".
    pub names: Vec<f32>,
}

/// A picture as every reader of the shards gets it: drawn, compressed, decoded, normalised.
pub fn pixels(scene: &Scene, preprocess: &Preprocess) -> anyhow::Result<Vec<f32>> {
    let picture =
        preprocess.decode(&scene.jpeg()?, &Limits::default()).with_context(|| format!("scene {}", scene.key()))?;
    Ok(preprocess.normalise(&picture.rgb))
}

/// Batches of the scenes from `first` on, `size` at a time, none of them used
/// twice, in a fixed order.
pub fn batches(
    vocabulary: &Arc<Vocabulary>,
    seed: u64,
    first: u64,
    size: u64,
    steps: u64,
) -> Receiver<anyhow::Result<Batch>> {
    let (sender, receiver) = sync_channel(AHEAD);
    let vocabulary = Arc::clone(vocabulary);
    thread::spawn(move || {
        let preprocess = Preprocess::openai(SIDE);
        for step in 0..steps {
            let scenes = first + step * size..first + (step + 1) * size;
            if sender.send(batch(&vocabulary, &preprocess, seed, scenes)).is_err() {
                break;
            }
        }
    });
    receiver
}

fn batch(vocabulary: &Vocabulary, preprocess: &Preprocess, seed: u64, scenes: Range<u64>) -> anyhow::Result<Batch> {
    let mut batch = Batch { pixels: Vec::new(), ids: Vec::new(), lens: Vec::new(), names: Vec::new() };
    let mut captions: [Vec<String>; CAPTIONS] = Default::default();
    for index in scenes {
        let mut scene = Scene::new(seed, Split::Pretrain, index);
        batch.pixels.extend(pixels(&scene, preprocess)?);
        batch.names.extend(names(&scene));
        Dice::new(seed, Split::Pretrain as u64, index, Purpose::Batches).shuffle(&mut scene.captions);
        for (all, caption) in captions.iter_mut().zip(scene.captions) {
            all.push(caption);
        }
    }
    for caption in captions.iter().flatten() {
        let ids = vocabulary.encode(caption)?;
        batch.lens.push(ids.len());
        batch.ids.extend(ids);
    }
    Ok(batch)
}

/// The targets of [`Batch::names`] for one scene.
fn names(scene: &Scene) -> Vec<f32> {
    let classes = things().count() + 1;
    let number = |object: &Object| things().position(|thing| thing.name == object.thing.name);
    let mut names = vec![0.0; classes];
    for thing in scene.objects.iter().filter_map(number) {
        names[thing] = 1.0 / scene.objects.len() as f32;
    }
    let grid = SIDE / PATCH;
    for patch in 0..grid * grid {
        let center = |place: u32| (place * PATCH) as f32 + PATCH as f32 / 2.0;
        let shown = shown_at(scene, center(patch % grid), center(patch / grid)).and_then(number);
        let mut row = vec![0.0; classes];
        row[shown.unwrap_or(classes - 1)] = 1.0;
        names.extend(row);
    }
    names
}

/// The thing at a point: each fills about the ellipse in its box.
fn shown_at(scene: &Scene, x: f32, y: f32) -> Option<&Object> {
    let distance = |object: &Object| {
        let Area { w, h, y: top, .. } = object.area;
        ((x - object.area.middle()) / (w / 2.0)).powi(2) + ((y - top) / (h / 2.0) - 1.0).powi(2)
    };
    let nearest = scene.objects.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
    nearest.filter(|object| distance(object) <= 1.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_things_of_a_scene_and_no_others_are_named() {
        let classes = things().count() + 1;
        for index in 0..50 {
            let scene = Scene::new(1, Split::Pretrain, index);
            let names = names(&scene);
            assert_eq!(names.len(), 65 * classes);
            let mut in_patches = BTreeSet::new();
            for (i, row) in names.chunks_exact(classes).enumerate() {
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
                for (thing, _) in things().zip(row).filter(|(_, share)| **share > 0.0) {
                    assert!(scene.shows(thing.name));
                    if i > 0 {
                        in_patches.insert(thing.name);
                    }
                }
            }
            let whole = names[..classes].iter().filter(|share| **share > 0.0).count();
            assert_eq!(whole, scene.objects.len());
            assert!(in_patches.len() + 1 >= whole, "{in_patches:?}");
        }
    }

    #[test]
    fn a_batch_has_the_captions_of_its_scenes_block_by_block() {
        let vocabulary = Vocabulary::new(1);
        let batch = batch(&vocabulary, &Preprocess::openai(SIDE), 1, 10..14).unwrap();
        assert_eq!(batch.lens.len(), 4 * CAPTIONS);
        assert_eq!(batch.lens.iter().sum::<usize>(), batch.ids.len());
        assert_eq!(batch.pixels.len(), 4 * 3 * 64 * 64);
        let end = batch.lens[0] + batch.lens[1];
        let second: Vec<u32> = batch.ids[batch.lens[0]..end].iter().map(|&id| vocabulary.ids()[id as usize]).collect();
        let captions = Scene::new(1, Split::Pretrain, 11).captions;
        assert!(captions.iter().any(|caption| Tokenizer::clip().encode(caption) == second));
    }
}
