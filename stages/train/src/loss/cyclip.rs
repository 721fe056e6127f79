//! `loss = "cyclip"`.

use items::Role;
use pipeline_engine::{Part, options};

use super::primitives::{Rows, apart, clip};
use super::texts::TrueText;
use super::{Loss, Needs, StepView, Term};
use crate::error::TrainError;

options! {
    /// The loss of CyCLIP (arXiv 2205.14459): CLIP's, and two terms that make texts lie to each other as
    /// their images do, each `|A - C|^2 / B` (Frobenius norm):
    ///
    /// - `in_modal`: between the cosines of the images and those of the texts;
    /// - `cross_modal`: between the cosines of image j with text k and those of image k with text j.
    ///
    /// The images are frozen here, so both terms move the texts alone.
    pub struct CyClip {
        /// Which text of an image stands for its caption.
        text: TrueText = TrueText::Caption;
        /// Weight of the first.
        in_modal: f64 = 0.25, 0.0..=1e6;
        /// Weight of the second.
        cross_modal: f64 = 0.25, 0.0..=1e6;
        /// Cosines are divided by this, in CLIP's loss.
        temperature: f64 = 0.07, 0.001..=100.0;
    }
}

impl Part for CyClip {
    const NAME: &'static str = "cyclip";
    const ABOUT: &'static str = "CyCLIP: CLIP, and texts lie to each other as their images do";
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
        let masks = apart(step.same, &images.features.device());
        let (v, t) = (images.features.clone(), texts.features.clone());
        let across = v.clone().matmul(t.clone().transpose());
        let cross_modal = across.clone() - across.transpose();
        let in_modal = v.clone().matmul(v.transpose()) - t.clone().matmul(t.transpose());
        // |X|^2 / B is B times the mean of the squares.
        let count = step.count() as f64;
        Ok(vec![
            Term { name: "cyclip", weight: 1.0, value: clip(&texts, &images, masks.as_ref(), self.temperature) },
            Term { name: "in_modal", weight: self.in_modal, value: in_modal.square().mean() * count },
            Term { name: "cross_modal", weight: self.cross_modal, value: cross_modal.square().mean() * count },
        ])
    }
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
