//! `loss = "contrast"`.

use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Device, Tensor, TensorData};
use items::Role;
use pipeline_engine::{Part, options};

use super::primitives::{apart, cross_entropy, normalised};
use super::{Loss, Needs, Phrases, StepView, Term, TextNeed};
use crate::error::TrainError;

options! {
    /// Our own loss: captions and images find each other, and an image prefers the true one of two
    /// texts that differ in what they negate (twins). The weighted sum of four terms:
    ///
    /// - `caption`: InfoNCE in both directions between B captions and B images (CLIP, arXiv
    ///   2103.00020, figure 3). With `hard_negatives` each image's false twins join the B captions
    ///   that it chooses among, as in NegCLIP (arXiv 2210.01936, section 4), but only for the image
    ///   itself: they may be true of another image. Items that show the same image are not
    ///   compared with each other.
    /// - `twin`: the cross-entropy of choosing the true one of each pair,
    ///   `softplus((s_false - s_true) / twin_temperature)`, the mean over all pairs. With `across`
    ///   the pairs are all true texts of an image with all its false ones: a twin teaches what "no"
    ///   turns round, the others teach that texts of different structure can be compared, as in a
    ///   multiple choice.
    /// - `keep`: `1 - cos` between a caption's feature and its feature before training, the mean over
    ///   the captions.
    /// - `turn`: `1 - cos` between `true - false` of a pair and the direction from the absent thing to
    ///   the present one, as the tower saw them before training. "no cat" minus "no dog" has to point
    ///   from "a cat" to "a dog". Without it a tower tends to forget what is denied instead of
    ///   turning away from it: "no cat" and "no dog" become the same, where the term `twin` has
    ///   almost no gradient. Where a pair is about one thing only, the mean over the distinct things
    ///   of the batch replaces the other.
    pub struct Contrast {
        /// Cosines of captions and images are divided by this.
        temperature: f64 = 0.07, 0.001..=100.0;
        /// Weight of "captions and images find each other".
        caption: f64 = 1.0, 0.0..=1e6;
        /// Weight of "the image prefers the true twin".
        twin: f64 = 1.0, 0.0..=1e6;
        /// Cosines of twins are divided by this.
        twin_temperature: f64 = 0.07, 0.001..=100.0;
        /// Weight of "captions keep the features they had before training"; above 0 it costs a
        /// forward pass of the captions per step.
        keep: f64 = 0.0, 0.0..=1e6;
        /// Weight of "a negation turns a text away from what it denies". Above 0 it needs the things
        /// that each pair of twins is about: set things = true for the writer of the captions.
        turn: f64 = 0.0, 0.0..=1e6;
        /// Whether an image's false twins are among the texts that it must not choose.
        hard_negatives: bool = true;
        /// Whether each true text is compared with every false text of its image (true), or with its
        /// own twin only (false).
        across: bool = true;
        /// Length of the noise that is added to each image feature (of length 1), anew in each step.
        /// For pictures that the image encoder was itself trained on.
        image_noise: f64 = 0.0, 0.0..=10.0;
    }
}

impl Part for Contrast {
    const NAME: &'static str = "contrast";
    const ABOUT: &'static str = "captions find their images, and images choose the true one of two twins";
}

impl Loss for Contrast {
    fn needs(&self) -> Needs {
        let captions =
            TextNeed { roles: vec![Role::Original], what: "captions", help: "add a stage captions before this one" };
        let twins = TextNeed {
            roles: vec![Role::True(0), Role::False(0)],
            what: "pairs of a true and a false text",
            help: "set writer = \"twins\" in the stage captions; or, to train on captions alone, \
                   contrast.twin = 0.0 and contrast.turn = 0.0 in the stage train",
        };
        let things = TextNeed {
            roles: vec![Role::Present(0), Role::Absent(0)],
            what: "the things that each pair of texts is about",
            help: "set twins.things = true in the stage captions, or contrast.turn = 0.0 in the stage train",
        };
        let mut texts = vec![captions];
        texts.extend((self.twin > 0.0 || self.turn > 0.0).then_some(twins));
        texts.extend((self.turn > 0.0).then_some(things));
        Needs { texts, start: self.keep > 0.0 || self.turn > 0.0 }
    }

    fn reads(&self, role: Role) -> bool {
        matches!(role, Role::Original | Role::True(_) | Role::False(_))
    }

