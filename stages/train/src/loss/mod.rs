//! Losses: pure functions of features.
//!
//! B images, R texts an image, D the width of the features. Row `R * i + j` of
//! the text features is text `j` of image `i`. Text features come as the tower
//! gives them and are normalised here; image features are normalised already.

use burn::tensor::activation::{log_sigmoid, log_softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};
use pipeline_engine::rng::ChaCha8Rng;
use rand::RngExt;
use rand::seq::SliceRandom;
use items::Role;

use crate::error::TrainError;

/// One addend of a loss.
#[derive(Debug, Clone)]
pub struct Term {
    /// Its name in logs and results.
    pub name: &'static str,
    /// What it is multiplied by.
    pub weight: f64,
    /// Its value, of shape `[1]`.
    pub value: Tensor<1>,
}

/// A loss: the weighted sum of its terms.
#[derive(Debug, Clone)]
pub struct Loss(pub Vec<Term>);

impl Loss {
    /// The sum, of shape `[1]`; `None` if there is no term.
    pub fn total(&self) -> Option<Tensor<1>> {
        self.0.iter().map(|term| term.value.clone() * term.weight).reduce(|a, b| a + b)
    }
}

/// The loss of TNG-CLIP (arXiv 2505.18434, section 3): the mean of two directions.
///
/// Texts are `[3B, D]`: caption, compositional and full negation. Each of them
/// looks for its image among B; each image looks among the 3B texts for the one
/// that `labels` names, see [`noisy_labels`].
pub fn tng(texts: Tensor<2>, images: Tensor<2>, labels: &[u32], temperature: f64) -> Loss {
    let own: Vec<u32> = (0..images.dims()[0] as u32).flat_map(|i| [i; 3]).collect();
    let logits = normalised(texts).matmul(images.transpose()) / temperature;
    let text_to_image = cross_entropy(logits.clone(), &own);
    let image_to_text = cross_entropy(logits.transpose(), labels);
    Loss(vec![
        Term { name: "text_to_image", weight: 0.5, value: text_to_image },
        Term { name: "image_to_text", weight: 0.5, value: image_to_text },
    ])
}

/// The text that each of B images is to find among 3B: for the share `noise` of
/// them the one that a random permutation of all texts puts there, for the rest
/// one of their own three.
pub fn noisy_labels(images: usize, noise: f64, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let mut labels: Vec<u32> = (0..3 * images as u32).collect();
    labels.shuffle(rng);
    labels.truncate(images);
    let mut order: Vec<usize> = (0..images).collect();
    order.shuffle(rng);
    let noisy = (noise * images as f64).round() as usize;
    for &image in &order[noisy.min(images)..] {
        labels[image] = 3 * image as u32 + rng.random_range(0..3u32);
    }
    labels
}

/// Settings of [`contrast`].
#[derive(Debug, Clone, Copy)]
pub struct Contrast {
    /// Temperature of the captions' term.
    pub temperature: f64,
    /// Temperature of the twins' term.
    pub twin_temperature: f64,
    /// Weight of the captions' term.
    pub caption: f64,
    /// Weight of the twins' term.
    pub twin: f64,
    /// Weight of what keeps captions near where they were.
    pub keep: f64,
    /// Weight of what says which way a negation turns a text.
    pub turn: f64,
    /// Whether an image's false twins stand among the texts that it must not choose.
    pub hard_negatives: bool,
    /// Whether each true text is held against every false one of the image, or against its twin alone.
    pub across: bool,
    /// Length of what is added to each image feature, see [`blurred`].
    pub image_noise: f64,
}

/// Where the texts of [`contrast`] stand among the R of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Twins {
    /// Place of the caption.
    pub original: usize,
    /// Places of each true text and its false twin.
    pub pairs: Vec<(usize, usize)>,
    /// Places of the thing that is there and the one that is not, for each pair; may be empty.
    pub things: Vec<(usize, usize)>,
}

