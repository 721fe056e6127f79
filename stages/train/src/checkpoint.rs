//! Checkpoints: everything that a resumed run needs to continue as if it had not been interrupted.
//!
//! A folder `checkpoints/e0003-s000132` (epochs finished, steps of the next one) holds
//! `weights.safetensors`, `optimizer.safetensors` and `state.json` with the checksums of both and
//! of itself. It is filled beside its place, made durable and renamed, so it is complete or not
//! there at all; the checksums show what a disk has damaged later.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clip::text::TOKEN_EMBEDDING;
use pipeline_engine::Position;
use pipeline_engine::files::{sync_folder, write_atomically};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::optimizer::{AdamW, Parameter};

const WEIGHTS: &str = "weights.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";
const PART: &str = ".part";
const FORMAT: u32 = 2;

/// How far training is, and the losses of this epoch so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// Epochs and steps.
    pub position: Position,
    /// Sums over the steps of the unfinished epoch, by name.
    pub losses: BTreeMap<String, f64>,
    /// Steps of the unfinished epoch that were skipped because their loss or gradient was not finite.
    pub left_out: u64,
}

/// What a checkpoint holds.
#[derive(Debug)]
pub struct Loaded {
    /// Its folder.
    pub path: PathBuf,
    /// How far training was.
    pub progress: Progress,
    /// Steps of the optimizer.
    pub optimizer_steps: u64,
    /// Weights and moments.
    pub parameters: BTreeMap<String, Parameter>,
}

#[derive(Serialize, Deserialize)]
struct State {
    format: u32,
    epochs: u32,
    steps: u64,
    total_steps: u64,
    optimizer_steps: u64,
    /// As text, with decimals that read back to the same bits: JSON readers round numbers.
    losses: BTreeMap<String, String>,
    left_out: u64,
    /// File name to BLAKE3.
    checksums: BTreeMap<String, String>,
    /// BLAKE3 of everything above.
    seal: String,
}

impl State {
    fn sealed(mut self) -> Result<Self, serde_json::Error> {
        self.seal = String::new();
        self.seal = blake3::hash(&serde_json::to_vec(&self)?).to_hex().to_string();
        Ok(self)
    }
}

/// The folder `checkpoints`.
#[derive(Debug, Clone)]
pub struct Checkpoints {
    dir: PathBuf,
    keep: usize,
}

impl Checkpoints {
    /// Keeps the last `keep` checkpoints in `dir`, at least one.
    pub fn new(dir: PathBuf, keep: usize) -> Self {
        Self { dir, keep: keep.max(1) }
    }

    /// Writes a checkpoint and removes all but the last few before it. Returns its folder.
    ///
    /// # Errors
    /// When the disk is full, or the folder cannot be written; the earlier checkpoints are still there.
    pub fn save(&self, progress: &Progress, optimizer: &AdamW) -> Result<PathBuf, TrainError> {
        let name = format!("e{:04}-s{:06}", progress.position.epochs, progress.position.steps);
        let path = self.dir.join(&name);
        // It was written before this run was resumed from it, and nothing was trained since: the
        // bytes are the same. Writing it again would leave a moment without a checkpoint.
        if path.exists() && load(&path).is_ok() {
            return Ok(path);
        }
        let part = self.dir.join(format!("{name}{PART}"));
        if part.exists() {
            fs::remove_dir_all(&part).map_err(TrainError::io(&part))?;
        }
        if let Err(error) = fill(&part, progress, optimizer) {
            // On a full disk, half a checkpoint would take the space of everything written after it.
            let _ = fs::remove_dir_all(&part);
            return Err(error);
        }
        // Only a damaged one can be there: it is written again after a resume from an earlier one.
        if path.exists() {
            fs::remove_dir_all(&path).map_err(TrainError::io(&path))?;
        }
        fs::rename(&part, &path).map_err(TrainError::io(&path))?;
        sync_folder(&self.dir).map_err(TrainError::io(&self.dir))?;

        // Later ones may be there, damaged, when this run was resumed from an earlier one.
        let this = (progress.position.epochs, progress.position.steps);
        for (_, old) in self.list()?.iter().rev().filter(|(place, _)| *place < this).skip(self.keep - 1) {
            fs::remove_dir_all(old).map_err(TrainError::io(old))?;
        }
        Ok(path)
    }

