//! Image encoders: which ones there are, which one a checkpoint has, and what all of them do.

pub mod clip;
mod error;
mod external;
pub mod onnx;

use ::clip::{Checkpoint, Preprocess};
use items::{Feature, Pixels};
use model::Model;
use pipeline_engine::{Chosen, Look, Several, parts};

pub use error::EncodeError;

/// A kind of image encoder: a file of the checkpoint, or a tower of it.
pub trait EncoderKind: Send + Sync {
    /// Whether the checkpoint has it.
    fn is_in(&self, checkpoint: &Checkpoint) -> bool;

    /// Threads that encode at the same time.
    fn workers(&self) -> usize;

    /// What the bits of its features depend on, beside its name and the preprocessing: the weights, and
    /// whatever of options and device matters. Two settings with one fingerprint share cached features.
    ///
    /// # Errors
    /// A file that cannot be read, or a device that does not exist.
    fn fingerprint(&self, checkpoint: &Checkpoint, device: &str) -> Result<String, EncodeError>;

    /// Loads it. `device` is a name of `run.device`.
    ///
    /// # Errors
    /// A file that is damaged or does not fit the preprocessing; a device that cannot be opened.
    fn open(
        &self,
        checkpoint: &Checkpoint,
        preprocess: Preprocess,
        device: &str,
    ) -> Result<Box<dyn Encoder>, EncodeError>;

    /// Reports what keeps it from being opened, as far as that costs nothing to see.
    fn verify(&self, _model: &Model, _look: &mut Look<'_>) {}

    /// An option that has a value which no other encoder can replace: its name, and the line that sets
    /// it. Taking another encoder of the list would ignore it silently.
    fn insists(&self) -> Option<Insistence> {
        None
    }
}

/// See [`EncoderKind::insists`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insistence {
    /// `precision`.
    pub option: &'static str,
    /// `precision = "f16"`.
    pub line: &'static str,
}

parts! {
    /// The image encoders.
    dyn EncoderKind: "encoder" => [onnx::Onnx, clip::Clip]
}

/// A frozen image encoder. Several threads may use one at the same time.
pub trait Encoder: Send + Sync {
    /// D, the width of its features.
    fn dim(&self) -> usize;

    /// The most pictures that one call takes.
    fn chunk(&self) -> usize;

    /// N x D features of N pictures, not normalised, 1 <= N <= [`chunk`](Encoder::chunk).
    /// The feature of a picture must not depend on the other pictures of the call.
    ///
    /// # Errors
    /// Pictures of another size than the encoder takes; a fault of the model.
    fn encode(&self, pictures: &[Pixels]) -> Result<Vec<f32>, EncodeError>;
}

/// The encoder to use: the first of `list` that the checkpoint has.
///
/// # Errors
/// [`EncodeError::None`]; [`EncodeError::PassedOver`] where an option of another one in the list would
/// be ignored.
pub(crate) fn choose<'a>(
    list: &'a Several<dyn EncoderKind>,
    checkpoint: &Checkpoint,
) -> Result<&'a Chosen<dyn EncoderKind>, EncodeError> {
    let dir = || checkpoint.dir().to_owned();
    let Some(taken) = list.iter().find(|kind| kind.is_in(checkpoint)) else {
        return Err(EncodeError::None { dir: dir(), listed: list.iter().map(Chosen::name).collect() });
    };
    let ignored = list.iter().filter(|kind| kind.name() != taken.name());
    match ignored.filter_map(|kind| Some((kind.name(), kind.insists()?))).next() {
        Some((passed_over, insistence)) => {
            Err(EncodeError::PassedOver { dir: dir(), taken: taken.name(), passed_over, insistence })
        }
        None => Ok(taken),
    }
}

/// The fingerprint of an encoder with its preprocessing: the key of the features that it makes.
pub(crate) fn fingerprint(
    kind: &Chosen<dyn EncoderKind>,
    checkpoint: &Checkpoint,
    preprocess: &Preprocess,
    device: &str,
) -> Result<String, EncodeError> {
    let own = kind.fingerprint(checkpoint, device)?;
    Ok(digest(&[kind.name().as_bytes(), own.as_bytes(), &preprocess.fingerprint()]))
}

/// A digest of several texts, each with its length.
pub(crate) fn digest(parts: &[&[u8]]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
    }
    hasher.finalize().to_hex().to_string()
}

/// The image encoder of a checkpoint and its preprocessing, for use outside a pipeline: the first of
/// `encoders` that the checkpoint has. `device` is a name of `run.device`.
///
/// # Errors
/// A checkpoint without such an encoder, or a damaged one; a device that cannot be opened.
pub fn open_encoder(
    encoders: &Several<dyn EncoderKind>,
    model: &Model,
    device: &str,
) -> Result<(Box<dyn Encoder>, Preprocess), EncodeError> {
    let preprocess = model.preprocess()?;
    let kind = choose(encoders, &model.checkpoint)?;
    Ok((kind.open(&model.checkpoint, preprocess.clone(), device)?, preprocess))
}

/// Checks that a picture has the `expected` size (rows, columns).
fn check_size(picture: &Pixels, expected: (usize, usize)) -> Result<(), EncodeError> {
    let found = (picture.height as usize, picture.width as usize);
    if found != expected || picture.rgb.len() != found.0 * found.1 * 3 {
        return Err(EncodeError::Size { found, expected });
    }
    Ok(())
}

/// The feature at length 1, or why it has none. The norm is taken in f64, where
/// no square of an f32 overflows.
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
