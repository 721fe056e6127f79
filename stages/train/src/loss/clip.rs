//! `loss = "clip"`.

use items::Role;
use pipeline_engine::{Part, options};

use super::primitives::{Rows, apart, clip};
use super::texts::TrueText;
use super::{Loss, Needs, StepView, Term};
use crate::error::TrainError;

options! {
    /// CLIP's loss (arXiv 2103.00020, figure 3): each text chooses its image among B, and each image its text; the
    /// mean of both cross-entropies. With `text = "negated"` it is NegationCLIP's (arXiv 2501.10913): a
    /// caption with a denial replaces the caption. Texts of the same image are not compared with each other.
    pub struct Clip {
        /// Which text of an image stands for its caption.
        text: TrueText = TrueText::Caption;
        /// Cosines are divided by this. CLIP checkpoints have learned 0.01; from scratch one starts at 0.07.
        temperature: f64 = 0.07, 0.001..=100.0;
        /// Length of the noise that is added to each image feature (of length 1), anew in each step.
        image_noise: f64 = 0.0, 0.0..=10.0;
    }
}

impl Part for Clip {
    const NAME: &'static str = "clip";
    const ABOUT: &'static str = "CLIP, NegationCLIP: a text of each image and its image find each other";
}

impl Loss for Clip {
    fn needs(&self) -> Needs {
        Needs { texts: vec![self.text.need()], start: false }
    }

    fn reads(&self, role: Role) -> bool {
        role == self.text.role()
    }

    fn terms(&self, step: &StepView<'_>) -> Result<Vec<Term>, TrainError> {
        let rng = &mut step.draw.clone().text(Self::NAME).rng();
        let images = Rows::whole(step.images.noisy(self.image_noise, rng));
        let apart = apart(step.same, &images.features.device());
        let value = clip(&step.texts.rows(self.text.role())?, &images, apart.as_ref(), self.temperature);
        Ok(vec![Term { name: "clip", weight: 1.0, value }])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{agrees_with_finite_differences, golden};
    use super::*;

    const CLIP: Clip = Clip { text: TrueText::Caption, temperature: 0.07, image_noise: 0.0 };

    #[test]
    fn agrees_with_the_golden_numbers() {
        golden(&CLIP, &[(Role::Original, 3)], 6.532752055);
        golden(&Clip { text: TrueText::Negated, ..CLIP }, &[(Role::Negated(0), 5)], 19.848257352);
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        agrees_with_finite_differences("clip", &CLIP);
        agrees_with_finite_differences("clip with noise", &Clip { text: TrueText::Twin, image_noise: 0.5, ..CLIP });
    }
}
