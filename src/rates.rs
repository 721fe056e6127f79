//! Rates of the last seconds, computed from counters that restart in each epoch.

use std::collections::VecDeque;
use std::time::Duration;

use pipeline_engine::{Live, Snapshot};

/// The span of time that rates are taken over.
const WINDOW: Duration = Duration::from_secs(3);

/// A stage over the last seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rate {
    /// Items per second.
    pub items: f64,
    /// Share of the workers' time spent on items, 0 to 1. If the three shares add up to less than 1, the stage did not
    /// run for the rest.
    pub busy: f64,
    /// Share spent waiting for input.
    pub wait_in: f64,
    /// Share spent waiting for room in the next edge.
    pub wait_out: f64,
}

/// Counters of a stage since the run began.
#[derive(Debug, Clone, Copy, Default)]
struct Total {
    items: f64,
    busy: f64,
    wait_in: f64,
    wait_out: f64,
}

impl Total {
    fn of(now: &Snapshot) -> Self {
        // Averaged over workers: a stage with four workers is fully busy when all four are.
        let workers = now.workers.max(1) as f64;
        Self {
            items: now.items as f64,
            busy: now.busy_s / workers,
            wait_in: now.wait_in_s / workers,
            wait_out: now.wait_out_s / workers,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            items: self.items + other.items,
            busy: self.busy + other.busy,
            wait_in: self.wait_in + other.wait_in,
            wait_out: self.wait_out + other.wait_out,
        }
    }
}

/// Follows a run and computes its rates.
#[derive(Debug, Default)]
pub struct Rates {
    /// Totals of the finished epochs, by stage.
    past: Vec<Total>,
    epoch: u32,
    newest: Vec<Total>,
    history: VecDeque<(Duration, Vec<Total>)>,
}

impl Rates {
    /// Takes over the newest counters; returns a rate for each stage.
    pub fn update(&mut self, live: &Live) -> Vec<Rate> {
        let count = live.stages.len();
        self.past.resize(count, Total::default());
        self.newest.resize(count, Total::default());
        if live.epoch != self.epoch {
            self.epoch = live.epoch;
            for (past, newest) in self.past.iter_mut().zip(&mut self.newest) {
                *past = past.plus(std::mem::take(newest));
            }
        }
        for (newest, stage) in self.newest.iter_mut().zip(&live.stages) {
            if let Some(now) = &stage.now {
                *newest = Total::of(now);
            }
        }
        let totals: Vec<Total> = self.past.iter().zip(&self.newest).map(|(past, newest)| past.plus(*newest)).collect();
        while self.history.len() > 1 && self.history[1].0 + WINDOW <= live.elapsed {
            self.history.pop_front();
        }
        let rates = match self.history.front() {
            Some((then, old)) if live.elapsed > *then => {
                let time = (live.elapsed - *then).as_secs_f64();
                let rate = |(new, old): (&Total, &Total)| Rate {
                    items: ((new.items - old.items) / time).max(0.0),
                    busy: ((new.busy - old.busy) / time).clamp(0.0, 1.0),
                    wait_in: ((new.wait_in - old.wait_in) / time).clamp(0.0, 1.0),
                    wait_out: ((new.wait_out - old.wait_out) / time).clamp(0.0, 1.0),
                };
                totals.iter().zip(old).map(rate).collect()
            }
            _ => vec![Rate::default(); count],
        };
        self.history.push_back((live.elapsed, totals));
        rates
    }

    /// The place of the stage that limits the pipeline: the busiest one, if any works at all.
    pub fn limiting(rates: &[Rate]) -> Option<usize> {
        let busiest = rates.iter().enumerate().max_by(|(_, a), (_, b)| a.busy.total_cmp(&b.busy));
        busiest.filter(|(_, rate)| rate.busy > 0.02).map(|(place, _)| place)
    }
}
