//! CLIP's own image encoder, the ViT of the crate `clip`.

use burn::tensor::{Device, Tensor, TensorData};
use clip::{Checkpoint, Params, Preprocess, VisionTower};
use items::Pixels;

use crate::encoder::{EncodeError, Encoder, check_size};

/// The image tower of a checkpoint on a device.
///
/// Every forward pass has the same number of pictures: a chunk that is not full
/// is filled up with blank ones, since kernels may sum in another order when the
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
    /// A checkpoint without an image tower, or one that is damaged; a preprocessing
    /// that makes pictures of another size than the tower takes.
    pub fn open(
        checkpoint: &Checkpoint,
        preprocess: Preprocess,
        device: &Device,
        chunk: usize,
    ) -> Result<Self, EncodeError> {
        let side = checkpoint.vision_config()?.image_size;
        if preprocess.size() != (side, side) {
            let dir = checkpoint.dir().to_owned();
            return Err(EncodeError::Preprocess { dir, found: preprocess.size(), expected: (side, side) });
        }
        Ok(Self { tower: VisionTower::load(checkpoint, device)?, preprocess, chunk })
    }
}

impl VitEncoder {
    /// The same with products in f16; see [`clip::device::half`] for where that can be.
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
