//! How texts go through a tower: in which layout, and how many at once.

use burn::tensor::{Device, Int, Tensor, TensorData};
use clip::Layout;
use clip::text::{TextTower, TokenRows};

use super::texts::Texts;
use crate::error::TrainError;

/// Settings of the forward pass.
#[derive(Debug)]
pub(super) struct Forward {
    pub(super) layout: Layout,
    /// Texts that a tower holds for the backward pass at once.
    pub(super) chunk: usize,
    /// Without autodiff.
    pub(super) device: Device,
}

/// Texts that go through the tower together.
pub(super) struct Chunk {
    /// Their numbers among all texts.
    texts: Vec<usize>,
    /// Token ids, end to end.
    pub(super) ids: Vec<u32>,
    /// Number of tokens of each text.
    pub(super) lens: Vec<usize>,
}

impl Chunk {
    /// Which rows of the features of all texts are those of this chunk.
    pub(super) fn places(&self, device: &Device) -> Tensor<1, Int> {
        let places: Vec<i32> = self.texts.iter().map(|text| *text as i32).collect();
        Tensor::from_data(TensorData::from(&places[..]), device)
    }
}

impl Forward {
    /// The texts in chunks; those with a common beginning stay together.
    pub(super) fn chunks(&self, texts: &Texts) -> Vec<Chunk> {
        let mut each: Vec<(usize, &[u32])> = texts.each().enumerate().collect();
        if each.len() <= self.chunk {
            return vec![Chunk { texts: (0..each.len()).collect(), ids: texts.ids.clone(), lens: texts.lens.clone() }];
        }
        if self.layout == Layout::Tree {
            each.sort_by_key(|(_, ids)| *ids);
        }
        let chunk = |texts: &[(usize, &[u32])]| Chunk {
            texts: texts.iter().map(|(text, _)| *text).collect(),
            ids: texts.iter().flat_map(|(_, ids)| *ids).copied().collect(),
            lens: texts.iter().map(|(_, ids)| ids.len()).collect(),
        };
        each.chunks(self.chunk).map(chunk).collect()
    }

    /// The features of all texts `[texts, D]` in their order, without autodiff. `tower` must be
    /// without autodiff too; `rows` replaces its token embedding.
    pub(super) fn features(
        &self,
        tower: &TextTower,
        rows: Option<&TokenRows>,
        chunks: &[Chunk],
    ) -> Result<Tensor<2>, TrainError> {
        let rows = rows.map(|tokens| TokenRows { ids: tokens.ids.clone(), rows: tokens.rows.clone().inner() });
        let forward = |chunk: &Chunk| match &rows {
            Some(rows) => tower.forward_rows(rows, &chunk.ids, &chunk.lens, self.layout),
            None => tower.forward(&chunk.ids, &chunk.lens, self.layout),
        };
        let features = chunks.iter().map(forward).collect::<Result<Vec<_>, _>>()?;
        let mut back: Vec<(usize, i32)> =
            chunks.iter().flat_map(|chunk| chunk.texts.iter().copied()).zip(0..).collect();
        back.sort_unstable();
        let back: Vec<i32> = back.into_iter().map(|(_, row)| row).collect();
        let back = Tensor::from_data(TensorData::from(&back[..]), &self.device);
        Ok(Tensor::cat(features, 0).select(0, back))
    }
}
