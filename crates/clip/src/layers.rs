//! The layers that both towers are built of.

use burn::tensor::activation::{gelu, sigmoid};
use burn::tensor::{FloatDType, Tensor, module};

use crate::attention::{Planned, Sequences};
use crate::config::Activation;
use crate::error::Error;
use crate::fused::{self, BlockPlan};
use crate::params::{Mapper, Params, Supply};

/// `y = x W^T + b`, with `weight` in the checkpoint's shape `[output, input]`.
#[derive(Clone, Debug)]
pub struct Linear {
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
}

impl Linear {
    pub(crate) fn load(supply: &Supply, name: &str, bias: bool) -> Result<Self, Error> {
        let weight = supply.tensor(&format!("{name}.weight"))?;
        let bias = bias.then(|| supply.tensor(&format!("{name}.bias"))).transpose()?;
        Ok(Self { weight, bias })
    }

    /// The bias; zeros if the layer has none.
    fn bias(&self) -> Tensor<1> {
        let zeros = || Tensor::zeros([self.weight.dims()[0]], &self.weight.device().inner());
        self.bias.clone().unwrap_or_else(zeros)
    }

    /// `[rows, input]` to `[rows, output]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let weight = self.weight.clone().transpose();
        if weight.dtype() == x.dtype() {
            return module::linear(x, weight, self.bias.clone());
        }
        let y = product(x, weight);
        match &self.bias {
            Some(bias) => y + bias.clone().unsqueeze(),
            None => y,
        }
    }
}

/// `x weight`, computed in the precision of the weight ([`crate::Params::half`]) and returned in
/// that of `x`.
pub(crate) fn product(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    let (there, here) = (FloatDType::from(weight.dtype()), FloatDType::from(x.dtype()));
    if there == here { x.matmul(weight) } else { x.cast(there).matmul(weight).cast(here) }
}

impl Params for Linear {
    fn map_params<M: Mapper>(&mut self, prefix: &str, mapper: &mut M) {
        update(&mut self.weight, &format!("{prefix}.weight"), mapper);
        if let Some(bias) = &mut self.bias {
            update(bias, &format!("{prefix}.bias"), mapper);
        }
    }
}

/// Layer norm over the last dimension.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f64,
}

impl LayerNorm {
    pub(crate) fn load(supply: &Supply, name: &str, eps: f64) -> Result<Self, Error> {
        let weight = supply.tensor(&format!("{name}.weight"))?;
        let bias = supply.tensor(&format!("{name}.bias"))?;
        Ok(Self { weight, bias, eps })
    }

    /// `[rows, width]` to the same shape.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let (weight, bias) = (self.weight.clone(), self.bias.clone());
        if fused::available(&x.device()) {
            fused::layer_norm(x, weight, bias, self.eps)
        } else {
            module::layer_norm(x, weight, Some(bias), self.eps)
        }
    }
}

impl Params for LayerNorm {
    fn map_params<M: Mapper>(&mut self, prefix: &str, mapper: &mut M) {
        update(&mut self.weight, &format!("{prefix}.weight"), mapper);
        update(&mut self.bias, &format!("{prefix}.bias"), mapper);
    }
}

pub(crate) fn update<const D: usize, M: Mapper>(slot: &mut Tensor<D>, name: &str, mapper: &mut M) {
    *slot = mapper.map(name, slot.clone());
}

/// A pre-norm transformer block.
#[derive(Clone, Debug)]
pub struct Block {
    norm1: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    norm2: LayerNorm,
    up: Linear,
    down: Linear,
    activation: Activation,
}

impl Block {
    pub(crate) fn load(supply: &Supply, name: &str, activation: Activation, eps: f64) -> Result<Self, Error> {
        let linear = |part: &str| Linear::load(supply, &format!("{name}.{part}"), true);
        let norm = |part: &str| LayerNorm::load(supply, &format!("{name}.{part}"), eps);
        Ok(Self {
            norm1: norm("layer_norm1")?,
            query: linear("self_attn.q_proj")?,
            key: linear("self_attn.k_proj")?,
            value: linear("self_attn.v_proj")?,
            out: linear("self_attn.out_proj")?,
            norm2: norm("layer_norm2")?,
            up: linear("mlp.fc1")?,
            down: linear("mlp.fc2")?,
            activation,
        })
    }

    /// `[rows, width]` to the same shape.
    pub(crate) fn forward(&self, x: Tensor<2>, sequences: &Sequences) -> Tensor<2> {
        if let Some(plan) = sequences.plan(false) {
            return self.fused(x, plan);
        }
        let normal = self.norm1.forward(x.clone());
        let query = self.query.forward(normal.clone());
        let key = self.key.forward(normal.clone());
        let mixed = sequences.attend(query, key, self.value.forward(normal));
        self.mlp(x + self.out.forward(mixed))
    }

    /// [`Block::forward`] for only the rows that are read, `[rows, width]` to `[sequences, width]`. Nothing
    /// else of the last block's output is used, so all but keys and values is computed for those rows
    /// only.
    pub(crate) fn forward_read(&self, x: Tensor<2>, sequences: &Sequences) -> Tensor<2> {
        if let Some(plan) = sequences.plan(true) {
            return self.fused(x, plan);
        }
        let normal = self.norm1.forward(x.clone());
        let query = self.query.forward(sequences.read(normal.clone()));
        let key = self.key.forward(normal.clone());
        let mixed = sequences.attend_read(query, key, self.value.forward(normal));
        self.mlp(sequences.read(x) + self.out.forward(mixed))
    }

    fn fused(&self, x: Tensor<2>, (attention, read): Planned) -> Tensor<2> {
        let norms = [&self.norm1, &self.norm2].map(|norm| (norm.weight.clone(), norm.bias.clone()));
        let layers = [&self.query, &self.key, &self.value, &self.out, &self.up, &self.down];
        let layers = layers.map(|layer| (layer.weight.clone(), layer.bias()));
        let plan = BlockPlan { activation: self.activation, eps: self.norm1.eps, attention, read };
        fused::block(x, (norms, layers), plan)
    }

    fn mlp(&self, x: Tensor<2>) -> Tensor<2> {
        let middle = activate(self.up.forward(self.norm2.forward(x.clone())), self.activation);
        x + self.down.forward(middle)
    }
}

impl Params for Block {
    fn map_params<M: Mapper>(&mut self, prefix: &str, mapper: &mut M) {
        self.norm1.map_params(&format!("{prefix}.layer_norm1"), mapper);
        self.query.map_params(&format!("{prefix}.self_attn.q_proj"), mapper);
        self.key.map_params(&format!("{prefix}.self_attn.k_proj"), mapper);
        self.value.map_params(&format!("{prefix}.self_attn.v_proj"), mapper);
        self.out.map_params(&format!("{prefix}.self_attn.out_proj"), mapper);
        self.norm2.map_params(&format!("{prefix}.layer_norm2"), mapper);
        self.up.map_params(&format!("{prefix}.mlp.fc1"), mapper);
        self.down.map_params(&format!("{prefix}.mlp.fc2"), mapper);
    }
}

fn activate(x: Tensor<2>, activation: Activation) -> Tensor<2> {
    match activation {
        Activation::QuickGelu => x.clone() * sigmoid(x.mul_scalar(1.702)),
        Activation::Gelu => gelu(x),
    }
}
