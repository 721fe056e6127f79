//! The weights where they are updated, and their way to the device.
//!
//! This is all that the trainer asks of an optimizer: the rows of the token embedding for a batch,
//! which parameters are trained, an update, the new weights in the tower, and a copy of the tower
//! for evaluation. An optimizer that keeps its weights on the device would answer the same.

use std::collections::BTreeMap;

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use clip::text::{TOKEN_EMBEDDING, TextTower, TokenRows};
use clip::{Mapper, Params, in_products};

use crate::optimizer::{AdamW, Gradients, Misfit, NotFinite, Parameter};

/// What the names of the blocks' parameters begin with; the number of the block follows.
const BLOCKS: &str = "text_model.encoder.layers.";

/// The weights on the host, with the optimizer that updates them there.
#[derive(Debug)]
pub(super) struct Weights {
    optimizer: AdamW,
    /// Without autodiff.
    device: Device,
    /// Whether the tower multiplies in f16.
    pub(super) half: bool,
    /// This many blocks from the front are trained and nothing else; `None`: everything is.
    pub(super) front_layers: Option<usize>,
}

impl Weights {
    pub(super) fn new(optimizer: AdamW, device: Device) -> Self {
        Self { optimizer, device, half: false, front_layers: None }
    }

    pub(super) fn optimizer(&self) -> &AdamW {
        &self.optimizer
    }

    pub(super) fn restore(&mut self, steps: u64, parameters: BTreeMap<String, Parameter>) -> Result<(), Misfit> {
        self.optimizer.restore(steps, parameters)
    }

    /// Whether the parameter of this name is trained.
    pub(super) fn trains(&self, name: &str) -> bool {
        let Some(front) = self.front_layers else { return true };
        let block = name.strip_prefix(BLOCKS).and_then(|rest| rest.split('.').next()).map(str::parse::<usize>);
        matches!(block, Some(Ok(block)) if block < front)
    }

    /// The rows of the token embedding that these tokens need, as a leaf. The table has `vocabulary`
    /// rows of `width` numbers.
    pub(super) fn token_rows(&self, ids: &[u32], vocabulary: usize, width: usize) -> TokenRows {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        // An id beyond the vocabulary has no row; the tower reports it.
        ids.retain(|&id| (id as usize) < vocabulary);
        let rows = TensorData::new(self.optimizer.rows(TOKEN_EMBEDDING, &ids), [ids.len(), width]);
        TokenRows { ids, rows: leaf(Tensor::from_data(rows, &self.device)) }
    }

    /// One step down the gradient; returns its norm. The tower is as before until
    /// [`upload`](Self::upload).
    pub(super) fn update(&mut self, lr: f64, gradients: &Gradients) -> Result<f64, NotFinite> {
        self.optimizer.step(lr, gradients)
    }

    /// Puts the weights into `tower` as leaves, one after the other. Of the token embedding it gets
    /// one row of zeros as a placeholder: each step takes the rows that it needs from
    /// [`token_rows`](Self::token_rows), and a whole table on the device would only cost memory. Such
    /// a tower must be used with [`TextTower::forward_rows`].
    pub(super) fn upload(&self, tower: &mut TextTower) {
        struct Upload<'a>(&'a Weights);
        impl Mapper for Upload<'_> {
            fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
                if name == TOKEN_EMBEDDING {
                    return Tensor::zeros([1; D], &self.0.device);
                }
                match self.0.weight(name) {
                    Some(weight) if self.0.half && in_products(name, D) => leaf(weight.cast(FloatDType::F16)),
                    Some(weight) => leaf(weight),
                    None => tensor.inner(),
                }
            }
        }
        tower.map_params("", &mut Upload(self));
    }

    /// A copy of `tower` without autodiff, with its whole token embedding.
    pub(super) fn snapshot(&self, tower: &TextTower) -> TextTower {
        struct Current<'a>(&'a Weights);
        impl Mapper for Current<'_> {
            fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
                let whole = if name == TOKEN_EMBEDDING { self.0.weight(name) } else { None };
                whole.unwrap_or_else(|| tensor.inner())
            }
        }
        tower.mapped(&mut Current(self))
    }

    fn weight<const D: usize>(&self, name: &str) -> Option<Tensor<D>> {
        let parameter = self.optimizer.parameters().get(name)?;
        let data = TensorData::new(parameter.values.clone(), parameter.shape.clone());
        Some(Tensor::from_data(data, &self.device))
    }
}

/// A tensor whose gradient is kept.
pub(super) fn leaf<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    tensor.autodiff().require_grad()
}
