//! Gradients on their way from the device to the optimizer.

use std::collections::BTreeMap;

use burn::tensor::{FloatDType, Tensor};
use clip::text::{TOKEN_EMBEDDING, TextTower, TokenRows};
use clip::{Mapper, Params};

use crate::error::TrainError;
use crate::optimizer::{Gradient, Gradients};

/// What the loss is multiplied by before its gradient is taken in f16, and gradients are divided by
/// afterwards, so that small ones do not vanish (Micikevicius et al., arXiv 1710.03740, section
/// 3.2). A power of two, so that nothing is rounded. A loss here is a mean of cosines over a
/// temperature: its gradients are a little under 1 per batch, far from f16's 65504 even so.
pub(super) const LOSS_SCALE: f32 = 1024.0;

/// Sums of gradients on the device, by parameter, each flat and in f32.
pub(super) struct Sums {
    flat: BTreeMap<String, Tensor<1>>,
    /// What the loss was multiplied by, if some of the gradients are f16.
    scale: Option<f32>,
}

impl Sums {
    pub(super) fn new(scale: Option<f32>) -> Self {
        Self { flat: BTreeMap::new(), scale }
    }

    /// Adds the gradients of one backward pass at the parameters of `tower` and at `tokens`.
    pub(super) fn add(&mut self, tower: &TextTower, tokens: &TokenRows, gradients: burn::tensor::Gradients) {
        struct Add<'a>(burn::tensor::Gradients, &'a mut Sums);
        impl Mapper for Add<'_> {
            fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
                if let Some(gradient) = tensor.grad_remove(&mut self.0) {
                    let mut gradient = gradient.reshape([tensor.shape().num_elements()]);
                    if let Some(scale) = self.1.scale {
                        gradient = gradient.cast(FloatDType::F32).div_scalar(scale);
                    }
                    let sum = match self.1.flat.remove(name) {
                        Some(sum) => sum + gradient,
                        None => gradient,
                    };
                    self.1.flat.insert(name.to_owned(), sum);
                }
                tensor
            }
        }
        let mut add = Add(gradients, self);
        add.map(TOKEN_EMBEDDING, tokens.rows.clone());
        tower.mapped(&mut add);
    }

    /// Copies those of the `wanted` parameters to the host.
    pub(super) fn read(self, tokens: TokenRows, wanted: impl Fn(&str) -> bool) -> Result<Gradients, TrainError> {
        let mut rows = Some(tokens.ids);
        let gradient = |(name, sum): (String, Tensor<1>)| {
            let values = read(sum)?;
            let gradient = match rows.take_if(|_| name == TOKEN_EMBEDDING) {
                Some(rows) => Gradient::Rows { rows, values },
                None => Gradient::Dense(values),
            };
            Ok((name, gradient))
        };
        self.flat.into_iter().filter(|(name, _)| wanted(name)).map(gradient).collect()
    }
}

/// Copies a tensor to the host.
pub(crate) fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, TrainError> {
    let data = tensor.try_into_data().map_err(TrainError::device)?;
    data.try_into_vec::<f32>().map_err(|error| TrainError::Device(format!("{error:?}")))
}
