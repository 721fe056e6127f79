//! A TOML table on its way to an options struct.

use std::sync::LazyLock;

use super::diagnostic::{Diagnostic, Findings, Origin};
use super::options::{OptionValue, suggest};
use super::value::{Located, Table, Value};

/// Returns what a value must be, if it is not that.
pub type Check<'a, T> = &'a dyn Fn(&T) -> Option<String>;

/// Keys that have another place now: the old key, and where it is. `"contrast.keep"` is an option
/// of a part, `"writer"` another name, and anything with a space a sentence that says what to write.
/// The old key may be a whole line, `encoder = "auto"`: a value that an option no longer takes.
pub type Moved = &'static [(&'static str, &'static str)];

/// Reads the options of one table, and collects everything that is wrong with it.
#[derive(Debug)]
pub struct TableReader<'a> {
    /// Whose table it is: "stage `decode`".
    what: String,
    /// How `--set` reaches it: "stage.decode".
    path: String,
    /// What a table for an option of a part begins with: `[stage.`.
    header: &'static str,
    table: &'a Table,
    moved: Moved,
    known: Vec<&'static str>,
    /// Names of sub-tables that belong to parts.
    parts: Vec<&'static str>,
    /// Those of parts that an option chose.
    chosen: Vec<&'static str>,
    /// Why an option did not choose a part that has a table.
    passed_over: Vec<(&'static str, String)>,
    findings: Findings,
}

