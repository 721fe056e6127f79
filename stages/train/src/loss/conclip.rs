//! `loss = "conclip"`.

use burn::tensor::{Tensor, TensorData};
use items::Role;
use pipeline_engine::{Part, choice, options};

use super::primitives::{Choices, Rows, apart, nce, neg_clip};
use super::texts::{FalseText, TrueText};
use super::{Images, Loss, Needs, StepView, Term};
use crate::error::TrainError;

choice! {
    /// The second image of each sample, for which the false text is right.
    pub enum Second {
        /// The most similar other image of the batch.
        Nearest = "nearest",
        /// None: the loss of NegCLIP.
        Nothing = "none",
    }
}

options! {
    /// The loss of CoN-CLIP (arXiv 2403.20312): NegCLIP's two directions, and a second image of each sample, which
    /// chooses the sample's false text among all texts; the mean of the three. The paper takes second images from a
    /// list of its own, for photos outside the training set. Here it is the most similar other image of the batch, so
    /// that image's own text is no wrong choice for it, and is left out.
    pub struct ConClip {
        /// Which text of an image stands for its caption.
        text: TrueText = TrueText::Caption;
        /// Which texts are the false ones; of several per image, the second image chooses the first.
        wrong: FalseText = FalseText::Contradiction;
        /// Where the second image of a sample comes from.
        second: Second = Second::Nearest;
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
        let first = neg_clip(&texts, &wrong, &images, apart.as_ref(), self.temperature);
        // The two directions as one term: twice their mean.
        let weight = if self.second == Second::Nothing { 1.0 } else { 2.0 / 3.0 };
        let mut terms = vec![Term { name: "conclip", weight, value: first }];
        if self.second == Second::Nearest {
            let nearest = nearest(step.images, step.same);
            let (second, barred) = (second(step, &nearest), own_texts(step, &nearest));
            let value = self.second_term(&second, &texts, &wrong, Some(barred));
            terms.push(Term { name: "second", weight: 1.0 / 3.0, value });
        }
        Ok(terms)
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

/// For each image, the most similar one that is another image; `None` if there is none.
fn nearest(images: Images<'_>, same: &[u32]) -> Vec<Option<usize>> {
    let rows: Vec<&[f32]> = images.rows().collect();
    let cosine = |i: usize, j: usize| rows[i].iter().zip(rows[j]).map(|(a, b)| a * b).sum::<f32>();
    let nearest = |i: usize| {
        let others = (0..rows.len()).filter(|&j| same[j] != same[i]);
        others.map(|j| (j, cosine(i, j))).reduce(|best, other| if other.1 > best.1 { other } else { best })
    };
    (0..rows.len()).map(|i| nearest(i).map(|(j, _)| j)).collect()
}

/// The features of the second images.
fn second(step: &StepView<'_>, nearest: &[Option<usize>]) -> Rows {
    let rows: Vec<&[f32]> = step.images.rows().collect();
    let width = rows.first().map_or(0, |row| row.len());
    let features: Vec<f32> = nearest.iter().enumerate().flat_map(|(i, j)| rows[j.unwrap_or(i)].to_vec()).collect();
    let device = step.images.exact().device();
    let features = Tensor::from_data(TensorData::new(features, [nearest.len(), width]), &device);
    Rows { features, there: nearest.iter().map(Option::is_some).collect() }
}

/// `[B, B]`: keeps each second image from being compared with the texts of its own image.
fn own_texts(step: &StepView<'_>, nearest: &[Option<usize>]) -> Tensor<2> {
    let count = nearest.len();
    let own = |second: &Option<usize>, j: usize| second.is_some_and(|second| step.same[second] == step.same[j]);
    let values: Vec<f32> =
        nearest.iter().flat_map(|s| (0..count).map(move |j| if own(s, j) { -1e9 } else { 0.0 })).collect();
    Tensor::from_data(TensorData::new(values, [count, count]), &step.images.exact().device())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{agrees_with_finite_differences, golden, golden_rows};
    use super::*;

    const CONCLIP: ConClip = ConClip {
        text: TrueText::Caption,
        wrong: FalseText::Contradiction,
        second: Second::Nearest,
        temperature: 0.07,
    };

    #[test]
    fn agrees_with_the_golden_numbers() {
        let off = ConClip { second: Second::Nothing, ..CONCLIP };
        golden(&off, &[(Role::Original, 3), (Role::Misnegated(0), 4)], 7.792528192);
        let rows = |seed| Rows::whole(golden_rows(seed));
        let first = neg_clip(&rows(3), &[rows(4)], &rows(1), None, 0.07) * (2.0 / 3.0);
        let second = CONCLIP.second_term(&rows(2), &rows(3), &[rows(4)], None) / 3.0;
        let found: f32 = (first + second).into_scalar();
        assert!((found - 11.520974).abs() < 1e-4, "{found}");
    }

    #[test]
    fn the_second_image_is_another_one_and_its_own_text_is_no_wrong_choice() {
        use super::super::testing::Case;
        let mut case = Case::new(&[Role::Original, Role::Misnegated(0)], 3, 2, 1);
        case.images = vec![1.0, 0.0, 1.0, 0.0, 0.6, 0.8];
        case.same = vec![0, 0, 1];
        let device = burn::tensor::Device::flex();
        let found = nearest(Images::new(&case.images, 2, &device), &case.same);
        assert_eq!(found, [Some(2), Some(2), Some(0)]);
        case.same = vec![0, 0, 0];
        assert_eq!(nearest(Images::new(&case.images, 2, &device), &case.same), [None; 3]);
        let terms = case.terms(&CONCLIP);
        assert_eq!(terms[1].value.clone().into_scalar::<f32>(), 0.0, "no second image, no term");
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        agrees_with_finite_differences("conclip", &CONCLIP);
    }
}
