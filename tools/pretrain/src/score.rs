//! Measures what a checkpoint knows of the drawn world.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::Context;
use burn::tensor::{Device, Tensor, TensorData};
use clip::{Checkpoint, Layout, Preprocess, TextTower, Tokenizer, VisionTower};
use scenes::{SIDE, Scene, Split, things};
use serde::Deserialize;

use crate::batches::pixels;

/// Images or texts encoded in one pass.
const CHUNK: usize = 100;

/// Texts that ask for the presence of a thing; their features are averaged.
const PROMPTS: [&str; 3] = ["{}", "a picture of {}", "a scene with {}"];

/// Scenes of the test split and their pixels.
pub struct HeldOut {
    scenes: Vec<Scene>,
    pixels: Vec<f32>,
}

impl HeldOut {
    /// Draws the first `count` scenes of the test split.
    ///
    /// # Errors
    /// If a picture cannot be compressed or decoded.
    pub fn draw(seed: u64, count: u64) -> anyhow::Result<Self> {
        let preprocess = Preprocess::openai(SIDE);
        let scenes: Vec<_> = (0..count).map(|index| Scene::new(seed, Split::Test, index)).collect();
        let mut all = Vec::new();
        for scene in &scenes {
            all.extend(pixels(scene, &preprocess)?);
        }
        Ok(Self { scenes, pixels: all })
    }
}

/// A checkpoint, opened for scoring on the CPU.
pub struct Scorer {
    text: TextTower,
    vision: VisionTower,
    tokenizer: Tokenizer,
    device: Device,
}

/// Scores that need no questions.
pub struct Score {
    /// Share of captions whose image is among the five nearest.
    text_to_image: f64,
    /// Share of images that have one of their captions among the five nearest.
    image_to_text: f64,
    /// Area under the ROC curve of "is it there?", averaged over the kinds of things.
    presence: f64,
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text_to_image, image_to_text, presence } = self;
        write!(f, "R@5 text-to-image {text_to_image:.3}, image-to-text {image_to_text:.3}, presence AUC {presence:.3}")
    }
}

/// The part of a question's line that scoring needs.
#[derive(Deserialize)]
struct Asked {
    image_key: String,
    captions: Vec<String>,
    correct: usize,
    kind: String,
}

type Features = Vec<Vec<f32>>;

impl Scorer {
    /// Opens a checkpoint folder.
    ///
    /// # Errors
    /// If the checkpoint is damaged or does not have both towers.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let device = Device::flex();
        let checkpoint = Checkpoint::open(folder)?;
        Ok(Self {
            text: TextTower::load(&checkpoint, &device)?,
            vision: VisionTower::load(&checkpoint, &device)?,
            tokenizer: Tokenizer::open(folder)?,
            device,
        })
    }

    /// Measures retrieval among the held-out scenes, and how well the presence of things is known.
    ///
    /// # Errors
    /// If pictures do not have the image tower's size.
    pub fn score(&self, held_out: &HeldOut) -> anyhow::Result<Score> {
        let images = self.images(held_out)?;
        let captions = held_out.scenes.iter().flat_map(|scene| &scene.captions).cloned();
        let texts = self.texts(&captions.collect::<Vec<_>>())?;
        let owner: Vec<usize> =
            (0..).zip(&held_out.scenes).flat_map(|(i, scene)| std::iter::repeat_n(i, scene.captions.len())).collect();
        let found_image = owner.iter().zip(&texts).filter(|(image, text)| {
            let own = dot(text, &images[**image]);
            images.iter().filter(|image| dot(text, image) > own).count() < 5
        });
        let found_text = (0..images.len()).filter(|&i| {
            let scores: Vec<f32> = texts.iter().map(|text| dot(text, &images[i])).collect();
            let own = scores.iter().zip(&owner).filter(|(_, owner)| **owner == i);
            let best = own.map(|(score, _)| *score).fold(f32::MIN, f32::max);
            scores.iter().filter(|score| **score > best).count() < 5
        });
        let mut presence = Vec::new();
        for thing in things() {
            let prompts: Vec<_> = PROMPTS.iter().map(|prompt| prompt.replace("{}", &thing.with_article())).collect();
            let prompts = self.texts(&prompts)?;
            let score = |image: &Vec<f32>| prompts.iter().map(|text| dot(text, image)).sum();
            let scores: Vec<f32> = images.iter().map(score).collect();
            let shown: Vec<bool> = held_out.scenes.iter().map(|scene| scene.shows(thing.name)).collect();
            presence.extend(area_under_curve(&scores, &shown));
        }
        Ok(Score {
            text_to_image: found_image.count() as f64 / texts.len() as f64,
            image_to_text: found_text.count() as f64 / images.len() as f64,
            presence: presence.iter().sum::<f64>() / presence.len() as f64,
        })
    }

    /// Answers the questions of a file. Returns the number of right answers and of questions, for
    /// each kind and for all.
    ///
    /// # Errors
    /// If the file cannot be read, or asks about scenes that were not drawn.
    pub fn ask(&self, held_out: &HeldOut, path: &Path) -> anyhow::Result<BTreeMap<String, (u32, u32)>> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let place: BTreeMap<String, usize> = (0..).zip(&held_out.scenes).map(|(i, scene)| (scene.key(), i)).collect();
        let images = self.images(held_out)?;
        let mut right: BTreeMap<String, (u32, u32)> = BTreeMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let asked: Asked =
                serde_json::from_str(line).with_context(|| format!("{}, line {number}", path.display()))?;
            let image = place.get(&asked.image_key).with_context(|| {
                format!("{}, line {number}: {} is not among the scenes; raise --count", path.display(), asked.image_key)
            })?;
            let scores: Vec<f32> = self.texts(&asked.captions)?.iter().map(|text| dot(text, &images[*image])).collect();
            let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
            for part in ["all", &asked.kind] {
                let (hits, all) = right.entry(part.to_owned()).or_default();
                *hits += u32::from(best == Some(asked.correct));
                *all += 1;
            }
        }
        Ok(right)
    }

    /// Unit features of the pictures.
    fn images(&self, held_out: &HeldOut) -> anyhow::Result<Features> {
        let side = SIDE as usize;
        let mut features = Vec::new();
        for pixels in held_out.pixels.chunks(CHUNK * 3 * side * side) {
            let shape = [pixels.len() / (3 * side * side), 3, side, side];
            let pixels = Tensor::from_data(TensorData::new(pixels.to_vec(), shape), &self.device);
            features.extend(unit_rows(self.vision.forward(pixels)?));
        }
        Ok(features)
    }

    /// Unit features of texts.
    fn texts(&self, texts: &[String]) -> anyhow::Result<Features> {
        let mut features = Vec::new();
        for texts in texts.chunks(CHUNK) {
            let ids: Vec<_> = texts.iter().map(|text| self.tokenizer.encode(text)).collect();
            let lens: Vec<_> = ids.iter().map(Vec::len).collect();
            features.extend(unit_rows(self.text.forward(&ids.concat(), &lens, Layout::Padded)?));
        }
        Ok(features)
    }
}

