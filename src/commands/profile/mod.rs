//! `pipeline profile`

mod forecast;

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use pipeline_engine::{Alone, Limits, Plan, Rig, Whole};
use serde::Serialize;
use serde_json::json;

use super::{ConfigArguments, Context, Failure};
use crate::show;
use forecast::{Forecast, Limit, forecast, widened, workers_for};

/// Find the slow stage: run each alone, then all together.
#[derive(Debug, Args)]
#[command(after_help = "Trains for a moment on a copy in memory; leaves no run folder and no cache behind.

Examples:
  pipeline profile pipeline.toml
  pipeline profile pipeline.toml --set stage.decode.workers=1 --seconds 10
  pipeline profile pipeline.toml --json")]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Seconds for each stage; the whole may take up to four times as long.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Bytes of items that may wait in memory between two stages.
const KEPT: usize = 512 << 20;

/// Steps of the last stage that a measurement of the whole should have.
const STEPS: f64 = 6.0;
/// How much longer than a stage alone the whole may take for that.
const LONGER: f64 = 4.0;

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| (0.1..=3600.0).contains(s));
    seconds.ok_or_else(|| "a number of seconds from 0.1 to 3600".into())
}

/// What was expected of stages together, and what came of it.
#[derive(Debug, Serialize)]
struct Together {
    /// The stage that the epoch begins with.
    from: String,
    expected: Option<Forecast>,
    /// Samples a second; none where it was too short to tell.
    measured: Option<f64>,
    /// Why it was not measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    unmeasured: Option<String>,
}

