//! The kinds that a program knows.

use std::any::TypeId;
use std::marker::PhantomData;

use crate::config::{Diagnostic, Table};
use crate::error::StageError;
use crate::options::{OptionSpec, Options, TableReader};
use crate::probe::{Probe, ProbeKind};
use crate::runner::node::{Node, node};
use crate::services::Services;
use crate::stage::{Build, Item, Nothing, StageKind};

/// Keys that every `[[stage]]` has beside its own options.
pub(crate) const STAGE_KEYS: &[&str] = &["kind", "capacity"];
/// Keys that every `[[eval]]` has beside its own options.
pub(crate) const EVAL_KEYS: &[&str] = &["kind", "name", "every"];

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

/// A kind of stage, its types forgotten.
pub trait Kind: Send + Sync {
    /// The value of `kind`.
    fn name(&self) -> &'static str;
    /// One line of help.
    fn about(&self) -> &'static str;
    /// Its options.
    fn options(&self) -> Vec<OptionSpec>;
    /// What it takes; none for a source.
    fn input(&self) -> Option<Port>;
    /// What it gives; none for a sink.
    fn output(&self) -> Option<Port>;
    /// Items that may wait after it by default.
    fn capacity(&self) -> usize;
}

/// The part of a kind that only the engine uses.
pub(crate) trait ReadKind: Kind {
    /// Reads the options of a stage.
    fn read(&self, table: &Table, faults: &mut Vec<Diagnostic>) -> Option<Box<dyn Ready>>;
}

/// A stage whose options are read and right.
pub(crate) trait Ready: Send {
    fn resolved(&self) -> Vec<(&'static str, String)>;
    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<Box<dyn Node>, StageError>;
}

struct Typed<K>(PhantomData<fn() -> K>);

struct TypedReady<K: StageKind>(K::Options);

impl<K: StageKind> Kind for Typed<K> {
    fn name(&self) -> &'static str {
        K::KIND
    }

    fn about(&self) -> &'static str {
        K::ABOUT
    }

    fn options(&self) -> Vec<OptionSpec> {
        K::Options::specs()
    }

    fn input(&self) -> Option<Port> {
        Port::of::<K::In>()
    }

    fn output(&self) -> Option<Port> {
        Port::of::<K::Out>()
    }

    fn capacity(&self) -> usize {
        K::CAPACITY
    }
}

impl<K: StageKind> ReadKind for Typed<K> {
    fn read(&self, table: &Table, faults: &mut Vec<Diagnostic>) -> Option<Box<dyn Ready>> {
        let options: K::Options = read(format!("stage `{}`", K::KIND), table, STAGE_KEYS, faults)?;
        Some(Box::new(TypedReady::<K>(options)))
    }
}

impl<K: StageKind> Ready for TypedReady<K> {
    fn resolved(&self) -> Vec<(&'static str, String)> {
        self.0.resolved()
    }

    fn build(self: Box<Self>, build: &mut Build<'_>) -> Result<Box<dyn Node>, StageError> {
        Ok(node(K::build(self.0, build)?))
    }
}

