//! `clip`: CLIP's own image encoder, the ViT of the crate `clip`.

use ::clip::checkpoint::Tower;
use ::clip::device::{self, Picked};
use ::clip::{Checkpoint, Params, Preprocess, VisionTower};
use burn::tensor::{Device, Tensor, TensorData};
use items::Pixels;
use model::{Model, Products};
use pipeline_engine::{Look, Part, options};

use super::{EncodeError, Encoder, EncoderKind, Insistence, check_size};

options! {
    /// The encoder `clip`: the image tower of the checkpoint, on the device of the run.
    pub struct Clip {
        /// Pictures in one forward pass.
        chunk: usize = 32, 1..=4096;
        /// The type that matrices are multiplied in: "f32", or "f16" on a GPU that has it.
        precision: Products = Products::F32;
    }
}

impl Clip {
    fn half(&self) -> bool {
        self.precision == Products::F16
    }

    fn device(&self, name: &str) -> Result<Picked, EncodeError> {
        let picked = device::pick(name)?;
        if self.half() {
            device::half(&picked)?;
        }
        Ok(picked)
    }
}

impl Part for Clip {
    const NAME: &'static str = "clip";
    const ABOUT: &'static str = "the image tower of the checkpoint, on the device of the run";
}

impl EncoderKind for Clip {
    fn is_in(&self, checkpoint: &Checkpoint) -> bool {
        checkpoint.config().vision.is_some()
    }

    /// One: the kernels use all of the device by themselves.
    fn workers(&self) -> usize {
        1
    }

    /// The last bits of a feature depend on the weights, the device, the height of the matrices and
    /// the type of products, but not on the number of threads.
    fn fingerprint(&self, checkpoint: &Checkpoint, device: &str) -> Result<String, EncodeError> {
        let place = self.device(device)?.place.key();
        let weights = checkpoint.fingerprint(Tower::Vision);
        Ok(format!("{weights} on {place}, {} at once{}", self.chunk, if self.half() { ", f16" } else { "" }))
    }

    fn open(
        &self,
        checkpoint: &Checkpoint,
        preprocess: Preprocess,
        device: &str,
    ) -> Result<Box<dyn Encoder>, EncodeError> {
        let Picked { device, description, .. } = self.device(device)?;
        tracing::debug!("images are encoded on {description}");
        let encoder = VitEncoder::open(checkpoint, preprocess, &device, self.chunk)?;
        Ok(Box::new(if self.half() { encoder.half() } else { encoder }))
    }

    fn verify(&self, model: &Model, look: &mut Look<'_>) {
        let device = look.run.device.word();
        match device::place(device) {
            Err(error) => model::report_device(look, &error),
            Ok(place) if self.half() => {
                if let Err(error) = device::half_at(&place, device) {
                    look.fault("clip.precision", error.to_string(), "");
                }
            }
            Ok(_) => {}
        }
        // A preprocessing that cannot be read is reported by `decode`.
        if let Ok(preprocess) = model.preprocess()
            && let Err(error) = check_preprocess(&model.checkpoint, &preprocess)
        {
            look.fault("", error.to_string(), "");
        }
    }

    fn insists(&self) -> Option<Insistence> {
        self.half().then_some(Insistence { option: "precision", line: "precision = \"f16\"" })
    }
}

/// Checks that the preprocessing makes pictures of the size that the image tower takes.
fn check_preprocess(checkpoint: &Checkpoint, preprocess: &Preprocess) -> Result<(), EncodeError> {
    let side = checkpoint.vision_config()?.image_size;
    let (found, expected) = (preprocess.size(), (side, side));
    if found != expected {
        return Err(EncodeError::Preprocess { dir: checkpoint.dir().to_owned(), found, expected });
    }
    Ok(())
}

/// The image tower of a checkpoint on a device.
///
/// Every forward pass has the same number of pictures: a chunk that is not full
/// is filled up with blank ones, because kernels may sum in another order when the
/// matrix has another height.
#[derive(Debug)]
pub struct VitEncoder {
    tower: VisionTower,
    preprocess: Preprocess,
    chunk: usize,
}

impl VitEncoder {
    /// Loads the tower for chunks of `chunk` pictures.
    ///
    /// # Errors
    /// A checkpoint without an image tower, or a damaged one; a preprocessing
    /// that makes pictures of another size than the tower takes.
    pub fn open(
        checkpoint: &Checkpoint,
        preprocess: Preprocess,
        device: &Device,
        chunk: usize,
    ) -> Result<Self, EncodeError> {
        check_preprocess(checkpoint, &preprocess)?;
        Ok(Self { tower: VisionTower::load(checkpoint, device)?, preprocess, chunk })
    }
}

impl VitEncoder {
    /// The same with products in f16, on a device that [`device::half`] allows.
    #[must_use]
    pub fn half(self) -> Self {
        Self { tower: self.tower.half(), ..self }
    }
}

impl Encoder for VitEncoder {
    fn dim(&self) -> usize {
        self.tower.config().projection_dim
    }

    fn chunk(&self) -> usize {
        self.chunk
    }

    fn encode(&self, pictures: &[Pixels]) -> Result<Vec<f32>, EncodeError> {
        let (height, width) = self.preprocess.size();
        let picture_len = 3 * height * width;
        let mut pixels = vec![0.0; self.chunk * picture_len];
        for (picture, place) in pictures.iter().zip(pixels.chunks_exact_mut(picture_len)) {
            check_size(picture, (height, width))?;
            self.preprocess.normalise_into(&picture.rgb, place);
        }
        let pixels = TensorData::new(pixels, [self.chunk, 3, height, width]);
        let features = self.tower.forward(Tensor::from_data(pixels, &self.tower.device()))?;
        Ok(features.into_data().iter::<f32>().take(pictures.len() * self.dim()).collect())
    }
}
