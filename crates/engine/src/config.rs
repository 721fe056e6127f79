//! `pipeline.toml` as it was written: values with the place each one came from.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::options::suggest;
use crate::registry::{Preset, Registry};

/// A config file, kept for messages.
#[derive(Debug)]
pub struct SourceFile {
    /// The path as the user gave it.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Where a value came from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// Bytes of a file.
    File(Arc<SourceFile>, Range<usize>),
    /// `--set` on the command line, or a preset: its text.
    Given(String),
}

impl Origin {
    /// Line and column, counted from 1, if it stands in a file.
    pub fn line_column(&self) -> Option<(usize, usize)> {
        let Self::File(file, span) = self else { return None };
        let before = file.text.get(..span.start)?;
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
        Some((line, column))
    }
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, self.line_column()) {
            (Self::File(file, _), Some((line, column))) => write!(f, "{}:{line}:{column}", file.name),
            (Self::File(file, _), None) => f.write_str(&file.name),
            (Self::Given(text), _) => f.write_str(text),
        }
    }
}

/// One fault of a config.
#[derive(Debug, Clone)]
pub struct Diagnostic {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub at: Origin,
    /// What to do.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A fault without advice.
    pub fn new(message: impl Into<String>, at: Origin) -> Self {
        Self { message: message.into(), at, help: None }
    }

    /// Adds what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.message)?;
        self.help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
    }
}

/// A TOML value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `"text"`
    String(String),
    /// `12`
    Integer(i64),
    /// `0.5`
    Float(f64),
    /// `true`
    Boolean(bool),
    /// `[1, 2]`
    Array(Vec<Value>),
    /// `{ key = 1 }`; options have no tables in them, so that only messages need it.
    Table,
}

impl Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(v) => write!(f, "{v:?}"),
            Self::Integer(v) => write!(f, "{v}"),
            Self::Float(v) => write!(f, "{v:?}"),
            Self::Boolean(v) => write!(f, "{v}"),
            Self::Array(_) => f.write_str("a list"),
            Self::Table => f.write_str("a table"),
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
    pub entries: BTreeMap<String, Located>,
}

impl Table {
    fn empty(at: Origin) -> Self {
        Self { at, entries: BTreeMap::new() }
    }

    /// A string entry such as `kind`.
    pub fn text(&self, key: &str) -> Option<(&str, &Origin)> {
        match self.entries.get(key) {
            Some(Located { value: Value::String(text), at, .. }) => Some((text, at)),
            _ => None,
        }
    }
}

/// A config: single tables such as `[run]` and `[model]`, and the lists
/// `[[stage]]` and `[[eval]]` in the order of the file.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) file: Arc<SourceFile>,
    pub(crate) base: PathBuf,
    pub(crate) tables: BTreeMap<String, Table>,
    pub(crate) stages: Vec<Table>,
    pub(crate) evals: Vec<Table>,
    /// What is wrong with its shape, its presets and its overrides; [`check`](crate::check) reports
    /// it with everything else.
    pub(crate) faults: Vec<Diagnostic>,
}

