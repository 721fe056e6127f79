//! CPU kernels for operations that burn composes of many passes over memory: a whole transformer block
//! with attention over sequences of different lengths, layer norm, embedding lookup.
//!
//! Each has its own backward pass. They replace the composed form on the flex backend only;
//! elsewhere, and in the tests that compare the two, the composed form is used.
//!
//! Results do not depend on the number of threads: rows are cut into chunks of a fixed size,
//! and what is summed across chunks is summed in their order.

mod activation;
mod attention;
mod block;
mod embedding;
mod math;
mod matmul;
mod norm;
mod pool;
#[cfg(test)]
mod tests;

use std::fmt::{self, Debug};
use std::marker::PhantomData;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Flex, TensorMetadata};
use burn::tensor::{DType, Device, Tensor, TensorData};

pub(crate) use attention::{Plan, Span};
pub(crate) use block::{BlockPlan, block};
pub(crate) use embedding::embedding;
pub(crate) use norm::layer_norm;

/// True if tensors on this device can go through the kernels of this module.
pub(crate) fn available(device: &Device) -> bool {
    let plain = Device::flex().autodiff().gradient_checkpointing_strategy();
    let strategy = device.gradient_checkpointing_strategy();
    *device == Device::flex() && (strategy.is_none() || strategy == plain)
}

/// An operation on `N` tensors of f32, given as contiguous slices.
trait Kernel<const N: usize>: Clone + Debug + Send + 'static {
    /// What the backward pass needs besides the inputs.
    type Kept: Clone + Debug + Send + 'static;
    /// Shape of the output.
    fn shape(&self) -> [usize; 2];
    /// The output, and with `keep` what [`Kernel::backward`] needs.
    fn forward(&self, inputs: [&[f32]; N], keep: bool) -> (Vec<f32>, Option<Self::Kept>);
    /// The gradients of the inputs, from the gradient of the output.
    fn backward(&self, inputs: [&[f32]; N], kept: &Self::Kept, grad: &[f32]) -> [Vec<f32>; N];
}

/// Runs a kernel; when one of the inputs is an autodiff tensor, records the backward pass.
fn run<K: Kernel<N>, const N: usize>(kernel: K, inputs: [Input; N]) -> Tensor<2> {
    if !inputs.iter().any(|input| matches!(input, Input::Autodiff(_))) {
        let inputs = inputs.map(Input::primitive);
        let (output, _) = kernel.forward(inputs.each_ref().map(slice), false);
        return Tensor::from_primitive::<Flex>(tensor(output, &kernel.shape()));
    }
    let inputs = inputs.map(Input::autodiff);
    let nodes = inputs.each_ref().map(|input| input.node());
    let inputs = inputs.map(|input| contiguous(input.into_primitive()));
    let step = Step::<K, N>(PhantomData);
    let output = match step.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let (output, kept) = kernel.forward(inputs.each_ref().map(slice), true);
            let output = tensor(output, &kernel.shape());
            prep.finish((kernel, inputs, kept), output)
        }
        OpsKind::UnTracked(prep) => {
            let (output, _) = kernel.forward(inputs.each_ref().map(slice), false);
            prep.finish(tensor(output, &kernel.shape()))
        }
    };
    Tensor::from_primitive::<Autodiff<Flex>>(output)
}

/// A kernel's backward pass as burn's autodiff sees it.
struct Step<K, const N: usize>(PhantomData<fn() -> K>);

impl<K, const N: usize> Debug for Step<K, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::any::type_name::<K>())
    }
}

impl<K: Kernel<N>, const N: usize> Backward<Flex, N> for Step<K, N> {
    type State = (K, [FlexTensor; N], Option<K::Kept>);

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = contiguous(grads.consume::<Flex>(&ops.node));
        let (kernel, inputs, kept) = ops.state;
        let kept = kept.expect("a tracked forward pass keeps");
        let shapes = inputs.each_ref().map(|input| input.shape().to_vec());
        let found = kernel.backward(inputs.each_ref().map(slice), &kept, slice(&grad));
        for ((parent, shape), grad) in ops.parents.into_iter().zip(shapes).zip(found) {
            if let Some(parent) = parent {
                grads.register::<Flex>(parent.id, tensor(grad, &shape));
            }
        }
    }
}

type AutodiffTensor = FloatTensor<Autodiff<Flex>>;

/// A tensor of any rank on its way into a kernel.
enum Input {
    Plain(FlexTensor),
    Autodiff(AutodiffTensor),
}

fn input<const D: usize>(tensor: Tensor<D>) -> Input {
    const ASKED: &str = "`available` was called for the device";
    if tensor.is_autodiff() {
        Input::Autodiff(tensor.try_into_primitive::<Autodiff<Flex>>().expect(ASKED))
    } else {
        Input::Plain(tensor.try_into_primitive::<Flex>().expect(ASKED))
    }
}

impl Input {
    fn primitive(self) -> FlexTensor {
        match self {
            Self::Plain(tensor) => contiguous(tensor),
            Self::Autodiff(tensor) => contiguous(tensor.into_primitive()),
        }
    }

    fn autodiff(self) -> AutodiffTensor {
        match self {
            Self::Plain(tensor) => Autodiff::<Flex>::from_inner(tensor),
            Self::Autodiff(tensor) => tensor,
        }
    }
}

fn contiguous(tensor: FlexTensor) -> FlexTensor {
    debug_assert_eq!(tensor.dtype(), DType::F32);
    if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
}

fn slice(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("contiguous f32")
}

fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.to_vec()))
}