/// What could be changed, and what it should give.
#[derive(Debug, Serialize)]
struct Advice {
    /// In words.
    text: String,
    /// As `--set` takes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<String>,
    /// Tried, where that is one short run.
    #[serde(skip_serializing_if = "Option::is_none")]
    tried: Option<Together>,
}

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        let tell = |what: &str| {
            if !context.quiet && !self.json {
                eprintln!("{what} …");
            }
        };
        let plan = self.config.plan(&context.registry)?;
        let caching = Caching::of(&plan);
        let kinds: Vec<&'static str> = plan.stages().map(|stage| stage.kind).collect();
        let scratch = Scratch::new()?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let time = Duration::from_secs_f64(self.seconds);
        let others = load().filter(|load| *load > 0.5);

        let rig = |sets: &[String], name: &str| -> Result<Rig, Failure> {
            Ok(Rig::build(self.plan(context, caching.as_ref(), &scratch, name, sets)?)?)
        };
        let limits = Limits { time, bytes: KEPT };
        let alone = rig(&[], "alone")?.alone(&limits, &mut |kind| tell(&format!("`{kind}` alone")))?;
        let sink_samples = alone.last().map_or(1.0, |stage| stage.samples_an_item);

        // Long enough for a few steps of the last stage, if that is not too long.
        let expected = forecast(&alone, cores);
        let steps = expected.as_ref().map_or(0.0, |e| STEPS * sink_samples / e.samples_per_s.max(1e-9));
        let time = Duration::from_secs_f64(self.seconds.max(steps.min(self.seconds * LONGER)));

        tell("all together");
        let mut together = rig(&[], "together")?;
        let whole = together.whole(1, time)?;
        let first = Together {
            from: whole.from.clone(),
            measured: rate(&whole, sink_samples),
            unmeasured: too_short(&whole),
            expected: expected.clone(),
        };
        let later = match &caching {
            Some(caching) if caching.on => {
                let index = kinds.iter().position(|kind| *kind == caching.stage).unwrap_or(0);
                // What is replayed from the cache costs next to nothing; what stands behind it sets the pace.
                let expected = forecast(&alone[(index + 1).min(alone.len())..], cores);
                let from = caching.stage.to_owned();
                Some(if whole.complete {
                    tell("all together, from the cache");
                    let whole = together.whole(2, time)?;
                    let (measured, unmeasured) = (rate(&whole, sink_samples), too_short(&whole));
                    Together { from: whole.from, expected, measured, unmeasured }
                } else {
                    let why = "the first epoch did not end in the time, so its cache is not whole".to_owned();
                    Together { from, expected, measured: None, unmeasured: Some(why) }
                })
            }
            _ => None,
        };
        drop(together);

        let mut advice = Vec::new();
        if let Some(caching) = caching.as_ref().filter(|caching| !caching.on) {
            let index = kinds.iter().position(|kind| *kind == caching.stage).unwrap_or(0);
            if let Some(then) = forecast(&alone[(index + 1).min(alone.len())..], cores) {
                advice.push(Advice {
                    text: format!(
                        "`{}` keeps no cache, so its work is done in every epoch; with one, epochs after the first should reach {}",
                        caching.stage,
                        per_s(then.samples_per_s)
                    ),
                    set: Some(format!("stage.{}.cache=.cache/features", caching.stage)),
                    tried: None,
                });
            }
        }
        if let Some(expected) = &expected {
            match &expected.limit {
                Limit::Stage(kind) => match workers_for(&alone, kind, cores).filter(|_| wide(&alone, kind, context)) {
                    Some(workers) => {
                        let set = format!("stage.{kind}.workers={workers}");
                        let then = forecast(&widened(&alone, kind, workers), cores);
                        tell(&format!("all together, with {set}"));
                        let whole = rig(std::slice::from_ref(&set), "tried")?.whole(1, time)?;
                        let moved = then.as_ref().map_or(String::new(), |then| match &then.limit {
                            Limit::Stage(next) if next != kind => format!(" and move the limit to `{next}`"),
                            Limit::Cores => format!(" and leave the {cores} cores as the limit"),
                            Limit::Stage(_) => String::new(),
                        });
                        advice.push(Advice {
                            text: format!(
                                "`{kind}` is the limit: workers = {workers} should bring {}{moved}",
                                then.as_ref().map_or("more".into(), |then| per_s(then.samples_per_s))
                            ),
                            set: Some(set),
                            tried: Some(Together {
                                from: whole.from.clone(),
                                expected: then,
                                measured: rate(&whole, sink_samples),
                                unmeasured: too_short(&whole),
                            }),
                        });
                    }
                    None => advice.push(Advice { text: fixed(kind, &kinds, caching.as_ref(), &later), set: None, tried: None }),
                },
                Limit::Cores => advice.push(Advice {
                    text: format!(
                        "the {cores} cores are the limit, and more workers would not help: {}. What helps is more cores, \
                         a GPU (run.device), or less work in the costliest stage",
                        shares(&alone)
                    ),
                    set: None,
                    tried: None,
                }),
            }
        }
        if self.json {
            let value = json!({
                "cores": cores,
                "load_before": others,
                "alone": alone.iter().map(|stage| json!({
                    "stage": stage,
                    "ceiling": stage.ceiling(),
                    "cpu_a_sample": stage.cpu_a_sample(),
                })).collect::<Vec<_>>(),
                "first_epoch": first,
                "later_epochs": later,
                "advice": advice,
            });
            let text = serde_json::to_string_pretty(&value).context("cannot write the profile as JSON")?;
            show::say(&format!("{text}\n"));
            return Ok(());
        }
        let mut text = table(&alone, &expected);
        write_together(&mut text, &format!("an epoch from `{}`", first.from), &first, cores);
        if let Some(later) = &later {
            write_together(&mut text, &format!("later epochs, from `{}`'s cache", later.from), later, cores);
        }
        text.push_str("\nwhat to change\n");
        for advice in &advice {
            let _ = writeln!(text, "  {}", advice.text);
            if let Some(set) = &advice.set {
                let _ = writeln!(text, "    --set {set}");
            }
            if let Some(tried) = &advice.tried {
                let _ = writeln!(text, "    tried: {}", verdict(tried));
            }
        }
        if let Some(load) = others {
            let _ = writeln!(
                text,
                "\nother programs were running (load {load:.1} on {cores} cores): expect more on an idle machine"
            );
        }
        show::say(&text);
        Ok(())
    }

    /// The plan with `sets` over it, and a cache of its own: neither is what was cached before
    /// taken for the stages' work, nor is anything left behind.
    fn plan(
        &self,
        context: &Context,
        caching: Option<&Caching>,
        scratch: &Scratch,
        name: &str,
        sets: &[String],
    ) -> Result<Plan, Failure> {
        let mut all = self.config.set.clone();
        all.extend_from_slice(sets);
        if let Some(caching) = caching.filter(|caching| caching.on) {
            all.push(format!("stage.{}.cache={}", caching.stage, toml_text(&scratch.0.join(name))));
        }
        let config =
            ConfigArguments { config: self.config.config.clone(), set: all, preset: self.config.preset.clone() };
        config.plan(&context.registry)
    }
}

fn toml_text(path: &Path) -> String {
    use pipeline_engine::OptionValue;
    path.to_path_buf().show()
}

/// The stage that keeps what it made: the one with an option `cache`.
struct Caching {
    stage: &'static str,
    on: bool,
}

impl Caching {
    fn of(plan: &Plan) -> Option<Self> {
        plan.stages().find_map(|stage| {
            let (_, value) = stage.options.iter().find(|(name, _)| *name == "cache")?;
            Some(Self { stage: stage.kind, on: value != "\"\"" })
        })
    }
}

/// A folder for caches, gone at the end.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("pipeline-profile-{}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whether the stage has an option `workers` that the engine's count follows.
fn wide(alone: &[Alone], kind: &str, context: &Context) -> bool {
    let has = |k: &&pipeline_engine::Kind| k.name == kind && k.options.iter().any(|option| option.name == "workers");
    // `workers = 0`, one a core, leaves nothing to add.
    context.registry.stages().any(|k| has(&k)) && alone.iter().any(|stage| stage.kind == kind && stage.is_map)
}

