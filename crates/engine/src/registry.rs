//! The kinds that a program knows.

use std::any::TypeId;
use std::sync::LazyLock;

use crate::config::{Diagnostic, Table};
use crate::error::StageError;
use crate::options;
use crate::options::{OptionSpec, Options, TableReader};
use crate::probe::{Probe, ProbeKind};
use crate::runner::RunOptions;
use crate::runner::node::{Node, node};
use crate::services::Services;
use crate::stage::{Build, Item, Nothing, StageKind};

options! {
    /// What every `[[stage]]` may say beside its kind's own options.
    pub struct StageKeys {
        /// Items that may wait in the edge after the stage; 0: as many as its kind proposes.
        capacity: usize = 0, 0..=1_000_000 => free;
    }
}

options! {
    /// What every `[[eval]]` may say beside its kind's own options.
    pub struct EvalKeys {
        /// Its name in results; nothing: its kind.
        name: String = String::new();
        /// Measure after every so many epochs too; 0: only before and after.
        every: u32 = 0, 0..=1_000_000;
    }
}

/// The type at one side of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    id: TypeId,
    /// The type's name for people.
    pub name: &'static str,
}

impl Port {
    fn of<T: Item>() -> Option<Self> {
        (TypeId::of::<T>() != TypeId::of::<Nothing>()).then(|| Self { id: TypeId::of::<T>(), name: T::NAME })
    }
}

/// What people read about a kind of stage or probe, or about a table such as `[model]`.
#[derive(Debug)]
pub struct Kind {
    /// The value of `kind`; for a table, its name.
    pub name: &'static str,
    /// One line of help.
    pub about: &'static str,
    /// Its options: its own, then those that it shares with all others.
    pub options: Vec<OptionSpec>,
    /// What it takes; none for a source, a probe or a table.
    pub input: Option<Port>,
    /// What it gives; none for a sink, a probe or a table.
    pub output: Option<Port>,
    /// Items that may wait after it, unless the config says otherwise.
    pub capacity: usize,
}

