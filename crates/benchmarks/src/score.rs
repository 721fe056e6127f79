//! What was measured, item by item: means and areas under curves with bootstrap intervals.

use std::collections::BTreeMap;

use pipeline_engine::rng::Draw;
use pipeline_engine::{Measurement, Moment};
use rand::RngExt;

/// Resamples of a bootstrap interval.
const RESAMPLES: usize = 1000;

/// One measurement before it is a number: one outcome per item.
///
/// Items that belong together (the questions about one image, its captions) have the same
/// cluster and are drawn together: the interval is about other images, not other questions.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What is measured: `accuracy`, `text_to_image_r@5`.
    pub metric: String,
    /// The subset of the items it stands on: `all`, `negative`.
    pub part: String,
    /// One outcome per item: 1 for a hit and 0 for a miss; for an area, a score.
    pub values: Vec<f32>,
    /// The cluster of each item.
    pub clusters: Vec<u32>,
    /// For an area under the ROC curve: whether each item should have a high score.
    pub positive: Option<Vec<bool>>,
}

impl Series {
    /// The share of hits; each item is (hit, cluster).
    pub fn hits(metric: &str, part: &str, hits: impl IntoIterator<Item = (bool, usize)>) -> Self {
        let (values, clusters) =
            hits.into_iter().map(|(hit, cluster)| (f32::from(u8::from(hit)), cluster as u32)).unzip();
        Self { metric: metric.to_owned(), part: part.to_owned(), values, clusters, positive: None }
    }

    /// The area under the ROC curve; each item is (score, should be high, cluster).
    pub fn auc(metric: &str, part: &str, items: impl IntoIterator<Item = (f32, bool, usize)>) -> Self {
        let (mut values, mut positive, mut clusters) = (Vec::new(), Vec::new(), Vec::new());
        for (score, high, cluster) in items {
            values.push(score);
            positive.push(high);
            clusters.push(cluster as u32);
        }
        Self { metric: metric.to_owned(), part: part.to_owned(), values, clusters, positive: Some(positive) }
    }

    /// How many items.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn draw(&self, seed: u64, eval: &str) -> Draw {
        Draw::new(seed, "eval.bootstrap").text(eval).text(&self.metric).text(&self.part)
    }

    /// The line of `results.jsonl`, with the 95 % percentile bootstrap interval (Efron, 1979).
    ///
    /// The draws are keyed by the seed and the name of the measurement, so that the same
    /// outcomes always have the same interval.
    pub fn measured(&self, moment: &Moment, eval: &str) -> Measurement {
        let statistic = Statistic::new(self);
        let (low, high) = interval(statistic.clusters, &self.draw(moment.seed, eval), |w| statistic.of(w));
        self.line(moment, eval, self.metric.clone(), statistic.of(&vec![1; statistic.clusters]), low, high)
    }

    /// The difference to `other`, measured on the same items; none if they are not the same. Both
    /// are resampled together, so that what makes an item hard counts once.
    pub fn minus(&self, other: &Self, moment: &Moment, eval: &str) -> Option<Measurement> {
        let same = self.metric == other.metric
            && self.part == other.part
            && self.clusters == other.clusters
            && self.positive == other.positive;
        if !same {
            return None;
        }
        let (one, two) = (Statistic::new(self), Statistic::new(other));
        let difference = |weights: &[u32]| one.of(weights) - two.of(weights);
        let (low, high) = interval(one.clusters, &self.draw(moment.seed, eval), difference);
        let value = difference(&vec![1; one.clusters]);
        Some(self.line(moment, eval, format!("difference:{}", self.metric), value, low, high))
    }

    fn line(&self, moment: &Moment, eval: &str, metric: String, value: f64, low: f64, high: f64) -> Measurement {
        Measurement {
            phase: moment.phase,
            epoch: moment.epoch,
            step: moment.step,
            eval: eval.to_owned(),
            metric,
            part: self.part.clone(),
            value,
            low: Some(low),
            high: Some(high),
            n: self.len() as u64,
        }
    }
}

/// A statistic of weighted clusters.
struct Statistic {
    clusters: usize,
    form: Form,
}

enum Form {
    /// For each cluster, the sum of its values and the number of its items.
    Mean(Vec<(f64, u32)>),
    /// Items by falling score: score, should be high, cluster.
    Auc(Vec<(f32, bool, usize)>),
}

impl Statistic {
    fn new(series: &Series) -> Self {
        let mut numbers: BTreeMap<u32, usize> = BTreeMap::new();
        for cluster in &series.clusters {
            let next = numbers.len();
            numbers.entry(*cluster).or_insert(next);
        }
        let clusters = numbers.len();
        let of = |item: usize| numbers[&series.clusters[item]];
        let form = match &series.positive {
            None => {
                let mut sums = vec![(0.0, 0); clusters];
                for (item, value) in series.values.iter().enumerate() {
                    let (sum, count) = &mut sums[of(item)];
                    *sum += f64::from(*value);
                    *count += 1;
                }
                Form::Mean(sums)
            }
            Some(positive) => {
                let mut items: Vec<_> = (0..series.len()).map(|i| (series.values[i], positive[i], of(i))).collect();
                items.sort_by(|a, b| b.0.total_cmp(&a.0));
                Form::Auc(items)
            }
        };
        Self { clusters, form }
    }