    fn terms(&self, step: &StepView<'_>) -> Result<Vec<Term>, TrainError> {
        let images = step.images.noisy(self.image_noise, &mut step.draw.rng());
        let pairs = step.texts.pairs(Role::True, Role::False)?;
        let captions = step.texts.of(Role::Original)?;
        let own = own_cosines(step.texts.all(), images.clone());
        let false_texts = pairs.iter().map(|&(_, no)| no).collect();
        let negatives = (self.hard_negatives && !pairs.is_empty()).then(|| columns(&own, false_texts));

        let mut terms = vec![Term {
            name: "caption",
            weight: self.caption,
            value: self.caption_term(captions.clone(), images, step.same, negatives),
        }];
        if !pairs.is_empty() {
            terms.push(Term { name: "twin", weight: self.twin, value: self.twin_term(&own, &pairs) });
        }
        if self.keep > 0.0 {
            let start = step.start()?.of(Role::Original)?;
            let moved = (captions * start).sum_dim(1).mean().neg() + 1.0;
            terms.push(Term { name: "keep", weight: self.keep, value: moved });
        }
        if self.turn > 0.0 {
            let things: Vec<Role> =
                (0..pairs.len()).flat_map(|n| [Role::Present(n as u8), Role::Absent(n as u8)]).collect();
            let directions = directions(&step.start()?.phrases(&things)?, &own.device().inner());
            let value = turn_term(&step.texts.all(), &pairs, directions);
            terms.push(Term { name: "turn", weight: self.turn, value });
        }
        Ok(terms)
    }
}

impl Contrast {
    /// InfoNCE between `captions` and `images`, both `[B, D]`; `negatives` `[B, n]` are the cosines of
    /// each image with further texts that it must not choose.
    fn caption_term(
        &self,
        captions: Tensor<2>,
        images: Tensor<2>,
        same: &[u32],
        negatives: Option<Tensor<2>>,
    ) -> Tensor<1> {
        let own_image: Vec<u32> = (0..same.len() as u32).collect();
        let mut logits = captions.matmul(images.transpose());
        if let Some(apart) = apart(same, &logits.device()) {
            logits = logits + apart * self.temperature;
        }
        let mut choices = logits.clone().transpose();
        if let Some(negatives) = negatives {
            choices = Tensor::cat(vec![choices, negatives], 1);
        }
        let text_to_image = cross_entropy(logits / self.temperature, &own_image);
        let image_to_text = cross_entropy(choices / self.temperature, &own_image);
        (text_to_image + image_to_text) * 0.5
    }

    /// The mean of `softplus((s_false - s_true) / twin_temperature)` over `pairs` of a true and a false
    /// text; `own` is `[B, R]`.
    fn twin_term(&self, own: &Tensor<2>, pairs: &[(usize, usize)]) -> Tensor<1> {
        let (mut positive, mut negative): (Vec<usize>, Vec<usize>) = pairs.iter().copied().unzip();
        if self.across {
            let all = positive.iter().flat_map(|&yes| negative.iter().map(move |&no| (yes, no)));
            (positive, negative) = all.collect::<Vec<_>>().into_iter().unzip();
        }
        let margin = (columns(own, positive) - columns(own, negative)) / self.twin_temperature;
        log_sigmoid(margin).mean().neg()
    }
}

/// The cosine of each text with its own image, `[B, R]`; `texts` is `[B, R, D]`, `images` `[B, D]`.
fn own_cosines(texts: Tensor<3>, images: Tensor<2>) -> Tensor<2> {
    let [count, texts_per_image, _] = texts.dims();
    (texts * images.unsqueeze_dim::<3>(1)).sum_dim(2).reshape([count, texts_per_image])
}

/// These columns of `[B, R]`, one after the other.
fn columns(own: &Tensor<2>, places: Vec<usize>) -> Tensor<2> {
    let count = own.dims()[0];
    let columns = places.into_iter().map(|j| own.clone().slice([0..count, j..j + 1])).collect();
    Tensor::cat(columns, 1)
}

/// From the feature of each absent thing to that of the present one, `[B P, D]` for P pairs per
/// image. The mean over all things replaces a missing one.
fn directions(things: &Phrases, device: &Device) -> Tensor<2> {
    let mean = things.mean();
    let features: Vec<&[f32]> = things.each().map(|feature| feature.unwrap_or(&mean)).collect();
    let directions: Vec<f32> = features
        .chunks(2)
        .flat_map(|two| two[0].iter().zip(two[1]).map(|(present, absent)| present - absent))
        .collect();
    Tensor::from_data(TensorData::new(directions, [features.len() / 2, things.width()]), device)
}