/// What to say of a limit that more workers do not move.
fn fixed(kind: &str, kinds: &[&str], caching: Option<&Caching>, later: &Option<Together>) -> String {
    let place = |wanted: &str| kinds.iter().position(|kind| *kind == wanted);
    let next = later.as_ref().and_then(|later| later.expected.as_ref());
    match (caching.filter(|caching| caching.on && place(kind) <= place(caching.stage)), next) {
        (Some(caching), Some(next)) => {
            let (cached, rate) = (caching.stage, per_s(next.samples_per_s));
            match &next.limit {
                Limit::Stage(next) => format!(
                    "`{kind}` is the limit of the first epoch alone; later ones come from the cache of `{cached}`, and there \
                     `{next}` is the limit at {rate}; see its options: pipeline stages {next}"
                ),
                Limit::Cores => format!(
                    "`{kind}` is the limit of the first epoch alone; later ones come from the cache of `{cached}`, and there \
                     the cores are the limit at {rate}"
                ),
            }
        }
        _ => format!(
            "`{kind}` is the limit, and more workers would not change that; see its options: pipeline stages {kind}"
        ),
    }
}

fn rate(whole: &Whole, samples_an_item: f64) -> Option<f64> {
    whole.items_per_s.map(|rate| rate * samples_an_item)
}

fn too_short(whole: &Whole) -> Option<String> {
    let items = whole.items;
    whole.items_per_s.is_none().then(|| match whole.complete {
        true => format!("the epoch has {items} steps only"),
        false => format!("{items} steps came to the end in the time; allow more with --seconds"),
    })
}

fn per_s(rate: f64) -> String {
    match rate {
        r if r >= 99_500.0 => format!("{:.0} 000/s", r / 1000.0),
        r if r >= 9_950.0 => format!("{:.1}k/s", r / 1000.0),
        r if r >= 100.0 => format!("{r:.0}/s"),
        r => format!("{r:.1}/s"),
    }
}

fn table(alone: &[Alone], expected: &Option<Forecast>) -> String {
    let mut text = String::from("each stage alone, fed from memory, in samples a second\n");
    let _ =
        writeln!(text, "  {:<10} {:>7} {:>12} {:>15} {:>9}", "stage", "workers", "ceiling", "CPU a sample", "ran for");
    for stage in alone {
        let limits = expected.as_ref().is_some_and(|e| e.limit == Limit::Stage(stage.kind.clone()));
        let cpu = stage.cpu_a_sample().map_or("-".into(), |cpu| format!("{:.3} ms", cpu * 1e3));
        let _ = writeln!(
            text,
            "  {:<10} {:>7} {:>12} {:>15} {:>7.2} s{}",
            stage.kind,
            stage.workers,
            per_s(stage.ceiling()),
            cpu,
            stage.seconds,
            if limits { "  ← lowest" } else { "" }
        );
    }
    text
}

fn write_together(text: &mut String, what: &str, together: &Together, cores: usize) {
    let _ = writeln!(text, "\n{what}");
    if let Some(expected) = &together.expected {
        let why = match &expected.limit {
            Limit::Stage(kind) => format!("`{kind}` is the limit"),
            Limit::Cores => format!("the {cores} cores, which all stages share, are the limit"),
        };
        let _ = writeln!(text, "  expected {}: {why}", per_s(expected.samples_per_s));
    }
    let _ = writeln!(text, "  {}", verdict(together));
}

/// Whether what was expected came true.
fn verdict(together: &Together) -> String {
    let Some(measured) = together.measured else {
        return format!("not measured: {}", together.unmeasured.as_deref().unwrap_or("it was too short"));
    };
    let Some(expected) = &together.expected else { return format!("measured {}", per_s(measured)) };
    let off = 100.0 * (measured / expected.samples_per_s - 1.0);
    match off {
        off if off.abs() < 1.0 => format!("measured {}, as expected", per_s(measured)),
        _ if off < -25.0 => format!(
            "measured {}, {:.0} % less than expected: the stages disturb each other more than CPU time shows, or other programs ran",
            per_s(measured),
            -off
        ),
        _ if off > 25.0 => format!(
            "measured {}, {off:.0} % more than expected: something else had the cores while the stages stood alone",
            per_s(measured)
        ),
        _ if off < 0.0 => format!("measured {}, {:.0} % less", per_s(measured), -off),
        _ => format!("measured {}, {off:.0} % more", per_s(measured)),
    }
}

/// `encode 74 % of their time, train 24 %`.
fn shares(alone: &[Alone]) -> String {
    let mut costs: Vec<(f64, &str)> =
        alone.iter().filter_map(|stage| Some((stage.cpu_a_sample()?, stage.kind.as_str()))).collect();
    let all: f64 = costs.iter().map(|(cost, _)| cost).sum();
    costs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let share = |(cost, kind): &(f64, &str)| format!("`{kind}` takes {:.0} %", 100.0 * cost / all.max(1e-12));
    costs.iter().take(3).map(share).collect::<Vec<_>>().join(", ")
}

/// Programs that wanted a core in the last minute, where the system tells.
fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}
