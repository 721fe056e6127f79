//! What can go wrong between a checkpoint folder and a tower.

use std::path::{Path, PathBuf};

/// An error of this crate. It names the file, and the tensor if one is concerned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A folder without the files that make it a CLIP checkpoint.
    #[error("{} is not a CLIP checkpoint: {missing} is missing; {hint}", dir.display())]
    NotACheckpoint {
        /// The folder.
        dir: PathBuf,
        /// The file that was looked for.
        missing: String,
        /// What to do.
        hint: &'static str,
    },
    /// The named checkpoint does not exist.
    #[error("{}: No such file or folder; name a checkpoint's folder, its file of weights, or hf:owner/name", path.display())]
    Absent {
        /// The path that was named.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error. It is not named `source`: a caller that prints a chain of errors would print it twice.
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
    /// A safetensors file that is cut short or has an invalid header.
    #[error("{} is not a whole safetensors file: {message}; fetch it again", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A PyTorch file that is damaged, or holds more than tensors.
    #[error(
        "{} is not a PyTorch state dict that can be read: {message}; fetch it again, or save it as safetensors",
        path.display()
    )]
    PyTorch {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The checkpoint lacks a tensor that the config requires.
    #[error(
        "{}: tensor {name} is missing; {} requires it with shape {expected:?}",
        path.display(), config.display()
    )]
    MissingTensor {
        /// The weights file, or the index of its shards.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The config that requires it.
        config: PathBuf,
        /// The shape that the config requires.
        expected: Vec<usize>,
    },
    /// The checkpoint has a tensor that the config does not describe.
    #[error(
        "{}: tensor {name} with shape {found:?} is not expected: {} describes a model without it; \
         the config and the weights belong to different models",
        path.display(), config.display()
    )]
    ExtraTensor {
        /// The weights file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The config that does not describe it.
        config: PathBuf,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// A tensor's shape in the file differs from the one that the config requires.
    #[error(
        "{}: tensor {name} has shape {found:?}, but {} requires {expected:?}; \
         the config and the weights belong to different models",
        path.display(), config.display()
    )]
    Shape {
        /// The weights file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The config that requires another shape.
        config: PathBuf,
        /// The shape that the config requires.
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
    /// Token ids that the text tower cannot process.
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
    /// A device that is unknown, missing or unsuitable.
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