    /// Removes what a kill left half-written.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn tidy(&self) -> Result<(), TrainError> {
        if !self.dir.exists() {
            return Ok(());
        }
        for entry in fs::read_dir(&self.dir).map_err(TrainError::io(&self.dir))? {
            let path = entry.map_err(TrainError::io(&self.dir))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(PART));
            if name.is_some_and(|name| place(name).is_some()) {
                fs::remove_dir_all(&path).map_err(TrainError::io(&path))?;
            }
        }
        Ok(())
    }

    /// The newest complete checkpoint; damaged ones are passed over with a warning. `None` if there are
    /// no checkpoints: the run was killed before its first one.
    ///
    /// # Errors
    /// When the folder cannot be read, or there are checkpoints but all of them are damaged.
    pub fn newest(&self) -> Result<Option<Loaded>, TrainError> {
        let all = self.list()?;
        let mut last = None;
        for (_, path) in all.iter().rev() {
            match load(path) {
                Ok(loaded) => return Ok(Some(loaded)),
                Err(error) => {
                    tracing::warn!("passed over, because it is damaged: {error}");
                    last.get_or_insert(error);
                }
            }
        }
        match last {
            Some(newest) => {
                Err(TrainError::NoneWhole { dir: self.dir.clone(), count: all.len(), newest: Box::new(newest) })
            }
            None => Ok(None),
        }
    }

    /// Folders with the name of a checkpoint, oldest first.
    fn list(&self) -> Result<Vec<(Place, PathBuf)>, TrainError> {
        if !self.dir.exists() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(TrainError::io(&self.dir))? {
            let entry = entry.map_err(TrainError::io(&self.dir))?;
            if let Some(place) = entry.file_name().to_str().and_then(place) {
                found.push((place, entry.path()));
            }
        }
        found.sort();
        Ok(found)
    }
}

/// Writes the files of a checkpoint into `part`, durably.
fn fill(part: &Path, progress: &Progress, optimizer: &AdamW) -> Result<(), TrainError> {
    fs::create_dir_all(part).map_err(TrainError::io(part))?;
    let mut checksums = BTreeMap::new();
    for (file, bytes) in [(WEIGHTS, weights(optimizer)), (OPTIMIZER, moments(optimizer))] {
        let bytes = bytes.map_err(|message| TrainError::Checkpoint { path: part.join(file), message })?;
        checksums.insert(file.to_owned(), blake3::hash(&bytes).to_hex().to_string());
        write(&part.join(file), &bytes)?;
    }
    let state = State {
        format: FORMAT,
        epochs: progress.position.epochs,
        steps: progress.position.steps,
        total_steps: progress.position.total_steps,
        optimizer_steps: optimizer.steps(),
        losses: progress.losses.iter().map(|(name, sum)| (name.clone(), format!("{sum:?}"))).collect(),
        left_out: progress.left_out,
        checksums,
        seal: String::new(),
    };
    let json = state.sealed().and_then(|state| serde_json::to_vec_pretty(&state));
    let json = json.map_err(|e| TrainError::io(&part.join(STATE))(e.into()))?;
    write(&part.join(STATE), &json)?;
    sync_folder(part).map_err(TrainError::io(part))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), TrainError> {
    write_atomically(path, bytes).map_err(TrainError::io(path))
}

/// Epochs finished, and steps of the next one.
type Place = (u32, u64);