impl Twins {
    /// Finds the caption and what `settings` need: for each `True(n)` its `False(n)`, and
    /// `Present(n)` with `Absent(n)`.
    ///
    /// # Errors
    /// [`TrainError::Roles`] when one is missing.
    pub fn find(roles: &[Role], settings: &Contrast) -> Result<Self, TrainError> {
        let place = |role: Role| roles.iter().position(|&other| other == role);
        let both = |one: fn(u8) -> Role, other: fn(u8) -> Role| {
            let pairs = (0..=u8::MAX).map_while(|n| place(one(n)).map(|j| (j, place(other(n)))));
            pairs.map(|(j, other)| other.map(|other| (j, other))).collect::<Option<Vec<_>>>()
        };
        let missing = |needs: &str, help| Err(TrainError::Roles { loss: "contrast", needs: needs.into(), help });
        let (Some(original), Some(pairs)) = (place(Role::Original), both(Role::True, Role::False)) else {
            return missing("the caption and pairs of a true and a false text", TWINS);
        };
        if (settings.twin > 0.0 || settings.turn > 0.0) && pairs.is_empty() {
            return missing("the caption and pairs of a true and a false text", TWINS);
        }
        match both(Role::Present, Role::Absent) {
            Some(things) if settings.turn == 0.0 || things.len() == pairs.len() => Ok(Self { original, pairs, things }),
            _ => missing("the things that each pair speaks of", "set captions.things = true, or train.w_turn = 0.0"),
        }
    }
}

/// What to do where there are no twins.
const TWINS: &str = "set captions.generator = \"twins\", or train.w_twin = 0.0 and train.w_turn = 0.0 to train on \
    captions alone";

/// Our own loss: captions find their images, and an image prefers the true one
/// of two texts that differ in what they negate.
///
/// * `caption`: InfoNCE in both directions between B captions and B images (CLIP,
///   arXiv 2103.00020, figure 3). With `hard_negatives` each image's false twins
///   join the B captions it chooses among, as in NegCLIP (arXiv 2210.01936,
///   section 4), but only for the image itself: of another image they may be true.
///   Items with the same number in `same` show the same image (a data set may have
///   several captions of it): they are not held against each other.
/// * `twin`: the cross-entropy of choosing the true one of each pair,
///   `softplus((s_false - s_true) / twin_temperature)`, the mean over all pairs.
///   With `across` the pairs are all true texts of an image with all its false
///   ones: a twin teaches what "no" turns round, the others that texts of
///   different build can be compared, as in a multiple choice.
/// * `keep`: `1 - cos` between a caption's feature and its feature in `start`
///   (`[B, D]`, normalised), the mean over the captions.
/// * `turn`: `1 - cos` between `true - false` of a pair and the way that `turns`
///   (`[B P, D]`, of P pairs an image) says: from the absent thing to the present
///   one, as the tower of the start sees them. "no cat" against "no dog" has to
///   lead the way from "a cat" to "a dog". Without it a tower tends to forget what
///   is denied instead of turning away from it: "no cat" and "no dog" fall
///   together, where the twins' term has next to no gradient any more.
pub fn contrast(
    texts: Tensor<2>,
    images: Tensor<2>,
    same: &[u32],
    twins: &Twins,
    start: Option<Tensor<2>>,
    turns: Option<Tensor<2>>,
    settings: &Contrast,
) -> Loss {
    let [count, width] = images.dims();
    let per_image = texts.dims()[0] / count.max(1);
    let texts = normalised(texts).reshape([count, per_image, width]);
    let captions = texts.clone().slice([0..count, twins.original..twins.original + 1]).reshape([count, width]);
    // Each text and its own image.
    let own = (texts.clone() * images.clone().unsqueeze_dim::<3>(1)).sum_dim(2).reshape([count, per_image]);
    let columns = |places: Vec<usize>| {
        let columns = places.into_iter().map(|j| own.clone().slice([0..count, j..j + 1])).collect();
        Tensor::cat(columns, 1)
    };
    let (mut positive, negative): (Vec<usize>, Vec<usize>) = twins.pairs.iter().copied().unzip();
    let mut held_against = negative.clone();
    if settings.across {
        held_against = positive.iter().flat_map(|_| negative.iter().copied()).collect();
        positive = positive.iter().flat_map(|&yes| negative.iter().map(move |_| yes)).collect();
    }

    let own_image: Vec<u32> = (0..count as u32).collect();
    let mut logits = captions.clone().matmul(images.transpose());
    if let Some(apart) = apart(same) {
        let apart = Tensor::from_data(TensorData::new(apart, [count, count]), &logits.device().clone().inner());
        logits = logits + apart * settings.temperature;
    }
    let mut choices = logits.clone().transpose();
    if settings.hard_negatives && !negative.is_empty() {
        choices = Tensor::cat(vec![choices, columns(negative)], 1);
    }
    let text_to_image = cross_entropy(logits / settings.temperature, &own_image);
    let image_to_text = cross_entropy(choices / settings.temperature, &own_image);
    let mut terms =
        vec![Term { name: "caption", weight: settings.caption, value: (text_to_image + image_to_text) * 0.5 }];
    if !positive.is_empty() {
        let margin = (columns(positive) - columns(held_against)) / settings.twin_temperature;
        terms.push(Term { name: "twin", weight: settings.twin, value: log_sigmoid(margin).mean().neg() });
    }
    if let Some(start) = start {
        let moved = (captions * start).sum_dim(1).mean().neg() + 1.0;
        terms.push(Term { name: "keep", weight: settings.keep, value: moved });
    }
    if let Some(turns) = turns {
        let row = |j: usize| texts.clone().slice([0..count, j..j + 1, 0..width]);
        let ways = twins.pairs.iter().map(|&(yes, no)| row(yes) - row(no)).collect();
        let ways = Tensor::cat(ways, 1).reshape([count * twins.pairs.len(), width]);
        // The square root has no gradient at 0, where the twins are one text.
        let length = (ways.clone().square().sum_dim(1) + 1e-6).sqrt();
        let turned = (ways / length * normalised(turns)).sum_dim(1).mean().neg() + 1.0;
        terms.push(Term { name: "turn", weight: settings.turn, value: turned });
    }
    Loss(terms)
}

