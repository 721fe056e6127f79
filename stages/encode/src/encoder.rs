//! What an image encoder does, whatever it is made of.

use std::path::PathBuf;

use items::{Feature, Pixels};

/// A frozen image encoder. Several threads may use one at the same time.
pub trait Encoder: Send + Sync {
    /// D, the width of its features.
    fn dim(&self) -> usize;

    /// The most pictures that one call takes.
    fn chunk(&self) -> usize;

    /// N x D features of N pictures, not normalised, 1 <= N <= [`chunk`](Encoder::chunk).
    /// A picture's feature must not depend on the pictures it came with.
    ///
    /// # Errors
    /// Pictures of another size than the encoder takes; a fault of the model.
    fn encode(&self, pictures: &[Pixels]) -> Result<Vec<f32>, EncodeError>;
}

/// An image encoder that cannot be opened, or fails.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
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
    /// Half precision was asked of an ONNX model.
    #[error(
        "{}: an ONNX image encoder runs in the precision it was saved in, on the CPU; set encode.precision = \"f32\", or \
         encode.encoder = \"clip\" if the checkpoint has an image tower", .path.display()
    )]
    OnnxHalf {
        /// The file.
        path: PathBuf,
    },
    /// A picture of the wrong size.
    #[error("a picture is {}x{} pixels, but the image encoder takes {}x{}", .found.1, .found.0, .expected.1, .expected.0)]
    Size {
        /// Rows and columns of the picture.
        found: (usize, usize),
        /// Rows and columns that the encoder takes.
        expected: (usize, usize),
    },
    /// A checkpoint's preprocessing makes pictures that its image tower does not take.
    #[error(
        "{}: pictures come out with {}x{} pixels, but the image tower takes {}x{}; preprocessing and weights are not of one \
         model", .dir.display(), .found.1, .found.0, .expected.1, .expected.0
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
}

/// Checks that a picture is `expected` (rows, columns) large.
pub(crate) fn check_size(picture: &Pixels, expected: (usize, usize)) -> Result<(), EncodeError> {
    let found = (picture.height as usize, picture.width as usize);
    if found != expected || picture.rgb.len() != found.0 * found.1 * 3 {
        return Err(EncodeError::Size { found, expected });
    }
    Ok(())
}

/// The feature at length 1, or why there is none. The norm is taken in f64, where
/// the square of no f32 overflows.
pub(crate) fn normalised(raw: &[f32]) -> Result<Feature, &'static str> {
    let norm = raw.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    if !norm.is_finite() {
        return Err("the image encoder gave a feature with NaN or infinity");
    }
    if norm == 0.0 {
        return Err("the image encoder gave a feature of length 0");
    }
    Ok(raw.iter().map(|&x| (f64::from(x) / norm) as f32).collect())
}
