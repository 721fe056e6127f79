//! A complete loss of one's own, in one file: plain CLIP on the captions.
//!
//! To use it, save it as `stages/train/src/loss/infonce.rs`, add `mod infonce;` and
//! `infonce::InfoNce` to the list in `stages/train/src/loss/mod.rs`, and write in pipeline.toml:
//!
//! ```toml
//! [[stage]]
//! kind = "train"
//! loss = "infonce"
//! [stage.infonce]
//! temperature = 0.05
//! ```
//!
//! `check`, `stages train`, `schema`, `--set stage.train.infonce.temperature=0.05` and `--resume`
//! know the loss and its options from the definition below, and a test compares its gradient with
//! finite differences.

use items::Role;
use pipeline_engine::{Part, options};

use crate::error::TrainError;
use crate::loss::primitives::{apart, cross_entropy};
use crate::loss::{Loss, Needs, StepView, Term, TextNeed};

options! {
    /// Each caption finds its image among B, and each image its caption (CLIP, arXiv 2103.00020,
    /// figure 3).
    pub struct InfoNce {
        /// Cosines are divided by this.
        temperature: f64 = 0.07, 0.001..=100.0;
    }
}

impl Part for InfoNce {
    const NAME: &'static str = "infonce";
    const ABOUT: &'static str = "captions and images find each other, as in CLIP";
}

impl Loss for InfoNce {
    /// `check` refuses a pipeline in which no stage gives such texts, with this help.
    fn needs(&self) -> Needs {
        let texts = TextNeed {
            roles: vec![Role::Original],
            what: "captions",
            help: "add a stage captions; writer = \"plain\" is enough",
        };
        Needs { texts: vec![texts], start: false }
    }

    /// Only these texts go through the tower that is trained.
    fn reads(&self, role: Role) -> bool {
        role == Role::Original
    }

    fn terms(&self, step: &StepView<'_>) -> Result<Vec<Term>, TrainError> {
        // [B, D] each; gradients flow through the captions.
        let (captions, images) = (step.texts.of(Role::Original)?, step.images.exact());
        let mut logits = captions.matmul(images.transpose()) / self.temperature;
        // Two captions of one image are not wrong for each other.
        if let Some(apart) = apart(step.same, &logits.device()) {
            logits = logits + apart;
        }
        let own: Vec<u32> = (0..step.count() as u32).collect();
        let text_to_image = cross_entropy(logits.clone(), &own);
        let image_to_text = cross_entropy(logits.transpose(), &own);
        Ok(vec![
            Term { name: "text_to_image", weight: 0.5, value: text_to_image },
            Term { name: "image_to_text", weight: 0.5, value: image_to_text },
        ])
    }
}