/// Reads the name of a checkpoint's folder, `e0003-s000132`.
fn place(name: &str) -> Option<Place> {
    let (epochs, steps) = name.strip_prefix('e')?.split_once("-s")?;
    Some((epochs.parse().ok()?, steps.parse().ok()?))
}

fn weights(optimizer: &AdamW) -> Result<Vec<u8>, String> {
    let tensors = optimizer.parameters().iter().map(|(name, parameter)| {
        let bytes = bytemuck::cast_slice(&parameter.values);
        TensorView::new(Dtype::F32, parameter.shape.clone(), bytes).map(|view| (name.as_str(), view))
    });
    pack(tensors.collect::<Result<Vec<_>, _>>())
}

/// Of the token embedding only the rows that have moments, which are a small part of it.
fn moments(optimizer: &AdamW) -> Result<Vec<u8>, String> {
    struct Part {
        name: String,
        dtype: Dtype,
        shape: Vec<usize>,
        bytes: Vec<u8>,
    }
    let mut parts = Vec::new();
    for (name, parameter) in optimizer.parameters() {
        let sparse = name == TOKEN_EMBEDDING;
        let (rows, width) = (parameter.moving_rows(), parameter.width());
        let mut shape = parameter.shape.clone();
        if sparse {
            shape[0] = rows.len();
            let bytes = bytemuck::cast_slice(&rows).to_vec();
            parts.push(Part { name: format!("rows/{name}"), dtype: Dtype::U32, shape: vec![rows.len()], bytes });
        }
        for (kind, values) in [("exp_avg", &parameter.exp_avg), ("exp_avg_sq", &parameter.exp_avg_sq)] {
            let bytes = if sparse {
                let row = |row: &u32| &values[*row as usize * width..][..width];
                rows.iter().flat_map(|r| bytemuck::cast_slice::<f32, u8>(row(r))).copied().collect()
            } else {
                bytemuck::cast_slice(values).to_vec()
            };
            parts.push(Part { name: format!("{kind}/{name}"), dtype: Dtype::F32, shape: shape.clone(), bytes });
        }
    }
    let views = parts.iter().map(|part| {
        TensorView::new(part.dtype, part.shape.clone(), &part.bytes).map(|view| (part.name.as_str(), view))
    });
    pack(views.collect::<Result<Vec<_>, _>>())
}

type Views<'a> = Result<Vec<(&'a str, TensorView<'a>)>, safetensors::SafeTensorError>;

fn pack(views: Views<'_>) -> Result<Vec<u8>, String> {
    views.and_then(|views| safetensors::serialize(views, None)).map_err(|error| error.to_string())
}

