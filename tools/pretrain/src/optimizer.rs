//! AdamW over named parameters.

use std::collections::BTreeMap;

use burn::tensor::{Gradients, Tensor};
use clip::Mapper;

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.98;
const EPSILON: f32 = 1e-6;
const WEIGHT_DECAY: f32 = 0.1;

/// AdamW (arXiv 1711.05101) with CLIP's constants; matrices decay, vectors and
/// embeddings do not.
#[derive(Default)]
pub struct AdamW {
    steps: i32,
    moments: BTreeMap<String, [Tensor<1>; 2]>,
}

impl AdamW {
    /// Returns the mapper that takes one step along these gradients.
    pub fn step<'a>(&'a mut self, gradients: &'a Gradients, rate: f32) -> Step<'a> {
        self.steps += 1;
        Step { optimizer: self, gradients, rate }
    }
}

/// One step; see [`AdamW::step`].
pub struct Step<'a> {
    optimizer: &'a mut AdamW,
    gradients: &'a Gradients,
    rate: f32,
}

impl Mapper for Step<'_> {
    fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
        let Some(gradient) = tensor.grad(self.gradients) else { return tensor };
        let shape = tensor.dims();
        let length = shape.iter().product::<usize>();
        let gradient = gradient.reshape([length]);
        let [mean, square] = match self.optimizer.moments.remove(name) {
            Some(moments) => moments,
            None => [gradient.zeros_like(), gradient.zeros_like()],
        };
        let mean = mean.mul_scalar(BETA1) + gradient.clone().mul_scalar(1.0 - BETA1);
        let square = square.mul_scalar(BETA2) + gradient.square().mul_scalar(1.0 - BETA2);
        let steps = self.optimizer.steps;
        let unbiased_mean = mean.clone().div_scalar(1.0 - BETA1.powi(steps));
        let unbiased_square = square.clone().div_scalar(1.0 - BETA2.powi(steps));
        let direction = unbiased_mean / unbiased_square.sqrt().add_scalar(EPSILON);
        self.optimizer.moments.insert(name.to_owned(), [mean, square]);

        let mut values = tensor.inner().reshape([length]);
        if D >= 2 && !name.contains("embedding") {
            values = values.mul_scalar(1.0 - self.rate * WEIGHT_DECAY);
        }
        (values - direction.mul_scalar(self.rate)).reshape(shape).autodiff().require_grad()
    }
}
