//! What can go wrong with an image encoder.

use std::path::PathBuf;

use super::Insistence;

/// An image encoder that cannot be opened, or fails.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The checkpoint has no encoder of the list.
    #[error("{} has no image encoder that `encoder` lists ({})", .dir.display(), .listed.join(", "))]
    None {
        /// The checkpoint's folder.
        dir: PathBuf,
        /// The names in the list.
        listed: Vec<&'static str>,
    },
    /// An option of an encoder that is in the list, but not taken.
    #[error(
        "the image encoder is `{taken}`, which {} has and which comes first in `encoder`: `{}` of `{passed_over}` would \
         have no effect", .dir.display(), .insistence.line
    )]
    PassedOver {
        /// The checkpoint's folder.
        dir: PathBuf,
        /// The encoder that is taken.
        taken: &'static str,
        /// The one with the option.
        passed_over: &'static str,
        /// The option.
        insistence: Insistence,
    },
    /// The ONNX file cannot be read.
    #[error("{}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The ONNX model cannot be used.
    #[error("{}: {message}", .path.display())]
    Onnx {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A picture of the wrong size.
    #[error("a picture is {}x{} pixels, but the image encoder takes {}x{}", .found.1, .found.0, .expected.1, .expected.0)]
    Size {
        /// Rows and columns of the picture.
        found: (usize, usize),
        /// Rows and columns that the encoder takes.
        expected: (usize, usize),
    },
    /// A checkpoint whose preprocessing makes pictures that its image tower does not take.
    #[error(
        "{}: the preprocessing makes pictures of {}x{} pixels, but the image tower takes {}x{}; preprocessing and weights \
         are not of one model", .dir.display(), .found.1, .found.0, .expected.1, .expected.0
    )]
    Preprocess {
        /// The checkpoint's folder.
        dir: PathBuf,
        /// Rows and columns of the pictures.
        found: (usize, usize),
        /// Rows and columns that the tower takes.
        expected: (usize, usize),
    },
    /// The checkpoint or the device.
    #[error(transparent)]
    Clip(#[from] clip::Error),
    /// The checkpoint's preprocessing.
    #[error(transparent)]
    Model(#[from] model::ModelError),
}

impl EncodeError {
    /// The option of the stage that an encoder cannot be chosen by.
    pub(crate) fn option(&self) -> String {
        match self {
            Self::PassedOver { passed_over, insistence, .. } => format!("{passed_over}.{}", insistence.option),
            _ => "encoder".to_owned(),
        }
    }

    /// What to do about an encoder that cannot be chosen; empty for other errors.
    pub(crate) fn help(&self) -> String {
        match self {
            Self::None { .. } => {
                "`onnx` is a file vision_model.onnx in the folder of the checkpoint, `clip` its image \
                                  tower; encoder = [\"onnx\", \"clip\"] takes the first that is there"
                    .to_owned()
            }
            Self::PassedOver { passed_over, insistence, .. } => {
                format!("set encoder = \"{passed_over}\" if the checkpoint has it, or omit `{}`", insistence.line)
            }
            _ => String::new(),
        }
    }
}
