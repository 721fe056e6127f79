//! Draws that questions and queries share.

use rand::{Rng, RngExt};

use crate::known::{Known, Picture};

/// The most plausible absent things of an image, among which draws are made.
const PLAUSIBLE: usize = 24;

/// The absent things of an image that most often occur with what it shows, with weights.
pub(crate) fn plausible(known: &Known, picture: &Picture) -> Vec<(usize, f64)> {
    let mut absent: Vec<(usize, f64)> =
        picture.absent.iter().map(|&thing| (thing, known.plausible(picture, thing))).collect();
    absent.sort_by(|a, b| b.1.total_cmp(&a.1).then(known.count[b.0].cmp(&known.count[a.0])).then(a.0.cmp(&b.0)));
    absent.truncate(PLAUSIBLE);
    // What never occurred with them is drawn too, but seldom.
    absent.iter_mut().for_each(|(_, weight)| *weight += 1e-3);
    absent
}

/// Two things of the image that one statement may name.
pub(crate) fn pair<R: Rng>(known: &Known, picture: &Picture, rng: &mut R) -> Option<(usize, usize)> {
    let pairs: Vec<(usize, usize)> = picture
        .present
        .iter()
        .flat_map(|&a| picture.present.iter().map(move |&b| (a, b)))
        .filter(|&(a, b)| known.apart(a, b))
        .collect();
    (!pairs.is_empty()).then(|| pairs[rng.random_range(0..pairs.len())])
}

/// One of the things, by their weights; there is at least one.
pub(crate) fn weighted<R: Rng>(among: &[(usize, f64)], rng: &mut R) -> usize {
    let total: f64 = among.iter().map(|(_, weight)| weight).sum();
    let mut at = rng.random_range(0.0..total);
    for (thing, weight) in among {
        if at < *weight {
            return *thing;
        }
        at -= weight;
    }
    among[among.len() - 1].0
}