/// Options with their values as TOML.
pub(crate) type Resolved = Vec<(&'static str, String)>;

/// Options that are read and right, and what they build.
pub(crate) struct Ready<C, T> {
    pub common: C,
    pub resolved: Resolved,
    /// Whether what it does in an epoch depends on how many there are.
    pub paced_by_epochs: bool,
    pub build: Builder<T>,
}

/// Builds a stage or a probe; takes its name in the config.
pub(crate) type Builder<T> = Box<dyn FnOnce(&str, &mut Build<'_>) -> Result<T, StageError> + Send>;
pub(crate) type ReadyStage = Ready<StageKeys, Box<dyn Node>>;
pub(crate) type ReadyProbe = Ready<EvalKeys, Box<dyn Probe>>;

/// A kind and how its table is read. `R` is what comes of it.
pub(crate) struct Entry<R> {
    pub kind: Kind,
    pub read: fn(&Table, &mut Vec<Diagnostic>) -> Option<R>,
}

/// A table that belongs to no stage, and how it is read: it is published by its options' type.
pub(crate) struct Section {
    pub kind: Kind,
    pub read: fn(&str, &Table, &Services, &mut Vec<Diagnostic>) -> Option<Resolved>,
}

fn read_stage<K: StageKind>(table: &Table, faults: &mut Vec<Diagnostic>) -> Option<ReadyStage> {
    let what = format!("stage `{}`", K::KIND);
    let (mut common, options) = read::<StageKeys, K::Options>(what, table, faults)?;
    if common.capacity == 0 {
        common.capacity = K::CAPACITY;
    }
    let (resolved, paced_by_epochs) = (options.resolved(), K::paced_by_epochs(&options));
    Some(Ready {
        common,
        resolved,
        paced_by_epochs,
        build: Box::new(move |_, build| Ok(node(K::build(options, build)?))),
    })
}

fn read_probe<K: ProbeKind>(table: &Table, faults: &mut Vec<Diagnostic>) -> Option<ReadyProbe> {
    let what = format!("eval `{}`", K::KIND);
    let (mut common, options) = read::<EvalKeys, K::Options>(what, table, faults)?;
    if common.name.is_empty() {
        common.name = K::KIND.to_owned();
    }
    let resolved = options.resolved();
    Some(Ready {
        common,
        resolved,
        paced_by_epochs: false,
        build: Box::new(move |name, build| K::build(options, name, build)),
    })
}

fn read_section<O: Options>(
    name: &str,
    table: &Table,
    sections: &Services,
    faults: &mut Vec<Diagnostic>,
) -> Option<Resolved> {
    let options: O = read_table(format!("[{name}]"), table, faults)?;
    let resolved = options.resolved();
    sections.publish(std::sync::Arc::new(options));
    Some(resolved)
}

/// Reads the table of a kind: what all have, and its own options.
fn read<C: Options, O: Options>(what: String, table: &Table, faults: &mut Vec<Diagnostic>) -> Option<(C, O)> {
    let mut reader = TableReader::new(what, &table.at, &table.entries, &["kind"]);
    let (options, common) = (O::read(&mut reader), C::read(&mut reader));
    sound(reader, faults).then_some((common?, options?))
}

/// Reads a table that has no kind.
pub(crate) fn read_table<O: Options>(what: String, table: &Table, faults: &mut Vec<Diagnostic>) -> Option<O> {
    let mut reader = TableReader::new(what, &table.at, &table.entries, &[]);
    let options = O::read(&mut reader);
    sound(reader, faults).then_some(options?)
}

fn sound(reader: TableReader<'_>, faults: &mut Vec<Diagnostic>) -> bool {
    let found = reader.finish();
    let sound = found.is_empty();
    faults.extend(found);
    sound
}

/// A named set of settings.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// One line of help.
    pub about: &'static str,
    /// Paths as `--set` takes them, and values as TOML.
    pub settings: &'static [(&'static str, &'static str)],
}

/// The kinds of stages, probes, sections and presets that a program knows.
#[derive(Default)]
pub struct Registry {
    pub(crate) stages: Vec<Entry<ReadyStage>>,
    pub(crate) probes: Vec<Entry<ReadyProbe>>,
    pub(crate) sections: Vec<Section>,
    presets: Vec<Preset>,
}

impl Registry {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a kind of stage.
    #[must_use]
    pub fn stage<K: StageKind>(mut self) -> Self {
        let mut options = [K::Options::specs(), StageKeys::specs()].concat();
        if let Some(capacity) = options.last_mut() {
            capacity.default = Some(K::CAPACITY.to_string());
        }
        let (input, output) = (Port::of::<K::In>(), Port::of::<K::Out>());
        let kind = Kind { name: K::KIND, about: K::ABOUT, options, input, output, capacity: K::CAPACITY };
        self.stages.push(Entry { kind, read: read_stage::<K> });
        self
    }

    /// Adds a kind of probe, the value of `kind` in an `[[eval]]` table.
    #[must_use]
    pub fn probe<K: ProbeKind>(mut self) -> Self {
        let options = [K::Options::specs(), EvalKeys::specs()].concat();
        let kind = Kind { name: K::KIND, about: K::ABOUT, options, input: None, output: None, capacity: 0 };
        self.probes.push(Entry { kind, read: read_probe::<K> });
        self
    }

    /// Adds a table such as `[model]`, which stages ask for by its options' type.
    #[must_use]
    pub fn section<O: Options>(mut self, name: &'static str, about: &'static str) -> Self {
        let kind = Kind { name, about, options: O::specs(), input: None, output: None, capacity: 0 };
        self.sections.push(Section { kind, read: read_section::<O> });
        self
    }

    /// Adds a preset.
    #[must_use]
    pub fn preset_of(mut self, preset: Preset) -> Self {
        self.presets.push(preset);
        self
    }

    /// The kinds of stages, in the order of listing.
    pub fn stages(&self) -> impl Iterator<Item = &Kind> {
        self.stages.iter().map(|entry| &entry.kind)
    }

    /// The kinds of probes.
    pub fn probes(&self) -> impl Iterator<Item = &Kind> {
        self.probes.iter().map(|entry| &entry.kind)
    }

    /// The tables that belong to no stage, `[run]` first.
    pub fn tables(&self) -> Vec<&Kind> {
        std::iter::once(run_table()).chain(self.sections.iter().map(|section| &section.kind)).collect()
    }

    /// The presets.
    pub fn presets(&self) -> impl Iterator<Item = &Preset> {
        self.presets.iter()
    }

    /// The preset of this name.
    pub fn preset(&self, name: &str) -> Option<&Preset> {
        self.presets.iter().find(|preset| preset.name == name)
    }
}

/// What people read about `[run]`, which the engine itself reads.
fn run_table() -> &'static Kind {
    static RUN: LazyLock<Kind> = LazyLock::new(|| Kind {
        name: "run",
        about: "what concerns the run as a whole",
        options: RunOptions::specs(),
        input: None,
        output: None,
        capacity: 0,
    });
    &RUN
}

/// The entry of this kind.
pub(crate) fn find<'a, R>(entries: &'a [Entry<R>], name: &str) -> Option<&'a Entry<R>> {
    entries.iter().find(|entry| entry.kind.name == name)
}
