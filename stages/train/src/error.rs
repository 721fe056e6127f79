use std::io;
use std::path::{Path, PathBuf};

use items::Role;

/// Why training cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The batches do not have the texts that the loss needs.
    #[error("the loss needs {what}, but the batches have no text with the role {missing:?}; {help}")]
    Texts {
        /// Which texts it needs.
        what: &'static str,
        /// A role that no text has.
        missing: Role,
        /// What to change.
        help: &'static str,
    },
    /// A loss asks for a text that it does not get.
    #[error(
        "the loss asks for the texts with the role {0:?}; either the stage captions does not make them for each \
         image, or the loss does not name this role in `needs` and `reads`"
    )]
    Role(Role),
    /// A loss asks for the tower before training without having said so.
    #[error("the loss asks for the text tower before training, but does not say so in `needs`")]
    NoStart,
    /// A loss without terms, or one that does not depend on the texts.
    #[error("the loss {0}, so nothing can be learned from it")]
    NoGradient(&'static str),
    /// Image features and text features are not in one space.
    #[error(
        "the image features have {images} dimensions, but the text tower projects to {texts}: \
         [model] weights must be a pair of towers that were trained together"
    )]
    Width {
        /// D of the images.
        images: usize,
        /// D of the texts.
        texts: usize,
    },
    /// A text tower whose features are in no common space with images.
    #[error(
        "{}: the text tower has no text_projection.weight, so its features cannot be compared with images; \
         save the checkpoint from CLIPModel or CLIPTextModelWithProjection",
        .0.display()
    )]
    NoProjection(PathBuf),
    /// More blocks are to be trained than there are, or none.
    #[error("front_layers = {asked}, but the text tower has {there} blocks; choose 1 to {there}, or omit it")]
    FrontLayers {
        /// What the config asks for.
        asked: usize,
        /// Blocks of the tower.
        there: usize,
    },
    /// The loss or its gradient is not a number any more.
    #[error(
        "{what} is {value} in step {step} of epoch {epoch}, at the samples {keys}; the weights are as they were before \
         this step. {checkpoint}. All its samples are in not-finite.jsonl. A lower train.lr, or \
         train.clip_norm = 1.0, may help; train.on_not_finite = \"skip\" skips such steps"
    )]
    NotFinite {
        /// `the loss` or `the norm of the gradient`.
        what: &'static str,
        /// NaN or an infinity.
        value: f64,
        /// Counted from 1.
        epoch: u32,
        /// Step of the epoch, counted from 0.
        step: u64,
        /// The first few keys of the batch.
        keys: String,
        /// A sentence about the last good checkpoint.
        checkpoint: String,
    },
    /// Steps are missing or came twice: a resumed run would train other steps than the one before.
    #[error("step {found} of epoch {epoch} came where step {expected} was due; this is a fault of the program")]
    Order {
        /// Counted from 1.
        epoch: u32,
        /// The step that was due.
        expected: u64,
        /// The step that came.
        found: u64,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A checkpoint that does not fit the model or the program.
    #[error("checkpoint {}: {message}", .path.display())]
    Checkpoint {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// There are checkpoints, but none can be used.
    #[error(
        "none of the {count} checkpoints in {} is complete. The newest: {newest}. Put them back from a copy, \
         or start the run anew with --force",
        .dir.display()
    )]
    NoneWhole {
        /// The folder they are in.
        dir: PathBuf,
        /// How many there are.
        count: usize,
        /// What is wrong with the newest.
        newest: Box<TrainError>,
    },
    /// Every step of an epoch gave a loss that is not a number.
    #[error(
        "none of the {steps} steps of epoch {epoch} gave a finite loss: nothing was learned. {checkpoint}. A lower train.lr may help"
    )]
    NothingFinite {
        /// Counted from 1.
        epoch: u32,
        /// Steps of the epoch.
        steps: u64,
        /// A sentence about the last good checkpoint.
        checkpoint: String,
    },
    /// The device failed.
    #[error("the device failed: {0}; once it works again, continue with --resume")]
    Device(String),
    /// The model.
    #[error(transparent)]
    Clip(#[from] clip::Error),
}

impl TrainError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    pub(crate) fn device(error: impl std::fmt::Display) -> Self {
        Self::Device(error.to_string())
    }
}
