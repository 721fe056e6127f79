//! Measures the stages alone and together, on a copy of the pipeline that leaves nothing behind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use pipeline_engine::{Limits, OptionValue, PipelineProfile, Plan, Profiler, StageProfile};
use serde::Serialize;

use super::forecast::{Forecast, forecast};
use super::{Arguments, ConfigArguments, Context, Failure};

/// Bytes of items that are buffered in memory between two stages.
const BUFFERED: usize = 512 << 20;
/// Steps of the last stage that a measurement of all stages together should have...
const STEPS: f64 = 6.0;
/// ... unless that takes longer than this many times the time for one stage.
const LONGER: f64 = 4.0;

/// What the stages gave alone and together.
pub struct Measured {
    /// Cores of this machine.
    pub cores: usize,
    /// Each stage alone, fed from memory.
    pub alone: Vec<StageProfile>,
    /// All stages in the first epoch.
    pub first: Together,
    /// The stages of later epochs, which read the cache; none without a cache.
    pub later: Option<Together>,
    /// The time that the measurements together took at most.
    pub time: Duration,
}

impl Measured {
    /// Samples per item of the last stage: those of a step.
    pub fn samples_per_step(&self) -> f64 {
        samples_per_step(&self.alone)
    }
}

fn samples_per_step(alone: &[StageProfile]) -> f64 {
    alone.last().map_or(1.0, |stage| stage.samples_per_item)
}

/// The forecast for stages together beside the measurement.
#[derive(Debug, Serialize)]
pub struct Together {
    /// The stage that the epoch begins with.
    pub from: String,
    pub expected: Option<Forecast>,
    /// Samples per second; none if the measurement was too short.
    pub measured: Option<f64>,
    /// Why it was not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmeasured: Option<String>,
}

impl Together {
    /// Compares a forecast with a measurement.
    pub fn of(whole: PipelineProfile, expected: Option<Forecast>, samples_per_step: f64) -> Self {
        let items = whole.items;
        let unmeasured = whole.items_per_s.is_none().then(|| match whole.complete {
            true => format!("the epoch has only {items} steps"),
            false => format!("only {items} steps finished within the time limit; allow more with --seconds"),
        });
        let measured = whole.items_per_s.map(|rate| rate * samples_per_step);
        Self { from: whole.from, expected, measured, unmeasured }
    }
}

/// The pipeline of a config, to be built as often as needed.
pub struct Measurer<'a> {
    arguments: &'a Arguments,
    context: &'a Context,
    /// The kinds of the stages, in their order.
    pub kinds: Vec<&'static str>,
    /// The stage with a cache, if there is one.
    pub caching: Option<Caching>,
    scratch: Scratch,
}

impl<'a> Measurer<'a> {
    /// Checks the config.
    ///
    /// # Errors
    /// Faults of the config; a temporary folder that cannot be made.
    pub fn new(arguments: &'a Arguments, context: &'a Context) -> Result<Self, Failure> {
        let plan = arguments.config.plan(&context.registry)?;
        let kinds = plan.stages().map(|stage| stage.kind).collect();
        Ok(Self { arguments, context, kinds, caching: Caching::of(&plan), scratch: Scratch::new()? })
    }

    /// The registry of the stage kinds.
    pub fn registry(&self) -> &pipeline_engine::Registry {
        &self.context.registry
    }

    /// The place of a kind of stage.
    pub fn place(&self, kind: &str) -> Option<usize> {
        self.kinds.iter().position(|known| *known == kind)
    }

    /// Measures each stage alone, then all together, then again from the cache.
    ///
    /// # Errors
    /// A stage that fails.
    pub fn measure(&self) -> Result<Measured, Failure> {
        let seconds = self.arguments.seconds;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let limits = Limits { time: Duration::from_secs_f64(seconds), bytes: BUFFERED };
        let alone =
            self.profiler(&[], "alone")?.alone(&limits, &mut |kind| self.announce(&format!("`{kind}` alone")))?;
        let samples = samples_per_step(&alone);

        let expected = forecast(&alone, cores);
        let steps = expected.as_ref().map_or(0.0, |e| STEPS * samples / e.samples_per_s.max(1e-9));
        let time = Duration::from_secs_f64(seconds.max(steps.min(seconds * LONGER)));
        self.announce("all together");
        let mut profiler = self.profiler(&[], "together")?;
        let whole = profiler.whole(1, time)?;
        let complete = whole.complete;
        let first = Together::of(whole, expected, samples);
        let later = match &self.caching {
            Some(caching) if caching.on => {
                let expected = self.after_cache(&alone, caching, cores);
                Some(if complete {
                    self.announce("all together, from the cache");
                    Together::of(profiler.whole(2, time)?, expected, samples)
                } else {
                    let why = "the first epoch did not end within the time limit, so its cache is incomplete";
                    let from = caching.stage.to_owned();
                    Together { from, expected, measured: None, unmeasured: Some(why.to_owned()) }
                })
            }
            _ => None,
        };
        Ok(Measured { cores, alone, first, later, time })
    }

    /// Measures all stages together with more settings.
    ///
    /// # Errors
    /// A stage that fails.
    pub fn together(&self, sets: &[String], name: &str, time: Duration) -> Result<PipelineProfile, Failure> {
        self.announce(&format!("all together, with {}", sets.join(" ")));
        Ok(self.profiler(sets, name)?.whole(1, time)?)
    }

    /// The forecast for epochs that read the cache: reading costs next to nothing, so the stages after it set the pace.
    pub fn after_cache(&self, alone: &[StageProfile], caching: &Caching, cores: usize) -> Option<Forecast> {
        let index = self.place(caching.stage).unwrap_or(0);
        forecast(&alone[(index + 1).min(alone.len())..], cores)
    }

    fn announce(&self, what: &str) {
        if !self.context.quiet && !self.arguments.json {
            eprintln!("{what} …");
        }
    }

    fn profiler(&self, sets: &[String], name: &str) -> Result<Profiler, Failure> {
        Ok(Profiler::build(self.plan(sets, name)?)?)
    }

    /// The plan with `sets` laid over it and a cache of its own: features cached earlier must not hide the work of the
    /// stages, and nothing may be left behind.
    fn plan(&self, sets: &[String], name: &str) -> Result<Plan, Failure> {
        let config = &self.arguments.config;
        let mut set = config.set.clone();
        set.extend_from_slice(sets);
        if let Some(caching) = self.caching.as_ref().filter(|caching| caching.on) {
            set.push(format!("stage.{}.cache={}", caching.stage, self.scratch.0.join(name).show()));
        }
        let config = ConfigArguments { config: config.config.clone(), set, preset: config.preset.clone() };
        config.plan(&self.context.registry)
    }
}

/// The stage that keeps its results: the one with an option `cache`.
pub struct Caching {
    pub stage: &'static str,
    /// True if the config names a folder for the cache.
    pub on: bool,
}

impl Caching {
    fn of(plan: &Plan) -> Option<Self> {
        plan.stages().find_map(|stage| {
            let (_, value) = stage.options.iter().find(|(name, _)| *name == "cache")?;
            Some(Self { stage: stage.kind, on: value != "\"\"" })
        })
    }
}

/// A folder for caches, deleted at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("pipeline-profile-{}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot create the folder {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0 as &Path);
    }
}
