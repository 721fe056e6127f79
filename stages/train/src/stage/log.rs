//! A line of the log every few steps.

use std::time::{Duration, Instant};

use pipeline_engine::Position;

use crate::trainer::Step;

/// Sums since the last line.
#[derive(Default)]
pub(super) struct Log {
    since: Option<Instant>,
    steps: u32,
    loss: f64,
    forward: Duration,
    backward: Duration,
    update: Duration,
}

impl Log {
    /// Counts a step, and logs the means over the last `every` steps when it is time; 0: never.
    pub(super) fn step(&mut self, step: &Step, lr: f64, epoch: u32, position: Position, every: u64) {
        self.steps += 1;
        self.loss += step.losses.first().map_or(f64::NAN, |(_, value)| *value);
        self.forward += step.forward;
        self.backward += step.backward;
        self.update += step.update;
        let since = *self.since.get_or_insert_with(|| Instant::now() - step.forward - step.backward - step.update);
        if every > 0 && position.steps.is_multiple_of(every) {
            let count = f64::from(self.steps);
            let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e3 / count);
            tracing::info!(
                epoch,
                step = position.steps,
                loss = %format_args!("{:.4}", self.loss / count),
                lr = %format_args!("{lr:.2e}"),
                steps_per_s = %format_args!("{:.2}", count / since.elapsed().as_secs_f64()),
                forward_ms = ms(self.forward),
                backward_ms = ms(self.backward),
                update_ms = ms(self.update),
                "train"
            );
            *self = Self { since: Some(Instant::now()), ..Self::default() };
        }
    }
}
