//! Values and tables of a config, each with its place.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use super::diagnostic::Origin;

/// A TOML value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `"text"`
    String(String),
    /// `12`
    Integer(i64),
    /// A whole number that TOML has no place for, as written.
    Huge(String),
    /// `0.5`
    Float(f64),
    /// `true`
    Boolean(bool),
    /// `[1, 2]`
    Array(Vec<Value>),
    /// `{ key = 1 }` inside a list; options have no such values, so that only messages need it.
    Table,
}

impl Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(v) => write!(f, "{v:?}"),
            Self::Integer(v) => write!(f, "{v}"),
            Self::Huge(v) => f.write_str(v),
            Self::Float(v) => write!(f, "{v:?}"),
            Self::Boolean(v) => write!(f, "{v}"),
            Self::Array(_) => f.write_str("a list"),
            Self::Table => f.write_str("a table"),
        }
    }
}

impl Value {
    /// The value as TOML.
    pub fn toml(&self) -> String {
        match self {
            Self::String(text) => toml::Value::String(text.clone()).to_string(),
            Self::Array(items) => format!("[{}]", items.iter().map(Self::toml).collect::<Vec<_>>().join(", ")),
            Self::Table => "{ … }".to_owned(),
            plain => plain.to_string(),
        }
    }
}

/// A value, its place and the place of its key.
#[derive(Debug, Clone)]
pub(crate) struct Located {
    pub value: Value,
    pub at: Origin,
    pub key_at: Origin,
}

/// A table of the config.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub at: Origin,
    /// Its values.
    pub entries: BTreeMap<String, Located>,
    /// Its sub-tables, such as `[stage.tng]`.
    pub tables: BTreeMap<String, Table>,
}

impl Table {
    pub fn empty(at: Origin) -> Self {
        Self { at, entries: BTreeMap::new(), tables: BTreeMap::new() }
    }

    /// A string entry such as `kind`.
    pub fn text(&self, key: &str) -> Option<(&str, &Origin)> {
        match self.entries.get(key) {
            Some(Located { value: Value::String(text), at, .. }) => Some((text, at)),
            _ => None,
        }
    }
}
