//! The formulas that losses are made of.

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
    let targets = indices(targets, &logits.device());
    log_softmax(logits, 1).gather(1, targets.unsqueeze_dim(1)).mean().neg()
}

/// What to add to logits `[B, B]` so that no item has another item of the same image among its
/// choices: 0, or less than minus any logit. `None` when no two items show the same image.
///
/// `same` is `[B]`: equal numbers are one image.
pub fn apart(same: &[u32], device: &Device) -> Option<Tensor<2>> {
    let count = same.len();
    let twice = |(i, j): (usize, usize)| i != j && same[i] == same[j];
    let pairs = || (0..count).flat_map(|i| (0..count).map(move |j| (i, j)));
    pairs().any(twice).then(|| {
        let values: Vec<f32> = pairs().map(|pair| if twice(pair) { -1e9 } else { 0.0 }).collect();
        Tensor::from_data(TensorData::new(values, [count, count]), &device.clone().inner())
    })
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