fn load(path: &Path) -> Result<Loaded, TrainError> {
    let torn = |message: String| TrainError::Checkpoint { path: path.to_owned(), message };
    let read = |name: &str| fs::read(path.join(name)).map_err(TrainError::io(&path.join(name)));
    let json: serde_json::Value = serde_json::from_slice(&read(STATE)?).map_err(|e| torn(format!("{STATE}: {e}")))?;
    if json["format"] != FORMAT {
        return Err(torn(format!("has format {}, this program reads {FORMAT}", json["format"])));
    }
    let state: State = serde_json::from_value(json).map_err(|e| torn(format!("{STATE}: {e}")))?;
    let seal = state.seal.clone();
    let state = state.sealed().map_err(|e| torn(format!("{STATE}: {e}")))?;
    if state.seal != seal {
        return Err(torn(format!("{STATE} does not match its own checksum")));
    }
    let checked = |name: &str| {
        let bytes = read(name)?;
        let sum = blake3::hash(&bytes).to_hex().to_string();
        if state.checksums.get(name) != Some(&sum) {
            return Err(torn(format!("{name} does not match its checksum in {STATE}")));
        }
        Ok(bytes)
    };
    let (weights, moments) = (checked(WEIGHTS)?, checked(OPTIMIZER)?);
    let broken = |e: safetensors::SafeTensorError| torn(e.to_string());
    let weights = SafeTensors::deserialize(&weights).map_err(broken)?;
    let moments = SafeTensors::deserialize(&moments).map_err(broken)?;

    let mut parameters = BTreeMap::new();
    for (name, view) in weights.iter() {
        let values = floats(&view);
        let width = view.shape().iter().skip(1).product::<usize>().max(1);
        let rows: Option<Vec<u32>> =
            moments.tensor(&format!("rows/{name}")).ok().map(|rows| words(rows.data()).collect());
        let moment = |kind: &str| -> Result<Vec<f32>, TrainError> {
            let stored = floats(&moments.tensor(&format!("{kind}/{name}")).map_err(broken)?);
            let Some(rows) = &rows else { return Ok(stored) };
            let mut whole = vec![0.0; values.len()];
            for (row, stored) in rows.iter().zip(stored.chunks(width)) {
                whole
                    .get_mut(*row as usize * width..(*row as usize + 1) * width)
                    .ok_or_else(|| torn(format!("{name} has no row {row}")))?
                    .copy_from_slice(stored);
            }
            Ok(whole)
        };
        let (exp_avg, exp_avg_sq) = (moment("exp_avg")?, moment("exp_avg_sq")?);
        if exp_avg.len() != values.len() || exp_avg_sq.len() != values.len() {
            return Err(torn(format!("the moments of {name} have another size than {name} itself")));
        }
        let parameter = Parameter::restored(view.shape().to_vec(), values, exp_avg, exp_avg_sq);
        parameters.insert(name.to_owned(), parameter);
    }
    let losses = state.losses.into_iter().map(|(name, sum)| match sum.parse() {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(torn(format!("{STATE}: {sum:?} is not a number"))),
    });
    let position = Position { epochs: state.epochs, steps: state.steps, total_steps: state.total_steps };
    Ok(Loaded {
        path: path.to_owned(),
        progress: Progress { position, losses: losses.collect::<Result<_, _>>()?, left_out: state.left_out },
        optimizer_steps: state.optimizer_steps,
        parameters,
    })
}

