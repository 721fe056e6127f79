use std::io;
use std::path::{Path, PathBuf};

/// Why training cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The stage before makes other texts than the loss needs.
    #[error("loss = \"{loss}\" needs {needs}; {help}")]
    Roles {
        /// The loss.
        loss: &'static str,
        /// Which texts it needs.
        needs: String,
        /// What to change.
        help: &'static str,
    },
    /// Image features and text features do not lie in one space.
    #[error(
        "the image features have {images} dimensions, the text tower projects to {texts}: \
         [model] weights must be a pair of towers that were trained together"
    )]
    Width {
        /// D of the images.
        images: usize,
        /// D of the texts.
        texts: usize,
    },
    /// A text tower whose features are in no space with images.
    #[error(
        "{}: the text tower has no text_projection.weight, so its features cannot be compared with images; \
         save the checkpoint from CLIPModel or CLIPTextModelWithProjection",
        .0.display()
    )]
    NoProjection(PathBuf),
    /// More blocks are to be trained than there are, or none.
    #[error("front_layers = {asked}, but the text tower has {there} blocks; choose 1 to {there}, or leave it away")]
    FrontLayers {
        /// What the config asks for.
        asked: usize,
        /// Blocks of the tower.
        there: usize,
    },
    /// The loss or its gradient is no number any more.
    #[error(
        "{what} is {value} in step {step} of epoch {epoch}, at the samples {keys}; the weights are as they were before \
         this step. {checkpoint}. All its samples are in not-finite.jsonl. A lower train.lr, or \
         train.clip_norm = 1.0, may help; train.on_not_finite = \"skip\" leaves such steps out"
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
        /// The last good checkpoint, in words.
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
        "none of the {count} checkpoints in {} is whole, the newest because of: {newest}; put them back from a copy, \
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
    /// Every step of an epoch gave a loss that is no number.
    #[error(
        "none of the {steps} steps of epoch {epoch} gave a finite loss: nothing was learned. {checkpoint}. A lower train.lr may help"
    )]
    NothingFinite {
        /// Counted from 1.
        epoch: u32,
        /// Steps of the epoch.
        steps: u64,
        /// The last good checkpoint, in words.
        checkpoint: String,
    },
    /// The device failed.
    #[error("the device failed: {0}; once it works again, go on with --resume")]
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