/// Image features with a random vector of `length` (on average, squared) added to each, at length 1 again.
///
/// A frozen encoder that has seen the pictures it is trained with places them nearer to their
/// captions than pictures it has not seen: noise takes that lead away. It is uniform, and so the same on
/// every machine.
pub fn blurred(features: &[f32], width: usize, length: f64, rng: &mut ChaCha8Rng) -> Vec<f32> {
    // A uniform number in -a..a has the variance a^2 / 3.
    let most = (length * (3.0 / width as f64).sqrt()) as f32;
    let mut features = features.to_vec();
    for feature in features.chunks_exact_mut(width) {
        feature.iter_mut().for_each(|value| *value += most * rng.random_range(-1.0..1.0f32));
        let norm = feature.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
        feature.iter_mut().for_each(|value| *value /= norm);
    }
    features
}

/// B x B: what takes item k out of the choices of item i, 0 or minus more than any logit;
/// `None` when no two items show the same image.
fn apart(same: &[u32]) -> Option<Vec<f32>> {
    let twice = |(i, j): (usize, usize)| i != j && same[i] == same[j];
    let pairs = || (0..same.len()).flat_map(|i| (0..same.len()).map(move |j| (i, j)));
    pairs().any(twice).then(|| pairs().map(|pair| if twice(pair) { -1e9 } else { 0.0 }).collect())
}

/// Rows of length 1. A row of zeros stays one.
pub fn normalised(x: Tensor<2>) -> Tensor<2> {
    let length = x.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
    x / length
}

/// Mean over the rows of `-log softmax(row)[target]`.
fn cross_entropy(logits: Tensor<2>, targets: &[u32]) -> Tensor<1> {
    let targets = indices(targets, &logits.device());
    log_softmax(logits, 1).gather(1, targets.unsqueeze_dim(1)).mean().neg()
}

