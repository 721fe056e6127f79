//! Products of f32 matrices on the CPU: the one place that calls gemm.

/// A matrix inside a slice: element `(i, j)` is at `i * strides[0] + j * strides[1]`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// `[rows, columns]`, row-major.
    ///
    /// # Panics
    /// When `columns` is 0, or the values do not fill whole rows.
    pub fn new(values: &'a [f32], columns: usize) -> Self {
        let shape = [values.len() / columns, columns];
        assert_eq!(shape[0] * shape[1], values.len(), "values fill whole rows");
        Self { values, shape, strides: [columns, 1] }
    }

    /// The same values with rows and columns exchanged; nothing is copied.
    #[must_use]
    pub fn transposed(self) -> Self {
        let Self { values, shape: [m, n], strides: [rows, columns] } = self;
        Self { values, shape: [n, m], strides: [columns, rows] }
    }

    /// Rows and columns.
    pub fn shape(self) -> [usize; 2] {
        self.shape
    }
}

/// How many threads a product may use. The result does not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The calling one, for callers that are parallel themselves.
    One,
    /// Those of rayon's pool.
    All,
}

/// `out = a b`, or with `add` `out += a b`, where a is `[m, k]`, b `[k, n]` and `out`, row-major,
/// `[m, n]`.
///
/// # Panics
/// When the shapes do not fit.
pub fn multiply(out: &mut [f32], add: bool, a: Matrix<'_>, b: Matrix<'_>, threads: Threads) {
    let ([m, k], [depth, n]) = (a.shape, b.shape);
    assert!(k == depth && out.len() == m * n, "[{m}, {k}] x [{depth}, {n}] into {} values", out.len());
    let [a_rows, a_columns] = a.strides.map(|stride| stride as isize);
    let [b_rows, b_columns] = b.strides.map(|stride| stride as isize);
    let parallelism = match threads {
        Threads::One => gemm::Parallelism::None,
        Threads::All => gemm::Parallelism::Rayon(0),
    };
    // SAFETY: gemm reads and writes exactly the elements that sizes and strides describe. A
    // `Matrix` is made only from a slice that its shape and strides fill, the sizes of the three
    // agree by the assertion above, and `out` is borrowed mutably, so that it overlaps neither of
    // the others. All of `out` is initialised, so that reading it is sound.
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
            parallelism,
        );
    }
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
                    for threads in [Threads::One, Threads::All] {
                        let mut out = vec![f32::NAN; m * n];
                        multiply(&mut out, false, a, b, threads);
                        assert_eq!(out, expected);
                        multiply(&mut out, true, a, b, threads);
                        assert!(out.iter().zip(&expected).all(|(out, expected)| *out == 2.0 * expected));
                    }
                }
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let value = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 997.0 - 0.5;
        let (a, b): (Vec<f32>, Vec<f32>) = ((0..300 * 96).map(value).collect(), (7..7 + 96 * 310).map(value).collect());
        let product = |threads| {
            let mut out = vec![0.0; 300 * 310];
            multiply(&mut out, false, Matrix::new(&a, 96), Matrix::new(&b, 96).transposed(), threads);
            out
        };
        assert_eq!(product(Threads::One), product(Threads::All));
    }

    #[test]
    #[should_panic(expected = "[2, 2] x [3, 1]")]
    fn shapes_that_do_not_fit_are_refused() {
        multiply(&mut [0.0; 2], false, Matrix::new(&[1.0; 4], 2), Matrix::new(&[1.0; 3], 1), Threads::One);
    }
}
