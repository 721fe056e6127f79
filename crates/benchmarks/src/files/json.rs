//! Benchmarks in JSON: a list of entries, or an object of them.

use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{FileError, read};

/// An entry of a JSON file, and where it stands.
#[derive(Debug, Clone)]
pub struct JsonEntry<T> {
    path: Arc<Path>,
    /// Counted from 1.
    row: usize,
    /// Its key in an object, its index in a list.
    key: String,
    /// What it holds.
    pub value: T,
}

impl<T> JsonEntry<T> {
    /// The entry at `index`, counted from 0, of a list.
    pub fn of_list(path: &Arc<Path>, index: usize, value: T) -> Self {
        Self { path: path.clone(), row: index + 1, key: index.to_string(), value }
    }

    /// A fault of this entry.
    pub fn fault(&self, message: impl std::fmt::Display) -> FileError {
        FileError::row(&self.path, self.row, format!("entry `{}`: {message}", self.key))
    }

    /// Checks that none of the fields, name and text, is empty.
    ///
    /// # Errors
    /// The first empty one.
    pub fn filled(&self, fields: &[(&str, &str)]) -> Result<(), FileError> {
        match fields.iter().find(|(_, text)| text.trim().is_empty()) {
            Some((field, _)) => Err(self.fault(format_args!("`{field}` is empty"))),
            None => Ok(()),
        }
    }
}

/// A JSON file as a value; `what` says what it should be.
///
/// # Errors
/// A file that cannot be read or is not JSON.
pub fn json_value(path: &Path, what: &str) -> Result<serde_json::Value, FileError> {
    serde_json::from_slice(&read(path)?).map_err(|e| FileError::whole(path, format!("not {what}: {e}")))
}

/// The entries of a JSON file: those of a list, or of an object in the order of its keys (numbers
/// by size). `what` says what an entry holds.
///
/// # Errors
/// A file that is not JSON, has no entry, or has an entry of another shape.
pub fn json_entries<T: DeserializeOwned>(path: &Path, what: &str) -> Result<Vec<JsonEntry<T>>, FileError> {
    let entries: Vec<(String, serde_json::Value)> = match json_value(path, what)? {
        serde_json::Value::Array(list) => list.into_iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
        serde_json::Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().collect();
            entries.sort_by(|a, b| match (a.0.parse::<u64>(), b.0.parse::<u64>()) {
                (Ok(a), Ok(b)) => a.cmp(&b),
                _ => a.0.cmp(&b.0),
            });
            entries
        }
        _ => return Err(FileError::whole(path, format!("not {what}, but a single value"))),
    };
    if entries.is_empty() {
        return Err(FileError::whole(path, "the file has no entry"));
    }
    let path: Arc<Path> = path.into();
    let entry = |(row, (key, value)): (usize, (String, serde_json::Value))| match serde_json::from_value(value) {
        Ok(value) => Ok(JsonEntry { path: path.clone(), row, key, value }),
        Err(e) => Err(FileError::row(
            &path,
            row,
            format!("entry `{key}` is not {what}: {e}; is it JSON of another benchmark?"),
        )),
    };
    (1..).zip(entries).map(entry).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn entries_of_lists_and_objects_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.json");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            json_entries::<u32>(&path, "numbers")
        };
        let keys = |text: &str| read(text).unwrap().iter().map(|e| (e.key.clone(), e.value)).collect::<Vec<_>>();
        let own =
            |keys: &[(&str, u32)]| keys.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect::<Vec<_>>();
        assert_eq!(keys("[7, 8]"), own(&[("0", 7), ("1", 8)]));
        assert_eq!(keys(r#"{"10": 1, "9": 2}"#), own(&[("9", 2), ("10", 1)]));
        let entry = &read("[7, 8]").unwrap()[1];
        assert!(entry.fault("odd").to_string().ends_with("f.json:2: entry `1`: odd"));
        assert!(entry.filled(&[("a", "x"), ("b", " ")]).unwrap_err().to_string().contains("`b` is empty"));
        let said = |text: &str| read(text).unwrap_err().to_string();
        assert!(said("[7, \"x\"]").contains("f.json:2: entry `1` is not numbers"));
        assert!(
            said("{}").contains("no entry")
                && said("1").contains("a single value")
                && said("[").contains("not numbers")
        );
    }
}