    /// Its value when each cluster counts `weights` times; NaN if nothing counts.
    fn of(&self, weights: &[u32]) -> f64 {
        match &self.form {
            Form::Mean(sums) => {
                let (mut sum, mut count) = (0.0, 0.0);
                for ((values, items), weight) in sums.iter().zip(weights) {
                    sum += values * f64::from(*weight);
                    count += f64::from(items * weight);
                }
                sum / count
            }
            Form::Auc(items) => {
                let (mut above, mut all, mut won) = (0.0, 0.0, 0.0);
                let mut at = 0;
                while at < items.len() {
                    let tied = items[at..].iter().take_while(|item| item.0 == items[at].0).count();
                    let count = |high: bool| -> f64 {
                        let of = items[at..at + tied].iter().filter(|item| item.1 == high);
                        of.map(|item| f64::from(weights[item.2])).sum()
                    };
                    let (high, low) = (count(true), count(false));
                    // A pair of equal scores is half won.
                    won += low * (above + high / 2.0);
                    above += high;
                    all += low;
                    at += tied;
                }
                won / (above * all)
            }
        }
    }
}

/// The 95 % percentile interval of a statistic over resampled clusters.
fn interval(clusters: usize, draw: &Draw, statistic: impl Fn(&[u32]) -> f64) -> (f64, f64) {
    if clusters == 0 {
        return (f64::NAN, f64::NAN);
    }
    let mut rng = draw.rng();
    let mut weights = vec![0u32; clusters];
    let mut values: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            weights.fill(0);
            (0..clusters).for_each(|_| weights[rng.random_range(0..clusters)] += 1);
            statistic(&weights)
        })
        .filter(|value| value.is_finite())
        .collect();
    values.sort_by(f64::total_cmp);
    if values.is_empty() {
        return (f64::NAN, f64::NAN);
    }
    let at = |p: f64| values[((values.len() - 1) as f64 * p).round() as usize];
    (at(0.025), at(0.975))
}

#[cfg(test)]
mod tests {
    use pipeline_engine::Phase;

    use super::*;

    const MOMENT: Moment = Moment { phase: Phase::After, epoch: 1, step: 2, seed: 3 };

    fn bounds(measured: &Measurement) -> (f64, f64) {
        (measured.low.unwrap_or(f64::NAN), measured.high.unwrap_or(f64::NAN))
    }

    #[test]
    fn interval_holds_the_share_and_narrows() {
        let hits = |n: usize| Series::hits("accuracy", "all", (0..n).map(|i| (i % 4 == 0, i)));
        let measured = hits(400).measured(&MOMENT, "e");
        let (low, high) = bounds(&measured);
        assert_eq!((measured.value, measured.n), (0.25, 400));
        assert!(low < 0.25 && 0.25 < high);
        // The normal interval of 400 draws at 1/4 is 0.25 +- 0.042.
        assert!((high - low - 0.085).abs() < 0.02, "{low} {high}");
        let few = bounds(&hits(40).measured(&MOMENT, "e"));
        assert!(few.1 - few.0 > high - low);
        assert_eq!(bounds(&hits(400).measured(&MOMENT, "e")), (low, high));
    }

    #[test]
    fn items_of_one_cluster_say_less_than_as_many_items_alone() {
        let alone = Series::hits("accuracy", "all", (0..400).map(|i| (i % 8 < 4, i)));
        let four = Series::hits("accuracy", "all", (0..400).map(|i| (i % 8 < 4, i / 4)));
        let width = |s: &Series| {
            let (low, high) = bounds(&s.measured(&MOMENT, "e"));
            high - low
        };
        // Four equal outcomes per cluster: half the information, twice the width.
        assert!((width(&four) / width(&alone) - 2.0).abs() < 0.35, "{} {}", width(&four), width(&alone));
    }

    #[test]
    fn a_paired_difference_is_sharper_than_two_intervals() {
        let one = Series::hits("accuracy", "all", (0..300).map(|i| (i % 3 == 0 || i % 30 == 1, i)));
        let two = Series::hits("accuracy", "all", (0..300).map(|i| (i % 3 == 0, i)));
        let minus = one.minus(&two, &MOMENT, "e").map(|m| (m.value, m.low, m.high, m.metric));
        let Some((value, Some(low), Some(high), metric)) = minus else { panic!("no difference") };
        assert!((value - 10.0 / 300.0).abs() < 1e-9 && low > 0.0 && high < 0.06, "{low} {high}");
        assert_eq!(metric, "difference:accuracy");
        let other = Series::hits("accuracy", "all", (0..299).map(|i| (true, i)));
        assert!(one.minus(&other, &MOMENT, "e").is_none());
    }

    #[test]
    fn the_area_counts_pairs() {
        let auc = |items: &[(f32, bool)]| {
            let series = Series::auc("auc", "all", items.iter().enumerate().map(|(i, (s, h))| (*s, *h, i)));
            series.measured(&MOMENT, "e").value
        };
        assert_eq!(auc(&[(0.9, true), (0.8, false), (0.7, true), (0.1, false)]), 0.75);
        assert_eq!(auc(&[(0.5, true), (0.5, false)]), 0.5);
        assert!(auc(&[(0.5, true)]).is_nan());
    }
}
