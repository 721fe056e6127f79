//! Whether a resumed run goes on with what the run began with.
//!
//! Two things decide what a run makes: its settings, which stand in the
//! `pipeline.toml` of its folder, and what these name (shards, weights, templates),
//! whose versions stand in `inputs.json`. A resumed run must find both as they were,
//! but for options that have no say in the result (`=> free`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use toml::{Table, Value};

use crate::config::{OnChange, OptionSpec, RunOptions};
use crate::error::RunError;
use crate::plan::{Kind, Plan, Registry};
use crate::stage::{Inputs, RunDir};

const FILE: &str = "inputs.json";
const CONFIG: &str = "pipeline.toml";

/// Differences that a message spells out.
const SHOWN: usize = 8;

/// Compares what the stages read with what the run began with.
pub(crate) fn check_inputs(inputs: &Inputs, dir: &RunDir, run: &RunOptions) -> Result<(), RunError> {
    let path = dir.join(FILE);
    let Ok(text) = std::fs::read(&path) else {
        tracing::warn!("{} is missing, so it is unknown whether the data are still the same", path.display());
        return Ok(());
    };
    let before: BTreeMap<String, String> = serde_json::from_slice(&text)
        .map_err(|e| RunError::Folder(format!("{}: {e}; remove it to go on unchecked", path.display())))?;
    let now = inputs.0.lock();
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let mut changes = Vec::new();
    for name in names {
        match (before.get(name), now.get(name)) {
            (Some(was), Some(is)) if was == is => {}
            (Some(was), Some(is)) => changes.push(format!("{name} was {was}, is {is}")),
            (Some(_), None) => changes.push(format!("{name} is no longer there")),
            (None, _) => changes.push(format!("{name} is new")),
        }
    }
    judge(dir, run, "data", &changes)
}

/// Writes down what the stages read, for the next resume.
pub(crate) fn write_inputs(inputs: &Inputs, dir: &RunDir) -> Result<(), RunError> {
    let json = serde_json::to_vec_pretty(&*inputs.0.lock()).map_err(|e| RunError::Folder(e.to_string()))?;
    dir.write(FILE, &json)
}

/// Compares the settings of `plan` with those the run in `dir` began with.
pub(crate) fn check_settings(dir: &RunDir, plan: &Plan, registry: &Registry) -> Result<(), RunError> {
    let path = dir.join(CONFIG);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        // Killed before it began.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !dir.join("checkpoints").exists() => {
            return Ok(());
        }
        Err(error) => {
            let shown = path.display();
            return Err(RunError::Folder(format!(
                "cannot read {shown}: {error}; it says with which settings the run began, and without it a run cannot \
                 be resumed; put it back, or start anew with --force or another --set run.name=NAME"
            )));
        }
    };
    let broken = |e: toml::de::Error| RunError::Folder(format!("{}: {}", path.display(), e.message()));
    let before: Table = text.parse().map_err(broken)?;
    let now: Table = plan.resolved().parse().map_err(broken)?;
    let mut changes = Changes::default();

    for table in registry.tables() {
        // More epochs are another matter, below.
        let except = if table.name == "run" { "epochs" } else { "" };
        changes.tables(table.name, before.get(table.name), now.get(table.name), &table.options, except);
    }
    changes.lists("stage", "kind", &before, &now, &|name| registry.stages().find(|kind| kind.name == name));
    changes.lists("eval", "name", &before, &now, &|name| registry.probes().find(|kind| kind.name == name));

    let epochs = |table: &Table| table.get("run").and_then(|run| run.get("epochs")).cloned();
    let (was, is) = (epochs(&before), epochs(&now));
    if let Some(stage) = plan.stages.iter().find(|stage| was != is && stage.ready.paced_by_epochs) {
        let what = format!("run.epochs (which the stage `{}` paces itself by)", stage.kind);
        changes.note(what, was.as_ref(), is.as_ref());
    }
    judge(dir, &plan.run, "settings", &changes.0)
}

#[derive(Default)]
struct Changes(Vec<String>);

impl Changes {
    fn note(&mut self, key: String, was: Option<&Value>, is: Option<&Value>) {
        let word = |value: Option<&Value>| value.map_or_else(|| "not there".to_owned(), Value::to_string);
        self.0.push(format!("{key} was {}, is {}", word(was), word(is)));
    }

    /// Two tables, but for what is free and `except`. The table of a part that only one of them has
    /// follows from the word that chose it, and is not told beside that.
    fn tables(&mut self, name: &str, before: Option<&Value>, now: Option<&Value>, specs: &[OptionSpec], except: &str) {
        let empty = Table::new();
        let table = |value: Option<&'_ Value>| value.and_then(Value::as_table).unwrap_or(&empty).clone();
        let (before, now) = (table(before), table(now));
        let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        let part = |key: &str| specs.iter().flat_map(|spec| &spec.parts).find(|part| part.name == key);
        for key in keys.iter().copied().filter(|key| part(key).is_none()) {
            let free = specs.iter().any(|spec| spec.name == key && spec.free) || key == except;
            if !free && before.get(key) != now.get(key) {
                self.note(format!("{name}.{key}"), before.get(key), now.get(key));
            }
        }
        for key in keys.iter().copied() {
            if let (Some(part), Some(before), Some(now)) = (part(key), before.get(key), now.get(key)) {
                self.tables(&format!("{name}.{key}"), Some(before), Some(now), &part.options, "");
            }
        }
    }

    /// Two lists of tables, `[[stage]]` or `[[eval]]`.
    fn lists<'a>(
        &mut self,
        list: &str,
        called: &str,
        before: &Table,
        now: &Table,
        kind: &dyn Fn(&str) -> Option<&'a Kind>,
    ) {
        let tables = |from: &Table| from.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
        let name = |table: &Value, key: &str| table.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (before, now) = (tables(before), tables(now));
        let chain = |tables: &[Value]| tables.iter().map(|t| name(t, called)).collect::<Vec<_>>().join(" → ");
        if chain(&before) != chain(&now) {
            self.0.push(format!("the [[{list}]] tables were {}, are {}", chain(&before), chain(&now)));
            return;
        }
        for (before, now) in before.iter().zip(&now) {
            let specs = kind(&name(now, "kind")).map_or(&[][..], |kind| &kind.options);
            self.tables(&format!("{list}.{}", name(now, called)), Some(before), Some(now), specs, "");
        }
    }
}

/// Nothing, a warning, or the end.
fn judge(dir: &RunDir, run: &RunOptions, what: &str, changes: &[String]) -> Result<(), RunError> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut list = String::new();
    for change in changes.iter().take(SHOWN) {
        let _ = write!(list, "\n  {change}");
    }
    if changes.len() > SHOWN {
        let _ = write!(list, "\n  and {} more", changes.len() - SHOWN);
    }
    if run.on_change == OnChange::Accept {
        tracing::warn!("the run goes on with other {what}; it will not end as one that was never stopped:{list}");
        return Ok(());
    }
    Err(RunError::Folder(format!(
        "this is not the run in {}: its {what} differ:{list}\n\
         go on with those of {}, start anew (--force, or another --set run.name=NAME), or say --set \
         run.on_change=accept to go on all the same; it will then not end as a run that was never stopped",
        dir.path().display(),
        dir.join(if what == "data" { FILE } else { CONFIG }).display(),
    )))
}
