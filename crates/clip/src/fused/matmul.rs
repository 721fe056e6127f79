//! Matrix products, and sums of columns.

use linalg::Threads;
use rayon::prelude::*;

pub(super) use linalg::Matrix;

use super::math::{ROWS, add_scaled, wide};

/// From this many multiplications on, waking the other threads pays.
const WORTH_THREADS: usize = 1 << 22;

/// `out = a b`, or `out += a b`; `out` is row-major. Uses all threads if the product is large enough to
/// pay for waking them; the result does not depend on their number.
pub(super) fn multiply(out: &mut [f32], add: bool, a: Matrix, b: Matrix) {
    let work = a.shape()[0] * a.shape()[1] * b.shape()[1];
    linalg::multiply(out, add, a, b, if work < WORTH_THREADS { Threads::One } else { Threads::All });
}

/// [`multiply`] on this thread alone, for callers that are parallel themselves.
pub(super) fn multiply_here(out: &mut [f32], add: bool, a: Matrix, b: Matrix) {
    linalg::multiply(out, add, a, b, Threads::One);
}

/// Adds up vectors of the same width, in their order.
pub(super) fn total(parts: &[Vec<f32>], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; width];
    for part in parts {
        add_scaled(&mut sums, 1.0, part);
    }
    sums
}

/// The sums of the columns of `[rows, width]`.
pub(super) fn column_sums(values: &[f32], width: usize) -> Vec<f32> {
    let partial: Vec<Vec<f32>> = values
        .par_chunks(ROWS * width)
        .map(|rows| {
            let mut sums = vec![0.0; width];
            wide(
                #[inline(always)]
                || {
                    for row in rows.chunks_exact(width) {
                        add_scaled(&mut sums, 1.0, row);
                    }
                },
            );
            sums
        })
        .collect();
    total(&partial, width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_products_agree() {
        // 160^3 is below the bound for threads, 170^3 above it.
        for n in [160, 170] {
            let a: Vec<f32> = (0..n * n).map(|i| ((i * 7) % 13) as f32 - 6.0).collect();
            let (mut here, mut out) = (vec![f32::NAN; n * n], vec![f32::NAN; n * n]);
            multiply_here(&mut here, false, Matrix::new(&a, n), Matrix::new(&a, n).transposed());
            multiply(&mut out, false, Matrix::new(&a, n), Matrix::new(&a, n).transposed());
            assert_eq!(here, out);
        }
    }

    #[test]
    fn column_sums_of_many_rows() {
        let values: Vec<f32> = (0..3 * 1000).map(|i| (i % 3) as f32).collect();
        assert_eq!(column_sums(&values, 3), [0.0, 1000.0, 2000.0]);
    }
}
