//! Every fault of a config at once, before anything runs.

use std::path::PathBuf;

use crate::config::{Config, Diagnostic, Origin, Table, Value};
use crate::options::{Options, suggest};
use crate::registry::{Port, Ready, ReadyProbe, Registry, read};
use crate::runner::RunOptions;
use crate::services::Services;

/// A config that is right: what [`Pipeline::build`](crate::Pipeline::build) takes.
pub struct Plan {
    pub(crate) run: RunOptions,
    pub(crate) base: PathBuf,
    pub(crate) config: Config,
    pub(crate) sections: Services,
    pub(crate) stages: Vec<PlannedStage>,
    pub(crate) evals: Vec<PlannedEval>,
    resolved: String,
}

pub(crate) struct PlannedStage {
    pub kind: &'static str,
    pub capacity: usize,
    pub output: Option<Port>,
    pub ready: Box<dyn Ready>,
}

pub(crate) struct PlannedEval {
    pub name: String,
    pub every: u32,
    pub ready: Box<dyn ReadyProbe>,
}

impl Plan {
    /// The options of `[run]`.
    pub fn run(&self) -> &RunOptions {
        &self.run
    }

    /// The config with every default written out.
    pub fn resolved(&self) -> &str {
        &self.resolved
    }

    /// The stages in order: kind, the type that leaves it, room in the edge after it.
    pub fn stages(&self) -> impl Iterator<Item = (&'static str, Option<&'static str>, usize)> {
        self.stages.iter().map(|s| (s.kind, s.output.map(|port| port.name), s.capacity))
    }
}

/// Checks `config` against what the program knows.
///
/// # Errors
/// Every unknown table, kind and option, every value of the wrong type or out of
/// range, and every edge whose two sides do not fit.
pub fn check(config: &Config, registry: &Registry) -> Result<Plan, Vec<Diagnostic>> {
    let mut plan = check_stages(config, registry);
    let open_end = match &plan {
        Ok(plan) => plan.stages.last().and_then(|last| last.output.map(|output| (last.kind, output.name))),
        Err(_) => None,
    };
    if let Some((kind, output)) = open_end {
        let at = config.stages.last().map_or(Origin::File(config.file.clone(), 0..0), |table| table.at.clone());
        let ends: Vec<&str> = registry.stages().filter(|k| k.output().is_none()).map(|k| k.name()).collect();
        plan = Err(vec![
            Diagnostic::new(format!("the pipeline ends in `{kind}`, whose {output} nobody takes"), at)
                .help(format!("the last stage must be one that ends a pipeline: {}", ends.join(", "))),
        ]);
    }
    plan
}

