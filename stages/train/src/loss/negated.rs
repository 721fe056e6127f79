//! `loss = "negated"`.

use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Device, Tensor, TensorData};
use items::{Role, Statement};
use pipeline_engine::{Part, options};

use super::primitives::{apart, cross_entropy, mean_over};
use super::{Loss, Needs, StepView, Term, TextNeed};
use crate::error::TrainError;

options! {
    /// Whole captions with a denial find their image, as plain captions do: "A dog runs on grass, but
    /// there is no ball". Without it a tower that learns short denials lets them drown a long caption,
    /// and loses retrieval with negation. The weighted sum of three terms:
    ///
    /// - `negated`: InfoNCE from text to image: each of the N texts per image chooses its image among
    ///   B. The images are the negatives: with `margin`, one that looks more like what the text denies
    ///   than its own image does counts as more similar than it is, and so has to be further away.
    /// - `negated_back`: InfoNCE from image to text, without `margin`: each image chooses its text among
    ///   those of the B images, one of each.
    /// - `contradiction`: `softplus((s_false - s_true) / temperature)` of a text and the same text
    ///   with something denied that the image shows.
    pub struct Negated {
        /// Cosines are divided by this.
        temperature: f64 = 0.07, 0.001..=100.0;
        /// Weight of "texts find their image".
        negated: f64 = 1.0, 0.0..=1e6;
        /// What is added to the cosine with a wrong image, times how much more that image looks like what
        /// the text denies (a difference of cosines of the tower before training). Above 0 it costs a
        /// forward pass of the denied things per step.
        margin: f64 = 0.0, 0.0..=100.0;
        /// Weight of "images find their texts".
        negated_back: f64 = 0.0, 0.0..=1e6;
        /// Weight of "a text fits better than its contradiction". Above 0 it needs such texts: set
        /// contradictions = true for the writer `negated`.
        contradiction: f64 = 0.0, 0.0..=1e6;
        /// Length of the noise that is added to each image feature (of length 1), anew in each step.
        /// For pictures that the image encoder was itself trained on.
        image_noise: f64 = 0.0, 0.0..=10.0;
    }
}

impl Part for Negated {
    const NAME: &'static str = "negated";
    const ABOUT: &'static str = "whole captions with a denial find their image";
}

impl Loss for Negated {
    fn needs(&self) -> Needs {
        let negated = TextNeed {
            roles: vec![Role::Negated(0)],
            what: "whole captions with a denial",
            help: "list \"negated\" in `writer` in the stage captions",
        };
        let denied = TextNeed {
            roles: vec![Role::Denied(Statement::Negated(0), 0)],
            what: "the things that whole captions deny",
            help: "list \"negated\" in `writer` in the stage captions, or set negated.margin = 0.0 in the stage train",
        };
        let contradictions = TextNeed {
            roles: vec![Role::Misnegated(0)],
            what: "contradictions of the captions",
            help: "set negated.contradictions = true in the stage captions, or negated.contradiction = 0.0 in the \
                   stage train",
        };
        let mut texts = vec![negated];
        texts.extend((self.margin > 0.0).then_some(denied));
        texts.extend((self.contradiction > 0.0).then_some(contradictions));
        Needs { texts, start: self.margin > 0.0 }
    }

    fn reads(&self, role: Role) -> bool {
        matches!(role, Role::Negated(_)) || self.contradiction > 0.0 && matches!(role, Role::Misnegated(_))
    }

    fn terms(&self, step: &StepView<'_>) -> Result<Vec<Term>, TrainError> {
        let rng = &mut step.draw.clone().text("negated").rng();
        let images = step.images.noisy(self.image_noise, rng);
        let own: Vec<u32> = (0..step.count() as u32).collect();
        let numbers: Vec<u8> = step.texts.numbered(Role::Negated).collect();
        let apart = apart(step.same, &images.device());
        let (mut negated, mut back, mut contradiction) = (Vec::new(), Vec::new(), Vec::new());
        for &n in &numbers {
            let texts = step.texts.of(Role::Negated(n))?;
            let chosen = |cosines: Tensor<2>| {
                let logits = cosines / self.temperature;
                let logits = apart.clone().map_or(logits.clone(), |apart| logits + apart);
                cross_entropy(logits, &own)
            };
            let cosines = texts.clone().matmul(images.clone().transpose());
            if self.negated_back > 0.0 {
                back.push(chosen(cosines.clone().transpose()));
            }
            negated.push(chosen(if self.margin > 0.0 {
                cosines + self.closer(step, n)? * self.margin
            } else {
                cosines
            }));
            if self.contradiction > 0.0 {
                let wrong = step.texts.rows(Role::Misnegated(n))?;
                let margin = ((texts - wrong.features) * images.clone()).sum_dim(1) / self.temperature;
                contradiction.push(mean_over(&wrong.exists, log_sigmoid(margin).neg()));
            }
        }
        let mean = |values: Vec<Tensor<1>>| Tensor::cat(values, 0).mean();
        let mut terms = vec![Term { name: "negated", weight: self.negated, value: mean(negated) }];
        if self.negated_back > 0.0 {
            terms.push(Term { name: "negated_back", weight: self.negated_back, value: mean(back) });
        }
        if self.contradiction > 0.0 {
            terms.push(Term { name: "contradiction", weight: self.contradiction, value: mean(contradiction) });
        }
        Ok(terms)
    }
}

