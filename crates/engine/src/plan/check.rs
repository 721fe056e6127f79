//! Every fault of a config at once, before anything runs.

use std::path::PathBuf;
use std::sync::Arc;

use super::registry::{Port, ReadyProbe, ReadyStage, Registry, Resolved, Verify, find, read_table};
use super::source::first_stage;
use crate::config::options::{Values, suggest};
use crate::config::{Config, Diagnostic, Findings, Options, Origin, RunOptions, Table, Value};
use crate::stage::{Fact, Look, Services, Source};

/// A config that is right: what [`Pipeline::build`](crate::Pipeline::build) takes.
pub struct Plan {
    pub(crate) run: RunOptions,
    pub(crate) base: PathBuf,
    pub(crate) config: Config,
    pub(crate) sections: Services,
    /// What was opened while checking, and is opened once per run.
    pub(crate) shared: Services,
    pub(crate) stages: Vec<PlannedStage>,
    pub(crate) evals: Vec<PlannedEval>,
    notes: Vec<Diagnostic>,
    resolved: String,
}

pub(crate) struct PlannedStage {
    pub kind: &'static str,
    pub output: Option<Port>,
    pub ready: ReadyStage,
    /// Its place among the tables of the config.
    table: usize,
}

pub(crate) struct PlannedEval {
    pub kind: &'static str,
    pub ready: ReadyProbe,
    table: usize,
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
    /// The parts that it uses, each with its options.
    pub parts: &'a [(&'static str, Values)],
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

    /// What is no fault, but may not be what was meant: a table without effect.
    pub fn notes(&self) -> &[Diagnostic] {
        &self.notes
    }

    /// The stages in order.
    pub fn stages(&self) -> impl Iterator<Item = StageView<'_>> {
        self.stages.iter().map(|s| StageView {
            kind: s.kind,
            output: s.output.map(|port| port.name),
            capacity: s.ready.common.capacity,
            options: &s.ready.resolved.values,
            parts: &s.ready.resolved.tables,
        })
    }

    /// The evals in order.
    pub fn evals(&self) -> impl Iterator<Item = EvalView<'_>> {
        self.evals.iter().map(|e| EvalView { name: &e.ready.common.name, kind: e.kind, every: e.ready.common.every })
    }

    /// What the stages need of one another.
    pub(crate) fn needed(&self) -> Arc<[Fact]> {
        self.stages.iter().flat_map(|stage| &stage.ready.needs).flat_map(|need| need.facts.clone()).collect()
    }
}

/// Checks `config` against what the program knows and what costs nothing to see.
///
/// # Errors
/// Everything that is wrong, at once: presets and overrides that name nothing, unknown tables, kinds
/// and options, values of the wrong type or out of range, edges whose two sides do not fit, needs
/// that no stage meets, and what kinds find when they [verify](crate::StageKind::verify) what their
/// options name.
pub fn check(config: &Config, registry: &Registry) -> Result<Plan, Vec<Diagnostic>> {
    let mut reading = Reading::new(config, registry);
    reading.end();
    reading.contracts();
    reading.verify();
    reading.plan()
}

/// As [`check`], for the first stages of a pipeline too, and without a look at what options name.
pub(crate) fn check_stages(config: &Config, registry: &Registry) -> Result<Plan, Vec<Diagnostic>> {
    Reading::new(config, registry).plan()
}

/// A config while it is read.
struct Reading<'a> {
    config: &'a Config,
    registry: &'a Registry,
    run: Option<RunOptions>,
    sections: Services,
    shared: Services,
    /// What sections want to look at.
    section_checks: Vec<(&'static str, Verify)>,
    stages: Vec<PlannedStage>,
    evals: Vec<PlannedEval>,
    /// Whether every edge fits as far as it can be told.
    fits: bool,
    no_table: Table,
    findings: Findings,
    resolved: String,
}

impl<'a> Reading<'a> {
    fn new(config: &'a Config, registry: &'a Registry) -> Self {
        let mut reading = Self {
            config,
            registry,
            run: None,
            sections: Services::default(),
            shared: Services::default(),
            section_checks: Vec::new(),
            stages: Vec::new(),
            evals: Vec::new(),
            fits: true,
            no_table: Table::empty(Origin::File(config.file.clone(), 0..0)),
            findings: Findings { faults: config.faults.clone(), notes: Vec::new() },
            resolved: String::new(),
        };
        reading.tables();
        reading.stages();
        reading.evals();
        reading
    }

