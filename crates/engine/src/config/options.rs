//! Options of stages: one definition gives the struct, the parser, the defaults,
//! the help and the resolved config.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::json;

use super::reader::TableReader;
use super::value::Value;

/// What people read about an option.
#[derive(Debug, Clone, serde::Serialize)]
pub struct OptionSpec {
    /// The key in `pipeline.toml`.
    pub name: &'static str,
    /// One or more lines of help.
    pub help: &'static str,
    /// The values it takes, in words.
    pub expects: String,
    /// Its default as TOML; none if it must be given.
    pub default: Option<String>,
    /// Whether its value has no say in the result, so that `--resume` may change it.
    pub free: bool,
    /// The values it takes, as JSON Schema.
    pub schema: Schema,
    /// The parts that it chooses among, where it names some; each has a sub-table of its own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartSpec>,
}

/// What people read about a part: an alternative with options of its own.
#[derive(Debug, Clone, serde::Serialize)]
pub struct PartSpec {
    /// The word that chooses it, and the name of its sub-table.
    pub name: &'static str,
    /// One line of help.
    pub about: &'static str,
    /// Its options.
    pub options: Vec<OptionSpec>,
}

/// Options with their values as TOML.
pub type Values = Vec<(&'static str, String)>;

impl OptionSpec {
    /// The spec of an option of type `T`; used by [`options!`](crate::options!).
    pub fn of<T: OptionValue>(name: &'static str, help: &'static str, default: Option<T>) -> Self {
        Self {
            name,
            help,
            expects: T::expects(),
            default: default.map(|value| value.show()),
            schema: T::schema(),
            free: false,
            parts: T::parts(),
        }
    }

    /// Narrows it to a range.
    #[must_use]
    pub fn within<T: Display + serde::Serialize>(mut self, range: &RangeInclusive<T>) -> Self {
        self.expects = format!("{}, {} to {}", self.expects, range.start(), range.end());
        for (key, end) in [("minimum", json!(range.start())), ("maximum", json!(range.end()))] {
            // TOML's integers end at 2^63; a bound beyond says nothing.
            if end.as_u64().is_none_or(|end| i64::try_from(end).is_ok()) {
                self.schema[key] = end;
            }
        }
        self
    }

    /// The help as one line.
    pub fn line(&self) -> String {
        self.help.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// A type that an option can have.
pub trait OptionValue: Sized + Clone {
    /// The values it takes, in words: `an integer`, `"skip" or "stop"`.
    fn expects() -> String;

    /// Reads it; `None` when the value is of another kind.
    fn read(value: &Value) -> Option<Self>;

    /// Writes it as TOML, such that `read` gives it back.
    fn show(&self) -> String;

    /// The values it takes, as JSON Schema; accepts what `read` accepts.
    fn schema() -> Schema;

    /// The parts that it names, if it names parts.
    fn parts() -> Vec<PartSpec> {
        Vec::new()
    }

    /// Reads the sub-tables of the parts that it names.
    fn complete(self, _reader: &mut TableReader<'_>) -> Option<Self> {
        Some(self)
    }

    /// The sub-tables of the parts that it names, every default written out.
    fn tables(&self) -> Vec<(&'static str, Values)> {
        Vec::new()
    }
}

/// A set of options; made with [`options!`](crate::options!).
pub trait Options: Clone + Send + Sync + Sized + 'static {
    /// Every option, in the order of the definition.
    fn specs() -> Vec<OptionSpec>;

    /// Reads them all, noting every fault in the reader.
    fn read(reader: &mut TableReader<'_>) -> Option<Self>;

    /// Every option with its value as TOML, defaults written out.
    fn resolved(&self) -> Values;

    /// The sub-tables of the parts that its options name.
    fn tables(&self) -> Vec<(&'static str, Values)>;
}

/// "did you mean `workers`?", and the valid choices.
pub fn suggest(word: &str, choices: &[&str]) -> String {
    let near = choices
        .iter()
        .map(|choice| (strsim::jaro_winkler(word, choice), choice))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let list = choices.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", ");
    match near {
        Some((_, choice)) => format!("did you mean `{choice}`? There are {list}"),
        None => format!("there are {list}"),
    }
}

/// A JSON Schema.
pub type Schema = serde_json::Value;

/// The schema of one of a few words, each with its help; used by [`choice!`](crate::choice!).
pub fn one_of(words: &[(&str, &str)]) -> Schema {
    let (words, helps): (Vec<&str>, Vec<&str>) = words.iter().map(|(word, help)| (*word, help.trim())).unzip();
    // The second is what Taplo and Even Better TOML show beside each word.
    json!({ "enum": words, "x-taplo": { "docs": { "enumValues": helps } } })
}

/// Words for a value outside a range; used by [`options!`](crate::options!).
pub fn outside<T: PartialOrd + Display>(range: &RangeInclusive<T>, value: &T) -> Option<String> {
    (!range.contains(value)).then(|| format!("from {} to {}, not {value}", range.start(), range.end()))
}
