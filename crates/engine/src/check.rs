//! Every fault of a config at once, before anything runs.

use std::path::PathBuf;

use crate::config::{Config, Diagnostic, Origin, Table, Value};
use crate::options::{Options, suggest};
use crate::registry::{Port, ReadyProbe, ReadyStage, Registry, Resolved, find, read_table};
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
    pub output: Option<Port>,
    pub ready: ReadyStage,
}

pub(crate) struct PlannedEval {
    pub kind: &'static str,
    pub ready: ReadyProbe,
}

/// A stage of a plan, for people.
#[derive(Debug, Clone, Copy)]
pub struct StageView<'a> {
    /// Its kind.
    pub kind: &'static str,
    /// The type that leaves it; none for the last stage.
    pub output: Option<&'static str>,
    /// Items that may wait in the edge after it.
    pub capacity: usize,
    /// Its options, each with its value as TOML.
    pub options: &'a [(&'static str, String)],
}

/// An eval of a plan, for people.
#[derive(Debug, Clone, Copy)]
pub struct EvalView<'a> {
    /// Its name in results.
    pub name: &'a str,
    /// Its kind.
    pub kind: &'static str,
    /// Measured after every so many epochs; 0: only before and after.
    pub every: u32,
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

    /// The stages in order.
    pub fn stages(&self) -> impl Iterator<Item = StageView<'_>> {
        self.stages.iter().map(|s| StageView {
            kind: s.kind,
            output: s.output.map(|port| port.name),
            capacity: s.ready.common.capacity,
            options: &s.ready.resolved,
        })
    }

    /// The evals in order.
    pub fn evals(&self) -> impl Iterator<Item = EvalView<'_>> {
        self.evals.iter().map(|e| EvalView { name: &e.ready.common.name, kind: e.kind, every: e.ready.common.every })
    }
}

/// Checks `config` against what the program knows.
///
/// # Errors
/// Every preset and override that names nothing, every unknown table, kind and option, every value of the wrong type or out of
/// range, and every edge whose two sides do not fit.
pub fn check(config: &Config, registry: &Registry) -> Result<Plan, Vec<Diagnostic>> {
    let mut plan = check_stages(config, registry);
    let open_end = match &plan {
        Ok(plan) => plan.stages.last().and_then(|last| last.output.map(|output| (last.kind, output.name))),
        Err(_) => None,
    };
    if let Some((kind, output)) = open_end {
        let at = config.stages.last().map_or(Origin::File(config.file.clone(), 0..0), |table| table.at.clone());
        let ends: Vec<&str> = registry.stages().filter(|k| k.output.is_none()).map(|k| k.name).collect();
        plan = Err(vec![
            Diagnostic::new(format!("the pipeline ends in `{kind}`, whose {output} nobody takes"), at)
                .help(format!("the last stage must be one that ends a pipeline: {}", ends.join(", "))),
        ]);
    }
    plan
}

/// As [`check`], for the first stages of a pipeline too.
pub(crate) fn check_stages(config: &Config, registry: &Registry) -> Result<Plan, Vec<Diagnostic>> {
    let mut faults = config.faults.clone();
    let whole_file = Origin::File(config.file.clone(), 0..0);
    let mut resolved = String::new();

    // Single tables.
    let no_table = Table { at: whole_file.clone(), entries: Default::default() };
    let run = read_table::<RunOptions>("[run]".into(), config.tables.get("run").unwrap_or(&no_table), &mut faults);
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
        let name = section.kind.name;
        let table = config.tables.get(name).unwrap_or(&no_table);
        if let Some(options) = (section.read)(name, table, &sections, &mut faults) {
            write_table(&mut resolved, &format!("[{name}]"), options);
        }
    }
    let known: Vec<&str> = registry.tables().iter().map(|table| table.name).collect();
    for (name, table) in &config.tables {
        if known.contains(&name.as_str()) {
            continue;
        }
        let fault = Diagnostic::new(format!("there is no table [{name}]"), table.at.clone());
        // `--set trian.lr=1` may mean a stage.
        let stages = config.stages.iter().filter(|_| matches!(table.at, Origin::Given(_)));
        let stages = stages.filter_map(|stage| stage.text("kind").map(|(kind, _)| kind));
        faults.push(fault.help(suggest(name, &known.iter().copied().chain(stages).collect::<Vec<_>>())));
    }

    // Stages, and the edges between them.
    let kinds: Vec<&str> = registry.stages().map(|kind| kind.name).collect();
    let mut stages = Vec::new();
    let mut before: Option<(&'static str, Option<Port>)> = None;
    if config.stages.is_empty() && config.faults.is_empty() {
        faults.push(
            Diagnostic::new("the config has no [[stage]]", whole_file.clone())
                .help(format!("there are {}", kinds.join(", "))),
        );
    }
    for (index, table) in config.stages.iter().enumerate() {
        let found = kind_of(table, "stage", &kinds, &mut faults).and_then(|name| find(&registry.stages, name));
        let Some(entry) = found else {
            before = None;
            continue;
        };
        let kind = &entry.kind;
        let ready = (entry.read)(table, &mut faults);
        fit(kind.name, kind.input, index, before, table, &mut faults);
        before = Some((kind.name, kind.output));
        if let Some(ready) = ready {
            write_kind(&mut resolved, "[[stage]]", kind.name, ready.common.resolved(), &ready.resolved);
            stages.push(PlannedStage { kind: kind.name, output: kind.output, ready });
        }
    }

    // Evals.
    let probes: Vec<&str> = registry.probes().map(|kind| kind.name).collect();
    let mut evals: Vec<PlannedEval> = Vec::new();
    for table in &config.evals {
        let found = kind_of(table, "eval", &probes, &mut faults).and_then(|name| find(&registry.probes, name));
        let Some(entry) = found else { continue };
        let Some(ready) = (entry.read)(table, &mut faults) else { continue };
        let name = &ready.common.name;
        if evals.iter().any(|eval| eval.ready.common.name == *name) {
            faults.push(
                Diagnostic::new(format!("two evals are called `{name}`"), table.at.clone())
                    .help("give each a `name` of its own"),
            );
        }
        write_kind(&mut resolved, "[[eval]]", entry.kind.name, ready.common.resolved(), &ready.resolved);
        evals.push(PlannedEval { kind: entry.kind.name, ready });
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

/// The table of a stage or an eval in the resolved config.
fn write_kind(text: &mut String, header: &str, kind: &str, common: Resolved, own: &Resolved) {
    let mut options = vec![("kind", format!("\"{kind}\""))];
    options.extend(common);
    options.extend_from_slice(own);
    write_table(text, header, options);
}

/// One table of the resolved config.
fn write_table(text: &mut String, header: &str, options: Resolved) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(header);
    text.push('\n');
    for (key, value) in options {
        text.push_str(&format!("{key} = {value}\n"));
    }
}
