//! Forecasts what the stages reach together from what each reaches alone.

use pipeline_engine::StageProfile;
use serde::Serialize;

/// What sets the pace.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "limit", content = "stage", rename_all = "lowercase")]
pub enum Limit {
    /// A stage, which is not faster alone either.
    Stage(String),
    /// The cores, which all stages share.
    Cores,
}

/// The rate that stages should reach together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// Samples per second.
    pub samples_per_s: f64,
    #[serde(flatten)]
    pub limit: Limit,
    /// Samples per second at which all cores are busy; none if CPU time is unknown.
    pub cores_per_s: Option<f64>,
    /// The next limit: how fast the stages could get if only the first limit was removed.
    pub next_per_s: f64,
    pub next: Option<Limit>,
}

/// A pipeline is at most as fast as its slowest stage, and as the cores can do the work of all stages: the sum of what
/// a sample costs in each.
pub fn forecast(stages: &[StageProfile], cores: usize) -> Option<Forecast> {
    let cpu: Option<f64> = stages.iter().map(StageProfile::cpu_per_sample).sum();
    let cores_per_s = cpu.filter(|cpu| *cpu > 0.0).map(|cpu| cores as f64 / cpu);
    let mut limits: Vec<(f64, Limit)> =
        stages.iter().map(|stage| (stage.ceiling(), Limit::Stage(stage.kind.clone()))).collect();
    limits.extend(cores_per_s.map(|rate| (rate, Limit::Cores)));
    limits.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut limits = limits.into_iter();
    let (samples_per_s, limit) = limits.next()?;
    let (next_per_s, next) = match limits.next() {
        Some((rate, next)) => (rate, Some(next)),
        None => (samples_per_s, None),
    };
    Some(Forecast { samples_per_s, limit, cores_per_s, next_per_s, next })
}

/// The same stages with `workers` workers in one of them.
pub fn widened(stages: &[StageProfile], kind: &str, workers: usize) -> Vec<StageProfile> {
    let mut stages = stages.to_vec();
    if let Some(stage) = stages.iter_mut().find(|stage| stage.kind == kind) {
        // Each worker is as fast as one was; the CPU time per sample stays.
        stage.seconds *= stage.workers as f64 / workers as f64;
        stage.workers = workers;
    }
    stages
}

/// The number of workers with which a stage is no longer the limit; none if more would not help.
pub fn workers_for(stages: &[StageProfile], kind: &str, cores: usize) -> Option<usize> {
    let now = forecast(stages, cores)?;
    let stage = stages.iter().find(|stage| stage.kind == kind && now.limit == Limit::Stage(kind.to_owned()))?;
    let wanted = (stage.workers as f64 * now.next_per_s / stage.ceiling()).ceil() as usize;
    let workers = wanted.min(cores.max(1));
    (workers > stage.workers).then_some(workers)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A stage that does `rate` samples per second on `cpu` cores.
    fn stage(kind: &str, workers: usize, rate: f64, cpu: f64) -> StageProfile {
        let (items, samples_per_item) = (100, 1.0);
        let seconds = 100.0 / rate;
        StageProfile {
            kind: kind.into(),
            workers,
            is_map: true,
            items,
            samples_per_item,
            seconds,
            cpu_seconds: Some(cpu * seconds),
        }
    }

    #[test]
    fn the_slowest_stage_or_the_cores() {
        let stages = [stage("read", 1, 1000.0, 1.0), stage("decode", 1, 100.0, 1.0), stage("train", 1, 400.0, 1.0)];
        let many = forecast(&stages, 16).unwrap();
        assert_eq!(many.limit, Limit::Stage("decode".into()));
        assert!((many.samples_per_s - 100.0).abs() < 1e-6 && (many.next_per_s - 400.0).abs() < 1e-6);
        // 1 + 10 + 2.5 ms per sample on one core.
        let one = forecast(&stages, 1).unwrap();
        assert_eq!(one.limit, Limit::Cores);
        assert!((one.samples_per_s - 1.0 / 0.0135).abs() < 1e-6);
        assert!(forecast(&[], 1).is_none());
    }

    #[test]
    fn workers_up_to_the_next_limit_and_no_further_than_cores() {
        let stages = [stage("decode", 1, 100.0, 1.0), stage("train", 1, 350.0, 1.0)];
        assert_eq!(workers_for(&stages, "decode", 16), Some(4));
        assert_eq!(workers_for(&stages, "decode", 1), None, "the core is the limit already");
        assert_eq!(workers_for(&stages, "train", 16), None, "train is not the limit");
        let wide = forecast(&widened(&stages, "decode", 4), 16).unwrap();
        assert_eq!(wide.limit, Limit::Stage("train".into()));
        assert!((wide.samples_per_s - 350.0).abs() < 1e-6);
    }

    #[test]
    fn without_cpu_times_only_stages_limit() {
        let mut stages = [stage("decode", 1, 100.0, 1.0)];
        stages[0].cpu_seconds = None;
        assert_eq!(forecast(&stages, 1).unwrap().cores_per_s, None);
    }
}
