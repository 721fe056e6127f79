//! What can go wrong between a checkpoint folder and a tower.

use std::path::{Path, PathBuf};

/// An error of this crate. Each one names the file, and the tensor where there is one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder that lacks what makes it a CLIP checkpoint.
    #[error("{} is not a CLIP checkpoint: {missing} is missing; {hint}", dir.display())]
    NotACheckpoint {
        /// The folder.
        dir: PathBuf,
        /// The file that was looked for.
        missing: String,
        /// What to do.
        hint: &'static str,
    },
    /// There is nothing where a checkpoint was named.
    #[error("{}: No such file or folder; name a checkpoint's folder, its file of weights, or hf:owner/name", path.display())]
    Absent {
        /// What was named.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said. Not called `source`: who prints a chain of errors would say it twice.
        error: std::io::Error,
    },
    /// A `config.json`, or an index of shards, that cannot be used.
    #[error("{}: {message}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// A safetensors file whose header or length does not hold up.
    #[error("{} is not a whole safetensors file: {message}; fetch it again", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A PyTorch file that is damaged, or holds more than tensors.
    #[error(
        "{} is not a PyTorch state dict that can be read: {message}; fetch it again, or save it anew as safetensors",
        path.display()
    )]
    PyTorch {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A tensor that the config calls for is not in the checkpoint.
    #[error(
        "{}: tensor {name} is missing; {} asks for it with shape {expected:?}",
        path.display(), config.display()
    )]
    MissingTensor {
        /// The weights file, or the index of its shards.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The config that asks for it.
        config: PathBuf,
        /// The shape that it should have.
        expected: Vec<usize>,
    },
    /// A tensor is in the checkpoint that the config does not call for.
    #[error(
        "{}: tensor {name} with shape {found:?} is not expected: {} describes a model without it; \
         the config and the weights are not of one model",
        path.display(), config.display()
    )]
    ExtraTensor {
        /// The weights file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The config that does not ask for it.
        config: PathBuf,
        /// The shape that it has.
        found: Vec<usize>,
    },
    /// A tensor has another shape than the config says.
    #[error(
        "{}: tensor {name} has shape {found:?}, but {} makes it {expected:?}; \
         the config and the weights are not of one model",
        path.display(), config.display()
    )]
    Shape {
        /// The weights file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The config that says otherwise.
        config: PathBuf,
        /// The shape by the config.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor whose values cannot be used, or cannot be written.
    #[error("{}: tensor {name}: {message}", path.display())]
    Tensor {
        /// The weights file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// Token ids that the text tower cannot take.
    #[error("text {index}: {message}")]
    Tokens {
        /// Which text of the call, from 0.
        index: usize,
        /// What is wrong.
        message: String,
    },
    /// An input of the wrong shape.
    #[error("{0}")]
    Input(String),
    /// A device that is not there.
    #[error("device {name:?}: {message}")]
    Device {
        /// The name that was asked for.
        name: String,
        /// What is wrong, and what to do.
        message: String,
    },
}

impl Error {
    /// Wraps an I/O error with the path that it is about.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |error| Self::Io { path: path.to_owned(), error }
    }
}