    /// `[run]`, `[model]`, and tables that do not exist.
    fn tables(&mut self) {
        let (config, registry) = (self.config, self.registry);
        let table = config.tables.get("run").unwrap_or(&self.no_table);
        self.run = read_table::<RunOptions>("run", table, &mut self.findings).map(|mut run| {
            // Written out whole, so that the resolved config means the same wherever it lies.
            let base = config.base.join(run.base.take().unwrap_or_default());
            run.base = Some(std::path::absolute(&base).unwrap_or(base));
            run
        });
        if let Some(run) = &self.run {
            write_table(&mut self.resolved, "[run]", &run.resolved());
        }
        for section in &registry.sections {
            let name = section.kind.name;
            let table = config.tables.get(name).unwrap_or(&self.no_table);
            if let Some((resolved, verify)) = (section.read)(table, &self.sections, &mut self.findings) {
                write_resolved(
                    &mut self.resolved,
                    &format!("[{name}]"),
                    name,
                    resolved.values.clone(),
                    &resolved.tables,
                );
                self.section_checks.push((name, verify));
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
            let choices: Vec<&str> = known.iter().copied().chain(stages).collect();
            self.findings.faults.push(fault.help(suggest(name, &choices)));
        }
    }

    /// Stages, and the edges between them.
    fn stages(&mut self) {
        let (config, registry) = (self.config, self.registry);
        let faults = &mut self.findings.faults;
        let kinds: Vec<&str> = registry.stages().map(|kind| kind.name).collect();
        let mut before: Option<(&'static str, Option<Port>)> = None;
        if config.stages.is_empty() && config.faults.is_empty() {
            faults.push(
                Diagnostic::new("the config has no [[stage]]", self.no_table.at.clone())
                    .help(format!("there are {}", kinds.join(", "))),
            );
        }
        for (index, table) in config.stages.iter().enumerate() {
            let faults = &mut self.findings.faults;
            let found = kind_of(table, "stage", &kinds, faults).and_then(|name| find(&registry.stages, name));
            let Some(entry) = found else {
                (before, self.fits) = (None, false);
                continue;
            };
            let kind = &entry.kind;
            let ready = (entry.read)(table, &mut self.findings);
            self.fits &= fit(kind.name, kind.input, index, before, table, &mut self.findings.faults);
            before = Some((kind.name, kind.output));
            match ready {
                Some(ready) => {
                    write_kind(&mut self.resolved, "[[stage]]", kind.name, ready.common.resolved(), &ready.resolved);
                    self.stages.push(PlannedStage { kind: kind.name, output: kind.output, ready, table: index });
                }
                None => self.fits = false,
            }
        }
    }

    fn evals(&mut self) {
        let registry = self.registry;
        let probes: Vec<&str> = registry.probes().map(|kind| kind.name).collect();
        for (index, table) in self.config.evals.iter().enumerate() {
            let faults = &mut self.findings.faults;
            let found = kind_of(table, "eval", &probes, faults).and_then(|name| find(&registry.probes, name));
            let Some(entry) = found else { continue };
            let Some(ready) = (entry.read)(table, &mut self.findings) else { continue };
            let name = &ready.common.name;
            if self.evals.iter().any(|eval| eval.ready.common.name == *name) {
                self.findings.faults.push(
                    Diagnostic::new(format!("two evals are called `{name}`"), table.at.clone())
                        .help("give each a `name` of its own"),
                );
            }
            write_kind(&mut self.resolved, "[[eval]]", entry.kind.name, ready.common.resolved(), &ready.resolved);
            self.evals.push(PlannedEval { kind: entry.kind.name, ready, table: index });
        }
    }

    /// Whether the last stage ends the pipeline.
    fn end(&mut self) {
        let Some((last, output)) = self.stages.last().and_then(|last| Some((last, last.output?))) else { return };
        if !self.fits {
            return;
        }
        let ends: Vec<&str> = self.registry.stages().filter(|k| k.output.is_none()).map(|k| k.name).collect();
        let message = format!("the pipeline ends in `{}`, whose {} nobody takes", last.kind, output.name);
        self.findings.faults.push(
            Diagnostic::new(message, self.config.stages[last.table].at.clone())
                .help(format!("the last stage must be one that ends a pipeline: {}", ends.join(", "))),
        );
    }

    /// Whether some stage gives what each stage needs. Where a stage is unknown or cannot be read,
    /// nobody knows what it would give.
    fn contracts(&mut self) {
        if !self.fits {
            return;
        }
        let given: Vec<&Fact> = self.stages.iter().flat_map(|stage| &stage.ready.gives).collect();
        for stage in &self.stages {
            for need in &stage.ready.needs {
                if need.facts.iter().all(|fact| given.contains(&fact)) {
                    continue;
                }
                let at = self.config.stages[stage.table].at.clone();
                let message = format!("{} needs {}, which no stage of this pipeline gives", need.by, need.what);
                self.findings.faults.push(Diagnostic::new(message, at).help(&need.help));
            }
        }
    }

    /// Lets every kind look at what its options name.
    fn verify(&mut self) {
        let Some(run) = &self.run else { return };
        let base = run.base.as_ref().unwrap_or(&self.config.base);
        let (config, sections, shared) = (self.config, &self.sections, &self.shared);
        let run_table = config.tables.get("run");
        let checks = self.section_checks.iter();
        let checks = checks.map(|(name, verify)| (config.tables.get(*name).unwrap_or(&self.no_table), &**verify));
        let stages = self.stages.iter().map(|stage| (&config.stages[stage.table], &*stage.ready.verify));
        let evals = self.evals.iter().map(|eval| (&config.evals[eval.table], &*eval.ready.verify));
        let sources = |source: &Source| {
            let mut findings = Findings::default();
            let table = first_stage(config, source);
            if let Some(ready) = self.reader_of(source, &table, &mut findings) {
                let (table, findings) = (&table, &mut findings);
                (ready.verify)(&mut Look {
                    run,
                    base,
                    sections,
                    shared,
                    table,
                    run_table,
                    findings,
                    sources: &|_| Vec::new(),
                });
            }
            findings.faults
        };
        let mut findings = Findings::default();
        for (table, verify) in checks.chain(stages).chain(evals) {
            let findings = &mut findings;
            verify(&mut Look { run, base, sections, shared, table, run_table, findings, sources: &sources });
        }
        self.findings.faults.append(&mut findings.faults);
        self.findings.notes.append(&mut findings.notes);
    }

    /// The stage that reads `source`, whose table is `table`. Faults of the config's own first stage
    /// are reported already.
    fn reader_of(&self, source: &Source, table: &Table, findings: &mut Findings) -> Option<ReadyStage> {
        let own = self.config.stages.first().and_then(|first| first.text("kind"));
        let is_unsound = self.stages.first().is_none_or(|first| first.table != 0);
        if is_unsound && own.is_some_and(|(kind, _)| kind == source.kind) {
            return None;
        }
        (find(&self.registry.stages, source.kind)?.read)(table, findings)
    }

    fn plan(self) -> Result<Plan, Vec<Diagnostic>> {
        let Findings { faults, notes } = self.findings;
        let Some(run) = self.run.filter(|_| faults.is_empty()) else { return Err(faults) };
        let base = run.base.clone().unwrap_or_else(|| self.config.base.clone());
        let Self { sections, shared, stages, evals, resolved, .. } = self;
        Ok(Plan { run, base, config: self.config.clone(), sections, shared, stages, evals, notes, resolved })
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
) -> bool {
    let fault = match (before, input) {
        (Some((earlier, Some(given))), Some(taken)) if given != taken => {
            format!("`{kind}` takes {}, but `{earlier}` before it gives {}", taken.name, given.name)
        }
        (Some((earlier, Some(_))), None) => format!("`{kind}` starts a pipeline, but stands after `{earlier}`"),
        (Some((earlier, None)), _) => format!("`{earlier}` ends the pipeline, but `{kind}` stands after it"),
        (None, Some(taken)) if index == 0 => format!("`{kind}` takes {}, but no stage stands before it", taken.name),
        _ => return true,
    };
    let at = table.entries.get("kind").map_or(&table.at, |found| &found.at).clone();
    faults.push(Diagnostic::new(fault, at).help("the order is that of the [[stage]] tables in the file"));
    false
}

/// The table of a stage or an eval in the resolved config.
fn write_kind(text: &mut String, header: &str, kind: &str, common: Values, own: &Resolved) {
    let mut values = vec![("kind", format!("\"{kind}\""))];
    values.extend(common);
    values.extend_from_slice(&own.values);
    write_resolved(text, header, header.trim_matches(['[', ']']), values, &own.tables);
}

/// A table of the resolved config, and the sub-tables of its parts.
fn write_resolved(text: &mut String, header: &str, name: &str, values: Values, parts: &[(&'static str, Values)]) {
    write_table(text, header, &values);
    for (part, values) in parts {
        write_table(text, &format!("[{name}.{part}]"), values);
    }
}

/// One table of the resolved config.
fn write_table(text: &mut String, header: &str, values: &Values) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(header);
    text.push('\n');
    for (key, value) in values {
        text.push_str(&format!("{key} = {value}\n"));
    }
}
