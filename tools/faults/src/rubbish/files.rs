//! Checkpoints and caches with flipped bits, cuts and false lengths.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clip::{Checkpoint, ClipConfig, Precision, TextConfig};
use features::{Entry, FeatureCache};
use items::{CachedSample, FeatureMemory, Shard, Work};
use pipeline_engine::Position;
use pipeline_engine::rng::ChaCha8Rng;
use rand::RngExt;
use stage_train::checkpoint::{Checkpoints, Progress};
use stage_train::optimizer::{AdamW, Settings};

use super::{Outcome, Victim, break_bytes, noise};
use crate::world::root;

/// Breaks a file in one of many ways; returns its old content.
fn break_file(path: &Path, rng: &mut ChaCha8Rng) -> Result<Vec<u8>> {
    let was = fs::read(path)?;
    let mut bytes = was.clone();
    match rng.random_range(0..8u32) {
        0 => bytes.clear(),
        1 => bytes = noise(rng, 400),
        // A safetensors header with a false length.
        2 if bytes.len() > 8 => {
            let length = [u64::MAX, 1 << 62, 100_000_001, bytes.len() as u64, 0, 1][rng.random_range(0..6usize)];
            bytes[..8].copy_from_slice(&length.to_le_bytes());
        }
        // NaN among the numbers.
        3 if bytes.len() > 8 => {
            let at = bytes.len() - 4 * rng.random_range(1..=(bytes.len() / 8));
            bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
        }
        // A digit of the header, which may be an offset or a shape.
        4 => {
            let digits: Vec<usize> = (0..bytes.len().min(3000)).filter(|&i| bytes[i].is_ascii_digit()).collect();
            if let Some(&at) = digits.get(rng.random_range(0..digits.len().max(1))) {
                bytes[at] = b'0' + rng.random_range(0..10u32) as u8;
            }
        }
        _ => break_bytes(&mut bytes, rng),
    }
    fs::write(path, &bytes)?;
    Ok(was)
}

fn tiny() -> (ClipConfig, clip::Tensors) {
    let text = TextConfig {
        vocab_size: 64,
        hidden_size: 8,
        intermediate_size: 16,
        projection_dim: 8,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        max_position_embeddings: 8,
        ..TextConfig::default()
    };
    let config = ClipConfig { text: Some(text), vision: None };
    let mut tensors = clip::init::random(&config, 5);
    tensors.remove("logit_scale");
    (config, tensors)
}

/// The weights that a run starts from: a folder of safetensors, and others of PyTorch's pickles.
pub struct Weights {
    dir: PathBuf,
    pickles: PathBuf,
}

/// One file for each layout that torch.save has had.
const PICKLES: [&str; 3] = ["plain.pt", "legacy.pt", "training.pt"];

impl Weights {
    pub fn new(folder: &Path) -> Result<Self> {
        let dir = folder.join("weights");
        let (config, tensors) = tiny();
        Checkpoint::create(&dir, &config, &tensors, Precision::F32)?;
        let (from, pickles) = (root().join("crates/clip/tests/data/checkpoints"), folder.join("pickles"));
        fs::create_dir_all(&pickles)?;
        for name in PICKLES.iter().chain(&["open_clip_config.json"]) {
            fs::copy(from.join(name), pickles.join(name)).with_context(|| from.join(name).display().to_string())?;
        }
        Ok(Self { dir, pickles })
    }
}

impl Victim for Weights {
    fn kind(&self) -> &'static str {
        "weights"
    }

    fn swallow(&self, rng: &mut ChaCha8Rng) -> Result<Outcome> {
        // A file of weights is opened with the config that lies beside it.
        let (path, opened) = match rng.random_range(0..10u32) {
            0..3 => (self.dir.join("config.json"), self.dir.clone()),
            3..7 => (self.dir.join("model.safetensors"), self.dir.clone()),
            _ => {
                let path = self.pickles.join(PICKLES[rng.random_range(0..PICKLES.len())]);
                (path.clone(), path)
            }
        };
        let was = break_file(&path, rng)?;
        let opened = Checkpoint::open(opened).and_then(|checkpoint| {
            let names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
            names.iter().try_for_each(|name| checkpoint.tensor(name).map(drop))
        });
        let intact = fs::read(&path)? == was;
        fs::write(&path, was)?;
        Ok(match opened {
            Ok(()) => Outcome::Used,
            Err(error) if intact => Outcome::Wrong(format!("a whole checkpoint was refused: {error}")),
            Err(error) => Outcome::Refused(error.to_string()),
        })
    }
}

