//! Parts: alternatives within a stage, each with options of its own.
//!
//! What a kind of stage is to a pipeline, a part is to a stage: a name, a line of help and options,
//! all in the file that implements it, and one word in one list ([`parts!`](crate::parts!)). In the
//! config the stage's table has the word, and a sub-table of that name the options:
//!
//! ```toml
//! [[stage]]
//! kind = "train"
//! loss = "contrast"
//! [stage.contrast]
//! keep = 100.0
//! ```

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Origin};
use super::options::{OptionSpec, OptionValue, Options, PartSpec, Schema, Values, one_of};
use super::reader::TableReader;
use super::value::{Located, Table, Value};

/// An alternative. The options struct is the part: it also implements the trait of its family.
pub trait Part: Options {
    /// The word that chooses it, and the name of its table.
    const NAME: &'static str;
    /// One line of help.
    const ABOUT: &'static str;
}

/// A family of parts; made with [`parts!`](crate::parts!).
pub trait Alternatives: Send + Sync + 'static {
    /// What they are, for messages: "loss".
    const WHAT: &'static str;

    /// All of them, in the order of help.
    fn list() -> &'static [Alternative<Self>];
}

/// One entry of a list of parts.
pub struct Alternative<T: ?Sized> {
    /// [`Part::NAME`].
    pub name: &'static str,
    /// [`Part::ABOUT`].
    pub about: &'static str,
    /// Its options.
    pub specs: fn() -> Vec<OptionSpec>,
    /// Reads its table.
    #[doc(hidden)]
    pub read: fn(&mut TableReader<'_>) -> Option<Read<T>>,
}

/// The options of a part as TOML, and the part.
type Read<T> = (Values, Arc<T>);

impl<T: ?Sized> Alternative<T> {
    /// The part with its defaults: all options of a part have one.
    pub(crate) fn with_defaults(&self) -> Chosen<T> {
        let Some((values, part)) = TableReader::empty(|reader| (self.read)(reader)) else {
            panic!("the part `{}` has an option without a default", self.name)
        };
        Chosen { name: self.name, values, part }
    }
}

impl<T: Alternatives + ?Sized> Alternative<T> {
    /// The part with these options, for a command that takes them as flags instead of from a
    /// config; `origin` says where they come from, for messages.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn from_options(&self, options: &[(&str, Value)], origin: &str) -> Result<Arc<T>, Vec<Diagnostic>> {
        let at = Origin::Given(origin.to_owned());
        let mut table = Table::empty(at.clone());
        for (key, value) in options {
            let located = Located { value: value.clone(), at: at.clone(), key_at: at.clone() };
            table.entries.insert((*key).to_owned(), located);
        }
        let what = format!("{} `{}`", T::WHAT, self.name);
        let mut reader = TableReader::new(what, self.name.to_owned(), &table, &[]);
        let read = (self.read)(&mut reader);
        let faults = reader.finish().faults;
        match read {
            Some((_, part)) if faults.is_empty() => Ok(part),
            _ => Err(faults),
        }
    }
}

fn alternative<T: Alternatives + ?Sized>(name: &str) -> Option<&'static Alternative<T>> {
    T::list().iter().find(|alternative| alternative.name == name)
}

/// A part that a config chose.
pub struct Chosen<T: ?Sized> {
    name: &'static str,
    values: Values,
    part: Arc<T>,
}

impl<T: Alternatives + ?Sized> Chosen<T> {
    /// The part of this name with its default options: for the default of an option, and tests.
    ///
    /// # Panics
    /// When there is no such part.
    pub fn of(name: &str) -> Self {
        match alternative::<T>(name) {
            Some(alternative) => alternative.with_defaults(),
            None => panic!("there is no {} `{name}`", T::WHAT),
        }
    }
}

impl<T: ?Sized> Chosen<T> {
    /// A part that no config chose, for tests and programs without one.
    pub fn with<P: Part>(part: P, share: impl FnOnce(Arc<P>) -> Arc<T>) -> Self {
        Self { name: P::NAME, values: part.resolved(), part: share(Arc::new(part)) }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The part, to be kept.
    pub fn shared(&self) -> Arc<T> {
        self.part.clone()
    }
}

impl<T: ?Sized> Clone for Chosen<T> {
    fn clone(&self) -> Self {
        Self { name: self.name, values: self.values.clone(), part: self.part.clone() }
    }
}

impl<T: ?Sized> fmt::Debug for Chosen<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.name, self.values)
    }
}

impl<T: ?Sized> Deref for Chosen<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.part
    }
}

fn words<T: Alternatives + ?Sized>(join: &str) -> String {
    T::list().iter().map(|part| format!("\"{}\"", part.name)).collect::<Vec<_>>().join(join)
}

