//! The host of stages: everything a run, a side run or a profile builds them from and runs them with.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::config::RunOptions;
use crate::edge::Stop;
use crate::error::StageError;
use crate::ledger::{Ledger, LedgerError};
use crate::plan::Plan;
use crate::stage::node::Node;
use crate::stage::{Build, Fact, Inputs, Pass, RunDir, Services, Side};
use crate::watch::{Meter, Watch};

/// A stage in its place.
pub(crate) struct Slot {
    pub kind: &'static str,
    pub capacity: usize,
    pub node: Box<dyn Node>,
    pub meter: Arc<Meter>,
}

/// Built stages, and what they share.
pub(crate) struct Session {
    pub run: RunOptions,
    pub slots: Vec<Slot>,
    pub services: Services,
    pub inputs: Inputs,
    pub ledger: Ledger,
    pub interrupt: Arc<AtomicBool>,
    pub watch: Watch,
    pub dir: Option<RunDir>,
    side: Option<Arc<dyn Side>>,
    base: PathBuf,
    sections: Services,
    shared: Services,
    needed: Arc<[Fact]>,
}

impl Session {
    /// A host without stages, whose ledger is in memory.
    pub fn new(
        plan: &Plan,
        dir: Option<RunDir>,
        side: Option<Arc<dyn Side>>,
        interrupt: Arc<AtomicBool>,
    ) -> Result<Self, LedgerError> {
        Ok(Self {
            run: plan.run.clone(),
            slots: Vec::new(),
            services: Services::default(),
            inputs: Inputs::default(),
            ledger: Ledger::open(None, plan.run.max_skipped)?,
            interrupt,
            watch: Watch::default(),
            dir,
            side,
            base: plan.base.clone(),
            sections: plan.sections.clone(),
            shared: plan.shared.clone(),
            needed: plan.needed(),
        })
    }

    /// What a stage or a probe may use while it is built.
    pub fn build(&self, resume: Option<PathBuf>) -> Build<'_> {
        Build {
            run: &self.run,
            base: &self.base,
            services: &self.services,
            dir: self.dir.as_ref(),
            resume,
            side: self.side.clone(),
            sections: &self.sections,
            shared: &self.shared,
            needed: &self.needed,
            inputs: &self.inputs,
        }
    }

    /// Builds the stages of the plan; an error comes with the stage's kind.
    pub fn build_stages(&mut self, plan: &mut Plan, resume: Option<PathBuf>) -> Result<(), Failure> {
        for stage in std::mem::take(&mut plan.stages) {
            let mut build = self.build(resume.clone());
            let node = (stage.ready.build)(stage.kind, &mut build).map_err(|error| (stage.kind.to_owned(), error))?;
            let (kind, capacity) = (stage.kind, stage.ready.common.capacity);
            self.slots.push(Slot { kind, capacity, node, meter: Arc::default() });
        }
        Ok(())
    }

    /// What all stages of an epoch share.
    pub fn context<'a>(&'a self, epoch: u32, skip_steps: u64, stop: &'a Arc<Stop>) -> PassContext<'a> {
        PassContext {
            epoch,
            skip_steps,
            run: &self.run,
            ledger: &self.ledger,
            services: &self.services,
            stop,
            interrupt: &self.interrupt,
            watch: &self.watch,
        }
    }

    /// Does `work` with the stages and the rest of the session at once.
    pub fn with_slots<R>(&mut self, work: impl FnOnce(&Self, &mut [Slot]) -> R) -> R {
        let mut slots = std::mem::take(&mut self.slots);
        let result = work(self, &mut slots);
        self.slots = slots;
        result
    }
}

/// The kind of the stage that failed, and its error.
pub(crate) type Failure = (String, StageError);

/// What all stages of an epoch share.
pub(crate) struct PassContext<'a> {
    pub epoch: u32,
    pub skip_steps: u64,
    pub run: &'a RunOptions,
    pub ledger: &'a Ledger,
    pub services: &'a Services,
    pub stop: &'a Arc<Stop>,
    pub interrupt: &'a AtomicBool,
    pub watch: &'a Watch,
}

impl<'a> PassContext<'a> {
    pub fn pass(&self, meter: &'a Meter, stage: (usize, &'static str)) -> Pass<'a> {
        Pass {
            epoch: self.epoch,
            epochs: self.run.epochs,
            skip_steps: self.skip_steps,
            seed: self.run.seed,
            ledger: self.ledger,
            services: self.services,
            meter,
            stop: self.stop,
            interrupt: self.interrupt,
            watch: self.watch,
            stage,
        }
    }
}
