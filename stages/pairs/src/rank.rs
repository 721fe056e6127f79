//! The one place that decides who is a neighbour.
//!
//! The CPU and the GPU both find candidates with f32 products, whose rounding
//! depends on the order of summation and so on the machine. Neither decides:
//! the candidates are scored again by [`Features::scored`], a fixed-order f64
//! sum, and a search may only leave out a row if [`rounding_bound`] proves that
//! it can't be among the k best of *that* score. So every device finds the
//! same neighbours, bit for bit.

use rayon::prelude::*;

use crate::Error;

/// A feature's length may differ from 1 by this much. f16 storage costs at
/// most 5e-4, a forgotten normalisation far more than 1e-2.
const NORM_TOLERANCE: f64 = 1e-2;

/// Rows whose length a thread checks in one go.
const CHECKED_AT_ONCE: usize = 256;

/// The longest feature for which [`rounding_bound`] holds.
const MAX_DIM: usize = 1 << 16;

/// One neighbour of a row: its row number and cosine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Neighbour {
    pub(crate) index: u32,
    pub(crate) cosine: f64,
}

impl Neighbour {
    /// The mark in a place for which there are too few rows.
    pub(crate) const NONE: Self = Self { index: crate::NONE, cosine: f64::NEG_INFINITY };
}

/// Checked features: `[rows, dim]` with finite values and rows of length 1.
#[derive(Clone, Copy)]
pub(crate) struct Features<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) dim: usize,
    pub(crate) groups: &'a [u32],
}

impl<'a> Features<'a> {
    pub(crate) fn new(values: &'a [f32], dim: usize, groups: &'a [u32]) -> Result<Self, Error> {
        let rows = groups.len();
        if dim == 0 || dim > MAX_DIM || dim.checked_mul(rows) != Some(values.len()) {
            return Err(Error::Shape { values: values.len(), dim, rows });
        }
        // u32::MAX marks "none", and the shader counts in u32.
        if rows >= (u32::MAX / 2) as usize {
            return Err(Error::TooManyRows { rows });
        }
        let check = |(block, features): (usize, &[f32])| {
            wide(|| {
                features.chunks_exact(dim).enumerate().find_map(|(row, feature)| {
                    let norm = dot(feature, feature).sqrt();
                    // Also false for NaN.
                    let unit = (norm - 1.0).abs() <= NORM_TOLERANCE;
                    (!unit).then_some(Error::NotNormalised { row: block * CHECKED_AT_ONCE + row, norm })
                })
            })
        };
        // Waking other threads takes longer than checking a few rows.
        let bad = match values.len() <= CHECKED_AT_ONCE * dim {
            true => check((0, values)),
            false => values.par_chunks(CHECKED_AT_ONCE * dim).enumerate().find_map_first(check),
        };
        bad.map_or(Ok(Self { values, dim, groups }), Err)
    }

    pub(crate) fn rows(&self) -> usize {
        self.groups.len()
    }

    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.dim..][..self.dim]
    }

    /// A row as a neighbour of another, with the cosine that decides: the same
    /// on every machine.
    #[inline(always)]
    pub(crate) fn scored(&self, row: u32, index: u32) -> Neighbour {
        let cosine = dot(self.row(row as usize), self.row(index as usize));
        Neighbour { index, cosine }
    }
}

/// Writes the `found.len()` best of the scored candidates in order: larger
/// cosine first, of equal ones the lower index.
pub(crate) fn rank(candidates: &mut [Neighbour], found: &mut [Neighbour]) {
    // total_cmp tells -0 from 0, but `dot` never gives -0, nor NaN.
    candidates.sort_unstable_by(|a, b| b.cosine.total_cmp(&a.cosine).then(a.index.cmp(&b.index)));
    found.fill(Neighbour::NONE);
    for (place, best) in found.iter_mut().zip(candidates) {
        *place = *best;
    }
}

/// Compiles `f`, and what is inlined into it, for the widest vectors of this processor.
#[inline(always)]
pub(crate) fn wide<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// The dot product in f64. Products of two f32 are exact in f64; the sum runs
/// in eight lanes, which the compiler may vectorise but not reorder. Inlined, so that it is made of
/// the vector instructions of the function around it.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 8;
    let mut lanes = [0.0f64; LANES];
    let (a_whole, a_rest) = a.as_chunks::<LANES>();
    let (b_whole, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        for n in 0..LANES {
            lanes[n] += f64::from(a[n]) * f64::from(b[n]);
        }
    }
    for n in 0..a_rest.len() {
        lanes[n] += f64::from(a_rest[n]) * f64::from(b_rest[n]);
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// The most by which an f32 dot product of two checked features can differ
/// from [`Features::scored`], whatever the order of summation, fused or not.
///
/// A sum of D products, each operation off by a relative u, is off by at most
/// D u / (1 - D u) times the sum of |a b|, which is at most |a| |b| (Cauchy and
/// Schwarz). WGSL may round either way, so u = 2^-23, not 2^-24, and it may
/// flush subnormal inputs, products and sums to zero. 1.05 covers the norms
/// (1.01 squared), 1 - D u for D up to `MAX_DIM`, and the f64 sum's own error.
pub(crate) fn rounding_bound(dim: usize) -> f64 {
    let dim = dim as f64;
    1.05 * dim * f64::from(f32::EPSILON) + 4.0 * dim * f64::from(f32::MIN_POSITIVE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn dot_adds_every_element_once() {
        for dim in 1..40 {
            let a: Vec<f32> = (0..dim).map(|n| n as f32 + 1.0).collect();
            let b: Vec<f32> = (0..dim).map(|n| (n % 5) as f32 - 2.0).collect();
            let plain: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(a * b)).sum();
            assert_eq!(dot(&a, &b), plain, "dim {dim}");
        }
    }

    #[test]
    fn dot_never_gives_minus_zero() {
        let zero = dot(&[-1.0, 0.0], &[0.0, -1.0]);
        assert!(zero == 0.0 && zero.is_sign_positive());
    }

    #[test]
    fn bad_features_are_refused() {
        let ok = [1.0, 0.0, 0.0, 1.0];
        assert!(Features::new(&ok, 2, &[0, 1]).is_ok());
        assert!(matches!(Features::new(&ok, 3, &[0, 1]), Err(Error::Shape { .. })));
        assert!(matches!(Features::new(&[], 0, &[0, 1]), Err(Error::Shape { .. })));
        for bad in [0.0, 1.1, f32::NAN, f32::INFINITY] {
            let features = [1.0, 0.0, 0.0, bad];
            let error = Features::new(&features, 2, &[0, 1]).err().unwrap();
            assert!(matches!(error, Error::NotNormalised { row: 1, .. }));
        }
    }
}
