//! `loss = "conclip"`.

use burn::tensor::{Int, Tensor};
use items::Role;
use pipeline_engine::{Part, options};

use super::primitives::{Choices, Rows, apart, nce, neg_clip, others};
use super::texts::{FalseText, TrueText};
use super::{Loss, Needs, StepView, Term};
use crate::error::TrainError;

options! {
    /// The loss of CoN-CLIP (arXiv 2403.20312): NegCLIP's two directions, and a second image of each sample, which
    /// chooses the sample's false text among all texts; the mean of the three. The paper takes second images from a
    /// list of its own, of photos outside the training set. Here it is the most similar other image of the batch. That
    /// image's own text is true of it, so it is not among the choices.
    pub struct ConClip {
        /// Which text of an image stands for its caption.
        text: TrueText = TrueText::Caption;
        /// Which texts are the false ones; of several per image, the second image chooses the first.
        wrong: FalseText = FalseText::Contradiction;
        /// Cosines are divided by this.
        temperature: f64 = 0.07, 0.001..=100.0;
    }
}

impl Part for ConClip {
    const NAME: &'static str = "conclip";
    const ABOUT: &'static str = "CoN-CLIP: NegCLIP, and a second image for which the false text is right";
}

impl Loss for ConClip {
    fn needs(&self) -> Needs {
        Needs { texts: vec![self.text.need(), self.wrong.need()], start: false }
    }

    fn reads(&self, role: Role) -> bool {
        role == self.text.role() || self.wrong.is(role)
    }

    fn terms(&self, step: &StepView<'_>) -> Result<Vec<Term>, TrainError> {
        let images = Rows::whole(step.images.exact());
        let device = images.features.device();
        let apart = apart(step.same, &device);
        let (texts, wrong) = (step.texts.rows(self.text.role())?, step.texts.all_rows(self.wrong.role())?);
        let both_ways = neg_clip(&texts, &wrong, &images, apart.as_ref(), self.temperature);
        let others = others(step.same, &device);
        let nearest = nearest(&images.features, &others);
        let has_other = step.same.iter().any(|&image| image != step.same[0]);
        let second = Rows {
            features: images.features.clone().select(0, nearest.clone()),
            exists: vec![has_other; step.count()],
        };
        // The texts of the second image are true of it.
        let own = others.select(0, nearest);
        Ok(vec![
            // The mean of three directions, of which `neg_clip` gives the mean of two.
            Term { name: "conclip", weight: 2.0 / 3.0, value: both_ways },
            Term { name: "second", weight: 1.0 / 3.0, value: self.second_term(&second, &texts, &wrong, Some(own)) },
        ])
    }
}

impl ConClip {
    /// The second images choose the first false text of their sample; `barred` as in [`Choices`], for `texts`.
    fn second_term(&self, second: &Rows, texts: &Rows, wrong: &[Rows], barred: Option<Tensor<2>>) -> Tensor<1> {
        let wrong = wrong.iter().cloned().map(Choices::open);
        let among: Vec<Choices> = wrong.chain([Choices { rows: texts.clone(), barred }]).collect();
        nce(second, &among, self.temperature)
    }
}

/// For each image, the place of the most similar one that shows another image, `[B]`; of any if there is none. `others`
/// is what [`others`] gives.
fn nearest(images: &Tensor<2>, others: &Tensor<2>) -> Tensor<1, Int> {
    let cosines = images.clone().matmul(images.clone().transpose()) + others.clone();
    let count = images.dims()[0];
    cosines.argmax(1).reshape([count])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{agrees_with_finite_differences, golden_rows};
    use super::*;

    const CONCLIP: ConClip = ConClip { text: TrueText::Caption, wrong: FalseText::Contradiction, temperature: 0.07 };

    #[test]
    fn agrees_with_the_golden_numbers() {
        let rows = |seed| Rows::whole(golden_rows(seed));
        let first = neg_clip(&rows(3), &[rows(4)], &rows(1), None, 0.07) * (2.0 / 3.0);
        let second = CONCLIP.second_term(&rows(2), &rows(3), &[rows(4)], None) / 3.0;
        let found: f32 = (first + second).into_scalar();
        assert!((found - 11.520974).abs() < 1e-4, "{found}");
    }

    #[test]
    fn the_second_image_is_another_one_and_its_own_text_is_no_wrong_choice() {
        use super::super::testing::{Case, tensor};
        let mut case = Case::new(&[Role::Original, Role::Misnegated(0)], 3, 2, 1);
        case.images = vec![1.0, 0.0, 1.0, 0.0, 0.6, 0.8];
        case.same = vec![0, 0, 1];
        let nearest = |case: &Case| -> Vec<i64> {
            let images = tensor(&case.images, 2);
            let found = nearest(&images, &others(&case.same, &images.device()));
            found.into_data().iter::<i64>().collect()
        };
        assert_eq!(nearest(&case), [2, 2, 0]);
        case.same = vec![0, 0, 0];
        let terms = case.terms(&CONCLIP);
        assert_eq!(terms[1].value.clone().into_scalar::<f32>(), 0.0, "no second image, no term");
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        agrees_with_finite_differences("conclip", &CONCLIP);
    }
}