fn indices(values: &[u32], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.iter().map(|&value| value as i32).collect();
    let shape = [values.len()];
    Tensor::from_data(TensorData::new(values, shape), &device.clone().inner())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use pipeline_engine::rng::Draw;

    use super::*;

    fn rng(seed: u64) -> ChaCha8Rng {
        Draw::new(seed, "test").rng()
    }

    fn random(rows: usize, width: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        (0..rows * width).map(|_| rng.random_range(-1.0..1.0f32)).collect()
    }

    fn tensor(values: &[f32], width: usize) -> Tensor<2> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len() / width, width]), &Device::flex())
    }

    /// Plain f64 rows of length 1.
    fn unit(values: &[f32], width: usize) -> Vec<Vec<f64>> {
        let row = |row: &[f32]| {
            let length = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
            row.iter().map(|&v| f64::from(v) / length).collect()
        };
        values.chunks(width).map(row).collect()
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(x, y)| x * y).sum()
    }

    /// `-log softmax(scores / temperature)[target]`.
    fn surprise(scores: &[f64], target: usize, temperature: f64) -> f64 {
        scores.iter().map(|s| ((s - scores[target]) / temperature).exp()).sum::<f64>().ln()
    }

    #[test]
    fn tng_matches_a_plain_reference() {
        let (b, d, tau) = (5, 7, 0.07);
        let mut rng = rng(1);
        let (texts, images) = (random(3 * b, d, &mut rng), random(b, d, &mut rng));
        let labels = noisy_labels(b, 0.4, &mut rng);
        let (t, v) = (unit(&texts, d), unit(&images, d));
        let text_to_image: f64 =
            (0..3 * b).map(|r| surprise(&v.iter().map(|v| dot(&t[r], v)).collect::<Vec<_>>(), r / 3, tau)).sum::<f64>()
                / (3 * b) as f64;
        let image_to_text: f64 = (0..b)
            .map(|i| surprise(&t.iter().map(|t| dot(&v[i], t)).collect::<Vec<_>>(), labels[i] as usize, tau))
            .sum::<f64>()
            / b as f64;
        let loss = tng(tensor(&texts, d), normalised(tensor(&images, d)), &labels, tau);
        let found: f32 = loss.total().unwrap().into_scalar();
        let expected = (text_to_image + image_to_text) / 2.0;
        assert!((f64::from(found) / expected - 1.0).abs() < 1e-5, "{found} {expected}");
    }

    #[test]
    fn contrast_matches_a_plain_reference() {
        let roles = [Role::Original, Role::True(0), Role::False(0), Role::True(1), Role::False(1)];
        let things = [Role::Present(0), Role::Absent(0), Role::Present(1), Role::Absent(1)];
        let (b, d, r) = (4, 6, roles.len());
        let mut rng = rng(2);
        let (texts, images) = (random(r * b, d, &mut rng), random(b, d, &mut rng));
        let (start, turns) = (random(b, d, &mut rng), random(2 * b, d, &mut rng));
        let (t, v, s, w) = (unit(&texts, d), unit(&images, d), unit(&start, d), unit(&turns, d));
        for (hard_negatives, across) in [(false, false), (true, false), (false, true)] {
            let settings = Contrast {
                temperature: 0.1,
                twin_temperature: 0.05,
                caption: 0.7,
                twin: 1.3,
                keep: 0.2,
                turn: 0.9,
                hard_negatives,
                across,
                image_noise: 0.0,
            };
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
                    let way: Vec<f64> = t[r * i + yes].iter().zip(&t[r * i + no]).map(|(a, b)| a - b).collect();
                    turn += (1.0 - dot(&way, &w[2 * i + n]) / dot(&way, &way).sqrt()) / 2.0;
                }
            }
            let expected = (0.7 * caption + 1.3 * twin + 0.2 * keep + 0.9 * turn) / b as f64;
            let twins = Twins::find(&[&roles[..], &things].concat(), &settings).unwrap();
            let start = Some(normalised(tensor(&start, d)));
            let turns = Some(tensor(&turns, d));
            let images = normalised(tensor(&images, d));
            let loss = contrast(tensor(&texts, d), images, &[0, 1, 2, 3], &twins, start, turns, &settings);
            let found: f32 = loss.total().unwrap().into_scalar();
            assert!((f64::from(found) / expected - 1.0).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn items_of_one_image_are_not_held_against_each_other() {
        let (b, d) = (4, 6);
        let mut rng = rng(7);
        let (texts, mut images) = (random(b, d, &mut rng), random(b, d, &mut rng));
        images.copy_within(0..d, 2 * d);
        let (t, v) = (unit(&texts, d), unit(&images, d));
        let settings = Contrast {
            temperature: 0.1,
            twin_temperature: 0.1,
            caption: 1.0,
            twin: 0.0,
            keep: 0.0,
            turn: 0.0,
            hard_negatives: false,
            across: false,
            image_noise: 0.0,
        };
        let twins = Twins::find(&[Role::Original], &settings).unwrap();
        for same in [[0, 1, 0, 3], [0, 1, 2, 3]] {
            let mut expected = 0.0;
            for i in 0..b {
                let others: Vec<usize> = (0..b).filter(|&j| j == i || same[j] != same[i]).collect();
                let own = others.iter().position(|&j| j == i).unwrap();
                let images: Vec<f64> = others.iter().map(|&j| dot(&t[i], &v[j])).collect();
                let captions: Vec<f64> = others.iter().map(|&j| dot(&t[j], &v[i])).collect();
                expected += (surprise(&images, own, 0.1) + surprise(&captions, own, 0.1)) / (2 * b) as f64;
            }
            let images = normalised(tensor(&images, d));
            let loss = contrast(tensor(&texts, d), images, &same, &twins, None, None, &settings);
            let found: f32 = loss.total().unwrap().into_scalar();
            assert!((f64::from(found) / expected - 1.0).abs() < 1e-5, "{same:?}: {found} {expected}");
        }
    }

    #[test]
    fn a_wide_margin_stays_finite() {
        let settings = Contrast {
            temperature: 0.01,
            twin_temperature: 0.001,
            caption: 1.0,
            twin: 1.0,
            keep: 0.0,
            turn: 0.0,
            hard_negatives: true,
            across: false,
            image_noise: 0.0,
        };
        let twins = Twins::find(&[Role::Original, Role::True(0), Role::False(0)], &settings).unwrap();
        // The false text is the image, the true one its opposite.
        let texts = tensor(&[1.0, 0.0, -1.0, 0.0, 1.0, 0.0], 2).autodiff().require_grad();
        let loss = contrast(texts.clone(), tensor(&[1.0, 0.0], 2), &[0], &twins, None, None, &settings);
        let loss = loss.total().unwrap();
        let gradients = loss.backward();
        let value: f32 = loss.into_scalar();
        assert!((value - 2000.0).abs() < 1.0, "{value}");
        let gradient: Vec<f32> = texts.grad(&gradients).unwrap().into_data().try_to_vec().unwrap();
        assert!(gradient.iter().all(|g| g.is_finite()), "{gradient:?}");
    }

    #[test]
    fn blurred_features_are_off_by_as_much_as_asked_and_have_length_one() {
        let width = 512;
        let features: Vec<f32> =
            unit(&random(50, width, &mut rng(6)), width).concat().iter().map(|&x| x as f32).collect();
        let blurred = |length, seed| super::blurred(&features, width, length, &mut rng(seed));
        let (of, same) = (blurred(0.5, 1), blurred(0.5, 1));
        assert!(of == same && of != blurred(0.5, 2));
        for (feature, of) in features.chunks(width).zip(of.chunks(width)) {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            assert!((dot(of, of) - 1.0).abs() < 1e-5);
            // What is added is as good as at right angles in so many dimensions.
            let expected = 1.0 / (1.0f32 + 0.25).sqrt();
            assert!((dot(feature, of) - expected).abs() < 0.05, "{}", dot(feature, of));
        }
    }

    #[test]
    fn labels_are_noisy_as_asked() {
        let own = |labels: &[u32]| labels.iter().enumerate().filter(|(i, l)| **l as usize / 3 == *i).count();
        assert_eq!(own(&noisy_labels(100, 0.0, &mut rng(3))), 100);
        assert!(own(&noisy_labels(100, 1.0, &mut rng(3))) < 10);
        let half = own(&noisy_labels(100, 0.5, &mut rng(3)));
        assert!((50..60).contains(&half), "{half}");
        let mut noisy = noisy_labels(100, 1.0, &mut rng(4));
        assert_eq!(noisy, noisy_labels(100, 1.0, &mut rng(4)));
        assert_ne!(noisy, noisy_labels(100, 1.0, &mut rng(5)));
        noisy.sort_unstable();
        noisy.dedup();
        assert_eq!(noisy.len(), 100, "no text is drawn twice");
        // All three own texts are drawn.
        let mut places: Vec<u32> = noisy_labels(100, 0.0, &mut rng(6)).iter().map(|l| l % 3).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places, [0, 1, 2]);
    }

    #[test]
    fn roles_that_do_not_fit_say_what_to_change() {
        let settings = |twin, turn| Contrast {
            temperature: 1.0,
            twin_temperature: 1.0,
            caption: 1.0,
            twin,
            keep: 0.0,
            turn,
            hard_negatives: false,
            across: false,
            image_noise: 0.0,
        };
        let twins = [Role::False(0), Role::Original, Role::True(0)];
        for (roles, settings, wrong) in [
            (vec![Role::Original, Role::Compositional, Role::Full], settings(1.0, 0.0), Some("generator = \"twins\"")),
            (vec![Role::Original, Role::True(0)], settings(1.0, 0.0), Some("generator = \"twins\"")),
            (vec![Role::True(0), Role::False(0)], settings(1.0, 0.0), Some("generator = \"twins\"")),
            (twins.to_vec(), settings(1.0, 0.0), None),
            (twins.to_vec(), settings(1.0, 1.0), Some("captions.things = true")),
            ([&twins[..], &[Role::Present(0), Role::Absent(0)]].concat(), settings(1.0, 1.0), None),
            (vec![Role::Original], settings(0.0, 0.0), None),
        ] {
            let found = Twins::find(&roles, &settings);
            assert_eq!(found.is_ok(), wrong.is_none(), "{roles:?}");
            if let (Err(error), Some(wrong)) = (found, wrong) {
                assert!(error.to_string().contains(wrong), "{error}");
            }
        }
    }
}
