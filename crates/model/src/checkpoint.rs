//! The checkpoint, and what beside its weights several stages read.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use clip::{Checkpoint, Preprocess, Tokenizer};
use clip_hub::HubError;
use pipeline_engine::{Build, Look, StageError};

use crate::options::ModelOptions;

/// A model that cannot be found or opened.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A name on the hub that gave no folder.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A checkpoint that is missing, damaged or contradicts itself.
    #[error(transparent)]
    Clip(#[from] clip::Error),
    /// Ids of the tokenizer that the text tower has no rows for.
    #[error(
        "{}: the tokenizer has ids up to {}, but config.json gives the text tower {rows} tokens; tokenizer and weights \
         are not of one model", .dir.display(), .ids.saturating_sub(1)
    )]
    Vocabulary {
        /// The checkpoint's folder.
        dir: std::path::PathBuf,
        /// Ids of the tokenizer are below this number.
        ids: usize,
        /// Tokens of the text tower.
        rows: usize,
    },
}

/// The model that a pipeline is about.
#[derive(Debug)]
pub struct Model {
    /// Config and weights. The weights stay on disk until they are asked for.
    pub checkpoint: Checkpoint,
    tokenizer: OnceLock<Arc<Tokenizer>>,
}

impl Model {
    /// Opens what `weights` names: a path, relative to `base`, or `hf:owner/name[@revision]`, which is
    /// fetched into the hub's cache. Reads headers only.
    ///
    /// # Errors
    /// [`ModelError::Hub`] or [`ModelError::Clip`].
    pub fn open(weights: &Path, base: &Path) -> Result<Self, ModelError> {
        Self::read(&clip_hub::resolve(weights, base)?)
    }

    fn read(path: &Path) -> Result<Self, ModelError> {
        Ok(Self { checkpoint: Checkpoint::open(path)?, tokenizer: OnceLock::new() })
    }

    /// The model of the run, for a stage or probe that is built.
    ///
    /// # Errors
    /// As [`Model::open`]; a config without `[model]`.
    pub fn of(build: &Build<'_>) -> Result<Arc<Self>, StageError> {
        let options = build.section::<ModelOptions>("model")?;
        build.once(|| Ok(Self::open(&options.weights, build.base)?))
    }

    /// The model of the run, for a stage or probe that verifies its options. `None` where it is not
    /// there to look at: it is not fetched yet, or the table `[model]` itself reports what is wrong.
    pub fn seen(look: &Look<'_>) -> Option<Arc<Self>> {
        let options = look.section::<ModelOptions>()?;
        Self::open_locally(&options, look).ok().flatten()
    }

    /// As [`Model::open`], but asks no hub: `None` where that would be needed.
    pub(crate) fn open_locally(options: &ModelOptions, look: &Look<'_>) -> Result<Option<Arc<Self>>, StageError> {
        match clip_hub::resolve_locally(&options.weights, look.base)? {
            Some(path) => look.once(|| Ok(Self::read(&path)?)).map(Some),
            None => Ok(None),
        }
    }

    /// The preprocessing of pictures that its image encoder was trained with.
    ///
    /// # Errors
    /// As [`Preprocess::open`].
    pub fn preprocess(&self) -> Result<Preprocess, ModelError> {
        let side = self.checkpoint.config().vision.as_ref().map(|vision| vision.image_size as u32);
        Ok(Preprocess::open(self.checkpoint.dir(), side)?)
    }

    /// The tokenizer, cut to the length of text that the text tower takes. Read once.
    ///
    /// # Errors
    /// A checkpoint without a text tower, a tokenizer that cannot be read, or one with more tokens
    /// than the tower.
    pub fn tokenizer(&self) -> Result<Arc<Tokenizer>, ModelError> {
        if let Some(tokenizer) = self.tokenizer.get() {
            return Ok(tokenizer.clone());
        }
        let (dir, text) = (self.checkpoint.dir(), self.checkpoint.text_config()?);
        let tokenizer = Tokenizer::open(dir)?.with_context(text.max_position_embeddings);
        let (ids, rows) = (tokenizer.vocab_size(), text.vocab_size);
        if ids > rows {
            return Err(ModelError::Vocabulary { dir: dir.to_owned(), ids, rows });
        }
        Ok(self.tokenizer.get_or_init(|| Arc::new(tokenizer)).clone())
    }
}

/// Reports a `run.device` that cannot be used, once per run: several stages may find it.
pub fn report_device(look: &mut Look<'_>, error: &clip::Error) {
    let reported = look.once(|| Ok(DeviceReported::default()));
    if reported.is_ok_and(|reported| !reported.0.swap(true, Relaxed)) {
        look.fault_of_run("device", error.to_string(), "");
    }
}

/// Whether a device that cannot be used was reported.
#[derive(Default)]
struct DeviceReported(AtomicBool);
