//! `loss = "negbench"`.

use items::Role;
use pipeline_engine::{Part, options};

use super::primitives::{Rows, apart, choice, clip};
use super::texts::TrueText;
use super::{Loss, Needs, StepView, Term, TextNeed};
use crate::error::TrainError;

options! {
    /// NegBench's fine-tuning loss (arXiv 2501.09425): CLIP's loss, and the cross-entropy of choosing the
    /// true one of an image's own statements. The statements are the true text of the first pair of twins and the
    /// false texts of all pairs. The release takes the second term from features that are not scaled to length 1; the
    /// paper, and this loss, scale them.
    pub struct NegBench {
        /// Which text of an image stands for its caption.
        text: TrueText = TrueText::Caption;
        /// Weight of CLIP's loss.
        clip: f64 = 0.99, 0.0..=1e6;
        /// Weight of the choice.
        choice: f64 = 0.01, 0.0..=1e6;
        /// Cosines are divided by this.
        temperature: f64 = 0.07, 0.001..=100.0;
    }
}

impl Part for NegBench {
    const NAME: &'static str = "negbench";
    const ABOUT: &'static str = "NegBench: CLIP, and each image chooses the true one of its own statements";
}

impl Loss for NegBench {
    fn needs(&self) -> Needs {
        let statements = TextNeed {
            roles: vec![Role::True(0), Role::False(0)],
            what: "a true and a false statement",
            help: "list \"twins\" in `writer` in the stage captions; twins.pairs = 3 gives three false ones",
        };
        Needs { texts: vec![self.text.need(), statements], start: false }
    }

    fn reads(&self, role: Role) -> bool {
        role == self.text.role() || role == Role::True(0) || matches!(role, Role::False(_))
    }

    fn terms(&self, step: &StepView<'_>) -> Result<Vec<Term>, TrainError> {
        let images = Rows::whole(step.images.exact());
        let masks = apart(step.same, &images.features.device());
        let texts = step.texts.rows(self.text.role())?;
        let mut options = vec![step.texts.rows(Role::True(0))?];
        options.extend(step.texts.all_rows(Role::False)?);
        Ok(vec![
            Term {
                name: "negbench",
                weight: self.clip,
                value: clip(&texts, &images, masks.as_ref(), self.temperature),
            },
            Term { name: "choice", weight: self.choice, value: choice(&options, &images.features, self.temperature) },
        ])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{agrees_with_finite_differences, golden};
    use super::*;

    const NEGBENCH: NegBench = NegBench { text: TrueText::Caption, clip: 0.99, choice: 0.01, temperature: 0.07 };

    #[test]
    fn agrees_with_the_golden_numbers() {
        let options = [(Role::True(0), 3), (Role::False(0), 4), (Role::False(1), 5), (Role::False(2), 6)];
        let texts: Vec<(Role, u64)> = [(Role::Original, 3)].into_iter().chain(options).collect();
        golden(&NEGBENCH, &texts, 6.542986123);
        golden(&NegBench { clip: 0.0, choice: 1.0, ..NEGBENCH }, &texts, 7.556158917);
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        agrees_with_finite_differences("negbench", &NegBench { choice: 1.0, ..NEGBENCH });
    }
}