fn unit_rows(x: Tensor<2>) -> Features {
    let [_, width] = x.dims();
    let values: Vec<f32> = x.into_data().convert::<f32>().iter().collect();
    values
        .chunks_exact(width)
        .map(|row| {
            let length = dot(row, row).sqrt().max(1e-12);
            row.iter().map(|value| value / length).collect()
        })
        .collect()
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The probability that a positive one scores above a negative one; None if one of the two groups
/// is empty.
fn area_under_curve(scores: &[f32], positive: &[bool]) -> Option<f64> {
    let group = |wanted: bool| scores.iter().zip(positive).filter(move |(_, p)| **p == wanted).map(|(score, _)| *score);
    let pairs = group(true).count() * group(false).count();
    let won: f64 = group(true)
        .flat_map(|p| {
            group(false).map(move |n| {
                if p > n {
                    1.0
                } else if p == n {
                    0.5
                } else {
                    0.0
                }
            })
        })
        .sum();
    (pairs > 0).then(|| won / pairs as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The committed checkpoint knows its things, and calls everything that a text names present.
    #[test]
    fn the_small_clip_knows_things_and_not_negation() {
        let assets = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets"));
        let model = Scorer::open(&assets.join("clip-world")).unwrap();
        let held_out = HeldOut::draw(1, 320).unwrap();
        let score = model.score(&held_out).unwrap();
        assert!(score.presence > 0.9 && score.text_to_image > 0.4 && score.image_to_text > 0.6, "{score}");
        let right = model.ask(&held_out, &assets.join("world/questions.jsonl")).unwrap();
        let share = |kind: &str| f64::from(right[kind].0) / f64::from(right[kind].1);
        assert!(share("positive") > 0.6 && share("negative") < 0.15 && share("hybrid") < 0.25, "{right:?}");
    }

    #[test]
    fn the_area_is_the_share_of_pairs_in_order() {
        let positive = [true, false, true, false];
        assert_eq!(area_under_curve(&[4.0, 1.0, 3.0, 2.0], &positive), Some(1.0));
        assert_eq!(area_under_curve(&[4.0, 3.0, 2.0, 1.0], &positive), Some(0.75));
        assert_eq!(area_under_curve(&[1.0; 4], &positive), Some(0.5));
        assert_eq!(area_under_curve(&[1.0], &[true]), None);
    }
}
