//! Parameters by name, so that any optimizer can walk them.

use std::collections::BTreeMap;

use burn::tensor::{Device, FloatDType, Tensor, TensorData};

use crate::checkpoint::{Checkpoint, Tensors};
use crate::error::Error;

/// Replaces tensors one by one. An optimizer step, a gradient reader or a copier implements it.
pub trait Mapper {
    /// Takes a parameter with its name and shape in the checkpoint and returns its replacement, which
    /// must have the same shape.
    fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D>;
}

/// Something with named parameters.
///
/// Parameters are always walked in the same order, that of the forward pass.
pub trait Params: Clone {
    /// Passes each parameter through `mapper` under `prefix` + its own name.
    fn map_params<M: Mapper>(&mut self, prefix: &str, mapper: &mut M);

    /// The same parameters as fresh leaves of an autodiff graph: `backward` keeps their
    /// gradients, `tensor.grad(&gradients)` reads them.
    #[must_use]
    fn trainable(&self) -> Self {
        struct Trainable;
        impl Mapper for Trainable {
            fn map<const D: usize>(&mut self, _: &str, tensor: Tensor<D>) -> Tensor<D> {
                tensor.inner().autodiff().require_grad()
            }
        }
        self.mapped(&mut Trainable)
    }

    /// The same parameters outside autodiff, for evaluation. Shares their memory.
    #[must_use]
    fn frozen(&self) -> Self {
        struct Frozen;
        impl Mapper for Frozen {
            fn map<const D: usize>(&mut self, _: &str, tensor: Tensor<D>) -> Tensor<D> {
                tensor.inner()
            }
        }
        self.mapped(&mut Frozen)
    }

    /// The same parameters, with the matrices that multiply activations ([`in_products`]) as f16.
    ///
    /// These products are then computed in f16; norms, softmax, residuals and everything that is added
    /// stay f32. It is for GPUs: the CPU's kernels take f32 only (see [`crate::device::half`]).
    #[must_use]
    fn half(&self) -> Self {
        struct Half;
        impl Mapper for Half {
            fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
                if in_products(name, D) { tensor.cast(FloatDType::F16) } else { tensor }
            }
        }
        self.mapped(&mut Half)
    }

    /// Names and shapes, in order.
    fn names(&self) -> Vec<(String, Vec<usize>)> {
        struct Names(Vec<(String, Vec<usize>)>);
        impl Mapper for Names {
            fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
                self.0.push((name.to_owned(), tensor.dims().to_vec()));
                tensor
            }
        }
        let mut names = Names(Vec::new());
        self.mapped(&mut names);
        names.0
    }

    /// Copies all parameters to the host. Waits for the device.
    fn tensors(&self) -> Tensors {
        struct Read(Tensors);
        impl Mapper for Read {
            fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
                let values = tensor.to_data().convert::<f32>().iter().collect();
                self.0.insert(name.to_owned(), (tensor.dims().to_vec(), values));
                tensor
            }
        }
        let mut read = Read(BTreeMap::new());
        self.mapped(&mut read);
        read.0
    }

    /// Replaces the values of all parameters, for instance when a run is resumed. It does not change
    /// whether a parameter is trainable.
    ///
    /// # Errors
    /// If `tensors` lacks a parameter or has it in another shape; then nothing is replaced.
    fn set_tensors(&mut self, tensors: &Tensors) -> Result<(), Error> {
        for (name, shape) in self.names() {
            match tensors.get(&name) {
                Some((found, values)) if *found == shape && values.len() == shape.iter().product::<usize>() => {}
                other => {
                    return Err(Error::Input(format!(
                        "parameter {name} must have shape {shape:?}, but is {:?}",
                        other.map(|(shape, _)| shape)
                    )));
                }
            }
        }
        struct Write<'a>(&'a Tensors);
        impl Mapper for Write<'_> {
            fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
                let Some((shape, values)) = self.0.get(name) else { return tensor };
                let data = TensorData::new(values.clone(), shape.clone());
                let fresh = Tensor::from_data(data, &tensor.device());
                fresh.set_require_grad(tensor.is_require_grad())
            }
        }
        self.map_params("", &mut Write(tensors));
        Ok(())
    }

    /// A copy passed through `mapper`.
    fn mapped<M: Mapper>(&self, mapper: &mut M) -> Self {
        let mut copy = self.clone();
        copy.map_params("", mapper);
        copy
    }
}

/// True if the parameter of this name and rank is a matrix that multiplies activations: the weight
/// of a linear layer or of the patch embedding. The other embeddings are looked up.
pub fn in_products(name: &str, rank: usize) -> bool {
    rank > 1 && (!name.contains("embedding") || name.contains("patch_embedding"))
}

/// Where a tower's tensors come from while it is built.
pub(crate) struct Supply<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) device: &'a Device,
}

pub(crate) enum Source<'a> {
    Checkpoint(&'a Checkpoint),
    Host(&'a Tensors),
}

impl Supply<'_> {
    /// The named tensor. Only its rank is checked here: its shape was compared with the config before.
    pub(crate) fn tensor<const D: usize>(&self, name: &str) -> Result<Tensor<D>, Error> {
        let (shape, values) = match &self.source {
            Source::Checkpoint(checkpoint) => checkpoint.tensor(name)?,
            Source::Host(tensors) => {
                tensors.get(name).cloned().ok_or_else(|| Error::Input(format!("parameter {name} is missing")))?
            }
        };
        if shape.len() != D {
            return Err(Error::Input(format!("parameter {name} has shape {shape:?}")));
        }
        Ok(Tensor::from_data(TensorData::new(values, shape), self.device))
    }
}
