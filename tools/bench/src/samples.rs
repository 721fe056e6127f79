//! The input of both sides: a random checkpoint, pictures and captions, a list of nouns.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clip::{Checkpoint, ClipConfig, Precision, TextConfig, VisionConfig};
use items::BatchItem;
use pipeline_engine::rng::Draw;
use rand::RngExt;
use serde_json::json;
use stage_captions::wordnet::WordNet;

/// A picture's file and its captions.
pub struct Sample {
    pub key: String,
    pub file: Vec<u8>,
    pub captions: Vec<String>,
}

/// Writes a ViT-B/32 of random weights to `dir`, in f16.
pub fn checkpoint(dir: &Path) -> anyhow::Result<()> {
    if dir.join("model.safetensors").exists() {
        return Ok(());
    }
    let config = ClipConfig { text: Some(TextConfig::default()), vision: Some(VisionConfig::default()) };
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Checkpoint::create(dir, &config, &clip::init::random(&config, 1), Precision::F16)?;
    // The vocabulary is CLIP's, which the embedded checkpoint has too.
    let vocabulary = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/clip-world");
    for name in ["vocab.json", "merges.txt", "tokenizer_config.json"] {
        let (from, to) = (vocabulary.join(name), dir.join(name));
        fs::copy(&from, &to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    }
    Ok(())
}

/// Writes `nouns.json`: the nouns that the reference's simple generator knows.
pub fn nouns(dir: &Path) -> anyhow::Result<()> {
    let path = dir.join("nouns.json");
    if path.exists() {
        return Ok(());
    }
    let wordnet = WordNet::embedded()?;
    let vocabulary: BTreeMap<String, u32> = serde_json::from_str(&fs::read_to_string(dir.join("vocab.json"))?)?;
    let words = vocabulary.keys().filter_map(|token| token.strip_suffix("</w>"));
    let words = words.filter(|word| word.len() > 2 && word.chars().all(|c| c.is_ascii_lowercase()));
    let nouns: Vec<&str> = words.filter(|word| wordnet.concept(word).is_some()).collect();
    fs::write(&path, json!(nouns).to_string()).with_context(|| format!("cannot write {}", path.display()))
}

/// The samples of shards, in their order.
pub fn read(shards: &[PathBuf]) -> anyhow::Result<Vec<Sample>> {
    let mut samples: Vec<Sample> = Vec::new();
    for shard in shards {
        let file = fs::File::open(shard).with_context(|| format!("cannot open {}", shard.display()))?;
        for entry in tar::Archive::new(file).entries()? {
            let mut entry = entry?;
            let path = entry.path()?.display().to_string();
            let Some((key, extension)) = path.rsplit_once('.') else { continue };
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            if samples.last().is_none_or(|sample| sample.key != key) {
                samples.push(Sample { key: key.to_owned(), file: Vec::new(), captions: Vec::new() });
            }
            let Some(sample) = samples.last_mut() else { continue };
            match extension {
                "jpg" | "png" | "webp" => sample.file = bytes,
                "txt" => sample.captions = String::from_utf8(bytes)?.lines().map(str::to_owned).collect(),
                _ => {}
            }
        }
    }
    samples.retain(|sample| !sample.file.is_empty() && !sample.captions.is_empty());
    if samples.is_empty() {
        bail!("{shards:?} hold no pictures with captions");
    }
    Ok(samples)
}

/// Batch `step`: the next `count` samples, starting over after the last one.
pub fn batch(samples: &[Sample], count: usize, step: usize) -> Vec<(usize, &Sample)> {
    (step * count..(step + 1) * count).map(|i| (i, &samples[i % samples.len()])).collect()
}

/// The items of a batch; captions are drawn as in the stage `batch`.
pub fn items(batch: &[(usize, &Sample)]) -> Arc<[BatchItem]> {
    let item = |(i, sample): &(usize, &Sample)| BatchItem {
        key: sample.key.as_str().into(),
        shard: "bench".into(),
        captions: sample.captions.iter().cloned().collect(),
        drawn: i % sample.captions.len(),
        image: *i as u32,
    };
    batch.iter().map(item).collect()
}

/// Random features, each of length 1.
pub fn features(rows: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut rng = Draw::new(seed, "bench").rng();
    let mut values: Vec<f32> = (0..rows * dim).map(|_| rng.random_range(-1.0..1.0f32)).collect();
    for row in values.chunks_exact_mut(dim) {
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= length);
    }
    values
}