impl Negated {
    /// By how much image `j` looks more like what text `n` of image `i` denies than image `i` does:
    /// `max(0, d_i . v_j - d_i . v_i)`, `[B, B]`, without gradient. 0 where nothing is denied.
    fn closer(&self, step: &StepView<'_>, n: u8) -> Result<Tensor<2>, TrainError> {
        let images = step.images.exact();
        let device: Device = images.device();
        let things = step.start()?.phrases(&[Role::Denied(Statement::Negated(n), 0)])?;
        let none = vec![0.0; things.width()];
        let rows: Vec<f32> = things.each().flat_map(|thing| thing.unwrap_or(&none).iter().copied()).collect();
        let rows = Tensor::<2>::from_data(TensorData::new(rows, [step.count(), things.width()]), &device);
        let own = (rows.clone() * images.clone()).sum_dim(1);
        Ok((rows.matmul(images.transpose()) - own).clamp_min(0.0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{Case, agrees_with_finite_differences, dot, surprise, unit};
    use super::super::total;
    use super::*;

    const ROLES: [Role; 4] = [Role::Negated(0), Role::Misnegated(0), Role::Negated(1), Role::Misnegated(1)];
    const NEGATED: Negated = Negated {
        temperature: 0.1,
        negated: 0.7,
        margin: 0.6,
        negated_back: 0.4,
        contradiction: 1.3,
        image_noise: 0.0,
    };

    #[test]
    fn matches_a_plain_reference() {
        let (b, d) = (5, 7);
        let mut case = Case::new(&ROLES, b, d, 3);
        case.same = vec![0, 1, 2, 0, 4];
        let (t, v) = (unit(&case.texts, d), unit(&case.images, d));
        let (mut negated, mut back, mut contradiction) = (0.0, 0.0, 0.0);
        for n in 0..2 {
            let denied = unit(&case.start.rows(Role::Denied(Statement::Negated(n as u8), 0)), d);
            for i in 0..b {
                let text = &t[4 * i + 2 * n];
                let others: Vec<usize> = (0..b).filter(|&j| j == i || case.same[j] != case.same[i]).collect();
                let more = |j: usize| (dot(&denied[i], &v[j]) - dot(&denied[i], &v[i])).max(0.0);
                let scores: Vec<f64> = others.iter().map(|&j| dot(text, &v[j]) + 0.6 * more(j)).collect();
                negated += surprise(&scores, others.iter().position(|&j| j == i).unwrap(), 0.1) / (2 * b) as f64;
                let scores: Vec<f64> = others.iter().map(|&j| dot(&t[4 * j + 2 * n], &v[i])).collect();
                back += surprise(&scores, others.iter().position(|&j| j == i).unwrap(), 0.1) / (2 * b) as f64;
                let (yes, no) = (dot(text, &v[i]), dot(&t[4 * i + 2 * n + 1], &v[i]));
                contradiction += ((no - yes) / 0.1).exp().ln_1p() / (2 * b) as f64;
            }
        }
        let found: f32 = total(&case.terms(&NEGATED)).unwrap().into_scalar();
        let expected = 0.7 * negated + 0.4 * back + 1.3 * contradiction;
        assert!((f64::from(found) / expected - 1.0).abs() < 1e-5, "{found} {expected}");
    }

    #[test]
    fn the_gradient_of_every_term_agrees_with_finite_differences() {
        agrees_with_finite_differences("negated with every term", &NEGATED);
        let noisy = Negated { margin: 0.0, contradiction: 0.0, image_noise: 0.5, ..NEGATED };
        agrees_with_finite_differences("negated with noise", &noisy);
    }

    #[test]
    fn missing_texts_say_what_to_change() {
        let wrong = |loss: Negated, roles: &[Role]| loss.needs().check(roles).unwrap_err().to_string();
        assert!(wrong(NEGATED, &[Role::Original]).contains("list \"negated\" in `writer`"));
        let denied = Role::Denied(Statement::Negated(0), 0);
        assert!(wrong(NEGATED, &[Role::Negated(0)]).contains("negated.margin = 0.0"));
        assert!(wrong(NEGATED, &[Role::Negated(0), denied]).contains("negated.contradictions = true"));
        let plain = Negated { margin: 0.0, contradiction: 0.0, ..NEGATED };
        plain.needs().check(&[Role::Negated(0)]).unwrap();
        assert!(!plain.needs().start && NEGATED.needs().start && !plain.reads(Role::Misnegated(0)));
    }
}
