//! The formulas that losses are made of.

use std::collections::BTreeSet;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use pipeline_engine::rng::ChaCha8Rng;
use rand::RngExt;

/// Rows of length 1; `x` is `[rows, D]`. A row of zeros stays one.
pub fn normalised(x: Tensor<2>) -> Tensor<2> {
    let length = x.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
    x / length
}

/// Mean over the rows of `-log softmax(row)[target]`, of shape `[1]`; `logits` is `[rows, choices]`
/// with one target per row.
pub fn cross_entropy(logits: Tensor<2>, targets: &[u32]) -> Tensor<1> {
    surprise(logits, targets).mean()
}

/// Features `[N, D]` of length 1, and which of them exist: an image may lack a text.
#[derive(Debug, Clone)]
pub struct Rows {
    /// `[N, D]`.
    pub features: Tensor<2>,
    /// `[N]`.
    pub exists: Vec<bool>,
}

impl Rows {
    /// Features that all exist.
    pub fn whole(features: Tensor<2>) -> Self {
        let exists = vec![true; features.dims()[0]];
        Self { features, exists }
    }
}

/// Rows to choose among.
#[derive(Debug, Clone)]
pub struct Choices {
    /// N rows.
    pub rows: Rows,
    /// What is added to the logits of B queries, `[B, N]`: 0, or less than minus any logit for a row
    /// that a query must not be compared with.
    pub barred: Option<Tensor<2>>,
}

impl Choices {
    /// Rows that every query is compared with.
    pub fn open(rows: Rows) -> Self {
        Self { rows, barred: None }
    }
}

/// Less than minus any logit.
const NEVER: f32 = -1e9;

/// InfoNCE (arXiv 1807.03748, equation 4): the mean of `-log softmax(q_i . c / temperature)[i]` over all rows c of
/// `choices`, whose first B rows are the right answers of the B queries. Queries that do not exist, or whose
/// answer does not, are skipped; rows that do not exist are no choice. 0 if no query counts. Of shape `[1]`.
pub fn nce(queries: &Rows, choices: &[Choices], temperature: f64) -> Tensor<1> {
    let logits = choices.iter().map(|Choices { rows, barred }| {
        let logits = queries.features.clone().matmul(rows.features.clone().transpose()) / temperature;
        let logits = barred.clone().map_or(logits.clone(), |barred| logits + barred);
        lacking(&rows.exists, &logits.device()).map_or(logits.clone(), |lacking| logits + lacking)
    });
    let logits = Tensor::cat(logits.collect(), 1);
    let counts = both(&queries.exists, &choices[0].rows.exists);
    let own: Vec<u32> = (0..counts.len() as u32).collect();
    mean_over(&counts, surprise(logits, &own))
}

/// CLIP's loss (arXiv 2103.00020, figure 3): the mean of both directions between B texts and B images.
/// `apart` as [`apart`] gives it.
pub fn clip(texts: &Rows, images: &Rows, apart: Option<&Tensor<2>>, temperature: f64) -> Tensor<1> {
    let among = |rows: &Rows| [Choices { rows: rows.clone(), barred: apart.cloned() }];
    (nce(images, &among(texts), temperature) + nce(texts, &among(images), temperature)) * 0.5
}

/// NegCLIP's loss (arXiv 2210.01936, section 4): as [`clip`], where each image chooses among all texts and all
/// `wrong` texts of the batch.
pub fn neg_clip(texts: &Rows, wrong: &[Rows], images: &Rows, apart: Option<&Tensor<2>>, temperature: f64) -> Tensor<1> {
    let own = |rows: &Rows| Choices { rows: rows.clone(), barred: apart.cloned() };
    let among: Vec<Choices> = [own(texts)].into_iter().chain(wrong.iter().cloned().map(Choices::open)).collect();
    (nce(images, &among, temperature) + nce(texts, &[own(images)], temperature)) * 0.5
}

/// The mean of `-log softmax(v_i . o_i / temperature)[0]`, where o_i are row i of each of `options`, the true
/// one first. An image without the true one, or with no other, does not count. Of shape `[1]`.
pub fn choice(options: &[Rows], images: &Tensor<2>, temperature: f64) -> Tensor<1> {
    let columns = options.iter().map(|option| {
        let logits = (option.features.clone() * images.clone()).sum_dim(1) / temperature;
        let absent: Vec<f32> = option.exists.iter().map(|&exists| if exists { 0.0 } else { NEVER }).collect();
        logits + column(absent, &images.device())
    });
    let logits = Tensor::cat(columns.collect(), 1);
    let (right, wrong) = options.split_first().map_or((&[][..], &[][..]), |(right, wrong)| (&right.exists[..], wrong));
    let counts: Vec<bool> =
        right.iter().enumerate().map(|(i, &exists)| exists && wrong.iter().any(|option| option.exists[i])).collect();
    mean_over(&counts, surprise(logits, &vec![0; counts.len()]))
}

