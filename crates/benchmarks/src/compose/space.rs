//! SpaceVLM's direction (arXiv 2511.12331): the centre of what is near to the affirmed part and not to
//! the denied one.
//!
//! Texts whose cosine to a part is at least t form a cap around it. If the caps of both parts overlap,
//! the direction turns away from the denied part, on the great circle through both, until it is the
//! centre of what is left: with alpha = arccos t and theta the angle between the parts, alpha + theta / 2
//! away from the denied part. The release writes "A photo of something" where nothing is affirmed; here it
//! is the neutral vector, as for all compositions.

use super::{Text, blend};
use crate::texts::cosine;

/// The cosine that bounds a cap; the release uses 0.90 to 0.95, and this by default.
const T: f64 = 0.92;

/// [sin(alpha + theta/2) e_a - sin(alpha - theta/2) e_n] / sin theta; e_a where the caps do not overlap.
pub fn compose(text: &Text<'_>, _: f32) -> Vec<f32> {
    direction(text.affirmed_or_neutral(), text.denied)
}

fn direction(affirmed: &[f32], denied: &[f32]) -> Vec<f32> {
    let alpha = T.acos();
    let theta = f64::from(cosine(affirmed, denied)).clamp(-1.0, 1.0).acos();
    // Equal parts span no circle to turn on.
    if theta >= 2.0 * alpha || theta < 1e-4 {
        return affirmed.to_vec();
    }
    let (a, n) = ((alpha + theta / 2.0).sin() / theta.sin(), (alpha - theta / 2.0).sin() / theta.sin());
    blend(a, affirmed, -n, denied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::testing::{length, near};

    #[test]
    fn angles_to_both_parts_are_those_of_the_paper() {
        let alpha = T.acos();
        for theta in [0.1f64, 0.4, 0.7, 0.79] {
            let affirmed = [1.0, 0.0, 0.0];
            let denied = [theta.cos() as f32, 0.0, theta.sin() as f32];
            let found = direction(&affirmed, &denied);
            assert!((length(&found) - 1.0).abs() < 1e-6);
            let angle = |to: &[f32]| f64::from(cosine(&found, to)).acos();
            assert!((angle(&denied) - (alpha + theta / 2.0)).abs() < 1e-3, "{theta}");
            assert!((angle(&affirmed) - (alpha - theta / 2.0)).abs() < 1e-3, "{theta}");
        }
    }

    #[test]
    fn parts_that_are_far_apart_or_equal_leave_the_affirmed_one() {
        let affirmed = [1.0, 0.0];
        assert_eq!(direction(&affirmed, &[0.0, 1.0]), affirmed);
        assert_eq!(direction(&affirmed, &[0.6, 0.8]), affirmed);
        assert_eq!(direction(&affirmed, &affirmed), affirmed);
    }

    /// Row 0 of the matrix sin(s + 2i + 3j + ij) with four columns, at length 1.
    fn row(s: f64) -> [f32; 4] {
        let row = [0.0, 1.0, 2.0, 3.0].map(|j| (s + 3.0 * j).sin());
        let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        row.map(|x| (x / length) as f32)
    }

    #[test]
    fn numbers_of_an_independent_program() {
        let (image, affirmed, other) = (row(1.0), row(3.0), row(4.0));
        let denied = blend(1.0, &affirmed, 0.5, &other);
        assert!((f64::from(cosine(&affirmed, &denied)).acos() - 0.453_648_042).abs() < 1e-5);
        assert!((cosine(&direction(&affirmed, &denied), &image) - 0.925_637_04).abs() < 1e-5);
        let by_hand: Vec<f32> = affirmed.iter().zip(&denied).map(|(a, n)| 1.343_471_2 * a - 0.399_286_4 * n).collect();
        assert!(near(&direction(&affirmed, &denied), &by_hand));
    }
}
