//! `loss = "cyclip"`.

use burn::tensor::{Device, Tensor, TensorData};
use items::Role;
use pipeline_engine::{Part, options};

use super::primitives::{Rows, apart, clip};
use super::texts::TrueText;
use super::{Loss, Needs, StepView, Term};
use crate::error::TrainError;

options! {
    /// The loss of CyCLIP (arXiv 2205.14459): CLIP's, and two terms that bring the cosines between texts to those
    /// between their images, each `|A - C|^2 / B` (Frobenius norm):
    ///
    /// - `in_modal`: between the cosines of the images and those of the texts;
    /// - `cross_modal`: between the cosines of image j with text k and those of image k with text j.
    ///
    /// The images are frozen here, so both terms move the texts alone.
    pub struct CyClip {
        /// Which text of an image stands for its caption.
        text: TrueText = TrueText::Caption;
        /// Weight of `in_modal`.
        in_modal: f64 = 0.25, 0.0..=1e6;
        /// Weight of `cross_modal`.
        cross_modal: f64 = 0.25, 0.0..=1e6;
        /// Cosines are divided by this, in CLIP's loss.
        temperature: f64 = 0.07, 0.001..=100.0;
    }
}

impl Part for CyClip {
    const NAME: &'static str = "cyclip";
    const ABOUT: &'static str = "CyCLIP: CLIP, and the cosines between texts match those between their images";
}

impl Loss for CyClip {
    fn needs(&self) -> Needs {
        Needs { texts: vec![self.text.need()], start: false }
    }

    fn reads(&self, role: Role) -> bool {
        role == self.text.role()
    }

    fn terms(&self, step: &StepView<'_>) -> Result<Vec<Term>, TrainError> {
        let (images, texts) = (Rows::whole(step.images.exact()), step.texts.rows(self.text.role())?);
        let device = images.features.device();
        let masks = apart(step.same, &device);
        let (v, t) = (images.features.clone(), texts.features.clone());
        let across = v.clone().matmul(t.clone().transpose());
        let cross_modal = across.clone() - across.transpose();
        let in_modal = v.clone().matmul(v.transpose()) - t.clone().matmul(t.transpose());
        let count = texts.exists.iter().filter(|&&exists| exists).count().max(1) as f64;
        // |X|^2 / B over the pairs of images that have the text.
        let norm = |differences: Tensor<2>| (differences.square() * pairs(&texts.exists, &device)).sum() / count;
        Ok(vec![
            Term { name: "cyclip", weight: 1.0, value: clip(&texts, &images, masks.as_ref(), self.temperature) },
            Term { name: "in_modal", weight: self.in_modal, value: norm(in_modal) },
            Term { name: "cross_modal", weight: self.cross_modal, value: norm(cross_modal) },
        ])
    }
}

/// `[B, B]`: 1 for two images that both have the text, else 0.
fn pairs(exists: &[bool], device: &Device) -> Tensor<2> {
    let column: Vec<f32> = exists.iter().map(|&exists| f32::from(u8::from(exists))).collect();
    let column = Tensor::<2>::from_data(TensorData::new(column, [exists.len(), 1]), &device.clone().inner());
    column.clone().matmul(column.transpose())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{agrees_with_finite_differences, golden};
    use super::*;

    const CYCLIP: CyClip = CyClip { text: TrueText::Caption, in_modal: 0.25, cross_modal: 0.25, temperature: 0.07 };

    #[test]
    fn agrees_with_the_golden_numbers() {
        golden(&CYCLIP, &[(Role::Original, 3)], 6.904027636);
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        agrees_with_finite_differences("cyclip", &CYCLIP);
    }
}