/// The mean of `1 - cos` between `true - false` of each pair and its direction. `texts` is `[B, R, D]`,
/// `directions` `[B P, D]`.
fn turn_term(texts: &Tensor<3>, pairs: &[(usize, usize)], directions: Tensor<2>) -> Tensor<1> {
    let [count, _, width] = texts.dims();
    let row = |j: usize| texts.clone().slice([0..count, j..j + 1, 0..width]);
    let ways = pairs.iter().map(|&(yes, no)| row(yes) - row(no)).collect();
    let ways = Tensor::cat(ways, 1).reshape([count * pairs.len(), width]);
    // The square root has no gradient at 0, where the twins are one text.
    let length = (ways.clone().square().sum_dim(1) + 1e-6).sqrt();
    (ways / length * normalised(directions)).sum_dim(1).mean().neg() + 1.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{Case, agrees_with_finite_differences, dot, surprise, unit};
    use super::super::total;
    use super::*;

    const ROLES: [Role; 5] = [Role::Original, Role::True(0), Role::False(0), Role::True(1), Role::False(1)];

    const CONTRAST: Contrast = Contrast {
        temperature: 0.1,
        caption: 0.7,
        twin: 1.3,
        twin_temperature: 0.05,
        keep: 0.2,
        turn: 0.9,
        hard_negatives: true,
        across: true,
        image_noise: 0.0,
    };

    fn value(case: &Case, loss: &Contrast) -> f64 {
        f64::from(total(&case.terms(loss)).unwrap().into_scalar::<f32>())
    }

    #[test]
    fn matches_a_plain_reference() {
        let (b, d, r) = (4, 6, ROLES.len());
        let case = Case::new(&ROLES, b, d, 2);
        let (t, v) = (unit(&case.texts, d), unit(&case.images, d));
        let start = |role| unit(&case.start.rows(role), d);
        let s = start(Role::Original);
        for (hard_negatives, across) in [(false, false), (true, false), (false, true)] {
            let (mut caption, mut twin, mut keep, mut turn) = (0.0, 0.0, 0.0, 0.0);
            for i in 0..b {
                let scores: Vec<f64> = v.iter().map(|v| dot(&t[r * i], v)).collect();
                caption += surprise(&scores, i, 0.1) / 2.0;
                let mut scores: Vec<f64> = (0..b).map(|k| dot(&v[i], &t[r * k])).collect();
                if hard_negatives {
                    scores.extend([2, 4].map(|j| dot(&v[i], &t[r * i + j])));
                }
                caption += surprise(&scores, i, 0.1) / 2.0;
                let pairs: &[(usize, usize)] =
                    if across { &[(1, 2), (1, 4), (3, 2), (3, 4)] } else { &[(1, 2), (3, 4)] };
                for &(yes, no) in pairs {
                    let (yes, no) = (dot(&v[i], &t[r * i + yes]), dot(&v[i], &t[r * i + no]));
                    twin += ((no - yes) / 0.05).exp().ln_1p() / pairs.len() as f64;
                }
                keep += 1.0 - dot(&t[r * i], &s[i]);
                for (n, (yes, no)) in [(1, 2), (3, 4)].into_iter().enumerate() {
                    let minus = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a - b).collect() };
                    let way = minus(&t[r * i + yes], &t[r * i + no]);
                    let there = minus(&start(Role::Present(n as u8))[i], &start(Role::Absent(n as u8))[i]);
                    turn += (1.0 - dot(&way, &there) / (dot(&way, &way) * dot(&there, &there)).sqrt()) / 2.0;
                }
            }
            let expected = (0.7 * caption + 1.3 * twin + 0.2 * keep + 0.9 * turn) / b as f64;
            let found = value(&case, &Contrast { hard_negatives, across, ..CONTRAST });
            assert!((found / expected - 1.0).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn the_gradient_of_every_term_agrees_with_finite_differences() {
        agrees_with_finite_differences("contrast with every term", &CONTRAST);
        let other = Contrast { across: false, hard_negatives: false, image_noise: 0.5, ..CONTRAST };
        agrees_with_finite_differences("contrast with noise", &other);
    }

    #[test]
    fn items_of_one_image_are_not_compared_with_each_other() {
        let (b, d) = (4, 6);
        let mut case = Case::new(&[Role::Original], b, d, 7);
        case.images.copy_within(0..d, 2 * d);
        let (t, v) = (unit(&case.texts, d), unit(&case.images, d));
        let loss = Contrast { caption: 1.0, twin: 0.0, keep: 0.0, turn: 0.0, ..CONTRAST };
        for same in [[0, 1, 0, 3], [0, 1, 2, 3]] {
            let mut expected = 0.0;
            for i in 0..b {
                let others: Vec<usize> = (0..b).filter(|&j| j == i || same[j] != same[i]).collect();
                let own = others.iter().position(|&j| j == i).unwrap();
                let images: Vec<f64> = others.iter().map(|&j| dot(&t[i], &v[j])).collect();
                let captions: Vec<f64> = others.iter().map(|&j| dot(&t[j], &v[i])).collect();
                expected += (surprise(&images, own, 0.1) + surprise(&captions, own, 0.1)) / (2 * b) as f64;
            }
            case.same = same.to_vec();
            let found = value(&case, &loss);
            assert!((found / expected - 1.0).abs() < 1e-5, "{same:?}: {found} {expected}");
        }
    }

    #[test]
    fn a_wide_margin_stays_finite() {
        let loss = Contrast {
            temperature: 0.01,
            twin_temperature: 0.001,
            caption: 1.0,
            twin: 1.0,
            keep: 0.0,
            turn: 0.0,
            across: false,
            ..CONTRAST
        };
        let mut case = Case::new(&ROLES[..3], 1, 2, 1);
        // The false text is the image, the true one its opposite.
        case.texts = vec![1.0, 0.0, -1.0, 0.0, 1.0, 0.0];
        case.images = vec![1.0, 0.0];
        let (value, gradient) = case.gradient(&loss);
        assert!((value - 2000.0).abs() < 1.0, "{value}");
        assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
    }

    #[test]
    fn a_missing_thing_is_replaced_by_the_mean() {
        let things = Phrases::new(2, vec![1.0, 0.0, 0.0, 1.0], vec![Some(0), Some(1), Some(1), None]);
        let directions: Vec<f32> = directions(&things, &Device::flex()).into_data().try_to_vec().unwrap();
        assert_eq!(directions, [1.0, -1.0, -0.5, 0.5]);
    }

    #[test]
    fn missing_texts_say_what_to_change() {
        let loss = |twin, turn| Contrast { twin, turn, keep: 0.0, ..CONTRAST };
        let twins = [Role::False(0), Role::Original, Role::True(0)];
        for (roles, loss, wrong) in [
            (vec![Role::Original, Role::Compositional, Role::Full], loss(1.0, 0.0), Some("writer = \"twins\"")),
            (vec![Role::Original, Role::True(0)], loss(1.0, 0.0), Some("writer = \"twins\"")),
            (vec![Role::True(0), Role::False(0)], loss(1.0, 0.0), Some("stage captions")),
            (twins.to_vec(), loss(1.0, 0.0), None),
            (twins.to_vec(), loss(1.0, 1.0), Some("twins.things = true")),
            ([&twins[..], &[Role::Present(0), Role::Absent(0)]].concat(), loss(1.0, 1.0), None),
            (vec![Role::Original], loss(0.0, 0.0), None),
        ] {
            let found = loss.needs().check(&roles);
            assert_eq!(found.is_ok(), wrong.is_none(), "{roles:?}");
            if let (Err(error), Some(wrong)) = (found, wrong) {
                assert!(error.to_string().contains(wrong), "{error}");
            }
        }
    }

    #[test]
    fn a_true_text_without_its_false_one_is_an_error() {
        let case = Case::new(&ROLES[..4], 2, 3, 4);
        let error = case.try_terms(&Contrast { keep: 0.0, turn: 0.0, ..CONTRAST }).unwrap_err();
        assert!(matches!(error, TrainError::Role(Role::False(1))), "{error}");
    }

    #[test]
    fn the_tower_before_training_is_needed_only_when_a_term_uses_it() {
        let start = |keep, turn| Contrast { keep, turn, ..CONTRAST }.needs().start;
        assert!(start(0.1, 0.0) && start(0.0, 0.1) && !start(0.0, 0.0));
    }
}