/// Which exist in both.
pub fn both(a: &[bool], b: &[bool]) -> Vec<bool> {
    a.iter().zip(b).map(|(&a, &b)| a && b).collect()
}

/// The mean of those of `[B, 1]` that count, of shape `[1]`; 0 if none does.
pub fn mean_over(counts: &[bool], values: Tensor<2>) -> Tensor<1> {
    let count = counts.iter().filter(|&&counts| counts).count();
    if count == counts.len() {
        return values.mean();
    }
    let weights = counts.iter().map(|&counts| f32::from(u8::from(counts)) / count.max(1) as f32).collect();
    let device = values.device();
    (values * column(weights, &device)).sum()
}

/// `-log softmax(row)[target]` of each row, `[rows, 1]`.
fn surprise(logits: Tensor<2>, targets: &[u32]) -> Tensor<2> {
    let targets = indices(targets, &logits.device());
    log_softmax(logits, 1).gather(1, targets.unsqueeze_dim(1)).neg()
}

/// `[1, N]`: what keeps rows that do not exist from being chosen; `None` if all exist.
fn lacking(exists: &[bool], device: &Device) -> Option<Tensor<2>> {
    let values: Vec<f32> = exists.iter().map(|&exists| if exists { 0.0 } else { NEVER }).collect();
    exists
        .contains(&false)
        .then(|| Tensor::from_data(TensorData::new(values, [1, exists.len()]), &device.clone().inner()))
}

fn column(values: Vec<f32>, device: &Device) -> Tensor<2> {
    let shape = [values.len(), 1];
    Tensor::from_data(TensorData::new(values, shape), &device.clone().inner())
}

/// What to add to logits `[B, B]` so that no item has another item of the same image among its
/// choices: 0, or less than minus any logit. `None` when no two items show the same image.
///
/// `same` is `[B]`: equal numbers are one image.
pub fn apart(same: &[u32], device: &Device) -> Option<Tensor<2>> {
    let distinct = same.iter().collect::<BTreeSet<_>>().len();
    (distinct < same.len()).then(|| barred(same, |i, j| i != j && same[i] == same[j], device))
}

/// What to add to logits `[B, B]` so that no item has an item of the same image, nor itself, among its choices.
pub fn others(same: &[u32], device: &Device) -> Tensor<2> {
    barred(same, |i, j| same[i] == same[j], device)
}

fn barred(same: &[u32], bars: impl Fn(usize, usize) -> bool, device: &Device) -> Tensor<2> {
    let count = same.len();
    let row = |i: usize| (0..count).map(move |j| (i, j));
    let values: Vec<f32> = (0..count).flat_map(row).map(|(i, j)| if bars(i, j) { NEVER } else { 0.0 }).collect();
    Tensor::from_data(TensorData::new(values, [count, count]), &device.clone().inner())
}