fn floats(view: &TensorView<'_>) -> Vec<f32> {
    words(view.data()).map(f32::from_bits).collect()
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::optimizer::{Gradient, Settings};

    fn trained() -> AdamW {
        let settings = Settings { beta1: 0.9, beta2: 0.98, eps: 1e-6, weight_decay: 0.2, clip_norm: 0.0 };
        let numbers = |n: usize| (0..n).map(|i| (i as f32 * 1.3).cos()).collect::<Vec<f32>>();
        let weights = [
            ("bias".to_owned(), (vec![5], numbers(5))),
            ("matrix".to_owned(), (vec![3, 5], numbers(15))),
            (TOKEN_EMBEDDING.to_owned(), (vec![100, 4], numbers(400))),
        ];
        let mut adam = AdamW::new(settings, weights.into());
        for rows in [vec![3, 99], vec![0, 3]] {
            let gradients = [
                ("bias".to_owned(), Gradient::Dense(numbers(5))),
                ("matrix".to_owned(), Gradient::Dense(numbers(15))),
                (TOKEN_EMBEDDING.to_owned(), Gradient::Rows { rows, values: numbers(8) }),
            ];
            adam.step(0.01, &gradients.into()).unwrap();
        }
        adam
    }

    fn at(epochs: u32, steps: u64) -> Progress {
        let losses = [("all".to_owned(), 0.1 + 0.2), ("twin".to_owned(), 1e-300 / 3.0)].into();
        Progress {
            position: Position { epochs, steps, total_steps: u64::from(epochs) * 10 + steps },
            losses,
            left_out: steps / 3,
        }
    }

    fn names(checkpoints: &Checkpoints) -> Vec<String> {
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        checkpoints.list().unwrap().into_iter().map(|(_, path)| name(path)).collect()
    }

    #[test]
    fn a_checkpoint_is_read_back_bit_by_bit() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path().join("checkpoints"), 2);
        assert!(checkpoints.newest().unwrap().is_none());
        let adam = trained();
        let path = checkpoints.save(&at(3, 7), &adam).unwrap();
        assert!(path.ends_with("checkpoints/e0003-s000007"));
        let loaded = checkpoints.newest().unwrap().unwrap();
        assert_eq!((loaded.path, loaded.progress, loaded.optimizer_steps), (path, at(3, 7), 2));
        for (name, parameter) in adam.parameters() {
            let found = &loaded.parameters[name];
            assert_eq!(found.shape, parameter.shape);
            assert_eq!(found.values, parameter.values);
            assert_eq!(found.exp_avg, parameter.exp_avg);
            assert_eq!(found.exp_avg_sq, parameter.exp_avg_sq);
            assert_eq!(found.moving_rows(), parameter.moving_rows());
        }
        assert_eq!(loaded.parameters[TOKEN_EMBEDDING].moving_rows(), [0, 3, 99]);
    }

    #[test]
    fn the_last_few_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path().to_owned(), 2);
        let adam = trained();
        std::fs::create_dir(dir.path().join("mine")).unwrap();
        for (epochs, steps) in [(0, 5), (1, 0), (1, 5), (2, 0)] {
            checkpoints.save(&at(epochs, steps), &adam).unwrap();
        }
        assert_eq!(names(&checkpoints), ["e0001-s000005", "e0002-s000000"]);
        assert!(dir.path().join("mine").exists());
        // Resumed from before a damaged one: the complete ones must stay.
        checkpoints.save(&at(1, 7), &adam).unwrap();
        assert_eq!(names(&checkpoints), ["e0001-s000005", "e0001-s000007", "e0002-s000000"]);
    }

    #[test]
    fn damaged_ones_are_passed_over() {
        let adam = trained();
        for (file, cut) in [(WEIGHTS, 10), (OPTIMIZER, 1), (STATE, 20), (STATE, usize::MAX), (WEIGHTS, usize::MAX)] {
            let dir = tempfile::tempdir().unwrap();
            let checkpoints = Checkpoints::new(dir.path().to_owned(), 3);
            let whole = checkpoints.save(&at(1, 0), &adam).unwrap();
            let torn = checkpoints.save(&at(2, 0), &adam).unwrap().join(file);
            std::fs::create_dir(dir.path().join("e0009-s000000.part")).unwrap();
            if cut == usize::MAX {
                std::fs::remove_file(&torn).unwrap();
            } else {
                let mut bytes = std::fs::read(&torn).unwrap();
                bytes.truncate(bytes.len() - cut);
                std::fs::write(&torn, bytes).unwrap();
            }
            assert_eq!(checkpoints.newest().unwrap().unwrap().path, whole, "{file} {cut}");
            assert!(load(torn.parent().unwrap()).unwrap_err().to_string().contains("e0002-s000000"));
            // It may be written again.
            checkpoints.save(&at(2, 0), &adam).unwrap();
            assert_eq!(checkpoints.newest().unwrap().unwrap().progress, at(2, 0));
        }
    }

    #[test]
    fn one_flipped_bit_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path().to_owned(), 1);
        let path = checkpoints.save(&at(1, 0), &trained()).unwrap().join(WEIGHTS);
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = checkpoints.newest().unwrap_err().to_string();
        assert!(error.contains("none of the 1 checkpoints") && error.contains("checksum"), "{error}");
        assert!(error.contains("--force"), "{error}");
    }

    #[test]
    fn one_changed_digit_of_the_state_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path().to_owned(), 1);
        let path = checkpoints.save(&at(1, 7), &trained()).unwrap().join(STATE);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\"steps\": 7", "\"steps\": 8")).unwrap();
        let error = checkpoints.newest().unwrap_err().to_string();
        assert!(error.contains("state.json does not match its own checksum"), "{error}");
    }
}
