//! The kinds that a program knows.

use std::any::TypeId;
use std::sync::{Arc, LazyLock};

use super::preset::Preset;
use crate::config::options::Values;
use crate::config::{Alternative, Findings, OptionSpec, Options, RunOptions, Table, TableReader};
use crate::edge::{Item, Nothing};
use crate::error::StageError;
use crate::options;
use crate::stage::node::{Node, node};
use crate::stage::{Build, Fact, Look, Need, Probe, ProbePart, Services, StageKind};

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

/// A table that belongs to no stage, such as `[model]`.
pub trait Section: Options {
    /// Its name.
    const NAME: &'static str;
    /// One line of help.
    const ABOUT: &'static str;

    /// Reports what costs nothing to see; see [`StageKind::verify`].
    fn verify(&self, _look: &mut Look<'_>) {}
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

/// A table as the resolved config has it.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    pub values: Values,
    /// The sub-tables of parts.
    pub tables: Vec<(&'static str, Values)>,
}

impl Resolved {
    pub fn of(options: &impl Options) -> Self {
        let mut tables = options.tables();
        // Two options may choose the same part; its table is one.
        let mut seen = Vec::new();
        tables.retain(|(part, _)| {
            !seen.contains(part) && {
                seen.push(*part);
                true
            }
        });
        Self { values: options.resolved(), tables }
    }
}

/// Looks at what options name.
pub(crate) type Verify = Box<dyn Fn(&mut Look<'_>) + Send>;

/// Options that are read and right, and what they build.
pub(crate) struct Ready<C, T> {
    pub common: C,
    pub resolved: Resolved,
    pub gives: Vec<Fact>,
    pub needs: Vec<Need>,
    pub verify: Verify,
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
    pub read: Read<R>,
}

type Read<R> = Box<dyn Fn(&Table, &mut Findings) -> Option<R> + Send + Sync>;

/// A [`Section`] and how its table is read: it is published by its options' type.
pub(crate) struct SectionEntry {
    pub kind: Kind,
    pub read: fn(&Table, &Services, &mut Findings) -> Option<(Resolved, Verify)>,
}

fn read_stage<K: StageKind>(table: &Table, findings: &mut Findings) -> Option<ReadyStage> {
    let mut reader = reader("stage", K::KIND, table).moved(K::MOVED);
    let (options, common) = (K::Options::read(&mut reader), StageKeys::read(&mut reader));
    let (options, mut common) = if sound(reader, findings) { (options?, common?) } else { return None };
    if common.capacity == 0 {
        common.capacity = K::CAPACITY;
    }
    let seen = options.clone();
    Some(Ready {
        common,
        resolved: Resolved::of(&options),
        gives: K::gives(&options),
        needs: K::needs(&options),
        verify: Box::new(move |look| K::verify(&seen, look)),
        paced_by_epochs: K::paced_by_epochs(&options),
        build: Box::new(move |_, build| Ok(node(K::build(options, build)?))),
    })
}

fn read_probe<T: ProbePart + ?Sized>(
    part: &'static Alternative<T>,
    table: &Table,
    findings: &mut Findings,
) -> Option<ReadyProbe> {
    let mut reader = reader("eval", part.name, table).moved(T::moved(part.name));
    let (read, common) = ((part.read)(&mut reader), EvalKeys::read(&mut reader));
    let ((values, probe), mut common) = if sound(reader, findings) { (read?, common?) } else { return None };
    if common.name.is_empty() {
        common.name = part.name.to_owned();
    }
    let seen = probe.clone();
    Some(Ready {
        common,
        resolved: Resolved { values, tables: Vec::new() },
        gives: Vec::new(),
        needs: Vec::new(),
        verify: Box::new(move |look| seen.verify(look)),
        paced_by_epochs: false,
        build: Box::new(move |name, build| probe.build(name, build)),
    })
}

fn read_section<O: Section>(table: &Table, sections: &Services, findings: &mut Findings) -> Option<(Resolved, Verify)> {
    let options: O = read_table(O::NAME, table, findings)?;
    let resolved = Resolved::of(&options);
    let options = Arc::new(options);
    sections.publish(options.clone());
    Some((resolved, Box::new(move |look| options.verify(look))))
}

/// Reads the table of a stage or an eval.
fn reader<'a>(list: &str, kind: &str, table: &'a Table) -> TableReader<'a> {
    TableReader::new(format!("{list} `{kind}`"), format!("{list}.{kind}"), table, &["kind"])
}

/// Reads a table that has no kind.
pub(crate) fn read_table<O: Options>(name: &str, table: &Table, findings: &mut Findings) -> Option<O> {
    let mut reader = TableReader::new(format!("[{name}]"), name.to_owned(), table, &[]);
    let options = O::read(&mut reader);
    if sound(reader, findings) { options } else { None }
}

fn sound(reader: TableReader<'_>, findings: &mut Findings) -> bool {
    let found = reader.finish();
    let sound = found.faults.is_empty();
    findings.faults.extend(found.faults);
    findings.notes.extend(found.notes);
    sound
}

/// The kinds of stages, probes, sections and presets that a program knows.
#[derive(Default)]
pub struct Registry {
    pub(crate) stages: Vec<Entry<ReadyStage>>,
    pub(crate) probes: Vec<Entry<ReadyProbe>>,
    pub(crate) sections: Vec<SectionEntry>,
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
        self.stages.push(Entry { kind, read: Box::new(read_stage::<K>) });
        self
    }

    /// Adds a family of probes: each part is a value of `kind` in an `[[eval]]` table.
    #[must_use]
    pub fn probes_of<T: ProbePart + ?Sized>(mut self) -> Self {
        for part in T::list() {
            let options = [(part.specs)(), EvalKeys::specs()].concat();
            let kind = Kind { name: part.name, about: part.about, options, input: None, output: None, capacity: 0 };
            let read = move |table: &Table, findings: &mut Findings| read_probe(part, table, findings);
            self.probes.push(Entry { kind, read: Box::new(read) });
        }
        self
    }

    /// Adds a table such as `[model]`, which stages ask for by its options' type.
    #[must_use]
    pub fn section<O: Section>(mut self) -> Self {
        let kind = Kind { name: O::NAME, about: O::ABOUT, options: O::specs(), input: None, output: None, capacity: 0 };
        self.sections.push(SectionEntry { kind, read: read_section::<O> });
        self
    }

    /// Adds a preset: its name, and its text, see [`Preset`].
    #[must_use]
    pub fn preset_of(mut self, name: &str, text: &str) -> Self {
        self.presets.push(Preset::parse(name, text));
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
