//! Options of stages: one definition gives the struct, the parser, the defaults,
//! the help and the resolved config.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use serde_json::json;

use crate::config::{Diagnostic, Located, Origin, Value};

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
}

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
}

/// A set of options; made with [`options!`](crate::options!).
pub trait Options: Send + Sync + Sized + 'static {
    /// Every option, in the order of the definition.
    fn specs() -> Vec<OptionSpec>;

    /// Reads them all, noting every fault in the reader.
    fn read(reader: &mut TableReader<'_>) -> Option<Self>;

    /// Every option with its value as TOML, defaults written out.
    fn resolved(&self) -> Vec<(&'static str, String)>;
}

/// Says what a value must be, if it is not that.
pub type Check<'a, T> = &'a dyn Fn(&T) -> Option<String>;

/// A TOML table on its way to an options struct: collects what is wrong.
#[derive(Debug)]
pub struct TableReader<'a> {
    what: String,
    at: &'a Origin,
    entries: &'a BTreeMap<String, Located>,
    known: Vec<&'static str>,
    faults: Vec<Diagnostic>,
}

impl<'a> TableReader<'a> {
    /// Reads the table of `what` ("stage `decode`"), which stands at `at`.
    /// `common` are keys that someone else reads.
    pub(crate) fn new(
        what: String,
        at: &'a Origin,
        entries: &'a BTreeMap<String, Located>,
        common: &[&'static str],
    ) -> Self {
        Self { what, at, entries, known: common.to_vec(), faults: Vec::new() }
    }

    /// Reads one option.
    pub fn take<T: OptionValue>(
        &mut self,
        name: &'static str,
        default: Option<T>,
        check: Option<Check<'_, T>>,
    ) -> Option<T> {
        self.known.push(name);
        let Some(found) = self.entries.get(name) else {
            if default.is_none() {
                self.faults.push(
                    Diagnostic::new(format!("{} needs `{name}`", self.what), self.at.clone())
                        .help(format!("add `{name} = …`: {}", T::expects())),
                );
            }
            return default;
        };
        let Some(value) = T::read(&found.value) else {
            self.faults.push(Diagnostic::new(
                format!("`{name}` of {} must be {}, not {}", self.what, T::expects(), found.value),
                found.at.clone(),
            ));
            return None;
        };
        if let Some(wrong) = check.and_then(|check| check(&value)) {
            self.faults.push(Diagnostic::new(format!("`{name}` of {} must be {wrong}", self.what), found.at.clone()));
            return None;
        }
        Some(value)
    }

    /// All faults, with those of keys that nobody read.
    pub fn finish(mut self) -> Vec<Diagnostic> {
        for (key, found) in self.entries {
            if !self.known.contains(&key.as_str()) {
                let fault = Diagnostic::new(format!("{} has no option `{key}`", self.what), found.key_at.clone());
                self.faults.push(fault.help(suggest(key, &self.known)));
            }
        }
        self.faults
    }
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

impl OptionValue for bool {
    fn expects() -> String {
        "true or false".into()
    }

    fn read(value: &Value) -> Option<Self> {
        if let Value::Boolean(v) = value { Some(*v) } else { None }
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn schema() -> Schema {
        json!({ "type": "boolean" })
    }
}

macro_rules! integers {
    ($($int:ty),*) => {$(
        impl OptionValue for $int {
            fn expects() -> String {
                if <$int>::MIN == 0 { "a whole number".into() } else { "an integer".into() }
            }

            fn read(value: &Value) -> Option<Self> {
                if let Value::Integer(v) = value { (*v).try_into().ok() } else { None }
            }

            fn show(&self) -> String {
                self.to_string()
            }

            fn schema() -> Schema {
                if <$int>::MIN == 0 { json!({ "type": "integer", "minimum": 0 }) } else { json!({ "type": "integer" }) }
            }
        }
    )*};
}
integers!(u32, u64, usize, i64);

impl OptionValue for f64 {
    fn expects() -> String {
        "a number".into()
    }

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Float(v) => Some(*v),
            Value::Integer(v) => Some(*v as f64),
            _ => None,
        }
    }

    fn show(&self) -> String {
        // `{:?}` keeps the point (`1.0`) and every digit, so that TOML reads a float back.
        format!("{self:?}")
    }

    fn schema() -> Schema {
        json!({ "type": "number" })
    }
}

impl OptionValue for String {
    fn expects() -> String {
        "a string".into()
    }

    fn read(value: &Value) -> Option<Self> {
        if let Value::String(v) = value { Some(v.clone()) } else { None }
    }

    fn show(&self) -> String {
        toml::Value::String(self.clone()).to_string()
    }

    fn schema() -> Schema {
        json!({ "type": "string" })
    }
}

impl OptionValue for PathBuf {
    fn expects() -> String {
        "a path".into()
    }

    fn read(value: &Value) -> Option<Self> {
        String::read(value).filter(|s| !s.is_empty()).map(Self::from)
    }

    fn show(&self) -> String {
        self.display().to_string().show()
    }

