//! `pipeline.toml` as it was written: values with the place each one came from.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Origin, SourceFile};
use super::value::{Located, Table, Value};

/// A config: single tables such as `[run]` and `[model]`, and the lists
/// `[[stage]]` and `[[eval]]` in the order of the file.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) file: Arc<SourceFile>,
    pub(crate) base: PathBuf,
    pub(crate) tables: BTreeMap<String, Table>,
    pub(crate) stages: Vec<Table>,
    pub(crate) evals: Vec<Table>,
    /// What is wrong with its shape, its presets and its overrides; [`check`](crate::check()) reports
    /// it with everything else.
    pub(crate) faults: Vec<Diagnostic>,
}

impl Config {
    /// Parses a config text.
    ///
    /// # Errors
    /// Every syntax error.
    pub fn parse(name: &str, text: String, base: PathBuf) -> Result<Self, Vec<Diagnostic>> {
        Self::parse_with(name, text, base, &mut BTreeMap::new())
    }

    /// As [`parse`](Self::parse), for a text that may begin with values outside any table: those
    /// whose keys `top` holds.
    pub(crate) fn parse_with(
        name: &str,
        text: String,
        base: PathBuf,
        top: &mut BTreeMap<&'static str, Option<Located>>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let file = Arc::new(SourceFile { name: name.to_owned(), text });
        let origin = |span: Range<usize>| Origin::File(file.clone(), span);
        let (root, errors) = DeTable::parse_recoverable(&file.text);
        let mut faults: Vec<_> = errors
            .iter()
            .map(|e| Diagnostic::new(format!("this is not TOML: {}", e.message()), origin(e.span().unwrap_or(0..0))))
            .collect();
        if !faults.is_empty() {
            return Err(faults);
        }

        let mut config = Self {
            file: file.clone(),
            base,
            tables: BTreeMap::new(),
            stages: Vec::new(),
            evals: Vec::new(),
            faults: Vec::new(),
        };
        for (key, value) in root.get_ref() {
            if let Some(place) = top.get_mut(key.get_ref().as_ref()) {
                let (at, key_at) = (origin(value.span()), origin(key.span()));
                *place = Some(Located { value: plain(value.get_ref()), at, key_at });
                continue;
            }
            let list = match key.get_ref().as_ref() {
                "stage" => Some(&mut config.stages),
                "eval" => Some(&mut config.evals),
                _ => None,
            };
            let name = key.get_ref();
            match (value.get_ref(), list) {
                (DeValue::Table(table), None) => {
                    let table = read_table(table, origin(key.span()), &origin);
                    config.tables.insert(name.to_string(), table);
                }
                (DeValue::Array(items), Some(list)) => {
                    for item in items.iter() {
                        match item.get_ref() {
                            DeValue::Table(table) => list.push(read_table(table, origin(item.span()), &origin)),
                            _ => faults.push(Diagnostic::new(
                                format!("`{name}` must be written as [[{name}]] tables"),
                                origin(item.span()),
                            )),
                        }
                    }
                }
                (_, Some(_)) => faults.push(
                    Diagnostic::new(format!("`{name}` is a list of tables"), origin(key.span()))
                        .help(format!("write [[{name}]] with two brackets, once for each")),
                ),
                (_, None) => faults.push(
                    Diagnostic::new(format!("`{name}` stands outside any table"), origin(key.span()))
                        .help("put it under [run], [model], [[stage]] or [[eval]]"),
                ),
            }
        }
        config.faults = faults;
        Ok(config)
    }
}

fn read_table(table: &DeTable<'_>, at: Origin, origin: &dyn Fn(Range<usize>) -> Origin) -> Table {
    let mut read = Table::empty(at);
    for (key, value) in table {
        let key: &Spanned<_> = key;
        let at = origin(value.span());
        if let DeValue::Table(inner) = value.get_ref() {
            read.tables.insert(key.get_ref().to_string(), read_table(inner, origin(key.span()), origin));
            continue;
        }
        let value = plain(value.get_ref());
        read.entries.insert(key.get_ref().to_string(), Located { value, at, key_at: origin(key.span()) });
    }
    read
}

pub(crate) fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(v) => Value::String(v.to_string()),
        DeValue::Integer(v) => match i64::from_str_radix(v.as_str(), v.radix()) {
            Ok(v) => Value::Integer(v),
            Err(_) => Value::Huge(v.as_str().to_owned()),
        },
        DeValue::Float(v) => v.as_str().parse().map_or_else(|_| Value::String(v.as_str().to_owned()), Value::Float),
        DeValue::Boolean(v) => Value::Boolean(*v),
        DeValue::Datetime(v) => Value::String(v.to_string()),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| plain(item.get_ref())).collect()),
        DeValue::Table(_) => Value::Table,
    }
}
