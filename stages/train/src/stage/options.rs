//! Options of the stage.

use clip::Layout;
use model::Products;
use pipeline_engine::{Moved, Several, choice, options};

use crate::export::ExportType;
use crate::loss::Loss;
use crate::optimizer::Settings;
use crate::schedule::Shape;

choice! {
    /// How texts of different lengths are laid out in memory; the result is the same.
    pub enum TextLayout {
        /// A block in which shorter texts are padded to the longest.
        Padded = "padded",
        /// End to end, without padding.
        Packed = "packed",
        /// As packed, and a beginning that several texts share is computed once.
        Tree = "tree",
    }
}

choice! {
    /// What happens in a step whose loss or gradient is not finite.
    pub enum OnNotFinite {
        /// The run ends.
        Stop = "stop",
        /// The step is skipped and written to a file.
        Skip = "skip",
    }
}

options! {
    /// Options of the stage `train`.
    pub struct TrainOptions {
        /// What is minimised: one loss or a list, whose terms are added. The options of each have a table
        /// of their own.
        loss: Several<dyn Loss> = Several::of(&["tng"]);
        /// The highest learning rate.
        lr: f64 = 5e-6, 0.0..=1.0;
        /// Steps over which the learning rate rises from 0.
        warmup_steps: u64 = 0;
        /// What follows: "constant", or "cosine" down to 0, which falls from epoch to epoch.
        schedule: Shape = Shape::Constant;
        /// AdamW: share of a weight, times lr, that each step subtracts. Norms, biases and the
        /// token embedding do not decay.
        weight_decay: f64 = 0.2, 0.0..=10.0;
        /// AdamW: decay of the mean gradient.
        beta1: f64 = 0.9, 0.0..=0.9999999;
        /// AdamW: decay of the mean squared gradient.
        beta2: f64 = 0.98, 0.0..=0.9999999;
        /// AdamW: added to the root of the mean squared gradient.
        eps: f64 = 1e-6, 1e-12..=1.0;
        /// Trains only this many blocks of the text tower, from the front, and neither embeddings nor
        /// projection; if omitted, the whole tower.
        front_layers: Option<usize> = None;
        /// The gradient is scaled down to this norm; 0: it is not scaled.
        clip_norm: f64 = 0.0, 0.0..=1e9;
        /// Steps between two checkpoints; 0: only checkpoint_minutes counts. There is always one at the
        /// end of an epoch and when a run is interrupted.
        checkpoint_steps: u64 = 0 => free;
        /// Minutes after which the next step is followed by a checkpoint; 0: only checkpoint_steps counts.
        checkpoint_minutes: f64 = 10.0, 0.0..=1e6 => free;
        /// How many checkpoints are kept.
        keep: usize = 2, 1..=1_000_000 => free;
        /// A step whose loss or gradient is NaN or infinite ends the run ("stop"), or is skipped
        /// ("skip"). Either way its samples are written to not-finite.jsonl.
        on_not_finite: OnNotFinite = OnNotFinite::Stop;
        /// How texts are laid out in memory: "padded", "packed", or "tree", which computes a beginning
        /// that several texts share once. The result is the same.
        layout: TextLayout = TextLayout::Tree;
        /// Texts that the tower holds for the backward pass at once; 0: all. Fewer take less memory and
        /// a second forward pass. The result is the same.
        chunk: usize = 0;
        /// Number format in which matrices are multiplied: "f32", or "f16" on a GPU that supports it.
        /// Weights and their updates are f32 either way.
        precision: Products = Products::F32;
        /// Type in which the trained tensors are exported: that of the starting checkpoint if it keeps
        /// every update, else f32 ("auto"); always "f32"; or always that of the "start".
        export: ExportType = ExportType::Auto => free;
        /// Steps between two lines of the log; 0: none.
        log_every: u64 = 20 => free;
    }
}

/// Where the options of the losses went when each loss got a table of its own.
pub(super) const MOVED: Moved = &[
    ("temperature", "write it under [stage.tng] or [stage.contrast]"),
    ("noise", "tng.noise"),
    ("w_caption", "contrast.caption"),
    ("w_twin", "contrast.twin"),
    ("twin_temperature", "contrast.twin_temperature"),
    ("w_keep", "contrast.keep"),
    ("w_turn", "contrast.turn"),
    ("hard_negatives", "contrast.hard_negatives"),
    ("across", "contrast.across"),
    ("image_noise", "contrast.image_noise"),
];

impl TrainOptions {
    /// The optimizer's settings.
    pub fn settings(&self) -> Settings {
        Settings {
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            weight_decay: self.weight_decay,
            clip_norm: self.clip_norm,
        }
    }

    pub(super) fn layout(&self) -> Layout {
        match self.layout {
            TextLayout::Padded => Layout::Padded,
            TextLayout::Packed => Layout::Packed,
            TextLayout::Tree => Layout::Tree,
        }
    }
}