    fn schema() -> Schema {
        json!({ "type": "string", "minLength": 1 })
    }
}

/// An option that may be left out; written as `""` or left away.
impl<T: OptionValue> OptionValue for Option<T> {
    fn expects() -> String {
        format!("{}, or nothing", T::expects())
    }

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(v) if v.is_empty() => Some(None),
            other => T::read(other).map(Some),
        }
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "\"\"".into(), T::show)
    }

    fn schema() -> Schema {
        json!({ "anyOf": [T::schema(), { "const": "" }] })
    }
}

/// One value or a list of them.
impl<T: OptionValue> OptionValue for Vec<T> {
    fn expects() -> String {
        format!("{}, or a list of these", T::expects())
    }

    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Array(items) => items.iter().map(T::read).collect(),
            one => T::read(one).map(|v| vec![v]),
        }
    }

    fn show(&self) -> String {
        format!("[{}]", self.iter().map(T::show).collect::<Vec<_>>().join(", "))
    }

    fn schema() -> Schema {
        json!({ "anyOf": [T::schema(), { "type": "array", "items": T::schema() }] })
    }
}

/// Defines the options of a stage.
///
/// The first paragraph of each doc comment is the help that people see. A default
/// makes an option optional; a range after it is checked. `=> free` at the end says
/// that the value has no say in the result (threads, places of caches): a resumed run
/// may have another.
///
/// ```
/// use pipeline_engine::{choice, options};
///
/// choice! {
///     /// What to do with a picture that cannot be decoded.
///     pub enum OnError {
///         /// Leave it out and write it down.
///         Skip = "skip",
///         /// End the run.
///         Stop = "stop",
///     }
/// }
///
/// options! {
///     /// Options of the stage `decode`.
///     pub struct DecodeOptions {
///         /// Threads that decode.
///         workers: usize = 2, 1..=256 => free;
///         /// What to do with a picture that cannot be decoded.
///         on_error: OnError = OnError::Skip;
///     }
/// }
/// ```
#[macro_export]
macro_rules! options {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[doc = $help:literal])+ $field:ident : $type:ty $(= $default:expr $(, $range:expr)?)? $(=> $free:ident)? ; )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        pub struct $name {
            $( $(#[doc = $help])+ pub $field: $type, )*
        }

        impl $crate::Options for $name {
            fn specs() -> ::std::vec::Vec<$crate::OptionSpec> {
                ::std::vec![$(
                    {
                        #[allow(unused_mut)]
                        let mut spec = $crate::OptionSpec::of::<$type>(
                            stringify!($field),
                            concat!($($help, "\n"),+),
                            $crate::options!(@default $type $(, $default)?),
                        );
                        $($( spec = spec.within(&$range); )?)?
                        spec.free = $crate::options!(@free $($free)?);
                        spec
                    }
                ),*]
            }

            #[allow(unused_variables)]
            fn read(reader: &mut $crate::TableReader<'_>) -> ::std::option::Option<Self> {
                // Every option is read before any is missed, so that all faults show at once.
                $(
                    let $field: ::std::option::Option<$type> = reader.take(
                        stringify!($field),
                        $crate::options!(@default $type $(, $default)?),
                        $crate::options!(@check $type $($(, $range)?)?),
                    );
                )*
                ::std::option::Option::Some(Self { $( $field: $field?, )* })
            }

            fn resolved(&self) -> ::std::vec::Vec<(&'static str, ::std::string::String)> {
                ::std::vec![$( (stringify!($field), $crate::OptionValue::show(&self.$field)) ),*]
            }
        }
    };
    (@free) => { false };
    (@free free) => { true };
    (@default $type:ty) => { ::std::option::Option::None };
    (@default $type:ty, $default:expr) => { ::std::option::Option::Some::<$type>($default) };
    (@check $type:ty) => { ::std::option::Option::None };
    (@check $type:ty, $range:expr) => {
        ::std::option::Option::Some(&|value: &$type| $crate::options::outside(&$range, value))
    };
}

/// Defines an option that is one of a few words.
#[macro_export]
macro_rules! choice {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $( $(#[doc = $help:literal])+ $variant:ident = $word:literal ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $( $(#[doc = $help])+ $variant, )*
        }

        impl $name {
            /// The word in `pipeline.toml`.
            pub fn word(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }
        }

        impl $crate::OptionValue for $name {
            fn expects() -> ::std::string::String {
                let words: &[&str] = &[$( concat!("\"", $word, "\"") ),*];
                words.join(" or ")
            }

            fn read(value: &$crate::Value) -> ::std::option::Option<Self> {
                match value {
                    $( $crate::Value::String(word) if word == $word => ::std::option::Option::Some(Self::$variant), )*
                    _ => ::std::option::Option::None,
                }
            }

            fn show(&self) -> ::std::string::String {
                ::std::format!("\"{}\"", self.word())
            }

            fn schema() -> $crate::options::Schema {
                let words: &[(&str, &str)] = &[$( ($word, concat!($($help),+)) ),*];
                $crate::options::one_of(words)
            }
        }
    };
}
