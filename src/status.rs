//! What a run has reported so far, beyond what its meters count: name, device, scores and the loss curve. The live
//! view, the metrics page and the log read it.

use std::sync::Arc;

use items::metric;
use parking_lot::Mutex;
use pipeline_engine::{Measurement, Phase, StepValues};

use crate::text;

/// Points of the loss curve. When there are more, each two neighbours become their mean.
const POINTS: usize = 2000;

/// The status of a run.
#[derive(Debug, Default)]
pub struct Status {
    /// The run folder's name.
    pub name: String,
    /// Description of the device.
    pub device: String,
    /// Scores, in the order in which they were first measured.
    pub scores: Vec<Score>,
    /// The measurements taken last, all at the same step.
    pub newest: Vec<Measurement>,
    /// Points (step, loss).
    pub losses: Vec<(f64, f64)>,
}

/// A score before training and now.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// Eval, metric and part, as [`text::measurement`] writes them.
    pub name: String,
    /// Before training.
    pub before: Option<f64>,
    /// The newest value.
    pub now: Option<f64>,
}

/// A status shared between the thread of the run and those that show it.
pub type SharedStatus = Arc<Mutex<Status>>;

impl Status {
    /// Takes over measurements.
    pub fn measured(&mut self, all: &[Measurement]) {
        self.newest = all.to_vec();
        for m in all {
            let name = text::measurement(&m.eval, &m.metric, &m.part);
            let place = self.scores.iter().position(|score| score.name == name).unwrap_or_else(|| {
                self.scores.push(Score { name, before: None, now: None });
                self.scores.len() - 1
            });
            match m.phase {
                Phase::Before => self.scores[place].before = Some(m.value),
                Phase::Epoch | Phase::After => self.scores[place].now = Some(m.value),
            }
        }
    }

    /// Takes over the loss of a step, if the step reports one.
    pub fn step(&mut self, step: &StepValues<'_>) {
        let Some((_, loss)) = step.values.iter().find(|(name, _)| *name == metric::LOSS) else { return };
        self.losses.push((step.step as f64, *loss));
        if self.losses.len() > POINTS {
            self.losses = self.losses.chunks(2).map(mean).collect();
        }
    }
}

fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    (x / n, y / n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement(phase: Phase, part: &str, value: f64) -> Measurement {
        Measurement {
            phase,
            epoch: 1,
            step: 1,
            eval: "q".into(),
            metric: "accuracy".into(),
            part: part.into(),
            value,
            low: None,
            high: None,
            n: 4,
        }
    }

    #[test]
    fn scores_keep_their_order_and_their_first_value() {
        let mut status = Status::default();
        status.measured(&[measurement(Phase::Before, "b", 0.1), measurement(Phase::Before, "all", 0.2)]);
        status.measured(&[measurement(Phase::After, "all", 0.4)]);
        let score = |name: &str, before, now| Score { name: name.into(), before: Some(before), now };
        assert_eq!(status.scores, [score("q accuracy (b)", 0.1, None), score("q accuracy", 0.2, Some(0.4))]);
        assert_eq!(status.newest.len(), 1);
    }

    #[test]
    fn the_loss_curve_is_bounded_and_keeps_its_mean() {
        let mut status = Status::default();
        for step in 0..10_000 {
            status.step(&StepValues { epoch: 1, step, values: &[("other", 1.0), (metric::LOSS, 3.0)] });
        }
        status.step(&StepValues { epoch: 1, step: 10_000, values: &[("other", 1.0)] });
        assert!(status.losses.len() <= POINTS && status.losses.iter().all(|point| point.1 == 3.0));
        assert!(status.losses.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
