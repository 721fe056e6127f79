//! The image features that a probe stands on.

use std::sync::Arc;

use pipeline_engine::{Build, StageError};
use stage_items::{Encoded, Flow, Sample, Work};

/// N images with their captions and features, in the order of the shards.
#[derive(Debug, Default)]
pub struct Pictures {
    /// N keys.
    pub keys: Vec<Arc<str>>,
    /// N lists of captions.
    pub captions: Vec<Arc<[String]>>,
    /// D.
    pub dim: usize,
    /// N x D, rows L2-normalised.
    pub features: Vec<f32>,
}

impl Pictures {
    /// Sends `shards` through the pipeline's own stages up to the encoder.
    ///
    /// # Errors
    /// A shard that cannot be read, or no usable image at all; a probe that can only
    /// measure a part says on how many images it stands.
    pub fn collect(name: &str, shards: &[String], build: &Build<'_>) -> Result<Self, StageError> {
        let side = build.side.as_ref().ok_or_else(|| StageError::msg("a probe was built outside a run"))?;
        let list = shards.iter().map(|url| format!("{url:?}")).collect::<Vec<_>>().join(", ");
        let sets = [
            ("stage.shards.urls", format!("[{list}]")),
            ("stage.shards.shuffle", "false".to_owned()),
            ("stage.shards.split", "\"none\"".to_owned()),
        ];
        let mut pictures = Self::default();
        let skipped = side.collect::<Flow<Encoded>>("encode", &sets, &mut |flow| {
            if let Flow::Sample(Sample { id, captions, work: Work::Done(feature) }) = flow {
                pictures.dim = feature.len();
                pictures.features.extend_from_slice(&feature);
                pictures.keys.push(id.key);
                pictures.captions.push(captions);
            }
            Ok(())
        })?;
        for (stage, reason, count) in skipped {
            tracing::warn!("eval {name}: {count} samples not used ({stage}: {reason})");
        }
        if pictures.keys.is_empty() {
            return Err(StageError::msg(format!("no usable image in {}", shards.join(", "))));
        }
        Ok(pictures)
    }

    /// How many images.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The feature of image `index`.
    pub fn feature(&self, index: usize) -> &[f32] {
        &self.features[index * self.dim..][..self.dim]
    }
}

/// Cosines of N texts with M images, both normalised: N x M.
pub fn cosines(texts: &[f32], images: &[f32], dim: usize) -> Vec<f32> {
    let (n, m) = (texts.len() / dim, images.len() / dim);
    let mut out = vec![0.0f32; n * m];
    if n == 0 || m == 0 {
        return out;
    }
    // SAFETY: the three slices have n*dim, m*dim and n*m elements, which the strides stay within,
    // and `out` is not read (`read_dst = false`) nor aliased.
    unsafe {
        gemm::gemm(
            n,
            m,
            dim,
            out.as_mut_ptr(),
            1,
            m as isize,
            false,
            texts.as_ptr(),
            1,
            dim as isize,
            images.as_ptr(),
            dim as isize,
            1,
            0.0f32,
            1.0f32,
            false,
            false,
            false,
            gemm::Parallelism::Rayon(0),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::cosines;

    #[test]
    fn product_of_rows() {
        let texts = [1.0, 0.0, 0.0, 1.0, 0.6, 0.8];
        let images = [0.0, 1.0, 1.0, 0.0];
        assert_eq!(cosines(&texts, &images, 2), [0.0, 1.0, 1.0, 0.0, 0.8, 0.6]);
    }
}
