//! What to change, by what the stages gave.

use pipeline_engine::{Kind, StageProfile};
use serde::Serialize;

use super::Failure;
use super::forecast::{Forecast, Limit, forecast, widened, workers_for};
use super::measure::{Measured, Measurer, Together};
use super::table::per_s;

/// A change, and what it should give.
#[derive(Debug, Serialize)]
pub struct Advice {
    /// For people.
    pub text: String,
    /// As `--set` takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// The measurement with it, where one short run shows the effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tried: Option<Together>,
}

impl Advice {
    fn only(text: String) -> Self {
        Self { text, set: None, tried: None }
    }
}

/// Advice on the cache, then on the limit.
///
/// # Errors
/// A stage that fails while the advice is tried.
pub fn advise(measurer: &Measurer<'_>, measured: &Measured) -> Result<Vec<Advice>, Failure> {
    let mut advice: Vec<Advice> = on_cache(measurer, measured).into_iter().collect();
    if let Some(expected) = &measured.first.expected {
        advice.push(match &expected.limit {
            Limit::Stage(kind) => on_stage(measurer, measured, kind)?,
            Limit::Cores => Advice::only(format!(
                "the {} cores are the limit, and more workers would not help: {}. More cores would, a GPU (run.device), or \
                 less work in the most expensive stage",
                measured.cores,
                shares(&measured.alone)
            )),
        });
    }
    Ok(advice)
}

/// What a cache would give, where there is a stage that could have one.
fn on_cache(measurer: &Measurer<'_>, measured: &Measured) -> Option<Advice> {
    let caching = measurer.caching.as_ref().filter(|caching| !caching.on)?;
    let then = measurer.after_cache(&measured.alone, caching, measured.cores)?;
    let text = format!(
        "`{}` has no cache, so its work is repeated in every epoch; with one, epochs after the first should reach {}",
        caching.stage,
        per_s(then.samples_per_s)
    );
    Some(Advice { text, set: Some(format!("stage.{}.cache=.cache/features", caching.stage)), tried: None })
}

/// What to do about the limiting stage. More workers are tried.
fn on_stage(measurer: &Measurer<'_>, measured: &Measured, kind: &str) -> Result<Advice, Failure> {
    let (alone, cores) = (&measured.alone, measured.cores);
    let Some(workers) = workers_for(alone, kind, cores).filter(|_| takes_workers(measurer, alone, kind)) else {
        return Ok(Advice::only(fixed(measurer, measured, kind)));
    };
    let set = format!("stage.{kind}.workers={workers}");
    let then = forecast(&widened(alone, kind, workers), cores);
    let whole = measurer.together(std::slice::from_ref(&set), "tried", measured.time)?;
    let moved = then.as_ref().map_or(String::new(), |then| match &then.limit {
        Limit::Stage(next) if next != kind => format!(" and make `{next}` the limit"),
        Limit::Cores => format!(" and make the {cores} cores the limit"),
        Limit::Stage(_) => String::new(),
    });
    let rate = then.as_ref().map_or("more".into(), |then| per_s(then.samples_per_s));
    Ok(Advice {
        text: format!("`{kind}` is the limit: workers = {workers} should give {rate}{moved}"),
        set: Some(set),
        tried: Some(Together::of(whole, then, measured.samples_per_step())),
    })
}

/// True if the stage has an option `workers` that sets the engine's number of workers.
fn takes_workers(measurer: &Measurer<'_>, alone: &[StageProfile], kind: &str) -> bool {
    let has = |k: &Kind| k.name == kind && k.options.iter().any(|option| option.name == "workers");
    // Only a map is as wide as `workers` says.
    measurer.registry().stages().any(has) && alone.iter().any(|stage| stage.kind == kind && stage.is_map)
}

/// Advice on a limit that more workers do not move.
fn fixed(measurer: &Measurer<'_>, measured: &Measured, kind: &str) -> String {
    let next: Option<&Forecast> = measured.later.as_ref().and_then(|later| later.expected.as_ref());
    let caching = measurer.caching.as_ref().filter(|c| c.on && measurer.place(kind) <= measurer.place(c.stage));
    let (Some(caching), Some(next)) = (caching, next) else {
        return format!(
            "`{kind}` is the limit, and more workers would not change that; see its options: pipeline stages {kind}"
        );
    };
    let rate = per_s(next.samples_per_s);
    let then = match &next.limit {
        Limit::Stage(next) => format!("`{next}` is the limit at {rate}; see its options: pipeline stages {next}"),
        Limit::Cores => format!("the cores are the limit at {rate}"),
    };
    format!("`{kind}` limits the first epoch only; later ones read the cache of `{}`, and there {then}", caching.stage)
}

/// The three stages that cost most: `` `encode` takes 74 %, `train` takes 24 % ``.
fn shares(alone: &[StageProfile]) -> String {
    let mut costs: Vec<(f64, &str)> =
        alone.iter().filter_map(|stage| Some((stage.cpu_per_sample()?, stage.kind.as_str()))).collect();
    let all: f64 = costs.iter().map(|(cost, _)| cost).sum();
    costs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let share = |(cost, kind): &(f64, &str)| format!("`{kind}` takes {:.0} %", 100.0 * cost / all.max(1e-12));
    costs.iter().take(3).map(share).collect::<Vec<_>>().join(", ")
}
