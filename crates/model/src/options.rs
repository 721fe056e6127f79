//! What the config says about the model.

use std::path::PathBuf;

use pipeline_engine::{Look, Section, choice, options};

use crate::Model;

choice! {
    /// Which tower is trained.
    pub enum Train {
        /// The text tower and its projection (TNG-CLIP, arXiv 2505.18434, section 4).
        Text = "text",
    }
}

choice! {
    /// The type that a tower's matrices are multiplied in.
    pub enum Products {
        /// 32 bits.
        F32 = "f32",
        /// 16 bits, on GPUs that have them; weights, sums, norms and softmax stay f32.
        F16 = "f16",
    }
}

options! {
    /// `[model]`: the checkpoint to start from.
    pub struct ModelOptions {
        /// A folder with config.json, weights, tokenizer and preprocessor config, one with open_clip_config.json, a file of weights with its config beside it, or hf:owner/name[@revision].
        weights: PathBuf => free;
        /// Which tower is trained; the image encoder stays frozen.
        train: Train = Train::Text;
    }
}

impl Section for ModelOptions {
    const NAME: &'static str = "model";
    const ABOUT: &'static str = "the checkpoint to start from";

    /// The folder or file exists, the config and the headers of the weights can be read and fit each
    /// other; of a name on the hub, that this build can fetch it, and that it is in the cache where
    /// the hub may not be asked.
    fn verify(&self, look: &mut Look<'_>) {
        if let Err(error) = Model::open_locally(self, look) {
            look.fault("weights", error.to_string(), "");
        }
    }
}
