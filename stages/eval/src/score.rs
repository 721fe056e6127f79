//! Shares with their bootstrap intervals.

use pipeline_engine::rng::Draw;
use pipeline_engine::{Measurement, Moment};
use rand::RngExt;

/// Resamples of a bootstrap interval.
const RESAMPLES: usize = 1000;

/// The share of hits and its 95 % percentile bootstrap interval (Efron, 1979).
///
/// The draws are keyed by the seed and the name of the measurement, so that the
/// same hits always have the same interval.
pub fn share(hits: &[bool], draw: &Draw) -> (f64, f64, f64) {
    let n = hits.len();
    if n == 0 {
        return (f64::NAN, f64::NAN, f64::NAN);
    }
    let count = hits.iter().filter(|hit| **hit).count();
    let share = count as f64 / n as f64;
    let mut rng = draw.rng();
    let mut means: Vec<f64> =
        (0..RESAMPLES).map(|_| (0..n).filter(|_| hits[rng.random_range(0..n)]).count() as f64 / n as f64).collect();
    means.sort_by(f64::total_cmp);
    let at = |p: f64| means[((RESAMPLES - 1) as f64 * p).round() as usize];
    (share, at(0.025), at(0.975))
}

/// The line of `results.jsonl` for a share of hits.
pub fn measured(moment: &Moment, eval: &str, metric: &str, part: &str, hits: &[bool]) -> Measurement {
    let draw = Draw::new(moment.seed, "eval.bootstrap").text(eval).text(metric).text(part);
    let (value, low, high) = share(hits, &draw);
    Measurement {
        phase: moment.phase,
        epoch: moment.epoch,
        step: moment.step,
        eval: eval.to_owned(),
        metric: metric.to_owned(),
        part: part.to_owned(),
        value,
        low: Some(low),
        high: Some(high),
        n: hits.len() as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_holds_the_share_and_narrows() {
        let draw = Draw::new(1, "test");
        let hits: Vec<bool> = (0..400).map(|i| i % 4 == 0).collect();
        let (value, low, high) = share(&hits, &draw);
        assert_eq!(value, 0.25);
        assert!(low < 0.25 && 0.25 < high);
        // The normal interval of 400 draws at 1/4 is 0.25 +- 0.042.
        assert!((high - low - 0.085).abs() < 0.02, "{low} {high}");
        let few = share(&hits[..40], &draw);
        assert!(few.2 - few.1 > high - low);
        assert_eq!(share(&hits, &draw), (value, low, high));
    }
}
