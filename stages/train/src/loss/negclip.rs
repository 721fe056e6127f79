//! `loss = "negclip"`.

use items::Role;
use pipeline_engine::{Part, options};

use super::primitives::{Rows, apart, neg_clip};
use super::texts::{FalseText, TrueText};
use super::{Loss, Needs, StepView, Term};
use crate::error::TrainError;

options! {
    /// NegCLIP's loss (arXiv 2210.01936, section 4): as CLIP's, but each image chooses among the texts and *all* false
    /// texts of the batch. A false text may be true of another image of the batch, which the method accepts.
    pub struct NegClip {
        /// Which text of an image stands for its caption.
        text: TrueText = TrueText::Caption;
        /// Which texts are the false ones.
        wrong: FalseText = FalseText::Contradiction;
        /// Cosines are divided by this.
        temperature: f64 = 0.07, 0.001..=100.0;
        /// Length of the noise that is added to each image feature (of length 1), anew in each step.
        image_noise: f64 = 0.0, 0.0..=10.0;
    }
}

impl Part for NegClip {
    const NAME: &'static str = "negclip";
    const ABOUT: &'static str = "NegCLIP: CLIP with the false texts of the whole batch among the choices of each image";
}

impl Loss for NegClip {
    fn needs(&self) -> Needs {
        Needs { texts: vec![self.text.need(), self.wrong.need()], start: false }
    }

    fn reads(&self, role: Role) -> bool {
        role == self.text.role() || self.wrong.is(role)
    }

    fn terms(&self, step: &StepView<'_>) -> Result<Vec<Term>, TrainError> {
        let rng = &mut step.draw.clone().text(Self::NAME).rng();
        let images = Rows::whole(step.images.noisy(self.image_noise, rng));
        let apart = apart(step.same, &images.features.device());
        let (texts, wrong) = (step.texts.rows(self.text.role())?, step.texts.all_rows(self.wrong.role())?);
        let value = neg_clip(&texts, &wrong, &images, apart.as_ref(), self.temperature);
        Ok(vec![Term { name: "negclip", weight: 1.0, value }])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{agrees_with_finite_differences, golden};
    use super::*;

    const NEGCLIP: NegClip =
        NegClip { text: TrueText::Caption, wrong: FalseText::Contradiction, temperature: 0.07, image_noise: 0.0 };

    #[test]
    fn agrees_with_the_golden_numbers() {
        golden(&NEGCLIP, &[(Role::Original, 3), (Role::Misnegated(0), 4)], 7.792528192);
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        agrees_with_finite_differences("negclip", &NEGCLIP);
        agrees_with_finite_differences("negclip with twins", &NegClip { wrong: FalseText::Twin, ..NEGCLIP });
    }
}