fn part_specs<T: Alternatives + ?Sized>() -> Vec<PartSpec> {
    let spec = |part: &Alternative<T>| PartSpec { name: part.name, about: part.about, options: (part.specs)() };
    T::list().iter().map(spec).collect()
}

fn part_schema<T: Alternatives + ?Sized>() -> Schema {
    one_of(&T::list().iter().map(|part| (part.name, part.about)).collect::<Vec<_>>())
}

impl<T: Alternatives + ?Sized> OptionValue for Chosen<T> {
    fn expects() -> String {
        words::<T>(" or ")
    }

    fn read(value: &Value) -> Option<Self> {
        let Value::String(word) = value else { return None };
        Some(alternative::<T>(word)?.with_defaults())
    }

    fn show(&self) -> String {
        format!("\"{}\"", self.name)
    }

    fn schema() -> Schema {
        part_schema::<T>()
    }

    fn parts() -> Vec<PartSpec> {
        part_specs::<T>()
    }

    fn complete(self, reader: &mut TableReader<'_>) -> Option<Self> {
        let reason = format!("the {} is `{}`", T::WHAT, self.name);
        complete(vec![self], reader, &reason)?.pop()
    }

    fn tables(&self) -> Vec<(&'static str, Values)> {
        if self.values.is_empty() { Vec::new() } else { vec![(self.name, self.values.clone())] }
    }
}

/// Parts that a config chose, in its order.
pub struct Several<T: ?Sized>(Vec<Chosen<T>>);

impl<T: Alternatives + ?Sized> Several<T> {
    /// The parts of these names with their default options.
    ///
    /// # Panics
    /// When there is no part of a name.
    pub fn of(names: &[&str]) -> Self {
        Self(names.iter().map(|name| Chosen::of(name)).collect())
    }
}

impl<T: ?Sized> Several<T> {
    /// Parts that no config chose, for tests and programs without one.
    pub fn with(parts: Vec<Chosen<T>>) -> Self {
        Self(parts)
    }

    /// Whether a part of this name is among them.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|part| part.name == name)
    }
}

impl<T: ?Sized> Clone for Several<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: ?Sized> fmt::Debug for Several<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: ?Sized> Deref for Several<T> {
    type Target = [Chosen<T>];

    fn deref(&self) -> &[Chosen<T>] {
        &self.0
    }
}

impl<T: Alternatives + ?Sized> OptionValue for Several<T> {
    fn expects() -> String {
        format!("one of {}, or a list of them", words::<T>(", "))
    }

    fn read(value: &Value) -> Option<Self> {
        let one = std::slice::from_ref(value);
        let list = if let Value::Array(list) = value { list } else { one };
        let mut parts: Vec<Chosen<T>> = Vec::with_capacity(list.len());
        for value in list {
            let part = Chosen::read(value)?;
            // Twice the same part is one.
            if parts.iter().all(|other| other.name != part.name) {
                parts.push(part);
            }
        }
        Some(Self(parts))
    }

    /// One by itself is shown as a config writes it, without brackets.
    fn show(&self) -> String {
        if let [one] = &self.0[..] {
            return one.show();
        }
        format!("[{}]", self.0.iter().map(OptionValue::show).collect::<Vec<_>>().join(", "))
    }

    fn schema() -> Schema {
        let one = part_schema::<T>();
        serde_json::json!({ "anyOf": [one, { "type": "array", "items": one }] })
    }

    fn parts() -> Vec<PartSpec> {
        part_specs::<T>()
    }

    fn complete(self, reader: &mut TableReader<'_>) -> Option<Self> {
        let reason = format!("this {} is not chosen", T::WHAT);
        Some(Self(complete(self.0, reader, &reason)?))
    }

    fn tables(&self) -> Vec<(&'static str, Values)> {
        self.0.iter().flat_map(OptionValue::tables).collect()
    }
}

/// Reads the sub-tables of all parts of a family: those of `chosen` count, the others are checked
/// for mistakes and have no effect.
fn complete<T: Alternatives + ?Sized>(
    mut chosen: Vec<Chosen<T>>,
    reader: &mut TableReader<'_>,
    reason: &str,
) -> Option<Vec<Chosen<T>>> {
    let mut whole = true;
    for alternative in T::list() {
        let place = chosen.iter_mut().find(|part| part.name == alternative.name);
        let what = format!("{} `{}`", T::WHAT, alternative.name);
        let read = reader.part(alternative.name, &what, place.is_some(), reason, alternative.read);
        match (place, read) {
            (Some(place), Some(Some((values, part)))) => (place.values, place.part) = (values, part),
            (Some(_), Some(None)) => whole = false,
            _ => {}
        }
    }
    whole.then_some(chosen)
}
