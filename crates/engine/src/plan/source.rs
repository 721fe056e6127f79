//! The first stage of a side run.

use crate::config::{Config, Located, Origin, Table, Value};
use crate::stage::Source;

/// Where the options of a side run come from, for messages.
const ORIGIN: &str = "an [[eval]] table";

/// The table of the stage that reads `source` in place of the first stage of `config`.
pub(crate) fn first_stage(config: &Config, source: &Source) -> Table {
    let at = Origin::Given(ORIGIN.to_owned());
    let located = |value| Located { value, at: at.clone(), key_at: at.clone() };
    let is_same = |table: &&Table| table.text("kind").is_some_and(|(kind, _)| kind == source.kind);
    let mut first = config.stages.first().filter(is_same).cloned().unwrap_or_else(|| Table::empty(at.clone()));
    first.entries.insert("kind".to_owned(), located(Value::String(source.kind.to_owned())));
    for (key, value) in &source.options {
        first.entries.insert((*key).to_owned(), located(value.clone()));
    }
    first
}