impl<'a> TableReader<'a> {
    /// Reads the table of `what`; `common` are keys that someone else reads.
    pub(crate) fn new(what: String, path: String, table: &'a Table, common: &[&'static str]) -> Self {
        let header = match path.split('.').next() {
            Some("stage") => "[stage.",
            Some("eval") => "[eval.",
            _ => "[",
        };
        Self {
            what,
            path,
            header,
            table,
            moved: &[],
            known: common.to_vec(),
            parts: Vec::new(),
            chosen: Vec::new(),
            passed_over: Vec::new(),
            findings: Findings::default(),
        }
    }

    /// Refuses these keys with the line to write instead.
    pub(crate) fn moved(mut self, moved: Moved) -> Self {
        self.moved = moved;
        self
    }

    /// Reads a table without entries.
    pub(crate) fn empty<R>(read: impl FnOnce(&mut TableReader<'_>) -> R) -> R {
        static EMPTY: LazyLock<Table> = LazyLock::new(|| Table::empty(Origin::Given(String::new())));
        read(&mut TableReader::new(String::new(), String::new(), &EMPTY, &[]))
    }

    /// Reads one option.
    pub fn take<T: OptionValue>(
        &mut self,
        name: &'static str,
        default: Option<T>,
        check: Option<Check<'_, T>>,
    ) -> Option<T> {
        self.known.push(name);
        let Some(value) = self.value(name, default, check) else {
            // The tables of parts count as known: only the word is wrong.
            self.parts.extend(T::parts().iter().map(|part| part.name));
            return None;
        };
        value.complete(self)
    }

    fn value<T: OptionValue>(
        &mut self,
        name: &'static str,
        default: Option<T>,
        check: Option<Check<'_, T>>,
    ) -> Option<T> {
        let Some(found) = self.table.entries.get(name) else {
            if let Some(table) = self.table.tables.get(name) {
                let message = format!("`{name}` of {} must be {}, not a table", self.what, T::expects());
                self.findings.faults.push(Diagnostic::new(message, table.at.clone()));
                return None;
            }
            if default.is_none() {
                self.findings.faults.push(
                    Diagnostic::new(format!("{} needs `{name}`", self.what), self.table.at.clone())
                        .help(format!("add `{name} = …`: {}", T::expects())),
                );
            }
            return default;
        };
        let Some(value) = T::read(&found.value) else {
            let bound = match found.value {
                Value::Huge(_) => format!(" no larger than {}", i64::MAX),
                _ => String::new(),
            };
            let parts: Vec<&str> = T::parts().iter().map(|part| part.name).collect();
            let wrong = wrong_word(&found.value, &parts);
            let mut fault = Diagnostic::new(
                format!("`{name}` of {} must be {}{bound}, not {wrong}", self.what, T::expects()),
                found.at.clone(),
            );
            let line = format!("{name} = {}", found.value.toml());
            if let Some((_, instead)) = self.moved.iter().find(|(old, _)| *old == line) {
                fault = fault.help(*instead);
            } else if let (Value::String(word), [_, ..]) = (wrong, &parts[..]) {
                fault = fault.help(suggest(word, &parts));
            }
            self.findings.faults.push(fault);
            return None;
        };
        if let Some(wrong) = check.and_then(|check| check(&value)) {
            let message = format!("`{name}` of {} must be {wrong}", self.what);
            self.findings.faults.push(Diagnostic::new(message, found.at.clone()));
            return None;
        }
        Some(value)
    }

    /// Reads the sub-table of a part; `None` when there is none. One that no option has `chosen` is
    /// checked all the same, and noted: it has no effect.
    pub(crate) fn part<R>(
        &mut self,
        name: &'static str,
        what: &str,
        chosen: bool,
        reason: &str,
        read: impl FnOnce(&mut TableReader<'_>) -> Option<R>,
    ) -> Option<Option<R>> {
        self.parts.push(name);
        let table = self.table.tables.get(name)?;
        let mut inner = TableReader::new(what.to_owned(), format!("{}.{name}", self.path), table, &[]);
        let part = read(&mut inner);
        let found = inner.finish();
        let sound = found.faults.is_empty();
        self.findings.faults.extend(found.faults);
        match chosen {
            true => self.chosen.push(name),
            false if sound => self.passed_over.push((name, reason.to_owned())),
            false => {}
        }
        Some(part.filter(|_| sound))
    }

    /// Everything that was found, with the keys that nobody read.
    pub(crate) fn finish(mut self) -> Findings {
        let table = self.table;
        for (name, inner) in &table.tables {
            let reason = self.passed_over.iter().find(|(part, _)| part == name);
            if let Some((_, reason)) = reason.filter(|_| !self.chosen.contains(&name.as_str())) {
                let message = format!("{}{name}] has no effect: {reason}", self.header);
                self.findings.notes.push(Diagnostic::new(message, inner.at.clone()));
            }
        }
        for (key, found) in &table.entries {
            if !self.known.contains(&key.as_str()) {
                let fault = match self.moved.iter().find(|(old, _)| old == key) {
                    Some((_, place)) => self.elsewhere(key, place, found),
                    None => Diagnostic::new(format!("{} has no option `{key}`", self.what), found.key_at.clone())
                        .help(suggest(key, &self.known)),
                };
                self.findings.faults.push(fault);
            }
        }
        for (name, inner) in &table.tables {
            let name = name.as_str();
            if !self.parts.contains(&name) && !self.known.contains(&name) {
                let fault =
                    Diagnostic::new(format!("{} has no table `{}{name}]`", self.what, self.header), inner.at.clone());
                let help = match self.parts.is_empty() {
                    true => "its options are plain values".to_owned(),
                    false => suggest(name, &self.parts),
                };
                self.findings.faults.push(fault.help(help));
            }
        }
        self.findings
    }

    /// The fault of a key that has moved, with the line to write.
    fn elsewhere(&self, key: &str, place: &str, found: &Located) -> Diagnostic {
        let value = found.value.toml();
        let on_command_line = matches!(found.at, Origin::Given(_));
        let help = match place.split_once('.') {
            _ if place.contains(' ') => place.to_owned(),
            _ if on_command_line => format!("write --set {}.{place}={value}", self.path),
            Some((part, option)) => format!("write `{option} = {value}` under {}{part}]", self.header),
            None => format!("write `{place} = {value}`"),
        };
        Diagnostic::new(format!("`{key}` of {} has another place now", self.what), found.key_at.clone()).help(help)
    }
}

/// The first entry of a list that names no part; any other value unchanged.
fn wrong_word<'a>(value: &'a Value, parts: &[&str]) -> &'a Value {
    let is_part = |value: &Value| matches!(value, Value::String(word) if parts.contains(&word.as_str()));
    match value {
        Value::Array(list) if !parts.is_empty() => list.iter().find(|value| !is_part(value)).unwrap_or(value),
        _ => value,
    }
}