/// Image features with a random vector of `length` (root mean square) added to each, at length 1
/// again. `features` are rows of `width` numbers.
///
/// A frozen encoder that was trained on the same pictures places them nearer to their captions
/// than other pictures; noise takes that advantage away. The noise is uniform, so that it is the
/// same on every machine.
pub fn with_noise(features: &[f32], width: usize, length: f64, rng: &mut ChaCha8Rng) -> Vec<f32> {
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

fn indices(values: &[u32], device: &Device) -> Tensor<1, Int> {
    let values: Vec<i32> = values.iter().map(|&value| value as i32).collect();
    let shape = [values.len()];
    Tensor::from_data(TensorData::new(values, shape), &device.clone().inner())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::{random, rng, surprise, tensor, unit};
    use super::*;

    #[test]
    fn rows_get_length_one_and_zeros_stay() {
        let rows: Vec<f32> = normalised(tensor(&[3.0, 4.0, 0.0, 0.0], 2)).into_data().try_to_vec().unwrap();
        assert_eq!(rows, [0.6, 0.8, 0.0, 0.0]);
    }

    #[test]
    fn cross_entropy_matches_a_plain_reference() {
        let logits = random(3, 4, &mut rng(1));
        let rows: Vec<Vec<f64>> = logits.chunks(4).map(|row| row.iter().map(|&v| f64::from(v)).collect()).collect();
        let expected = (surprise(&rows[0], 2, 1.0) + surprise(&rows[1], 0, 1.0) + surprise(&rows[2], 3, 1.0)) / 3.0;
        let found: f32 = cross_entropy(tensor(&logits, 4), &[2, 0, 3]).into_scalar();
        assert!((f64::from(found) - expected).abs() < 1e-6, "{found} {expected}");
    }

    #[test]
    fn texts_that_do_not_exist_are_no_choice_and_no_question() {
        let rows = |seed, exists: &[bool]| Rows {
            features: tensor(&random(3, 4, &mut rng(seed)), 4),
            exists: exists.to_vec(),
        };
        let images = Rows::whole(tensor(&random(3, 4, &mut rng(9)), 4));
        let all = [true; 3];
        let value = |value: Tensor<1>| value.into_scalar::<f32>();
        let of = |queries: &Rows, among: &[Rows]| {
            let among: Vec<Choices> = among.iter().cloned().map(Choices::open).collect();
            value(nce(queries, &among, 0.1))
        };
        let dot = |(a, i): (u64, usize), (b, j): (u64, usize)| -> f64 {
            let (a, b) = (random(3, 4, &mut rng(a)), random(3, 4, &mut rng(b)));
            (0..4).map(|k| f64::from(a[4 * i + k]) * f64::from(b[4 * j + k])).sum()
        };
        // A wrong text that does not exist is no choice.
        let without = of(&images, &[rows(1, &all)]);
        assert!((of(&images, &[rows(1, &all), rows(2, &[false; 3])]) - without).abs() < 1e-6);
        assert!(of(&images, &[rows(1, &all), rows(2, &all)]) > without);
        // An image without its text asks nothing, and its text is nobody's choice.
        let one = |i: usize, place: usize| {
            let scores = [dot((1, 0), (9, i)), dot((1, 2), (9, i))];
            surprise(&scores, place, 0.1)
        };
        let expected = (one(0, 0) + one(2, 1)) / 2.0;
        let found = of(&images, &[rows(1, &[true, false, true])]);
        assert!((f64::from(found) / expected - 1.0).abs() < 1e-5, "{found} {expected}");
        // The choice is among what exists.
        let options = [rows(1, &all), rows(2, &[false, true, false])];
        let found = value(choice(&options, &images.features, 0.1));
        let scores = [dot((1, 1), (9, 1)), dot((2, 1), (9, 1))];
        let expected = surprise(&scores, 0, 0.1);
        assert!((f64::from(found) / expected - 1.0).abs() < 1e-5, "{found} {expected}");
        // Nothing exists: 0, and a gradient of zeros that is no NaN.
        let leaf = tensor(&random(3, 4, &mut rng(1)), 4).autodiff().require_grad();
        let nothing = Rows { features: leaf.clone(), exists: vec![false; 3] };
        let loss = clip(&nothing, &images, None, 0.1)
            + choice(&[nothing.clone(), rows(2, &all)], &images.features, 0.1)
            + mean_over(&[false; 3], leaf.clone().sum_dim(1));
        let gradients = loss.backward();
        assert_eq!(value(loss), 0.0);
        let gradient: Vec<f32> = leaf.grad(&gradients).unwrap().into_data().try_to_vec().unwrap();
        assert!(gradient.iter().all(|&slope| slope == 0.0), "{gradient:?}");
    }

    #[test]
    fn only_other_items_of_the_same_image_are_kept_apart() {
        let device = Device::flex();
        assert!(apart(&[0, 1, 2], &device).is_none());
        let apart: Vec<f32> = apart(&[0, 1, 0], &device).unwrap().into_data().try_to_vec().unwrap();
        assert_eq!(apart, [0.0, 0.0, -1e9, 0.0, 0.0, 0.0, -1e9, 0.0, 0.0]);
    }

    #[test]
    fn noise_moves_features_as_far_as_asked_and_leaves_length_one() {
        let width = 512;
        let features: Vec<f32> =
            unit(&random(50, width, &mut rng(6)), width).concat().iter().map(|&x| x as f32).collect();
        let noisy = |length, seed| with_noise(&features, width, length, &mut rng(seed));
        let (of, same) = (noisy(0.5, 1), noisy(0.5, 1));
        assert!(of == same && of != noisy(0.5, 2));
        for (feature, of) in features.chunks(width).zip(of.chunks(width)) {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            assert!((dot(of, of) - 1.0).abs() < 1e-5);
            // In 512 dimensions, a random vector is nearly at right angles to the feature.
            let expected = 1.0 / (1.0f32 + 0.25).sqrt();
            assert!((dot(feature, of) - expected).abs() < 0.05, "{}", dot(feature, of));
        }
    }
}