/// As [`check`], for the first stages of a pipeline too.
pub(crate) fn check_stages(config: &Config, registry: &Registry) -> Result<Plan, Vec<Diagnostic>> {
    let mut faults = Vec::new();
    let whole_file = Origin::File(config.file.clone(), 0..0);
    let mut resolved = String::new();

    // Single tables.
    let no_table = Table { at: whole_file.clone(), entries: Default::default() };
    let run = read::<RunOptions>("[run]".into(), config.tables.get("run").unwrap_or(&no_table), &[], &mut faults);
    let run = run.map(|mut run| {
        // Written out whole, so that the resolved config means the same wherever it lies.
        let base = config.base.join(run.base.take().unwrap_or_default());
        run.base = Some(std::path::absolute(&base).unwrap_or(base));
        run
    });
    if let Some(run) = &run {
        write_table(&mut resolved, "[run]", run.resolved());
    }
    let sections = Services::default();
    for section in &registry.sections {
        let table = config.tables.get(section.name()).unwrap_or(&no_table);
        if let Some(options) = section.read(table, &sections, &mut faults) {
            write_table(&mut resolved, &format!("[{}]", section.name()), options);
        }
    }
    let known: Vec<&str> = ["run"].into_iter().chain(registry.sections.iter().map(|s| s.name())).collect();
    for (name, table) in &config.tables {
        if !known.contains(&name.as_str()) {
            faults.push(
                Diagnostic::new(format!("there is no table [{name}]"), table.at.clone()).help(suggest(name, &known)),
            );
        }
    }

    // Stages, and the edges between them.
    let kinds: Vec<&str> = registry.stages().map(|k| k.name()).collect();
    let mut stages = Vec::new();
    let mut before: Option<(&'static str, Option<Port>)> = None;
    if config.stages.is_empty() {
        faults.push(
            Diagnostic::new("the config has no [[stage]]", whole_file.clone())
                .help(format!("there are {}", kinds.join(", "))),
        );
    }
    for (index, table) in config.stages.iter().enumerate() {
        let Some(kind) = kind_of(table, "stage", &kinds, &mut faults).and_then(|name| registry.kind(name)) else {
            before = None;
            continue;
        };
        let capacity = capacity_of(table, kind.capacity(), &mut faults);
        let ready = kind.read(table, &mut faults);
        fit(kind.name(), kind.input(), index, before, table, &mut faults);
        before = Some((kind.name(), kind.output()));
        if let Some(ready) = ready {
            let mut options = vec![("kind", format!("\"{}\"", kind.name())), ("capacity", capacity.to_string())];
            options.extend(ready.resolved());
            write_table(&mut resolved, "[[stage]]", options);
            stages.push(PlannedStage { kind: kind.name(), capacity, output: kind.output(), ready });
        }
    }

    // Evals.
    let probes: Vec<&str> = registry.probes.iter().map(|k| k.name()).collect();
    let mut evals: Vec<PlannedEval> = Vec::new();
    for table in &config.evals {
        let Some(kind) = kind_of(table, "eval", &probes, &mut faults).and_then(|name| registry.probe_kind(name)) else {
            continue;
        };
        let name = match table.entries.get("name").map(|found| (&found.value, &found.at)) {
            None => kind.name().to_owned(),
            Some((Value::String(name), _)) if !name.is_empty() => name.clone(),
            Some((value, at)) => {
                faults.push(Diagnostic::new(format!("`name` must be a word, not {value}"), at.clone()));
                continue;
            }
        };
        if evals.iter().any(|eval| eval.name == name) {
            faults.push(
                Diagnostic::new(format!("two evals are called `{name}`"), table.at.clone())
                    .help("give each a `name` of its own"),
            );
        }
        let every = match table.entries.get("every").map(|found| (&found.value, &found.at)) {
            None => 0,
            Some((Value::Integer(n), _)) if (0..=1_000_000).contains(n) => *n as u32,
            Some((value, at)) => {
                faults.push(
                    Diagnostic::new(format!("`every` must be a number of epochs, not {value}"), at.clone())
                        .help("0: only before and after"),
                );
                0
            }
        };
        if let Some(ready) = kind.read(table, &mut faults) {
            let mut options = vec![
                ("kind", format!("\"{}\"", kind.name())),
                ("name", format!("{name:?}")),
                ("every", every.to_string()),
            ];
            options.extend(ready.resolved());
            write_table(&mut resolved, "[[eval]]", options);
            evals.push(PlannedEval { name, every, ready });
        }
    }

    match run {
        Some(run) if faults.is_empty() => {
            let base = run.base.clone().unwrap_or_else(|| config.base.clone());
            Ok(Plan { run, base, config: config.clone(), sections, stages, evals, resolved })
        }
        _ => Err(faults),
    }
}

/// The `kind` of a table, if it is one of `choices`.
fn kind_of<'a>(table: &'a Table, what: &str, choices: &[&str], faults: &mut Vec<Diagnostic>) -> Option<&'a str> {
    let list = || format!("there are {}", choices.join(", "));
    match table.entries.get("kind").map(|found| (&found.value, &found.at)) {
        Some((Value::String(kind), _)) if choices.contains(&kind.as_str()) => return Some(kind),
        Some((Value::String(kind), at)) => {
            faults.push(
                Diagnostic::new(format!("there is no {what} of kind `{kind}`"), at.clone())
                    .help(suggest(kind, choices)),
            );
        }
        Some((value, at)) => {
            faults.push(Diagnostic::new(format!("`kind` must be a word, not {value}"), at.clone()).help(list()))
        }
        None => faults.push(Diagnostic::new(format!("this [[{what}]] has no `kind`"), table.at.clone()).help(list())),
    }
    None
}

fn capacity_of(table: &Table, default: usize, faults: &mut Vec<Diagnostic>) -> usize {
    match table.entries.get("capacity").map(|found| (&found.value, &found.at)) {
        None => default,
        Some((Value::Integer(n), _)) if (1..=1_000_000).contains(n) => *n as usize,
        Some((value, at)) => {
            faults.push(Diagnostic::new(
                format!("`capacity` must be a number of items, at least 1, not {value}"),
                at.clone(),
            ));
            default
        }
    }
}

/// Whether a stage can stand where it stands.
fn fit(
    kind: &str,
    input: Option<Port>,
    index: usize,
    before: Option<(&str, Option<Port>)>,
    table: &Table,
    faults: &mut Vec<Diagnostic>,
) {
    let at = table.entries.get("kind").map_or(&table.at, |found| &found.at).clone();
    let fault = match (before, input) {
        (Some((earlier, Some(given))), Some(taken)) if given != taken => {
            Some(format!("`{kind}` takes {}, but `{earlier}` before it gives {}", taken.name, given.name))
        }
        (Some((earlier, Some(_))), None) => Some(format!("`{kind}` starts a pipeline, but stands after `{earlier}`")),
        (Some((earlier, None)), _) => Some(format!("`{earlier}` ends the pipeline, but `{kind}` stands after it")),
        (None, Some(taken)) if index == 0 => {
            Some(format!("`{kind}` takes {}, but no stage stands before it", taken.name))
        }
        _ => None,
    };
    if let Some(fault) = fault {
        faults.push(Diagnostic::new(fault, at).help("the order is that of the [[stage]] tables in the file"));
    }
}

/// One table of the resolved config.
fn write_table(text: &mut String, header: &str, options: Vec<(&'static str, String)>) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(header);
    text.push('\n');
    for (key, value) in options {
        text.push_str(&format!("{key} = {value}\n"));
    }
}
