//! `onnx`: an image encoder from an ONNX file, run by tract on the CPU.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::clip::{Checkpoint, Preprocess};
use items::Pixels;
use pipeline_engine::{Part, options};
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;

use super::{EncodeError, Encoder, EncoderKind, check_size, digest, external};

/// The file in the folder of the checkpoint.
const FILE: &str = "vision_model.onnx";
const INPUT: &str = "pixel_values";
const OUTPUT: &str = "image_embeds";

options! {
    /// The encoder `onnx`: vision_model.onnx in the folder of the checkpoint, on the CPU.
    pub struct Onnx {
        /// Threads that encode; 0: one per core.
        workers: usize = 0, 0..=256 => free;
    }
}

impl Part for Onnx {
    const NAME: &'static str = "onnx";
    const ABOUT: &'static str = "vision_model.onnx in the folder of the checkpoint, on the CPU";
}

impl EncoderKind for Onnx {
    fn is_in(&self, checkpoint: &Checkpoint) -> bool {
        checkpoint.dir().join(FILE).is_file()
    }

    fn workers(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        }
    }

    /// A digest of the file, and of those beside it that hold its weights.
    fn fingerprint(&self, checkpoint: &Checkpoint, _device: &str) -> Result<String, EncodeError> {
        let path = checkpoint.dir().join(FILE);
        let own = file_digest(&path)?;
        // What is no model is a fault where it is opened.
        let beside = external::files(&path).unwrap_or_default();
        if beside.is_empty() {
            return Ok(own);
        }
        let mut parts = vec![own];
        for name in beside {
            parts.push(file_digest(&path.with_file_name(&name))?);
            parts.push(name);
        }
        Ok(digest(&parts.iter().map(String::as_bytes).collect::<Vec<_>>()))
    }

    fn open(
        &self,
        checkpoint: &Checkpoint,
        preprocess: Preprocess,
        _device: &str,
    ) -> Result<Box<dyn Encoder>, EncodeError> {
        Ok(Box::new(OnnxEncoder::open(&checkpoint.dir().join(FILE), preprocess)?))
    }
}

fn file_digest(path: &Path) -> Result<String, EncodeError> {
    let fault = |source| EncodeError::Read { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(fault)?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).map_err(fault)?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// `vision_model.onnx`: input `pixel_values` N x 3 x S x S, output `image_embeds` N x D.
///
/// It runs one picture at a time, so that a feature does not depend on other pictures; threads
/// share the optimised plan.
#[derive(Debug)]
pub struct OnnxEncoder {
    path: PathBuf,
    plan: Arc<TypedRunnableModel>,
    preprocess: Preprocess,
    dim: usize,
}

impl OnnxEncoder {
    /// Reads and optimises the model for pictures of the size that `preprocess` makes.
    ///
    /// # Errors
    /// A file that is missing, is not such a model, or takes another size.
    pub fn open(path: &Path, preprocess: Preprocess) -> Result<Self, EncodeError> {
        let model = external::read(path)?;
        let fault = |message: String| EncodeError::Onnx { path: path.to_owned(), message };
        let (height, width) = preprocess.size();
        let plan = plan(&model, height, width).map_err(|error| fault(format!("{error:#}")))?;
        let shape = plan.model().output_fact(0).ok().and_then(|fact| fact.shape.as_concrete());
        match shape {
            Some(&[1, dim]) if dim > 0 => Ok(Self { path: path.to_owned(), plan, preprocess, dim }),
            other => Err(fault(format!("`{OUTPUT}` of one picture must be 1 x D numbers, but its shape is {other:?}"))),
        }
    }
}

fn plan(model: &ModelProto, height: usize, width: usize) -> TractResult<Arc<TypedRunnableModel>> {
    let mut model = tract_onnx::onnx().model_for_proto_model(model)?;
    model.set_input_names([INPUT])?;
    let output = match (model.find_outlet_label(OUTPUT), model.output_outlets()?) {
        (Some(named), _) => named,
        (None, [only]) => *only,
        (None, _) => return Err(TractError::msg(format!("the model has several outputs, and none is `{OUTPUT}`"))),
    };
    model.select_output_outlets(&[output])?;
    // Sizes that the model leaves open are `None`.
    let given = model.input_fact(0)?.shape.dims().skip(1).map(|dim| dim.concretize().and_then(|dim| dim.to_i64().ok()));
    let wanted = [3, height, width].map(|size| size as i64);
    if given.zip(wanted).any(|(given, wanted)| given.is_some_and(|given| given != wanted)) {
        return Err(TractError::msg(format!(
            "`{INPUT}` has shape {:?}, but the preprocessing of this checkpoint makes pictures of 3 x {height} x {width}; \
             the model and preprocessor_config.json are not of one checkpoint",
            model.input_fact(0)?.shape
        )));
    }
    model.set_input_fact(0, f32::fact([1, 3, height, width]).into())?;
    model.into_optimized()?.into_runnable()
}

impl Encoder for OnnxEncoder {
    fn dim(&self) -> usize {
        self.dim
    }

    fn chunk(&self) -> usize {
        1
    }

    fn encode(&self, pictures: &[Pixels]) -> Result<Vec<f32>, EncodeError> {
        let (height, width) = self.preprocess.size();
        let mut features = Vec::with_capacity(pictures.len() * self.dim);
        for picture in pictures {
            check_size(picture, (height, width))?;
            let pixels = self.preprocess.normalise(&picture.rgb);
            let fault =
                |error: TractError| EncodeError::Onnx { path: self.path.clone(), message: format!("{error:#}") };
            let input = Tensor::from_shape(&[1, 3, height, width], &pixels).map_err(fault)?;
            let output = self.plan.run(tvec!(input.into())).map_err(fault)?;
            features.extend_from_slice(
                output[0].try_as_plain_ram().and_then(|plain| plain.as_slice::<f32>()).map_err(fault)?,
            );
        }
        Ok(features)
    }
}
