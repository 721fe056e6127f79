//! `loss = "omni"`.

use items::Role;
use pipeline_engine::{Part, options};

use super::primitives::{Rows, apart, both, choice, clip, mean_over, neg_clip};
use super::texts::{FalseText, TrueText};
use super::{Loss, Needs, StepView, Term};
use crate::error::TrainError;

options! {
    /// The loss of Omni-NegCLIP (arXiv 2603.29258), of a caption t, a false text f and a true text a that denies
    /// something: the sum of
    ///
    /// - `presence`: a third of NegCLIP's two directions and of the choice between t and f;
    /// - `absent`: CLIP's loss with a in place of the caption; `captions`: with t;
    /// - `apart`: `relu(cos(t, a) + margin)`, which pushes the two true texts away from each other.
    ///
    /// The method draws t and f from one data set and t and a from another. Here each image has all three.
    pub struct Omni {
        /// Which texts are the false ones.
        wrong: FalseText = FalseText::Contradiction;
        /// Which text is the true one that denies something.
        absent: TrueText = TrueText::Negated;
        /// The cosine of caption and denial is pushed below minus this.
        margin: f64 = 0.9, -1.0..=1.0;
        /// Weight of that push.
        apart: f64 = 1.0, 0.0..=1e6;
        /// Cosines are divided by this.
        temperature: f64 = 0.07, 0.001..=100.0;
    }
}

impl Part for Omni {
    const NAME: &'static str = "omni";
    const ABOUT: &'static str =
        "Omni-NegCLIP: false texts are refused, true denials found, and kept away from captions";
}

impl Loss for Omni {
    fn needs(&self) -> Needs {
        Needs { texts: vec![TrueText::Caption.need(), self.wrong.need(), self.absent.need()], start: false }
    }

    fn reads(&self, role: Role) -> bool {
        role == Role::Original || role == self.absent.role() || self.wrong.is(role)
    }

    fn terms(&self, step: &StepView<'_>) -> Result<Vec<Term>, TrainError> {
        let images = Rows::whole(step.images.exact());
        let masks = apart(step.same, &images.features.device());
        let masks = masks.as_ref();
        let captions = step.texts.rows(Role::Original)?;
        let wrong = step.texts.all_rows(self.wrong.role())?;
        let absent = step.texts.rows(self.absent.role())?;
        let first: Vec<Rows> = [captions.clone()].into_iter().chain(wrong.first().cloned()).collect();
        let both_ways = neg_clip(&captions, &wrong, &images, masks, self.temperature) * 2.0;
        let presence = (both_ways + choice(&first, &images.features, self.temperature)) / 3.0;
        let cosines = (captions.features.clone() * absent.features.clone()).sum_dim(1);
        let push = mean_over(&both(&captions.exists, &absent.exists), (cosines + self.margin).clamp_min(0.0));
        Ok(vec![
            Term { name: "presence", weight: 1.0, value: presence },
            Term { name: "absent", weight: 1.0, value: clip(&absent, &images, masks, self.temperature) },
            Term { name: "captions", weight: 1.0, value: clip(&captions, &images, masks, self.temperature) },
            Term { name: "apart", weight: self.apart, value: push },
        ])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{agrees_with_finite_differences, golden, golden_terms};
    use super::*;

    const OMNI: Omni =
        Omni { wrong: FalseText::Contradiction, absent: TrueText::Negated, margin: 0.9, apart: 1.0, temperature: 0.07 };

    #[test]
    fn agrees_with_the_golden_numbers() {
        let texts = [(Role::Original, 3), (Role::Misnegated(0), 4), (Role::Negated(0), 5)];
        golden(&OMNI, &texts, 31.952985152);
        let terms = golden_terms(&OMNI, &texts);
        let near = |name: &str, expected: f64| {
            let (_, found) = terms.iter().find(|(other, _)| *other == name).unwrap();
            assert!((found / expected - 1.0).abs() < 1e-5, "{name}: {found} {expected}");
        };
        near("presence", 5.195142577);
        near("apart", 0.376833168);
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        agrees_with_finite_differences("omni", &OMNI);
    }
}
