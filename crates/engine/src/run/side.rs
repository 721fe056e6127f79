//! Side runs: the first stages of a pipeline over other data.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::epoch::run_pass;
use super::session::Session;
use crate::config::{Config, Diagnostic, Table};
use crate::edge::Stop;
use crate::error::StageError;
use crate::plan::{Plan, Registry, check_stages, first_stage};
use crate::stage::{Build, Each, Services, Side, Skipped, Source};

/// The config of a run, for side runs.
pub(crate) struct SideRun {
    config: Config,
    registry: Arc<Registry>,
    interrupt: Arc<AtomicBool>,
    shared: Services,
}

impl SideRun {
    pub fn new(plan: &Plan, registry: &Arc<Registry>, interrupt: Arc<AtomicBool>) -> Self {
        Self { config: plan.config.clone(), registry: registry.clone(), interrupt, shared: plan.shared.clone() }
    }

    /// The config with `source` as its first stage, and without evals.
    fn config_over(&self, source: Option<&Source>) -> Config {
        let mut config = self.config.clone();
        config.evals.clear();
        if let Some(first) = source.map(|source| first_stage(&config, source)) {
            match config.stages.first_mut() {
                Some(place) => *place = first,
                None => config.stages.push(first),
            }
        }
        config
    }
}

impl Side for SideRun {
    fn run(&self, source: Option<&Source>, upto: &'static str, each: Each<'_>) -> Result<Skipped, StageError> {
        let mut config = self.config_over(source);
        let gives = |table: &Table| {
            let (kind, _) = table.text("kind")?;
            self.registry.stages().find(|known| known.name == kind)?.output
        };
        let end = config.stages.iter().position(|table| gives(table).is_some_and(|port| port.name == upto));
        let Some(end) = end else {
            return Err(StageError::msg(format!("no stage of the pipeline gives {upto}, which an [[eval]] needs")));
        };
        config.stages.truncate(end + 1);
        let mut plan = check_stages(&config, &self.registry).map_err(|faults| join(&faults))?;
        plan.shared = self.shared.clone();
        // The session's inputs go nowhere: what is measured on is no input of the training.
        let mut session = Session::new(&plan, None, None, self.interrupt.clone())?;
        let named = |(kind, error)| match error {
            StageError::Interrupted => StageError::Interrupted,
            error => StageError::msg(format!("{kind}: {error}")),
        };
        session.build_stages(&mut plan, None).map_err(named)?;
        let stop = Arc::new(Stop::default());
        session
            .with_slots(|session, slots| run_pass(slots, &session.context(1, 0, &stop), Some(each), &mut |_, _| {}))
            .map_err(named)?;
        let lost = session.ledger.lost_shards().into_iter();
        let lost = lost.map(|skip| (skip.stage, format!("{}: {}", skip.shard, skip.reason), 1));
        Ok(session.ledger.by_reason().into_iter().chain(lost).collect())
    }
}

/// Builds what stands on the first stages of a pipeline outside of a run: a benchmark of a
/// checkpoint that is not trained. The stages of `config` need not end a pipeline.
///
/// # Errors
/// Every fault of the config; else what `make` says.
pub fn outside_run<R>(
    config: &Config,
    registry: &Arc<Registry>,
    make: impl FnOnce(&mut Build<'_>) -> Result<R, StageError>,
) -> Result<Result<R, StageError>, Vec<Diagnostic>> {
    let plan = check_stages(config, registry)?;
    let interrupt = Arc::new(AtomicBool::new(false));
    let side = SideRun::new(&plan, registry, interrupt.clone());
    let session = match Session::new(&plan, None, Some(Arc::new(side)), interrupt) {
        Ok(session) => session,
        Err(error) => return Ok(Err(error.into())),
    };
    Ok(make(&mut session.build(None)))
}

fn join(faults: &[Diagnostic]) -> StageError {
    StageError::msg(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}
