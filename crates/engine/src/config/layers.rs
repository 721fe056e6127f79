//! What is laid over a config: presets and `--set`.

use super::diagnostic::{Diagnostic, Origin};
use super::file::{Config, plain};
use super::options::suggest;
use super::value::{Located, Table, Value};

/// How a layer treats what stands there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Laid {
    /// Only where nothing stands yet.
    Under,
    /// In place of what stands there.
    Over,
}

impl Laid {
    fn lay(self, table: &mut Table, key: &str, value: Located) {
        if self == Self::Over || !table.entries.contains_key(key) {
            table.entries.insert(key.to_owned(), value);
        }
    }
}

impl Config {
    /// Sets `run.key`, `SECTION.key`, `stage.KIND.option` (or `KIND.option`), `eval.NAME.option`; an
    /// option of a part has one more word, as `stage.train.contrast.keep`.
    pub(crate) fn set(&mut self, path: &str, value: &str, origin: &str, laid: Laid, faults: &mut Vec<Diagnostic>) {
        let at = Origin::Given(origin.to_owned());
        let words: Vec<&str> = path.split('.').map(str::trim).collect();
        let is_stage = |name: &str| self.stages.iter().any(|t| t.text("kind").is_some_and(|(kind, _)| kind == name));
        let (list, name, option): (&str, &str, &[&str]) = match &words[..] {
            [list @ ("stage" | "eval"), name, option @ ..] => (list, name, option),
            [kind, option @ ..] if is_stage(kind) => ("stage", kind, option),
            [table, option @ ..] => ("", table, option),
            [] => ("", "", &[]),
        };
        if !matches!(option, [_] | [_, _]) || words.iter().any(|word| word.is_empty()) {
            faults.push(
                Diagnostic::new(format!("`{path}` names no option"), at)
                    .help("write run.KEY, model.KEY, stage.KIND.OPTION, stage.KIND.PART.OPTION or eval.NAME.OPTION"),
            );
            return;
        }
        let table = match list {
            "stage" => find(&mut self.stages, "kind", name),
            "eval" => find(&mut self.evals, "name", name),
            _ => Some(self.tables.entry(name.to_owned()).or_insert_with(|| Table::empty(at.clone()))),
        };
        let Some(table) = table else {
            faults.push(self.missing(list, name, at));
            return;
        };
        let located = Located { value: parse_value(value), at: at.clone(), key_at: at.clone() };
        match option {
            [key] => laid.lay(table, key, located),
            [part, key] => {
                let part = table.tables.entry((*part).to_owned()).or_insert_with(|| Table::empty(at));
                laid.lay(part, key, located);
            }
            _ => {}
        }
    }

    /// The fault that a stage or an eval is named which the config does not have.
    fn missing(&self, list: &str, name: &str, at: Origin) -> Diagnostic {
        let (tables, key, what) =
            if list == "eval" { (&self.evals, "name", "eval") } else { (&self.stages, "kind", "stage") };
        let named = |table: &Table| table.text(key).or_else(|| table.text("kind")).map(|(name, _)| name.to_owned());
        let names: Vec<String> = tables.iter().filter_map(named).collect();
        let choices: Vec<&str> = names.iter().map(String::as_str).collect();
        Diagnostic::new(format!("the config has no {what} `{name}`"), at).help(suggest(name, &choices))
    }

    /// Lays the tables of `layer`, a preset, over or under this config. A stage of it that this
    /// config does not have is one fault per stage.
    pub(crate) fn lay(&mut self, layer: &Config, laid: Laid, faults: &mut Vec<Diagnostic>) {
        for (name, table) in &layer.tables {
            let own = self.tables.entry(name.clone()).or_insert_with(|| Table::empty(table.at.clone()));
            merge(own, table, laid);
        }
        for table in &layer.stages {
            let Some((kind, at)) = table.text("kind") else { continue };
            match find(&mut self.stages, "kind", kind) {
                Some(own) => merge(own, table, laid),
                None => faults.push(self.missing("stage", kind, at.clone())),
            }
        }
    }
}

fn merge(own: &mut Table, layer: &Table, laid: Laid) {
    for (key, value) in layer.entries.iter().filter(|(key, _)| *key != "kind") {
        laid.lay(own, key, value.clone());
    }
    for (part, table) in &layer.tables {
        let own = own.tables.entry(part.clone()).or_insert_with(|| Table::empty(table.at.clone()));
        merge(own, table, laid);
    }
}

/// A stage by its kind, or an eval by its name (its kind where it has none).
fn find<'a>(tables: &'a mut [Table], key: &str, wanted: &str) -> Option<&'a mut Table> {
    let is = |t: &Table, key: &str| t.text(key).is_some_and(|(found, _)| found == wanted);
    let index = tables.iter().position(|t| is(t, key)).or_else(|| tables.iter().position(|t| is(t, "kind")))?;
    Some(&mut tables[index])
}

/// A value on the command line: TOML if it is that, else a string.
fn parse_value(text: &str) -> Value {
    match toml::de::DeValue::parse(text) {
        Ok(value) => plain(value.get_ref()),
        Err(_) => Value::String(text.to_owned()),
    }
}
