//! A kind of stage: what its author writes.

use super::behaviour::{Map, Stage};
use super::build::Build;
use super::contract::{Fact, Need};
use super::look::Look;
use crate::config::{Moved, Options};
use crate::edge::Item;
use crate::error::StageError;

/// A kind of stage: the value of `kind` in a `[[stage]]` table.
///
/// Adding one to the program is a crate with an implementation of this trait and
/// one line where the kinds are listed.
pub trait StageKind: Send + Sync + 'static {
    /// Its name in `pipeline.toml`.
    const KIND: &'static str;
    /// One line of help.
    const ABOUT: &'static str;
    /// Items that may wait in the edge after it, unless the config says otherwise.
    const CAPACITY: usize = 4;
    /// What it takes; [`Nothing`] if it starts a pipeline.
    type In: Item;
    /// What it gives; [`Nothing`] if it ends one.
    type Out: Item;
    /// Its options, made with [`options!`](crate::options!).
    type Options: Options;

    /// Builds the stage once for the whole run.
    ///
    /// # Errors
    /// Whatever keeps it from running: a missing file, a model of the wrong
    /// shape. The message names the file and what to do.
    fn build(options: Self::Options, build: &mut Build<'_>) -> Result<Built<Self::In, Self::Out>, StageError>;

    /// Keys that have another place now, and where: `("w_keep", "contrast.keep")` for an option of a
    /// part, `("generator", "writer")` for a new name, or a sentence that says what to write. A
    /// config that uses one is refused with that line.
    const MOVED: Moved = &[];

    /// What the stage gives the others beside its items.
    fn gives(_options: &Self::Options) -> Vec<Fact> {
        Vec::new()
    }

    /// What it needs of the others. `check` says what no stage gives.
    fn needs(_options: &Self::Options) -> Vec<Need> {
        Vec::new()
    }

    /// Reports everything about its options that costs nothing to see before anything runs:
    /// files that do not exist, devices that this build does not have, sizes that do not fit.
    fn verify(_options: &Self::Options, _look: &mut Look<'_>) {}

    /// Whether what it does in an epoch depends on how many there will be, as a learning
    /// rate that falls to 0 does. If not, a resumed run may have more epochs.
    fn paced_by_epochs(_options: &Self::Options) -> bool {
        false
    }
}

/// A stage ready to run.
pub enum Built<I, O> {
    /// One thread that reads and writes as it likes.
    Stage(Box<dyn Stage<I, O>>),
    /// `workers` threads that turn each item into one item; the order is kept.
    Map {
        /// How many threads.
        workers: usize,
        /// What makes their workers.
        map: Box<dyn Map<I, O>>,
    },
}
