//! `loss = "tng"`.

use burn::tensor::Tensor;
use items::Role;
use pipeline_engine::rng::ChaCha8Rng;
use pipeline_engine::{Part, options};
use rand::RngExt;
use rand::seq::SliceRandom;

use super::primitives::cross_entropy;
use super::{Loss, Needs, StepView, Term, TextNeed};
use crate::error::TrainError;

options! {
    /// The loss of TNG-CLIP (arXiv 2505.18434, section 3): each text finds its image, and each image
    /// finds a text. The sum of two terms, each with weight 0.5:
    ///
    /// - `text_to_image`: each of the 3B texts (caption, compositional negation, full negation)
    ///   chooses its own image among B.
    /// - `image_to_text`: each of the B images chooses its target among the 3B texts. The target is
    ///   a random text of the batch for the share `noise` of the images, and for the rest one of
    ///   the image's own three.
    ///
    /// Both are the cross-entropy of cosines divided by `temperature`.
    pub struct Tng {
        /// Share of the images (0 to 1) whose target is a text drawn at random from the batch, instead of one of their own.
        noise: f64 = 1.0, 0.0..=1.0;
        /// Cosines of texts and images are divided by this.
        temperature: f64 = 0.07, 0.001..=100.0;
    }
}

/// The texts of an image, in the order in which they are compared.
const ROLES: [Role; 3] = [Role::Original, Role::Compositional, Role::Full];

impl Part for Tng {
    const NAME: &'static str = "tng";
    const ABOUT: &'static str = "TNG-CLIP: a caption and two negations of it find their image";
}

impl Loss for Tng {
    fn needs(&self) -> Needs {
        let texts = TextNeed {
            roles: ROLES.to_vec(),
            what: "the caption, a compositional and a full negation",
            help: "set writer = \"tng\" in the stage captions",
        };
        Needs { texts: vec![texts], start: false }
    }

    fn reads(&self, role: Role) -> bool {
        ROLES.contains(&role)
    }

    fn terms(&self, step: &StepView<'_>) -> Result<Vec<Term>, TrainError> {
        let targets = targets(step.count(), self.noise, &mut step.draw.rng());
        Ok(self.both_ways(step.texts.interleaved(&ROLES)?, step.images.exact(), &targets))
    }
}

impl Tng {
    /// The terms for these targets. `texts` is `[3B, D]` and `images` `[B, D]`, rows of length 1;
    /// texts `3 i` to `3 i + 2` belong to image `i`, which has to choose text `targets[i]`.
    pub fn both_ways(&self, texts: Tensor<2>, images: Tensor<2>, targets: &[u32]) -> Vec<Term> {
        let own: Vec<u32> = (0..images.dims()[0] as u32).flat_map(|i| [i; 3]).collect();
        let logits = texts.matmul(images.transpose()) / self.temperature;
        let text_to_image = cross_entropy(logits.clone(), &own);
        let image_to_text = cross_entropy(logits.transpose(), targets);
        vec![
            Term { name: "text_to_image", weight: 0.5, value: text_to_image },
            Term { name: "image_to_text", weight: 0.5, value: image_to_text },
        ]
    }
}

/// The text that each of B images has to choose among 3B: for the share `noise` of the images the
/// text that a random permutation of all texts assigns to it, for the rest one of their own three.
pub fn targets(images: usize, noise: f64, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let mut targets: Vec<u32> = (0..3 * images as u32).collect();
    targets.shuffle(rng);
    targets.truncate(images);
    let mut order: Vec<usize> = (0..images).collect();
    order.shuffle(rng);
    let noisy = (noise * images as f64).round() as usize;
    for &image in &order[noisy.min(images)..] {
        targets[image] = 3 * image as u32 + rng.random_range(0..3u32);
    }
    targets
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{Case, dot, rng, surprise, unit};
    use super::super::total;
    use super::*;

    #[test]
    fn matches_a_plain_reference() {
        let (b, d, tau) = (5, 7, 0.07);
        let case = Case::new(&ROLES, b, d, 1);
        let tng = Tng { noise: 0.4, temperature: tau };
        let targets = targets(b, 0.4, &mut case.draw().rng());
        let (t, v) = (unit(&case.texts, d), unit(&case.images, d));
        let text_to_image: f64 =
            (0..3 * b).map(|r| surprise(&v.iter().map(|v| dot(&t[r], v)).collect::<Vec<_>>(), r / 3, tau)).sum::<f64>()
                / (3 * b) as f64;
        let image_to_text: f64 = (0..b)
            .map(|i| surprise(&t.iter().map(|t| dot(&v[i], t)).collect::<Vec<_>>(), targets[i] as usize, tau))
            .sum::<f64>()
            / b as f64;
        let found: f32 = total(&case.terms(&tng)).unwrap().into_scalar();
        let expected = (text_to_image + image_to_text) / 2.0;
        assert!((f64::from(found) / expected - 1.0).abs() < 1e-5, "{found} {expected}");
    }

    #[test]
    fn targets_are_as_noisy_as_asked() {
        let own = |targets: &[u32]| targets.iter().enumerate().filter(|(i, l)| **l as usize / 3 == *i).count();
        assert_eq!(own(&targets(100, 0.0, &mut rng(3))), 100);
        assert!(own(&targets(100, 1.0, &mut rng(3))) < 10);
        let half = own(&targets(100, 0.5, &mut rng(3)));
        assert!((50..60).contains(&half), "{half}");
        let mut noisy = targets(100, 1.0, &mut rng(4));
        assert_eq!(noisy, targets(100, 1.0, &mut rng(4)));
        assert_ne!(noisy, targets(100, 1.0, &mut rng(5)));
        noisy.sort_unstable();
        noisy.dedup();
        assert_eq!(noisy.len(), 100, "no text is drawn twice");
        // All three own texts are drawn.
        let mut places: Vec<u32> = targets(100, 0.0, &mut rng(6)).iter().map(|l| l % 3).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places, [0, 1, 2]);
    }

    #[test]
    fn missing_texts_say_what_to_change() {
        let needs = Tng { noise: 1.0, temperature: 0.07 }.needs();
        needs.check(&ROLES).unwrap();
        let error = needs.check(&[Role::Original, Role::True(0), Role::False(0)]).unwrap_err().to_string();
        assert!(error.contains("writer = \"tng\""), "{error}");
    }
}
