//! Loops over slices that the compiler turns into vector instructions.

pub(super) use crate::wide::wide;

/// Rows per task, for operations on rows.
pub(super) const ROWS: usize = 64;
/// Running sums of a reduction. As many as the lanes of the widest vector, so that the order of
/// additions is the same on every processor.
const LANES: usize = 16;

/// The sum of `term(0)` to `term(n - 1)`.
#[inline(always)]
pub(super) fn sum(n: usize, term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let whole = n - n % LANES;
    let mut at = 0;
    while at < whole {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(at + lane);
        }
        at += LANES;
    }
    let rest: f32 = (whole..n).map(&term).sum();
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0] + rest
}

#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let b = &b[..a.len()];
    sum(a.len(), |i| a[i] * b[i])
}

/// `y += scale * x`
#[inline(always)]
pub(super) fn add_scaled(y: &mut [f32], scale: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += scale * x;
    }
}

/// `e^x` to about one unit in the last place, in a form that vectorises: `2^n e^r`, with a
/// polynomial for `e^r` on `|r| <= ln 2 / 2`.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding it leaves the nearest integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let mut p = 1.987_569_1e-4;
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.0e-1] {
        p = p * r + c;
    }
    let power = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    (p * r * r + r + 1.0) * f32::from_bits(power)
}

/// The error function to 1e-6 (Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26,
/// and rounding).
#[inline(always)]
pub(super) fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let mut p = 1.061_405_4;
    for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = p * t + c;
    }
    (1.0 - p * t * exp(-x * x)).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_exact_to_two_units() {
        for i in -870_000..880_000 {
            let x = i as f32 * 1e-4;
            let (ours, exact) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((ours / exact - 1.0).abs() < 2.4e-7, "{x}: {ours} {exact}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(-1e30) < 1e-37 && exp(1e30) > 1e38 && exp(0.0) == 1.0);
    }

    #[test]
    fn erf_is_the_integral_of_the_bell_curve() {
        // Midpoints, in steps small enough for 1e-9.
        let step = 1e-4;
        let mut exact = 0.0;
        for i in 0..50_000 {
            let x = (f64::from(i) + 0.5) * step;
            exact += 2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * step;
            let at = (x + 0.5 * step) as f32;
            assert!((f64::from(erf(at)) - exact).abs() < 1e-6, "{at}: {} {exact}", erf(at));
            assert_eq!(erf(-at), -erf(at));
        }
        assert!(erf(f32::NAN).is_nan());
    }

    #[test]
    fn sums_are_sums() {
        for n in [0, 1, 15, 16, 17, 100] {
            assert_eq!(sum(n, |i| i as f32), (n * n.saturating_sub(1) / 2) as f32);
        }
    }
}
