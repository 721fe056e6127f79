//! Matrix products, and sums of columns.

use rayon::prelude::*;

use super::math::{ROWS, add_scaled, wide};

/// A matrix inside a slice: element `(i, j)` is at `i * rows + j * columns`.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// `[rows, columns]`, row-major.
    pub(super) fn new(values: &'a [f32], columns: usize) -> Self {
        let shape = [values.len() / columns, columns];
        assert_eq!(shape[0] * shape[1], values.len());
        Self { values, shape, strides: [columns, 1] }
    }

    pub(super) fn transposed(self) -> Self {
        let Self { values, shape: [m, n], strides: [rows, columns] } = self;
        Self { values, shape: [n, m], strides: [columns, rows] }
    }
}

/// `out = a b`, or `out += a b`; `out` is row-major. With as many threads as there are, once the
/// product is worth waking them; the result does not depend on how many.
pub(super) fn multiply(out: &mut [f32], add: bool, a: Matrix, b: Matrix) {
    let work = a.shape[0] * a.shape[1] * b.shape[1];
    product(out, add, a, b, if work < 1 << 22 { gemm::Parallelism::None } else { gemm::Parallelism::Rayon(0) });
}

/// [`multiply`] on this thread alone, for callers that are parallel themselves.
pub(super) fn multiply_here(out: &mut [f32], add: bool, a: Matrix, b: Matrix) {
    product(out, add, a, b, gemm::Parallelism::None);
}

fn product(out: &mut [f32], add: bool, a: Matrix, b: Matrix, threads: gemm::Parallelism) {
    let ([m, k], [depth, n]) = (a.shape, b.shape);
    assert!(k == depth && out.len() == m * n);
    let [a_rows, a_columns] = a.strides.map(|stride| stride as isize);
    let [b_rows, b_columns] = b.strides.map(|stride| stride as isize);
    // SAFETY: a `Matrix` is made only from a slice that its shape and strides fill exactly, the
    // sizes of the three agree by the assertion above, and `out` is borrowed mutably, so it
    // overlaps neither of the others. All of `out` is initialised, so that reading it is sound.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            add,
            a.values.as_ptr(),
            a_columns,
            a_rows,
            b.values.as_ptr(),
            b_columns,
            b_rows,
            1.0,
            1.0,
            false,
            false,
            false,
            threads,
        );
    }
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
    fn products_of_all_orders_and_sizes() {
        for (m, k, n) in [(1, 1, 1), (3, 5, 2), (17, 64, 17), (200, 190, 170)] {
            let a: Vec<f32> = (0..m * k).map(|i| ((i * 7) % 13) as f32 - 6.0).collect();
            let b: Vec<f32> = (0..k * n).map(|i| ((i * 5) % 11) as f32 - 5.0).collect();
            let flip = |values: &[f32], columns: usize| -> Vec<f32> {
                let rows = values.len() / columns;
                (0..values.len()).map(|i| values[i % rows * columns + i / rows]).collect()
            };
            let expected: Vec<f32> =
                (0..m * n).map(|i| (0..k).map(|d| a[i / n * k + d] * b[d * n + i % n]).sum()).collect();
            let (a_flipped, b_flipped) = (flip(&a, k), flip(&b, n));
            for a in [Matrix::new(&a, k), Matrix::new(&a_flipped, m).transposed()] {
                for b in [Matrix::new(&b, n), Matrix::new(&b_flipped, k).transposed()] {
                    let mut out = vec![f32::NAN; m * n];
                    multiply(&mut out, false, a, b);
                    assert_eq!(out, expected);
                    multiply_here(&mut out, true, a, b);
                    assert!(out.iter().zip(&expected).all(|(out, expected)| *out == 2.0 * expected));
                }
            }
        }
    }

    #[test]
    fn column_sums_of_many_rows() {
        let values: Vec<f32> = (0..3 * 1000).map(|i| (i % 3) as f32).collect();
        assert_eq!(column_sums(&values, 3), [0.0, 1000.0, 2000.0]);
    }
}