/// The checkpoints that a run writes.
pub struct RunCheckpoints {
    checkpoints: Checkpoints,
    newest: PathBuf,
    before: PathBuf,
}

impl RunCheckpoints {
    pub fn new(folder: &Path) -> Result<Self> {
        let checkpoints = Checkpoints::new(folder.join("checkpoints"), 2);
        let settings = Settings { beta1: 0.9, beta2: 0.98, eps: 1e-6, weight_decay: 0.1, clip_norm: 0.0 };
        let adam = AdamW::new(settings, tiny().1);
        let at = |epochs| Progress {
            position: Position { epochs, steps: 3, total_steps: 10 },
            losses: BTreeMap::from([("all".to_owned(), 0.5)]),
            left_out: 0,
        };
        let before = checkpoints.save(&at(1), &adam)?;
        let newest = checkpoints.save(&at(2), &adam)?;
        Ok(Self { checkpoints, newest, before })
    }
}

impl Victim for RunCheckpoints {
    fn kind(&self) -> &'static str {
        "checkpoint"
    }

    fn swallow(&self, rng: &mut ChaCha8Rng) -> Result<Outcome> {
        let files = ["state.json", "weights.safetensors", "optimizer.safetensors"];
        let path = self.newest.join(files[rng.random_range(0..3usize)]);
        let was = break_file(&path, rng)?;
        let broken = fs::read(&path)?;
        let loaded = self.checkpoints.newest();
        fs::write(&path, &was)?;
        Ok(match loaded {
            Ok(Some(loaded)) if loaded.path == self.before => Outcome::Skipped("the one before was taken".into()),
            Ok(Some(_)) if same_meaning(&was, &broken) => Outcome::Used,
            Ok(Some(_)) => Outcome::Wrong("a broken checkpoint was accepted as a whole one".into()),
            Ok(None) => Outcome::Wrong("neither of two checkpoints was found".into()),
            Err(error) => Outcome::Wrong(format!("the whole checkpoint before was not found: {error}")),
        })
    }
}

/// True if two files are equal, or are equal JSON written differently.
fn same_meaning(a: &[u8], b: &[u8]) -> bool {
    let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok();
    a == b || json(a).is_some_and(|a| json(b) == Some(a))
}

/// An entry of the feature cache.
pub struct Cache {
    dir: PathBuf,
    /// The folder that relative shards are relative to.
    base: PathBuf,
    file: PathBuf,
    shard: Shard,
    samples: Vec<CachedSample>,
}

impl Cache {
    pub fn new(folder: &Path) -> Result<Self> {
        let dir = folder.join("cache");
        let shard = Shard { number: 0, url: "a.tar".into(), identity: "size=1 mtime=1".into() };
        let samples: Vec<CachedSample> = (0..20u32)
            .map(|i| CachedSample {
                key: format!("{i:04}").into(),
                captions: (0..i % 3 + 1).map(|n| format!("caption {n} of {i}")).collect(),
                work: match i % 7 {
                    6 => Work::Skipped { stage: "decode".into(), reason: "no picture".into() },
                    _ => Work::Done(Arc::from(vec![i as f32; 16])),
                },
            })
            .collect();
        FeatureCache::open(&dir, folder, "f".into(), 1 << 20)?
            .store(&shard, Entry { samples: samples.clone(), fault: None });
        let file = fs::read_dir(&dir)?.next().context("nothing was cached")??.path();
        Ok(Self { dir, base: folder.to_owned(), file, shard, samples })
    }
}

impl Victim for Cache {
    fn kind(&self) -> &'static str {
        "cache"
    }

    fn swallow(&self, rng: &mut ChaCha8Rng) -> Result<Outcome> {
        let was = break_file(&self.file, rng)?;
        let broken = fs::read(&self.file)?;
        let cache = FeatureCache::open(&self.dir, &self.base, "f".into(), 1 << 20)?;
        let recalled = cache.recall(&self.shard);
        fs::write(&self.file, &was)?;
        Ok(match recalled {
            Ok(None) if broken != was => Outcome::Refused("counts as absent".into()),
            Ok(None) => Outcome::Wrong("a whole entry counts as absent".into()),
            Ok(Some((samples, None))) if broken == was && format!("{samples:?}") == format!("{:?}", self.samples) => {
                Outcome::Used
            }
            Ok(Some(_)) => Outcome::Wrong("a broken entry was accepted as a whole one".into()),
            Err(error) => Outcome::Refused(error.to_string()),
        })
    }
}