impl Config {
    /// Reads `path`, then lays over it, in this order: the preset named in `[run]`
    /// (only where the file says nothing), the presets in `presets`, and each
    /// `table.key=value` of `sets`.
    ///
    /// # Errors
    /// When the file cannot be read or is not TOML. What is wrong with presets and overrides
    /// [`check`](crate::check) says, together with all else.
    pub fn load(
        path: &Path,
        presets: &[String],
        sets: &[String],
        registry: &Registry,
    ) -> Result<Self, Vec<Diagnostic>> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| {
            vec![
                Diagnostic::new(format!("cannot read the config: {e}"), Origin::Given(name.clone()))
                    .help("give the path of a pipeline.toml"),
            ]
        })?;
        let base = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        let mut config = Self::parse(&name, text, base)?;
        let mut faults = Vec::new();

        // `--set run.preset=X` means what that line in the file means. `--preset X` takes its
        // place, and beats what the file says itself.
        for set in sets {
            if let Some(("run.preset", value)) = set.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
                config.set("run.preset", value, &format!("--set {set}"), true, &mut faults);
            }
        }
        if !presets.is_empty() {
            config.set("run.preset", "", "--preset", true, &mut faults);
        }
        let named =
            config.tables.get("run").and_then(|run| run.text("preset")).map(|(name, at)| (name.to_owned(), at.clone()));
        if let Some((name, at)) = named.filter(|(name, _)| !name.is_empty()) {
            match registry.preset(&name) {
                Some(preset) => config.apply(preset, false, registry, &mut faults),
                None => faults.push(unknown_preset(&name, at, registry)),
            }
        }
        for name in presets {
            match registry.preset(name) {
                Some(preset) => {
                    config.apply(preset, true, registry, &mut faults);
                    // Its settings are in force; naming it again would only fill what is full.
                    config.set("run.preset", &format!("{name:?}"), &format!("--preset {name}"), true, &mut faults);
                }
                None => faults.push(unknown_preset(name, Origin::Given(format!("--preset {name}")), registry)),
            }
        }
        for set in sets {
            match set.split_once('=') {
                Some((key, value)) => config.set(key.trim(), value.trim(), &format!("--set {set}"), true, &mut faults),
                None => faults.push(
                    Diagnostic::new("an override needs a `=`", Origin::Given(format!("--set {set}")))
                        .help("write --set run.epochs=3 or --set stage.train.lr=1e-5"),
                ),
            }
        }
        config.faults.extend(faults);
        Ok(config)
    }

    /// Parses a config text.
    ///
    /// # Errors
    /// Every syntax error.
    pub fn parse(name: &str, text: String, base: PathBuf) -> Result<Self, Vec<Diagnostic>> {
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
            let list = match key.get_ref().as_ref() {
                "stage" => Some(&mut config.stages),
                "eval" => Some(&mut config.evals),
                _ => None,
            };
            let name = key.get_ref();
            match (value.get_ref(), list) {
                (DeValue::Table(table), None) => {
                    let table = read_table(table, origin(key.span()), &origin, &mut faults);
                    config.tables.insert(name.to_string(), table);
                }
                (DeValue::Array(items), Some(list)) => {
                    for item in items.iter() {
                        match item.get_ref() {
                            DeValue::Table(table) => {
                                list.push(read_table(table, origin(item.span()), &origin, &mut faults))
                            }
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

    /// Sets what a preset says. That it speaks of a stage which the config has not is one fault a
    /// stage, and none where a kind is misspelt: that is a fault by itself, and the cause of these.
    fn apply(&mut self, preset: &Preset, force: bool, registry: &Registry, faults: &mut Vec<Diagnostic>) {
        let mut missing = Vec::new();
        for (key, value) in preset.settings {
            self.set(key, value, &format!("preset {}", preset.name), force, &mut missing);
        }
        let is_known = |kind: &str| registry.stages().any(|known| known.name == kind);
        let all_known = self.stages.iter().all(|stage| stage.text("kind").is_none_or(|(kind, _)| is_known(kind)));
        if all_known {
            missing.dedup_by(|one, other| one.message == other.message);
            faults.extend(missing);
        }
    }

    /// Sets `run.key`, `SECTION.key`, `stage.KIND.option` (or `KIND.option`), `eval.NAME.option`.
    /// Without `force`, only where nothing stands yet.
    pub(crate) fn set(&mut self, path: &str, value: &str, origin: &str, force: bool, faults: &mut Vec<Diagnostic>) {
        let at = Origin::Given(origin.to_owned());
        let parts: Vec<&str> = path.split('.').map(str::trim).collect();
        let names = |tables: &[Table], key: &str| -> Vec<String> {
            tables
                .iter()
                .filter_map(|t| t.text(key).or_else(|| t.text("kind")).map(|(name, _)| name.to_owned()))
                .collect()
        };
        let is_stage = |name: &str| self.stages.iter().any(|t| t.text("kind").is_some_and(|(kind, _)| kind == name));
        let (table, key): (Option<&mut Table>, &str) = match parts[..] {
            ["stage", kind, key] => (find(&mut self.stages, "kind", kind), key),
            ["eval", name, key] => (find(&mut self.evals, "name", name), key),
            [kind, key] if is_stage(kind) => (find(&mut self.stages, "kind", kind), key),
            [table, key] if table != "stage" && table != "eval" => {
                (Some(self.tables.entry(table.to_owned()).or_insert_with(|| Table::empty(at.clone()))), key)
            }
            _ => {
                faults.push(
                    Diagnostic::new(format!("`{path}` names no option"), at)
                        .help("write run.KEY, model.KEY, stage.KIND.OPTION or eval.NAME.OPTION"),
                );
                return;
            }
        };
        let Some(table) = table else {
            let (list, what) = if parts[0] == "eval" {
                (names(&self.evals, "name"), "eval")
            } else {
                (names(&self.stages, "kind"), "stage")
            };
            let choices: Vec<&str> = list.iter().map(String::as_str).collect();
            faults.push(
                Diagnostic::new(format!("the config has no {what} `{}`", parts[1]), at)
                    .help(suggest(parts[1], &choices)),
            );
            return;
        };
        if force || !table.entries.contains_key(key) {
            let value = parse_value(value);
            table.entries.insert(key.to_owned(), Located { value, at: at.clone(), key_at: at });
        }
    }
}

fn unknown_preset(name: &str, at: Origin, registry: &Registry) -> Diagnostic {
    let names: Vec<&str> = registry.presets().map(|p| p.name).collect();
    Diagnostic::new(format!("there is no preset `{name}`"), at).help(suggest(name, &names))
}

/// A stage by its kind, or an eval by its name (its kind where it has none).
fn find<'a>(tables: &'a mut [Table], key: &str, wanted: &str) -> Option<&'a mut Table> {
    let is = |t: &Table, key: &str| t.text(key).is_some_and(|(found, _)| found == wanted);
    let index = tables.iter().position(|t| is(t, key)).or_else(|| tables.iter().position(|t| is(t, "kind")))?;
    Some(&mut tables[index])
}

/// A value on the command line: TOML if it is that, else a string.
fn parse_value(text: &str) -> Value {
    match DeValue::parse(text) {
        Ok(value) => plain(value.get_ref()),
        Err(_) => Value::String(text.to_owned()),
    }
}

fn read_table(
    table: &DeTable<'_>,
    at: Origin,
    origin: &dyn Fn(Range<usize>) -> Origin,
    faults: &mut Vec<Diagnostic>,
) -> Table {
    let mut read = Table::empty(at);
    for (key, value) in table {
        let key: &Spanned<_> = key;
        let at = origin(value.span());
        let value = plain(value.get_ref());
        if value == Value::Table {
            faults.push(Diagnostic::new(
                format!("`{}` is a table, but options are plain values", key.get_ref()),
                origin(key.span()),
            ));
        }
        read.entries.insert(key.get_ref().to_string(), Located { value, at, key_at: origin(key.span()) });
    }
    read
}

fn plain(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(v) => Value::String(v.to_string()),
        DeValue::Integer(v) => match i64::from_str_radix(v.as_str(), v.radix()) {
            Ok(v) => Value::Integer(v),
            // Too large for any option: shown as written in the message about its range.
            Err(_) => Value::String(v.as_str().to_owned()),
        },
        DeValue::Float(v) => v.as_str().parse().map_or_else(|_| Value::String(v.as_str().to_owned()), Value::Float),
        DeValue::Boolean(v) => Value::Boolean(*v),
        DeValue::Datetime(v) => Value::String(v.to_string()),
        DeValue::Array(items) => Value::Array(items.iter().map(|item| plain(item.get_ref())).collect()),
        DeValue::Table(_) => Value::Table,
    }
}