/// Reads a table into options, adding what is wrong to `faults`.
pub(crate) fn read<O: Options>(
    what: String,
    table: &Table,
    common: &[&'static str],
    faults: &mut Vec<Diagnostic>,
) -> Option<O> {
    let mut reader = TableReader::new(what, &table.at, &table.entries, common);
    let options = O::read(&mut reader);
    let found = reader.finish();
    let sound = found.is_empty();
    faults.extend(found);
    options.filter(|_| sound)
}

/// A kind of probe, its types forgotten.
pub(crate) trait AnyProbeKind: Send + Sync {
    fn name(&self) -> &'static str;
    fn about(&self) -> &'static str;
    fn options(&self) -> Vec<OptionSpec>;
    fn read(&self, table: &Table, faults: &mut Vec<Diagnostic>) -> Option<Box<dyn ReadyProbe>>;
}

pub(crate) trait ReadyProbe: Send {
    fn resolved(&self) -> Vec<(&'static str, String)>;
    fn build(self: Box<Self>, name: &str, build: &mut Build<'_>) -> Result<Box<dyn Probe>, StageError>;
}

struct TypedReadyProbe<K: ProbeKind>(K::Options);

impl<K: ProbeKind> AnyProbeKind for Typed<K> {
    fn name(&self) -> &'static str {
        K::KIND
    }

    fn about(&self) -> &'static str {
        K::ABOUT
    }

    fn options(&self) -> Vec<OptionSpec> {
        K::Options::specs()
    }

    fn read(&self, table: &Table, faults: &mut Vec<Diagnostic>) -> Option<Box<dyn ReadyProbe>> {
        let options: K::Options = read(format!("eval `{}`", K::KIND), table, EVAL_KEYS, faults)?;
        Some(Box::new(TypedReadyProbe::<K>(options)))
    }
}

impl<K: ProbeKind> ReadyProbe for TypedReadyProbe<K> {
    fn resolved(&self) -> Vec<(&'static str, String)> {
        self.0.resolved()
    }

    fn build(self: Box<Self>, name: &str, build: &mut Build<'_>) -> Result<Box<dyn Probe>, StageError> {
        K::build(self.0, name, build)
    }
}

/// A table that belongs to no stage, its type forgotten.
pub(crate) trait AnySection: Send + Sync {
    fn name(&self) -> &'static str;
    fn options(&self) -> Vec<OptionSpec>;
    /// Reads the table and publishes it in `sections`; returns the resolved options.
    fn read(
        &self,
        table: &Table,
        sections: &Services,
        faults: &mut Vec<Diagnostic>,
    ) -> Option<Vec<(&'static str, String)>>;
}

struct Section<O> {
    name: &'static str,
    options: PhantomData<fn() -> O>,
}

impl<O: Options> AnySection for Section<O> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn options(&self) -> Vec<OptionSpec> {
        O::specs()
    }

    fn read(
        &self,
        table: &Table,
        sections: &Services,
        faults: &mut Vec<Diagnostic>,
    ) -> Option<Vec<(&'static str, String)>> {
        let options: O = read(format!("[{}]", self.name), table, &[], faults)?;
        let resolved = options.resolved();
        sections.publish(std::sync::Arc::new(options));
        Some(resolved)
    }
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
    pub(crate) stages: Vec<Box<dyn ReadKind>>,
    pub(crate) probes: Vec<Box<dyn AnyProbeKind>>,
    pub(crate) sections: Vec<Box<dyn AnySection>>,
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
        self.stages.push(Box::new(Typed::<K>(PhantomData)));
        self
    }

    /// Adds a kind of probe, the value of `kind` in an `[[eval]]` table.
    #[must_use]
    pub fn probe<K: ProbeKind>(mut self) -> Self {
        self.probes.push(Box::new(Typed::<K>(PhantomData)));
        self
    }

    /// Adds a table such as `[model]`, which stages ask for by its options' type.
    #[must_use]
    pub fn section<O: Options>(mut self, name: &'static str) -> Self {
        self.sections.push(Box::new(Section::<O> { name, options: PhantomData }));
        self
    }

    /// Adds a preset.
    #[must_use]
    pub fn preset_of(mut self, preset: Preset) -> Self {
        self.presets.push(preset);
        self
    }

    /// The kinds of stages, in the order of listing.
    pub fn stages(&self) -> impl Iterator<Item = &dyn Kind> {
        self.stages.iter().map(|kind| &**kind as &dyn Kind)
    }

    /// Name, help and options of each kind of probe.
    pub fn probes(&self) -> impl Iterator<Item = (&'static str, &'static str, Vec<OptionSpec>)> {
        self.probes.iter().map(|kind| (kind.name(), kind.about(), kind.options()))
    }

    /// Name and options of each other table.
    pub fn sections(&self) -> impl Iterator<Item = (&'static str, Vec<OptionSpec>)> {
        self.sections.iter().map(|section| (section.name(), section.options()))
    }

    /// The presets.
    pub fn presets(&self) -> impl Iterator<Item = &Preset> {
        self.presets.iter()
    }

    /// The preset of this name.
    pub fn preset(&self, name: &str) -> Option<&Preset> {
        self.presets.iter().find(|preset| preset.name == name)
    }

    pub(crate) fn kind(&self, name: &str) -> Option<&dyn ReadKind> {
        self.stages.iter().find(|kind| kind.name() == name).map(|kind| &**kind)
    }

    pub(crate) fn probe_kind(&self, name: &str) -> Option<&dyn AnyProbeKind> {
        self.probes.iter().find(|kind| kind.name() == name).map(|kind| &**kind)
    }
}
