//! The learning rate of each step.

use pipeline_engine::choice;

choice! {
    /// How the learning rate changes from epoch to epoch.
    pub enum Shape {
        /// It stays.
        Constant = "constant",
        /// Half a cosine down to 0, a step of it an epoch.
        Cosine = "cosine",
    }
}

/// Warm-up by step, decay by epoch: how many steps an epoch has is not known
/// while samples stream in, and must not change what is learned.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// The highest learning rate.
    pub lr: f64,
    /// Steps over which it rises to that.
    pub warmup_steps: u64,
    /// What follows.
    pub shape: Shape,
    /// Epochs in all.
    pub epochs: u32,
}

impl Schedule {
    /// The learning rate of a step. `epoch` counts from 1; `total_step`, over all epochs, from 0.
    pub fn lr(&self, epoch: u32, total_step: u64) -> f64 {
        let warm = ((total_step + 1) as f64 / self.warmup_steps.max(1) as f64).min(1.0);
        let left = match self.shape {
            Shape::Constant => 1.0,
            Shape::Cosine => {
                let done = f64::from(epoch.saturating_sub(1)) / f64::from(self.epochs.max(1));
                0.5 + 0.5 * (std::f64::consts::PI * done).cos()
            }
        };
        self.lr * warm * left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_by_step_and_falls_by_epoch() {
        let mut schedule = Schedule { lr: 8.0, warmup_steps: 4, shape: Shape::Constant, epochs: 4 };
        let rising: Vec<f64> = (0..6).map(|step| schedule.lr(1, step)).collect();
        assert_eq!(rising, [2.0, 4.0, 6.0, 8.0, 8.0, 8.0]);
        schedule.shape = Shape::Cosine;
        let falling: Vec<f64> = (1..=4).map(|epoch| schedule.lr(epoch, 100)).collect();
        let expected = [8.0, 4.0 + 4.0 * 0.5f64.sqrt(), 4.0, 4.0 - 4.0 * 0.5f64.sqrt()];
        assert!(falling.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{falling:?}");
        assert_eq!(Schedule { warmup_steps: 0, ..schedule }.lr(1, 0), 8.0);
    }
}
