//! Files of benchmarks: tables with named columns, lists in a field, JSON; every fault names the
//! file and the row.

mod json;
mod list;
mod table;

use std::path::{Path, PathBuf};

pub use json::{JsonEntry, json_entries, json_value};
pub use list::{list_field, literal_list};
pub use table::{TableRow, table_rows, write_table};

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It cannot be written.
    #[error("cannot write {}: {source}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not a file of this kind.
    #[error("{}: {message}", .path.display())]
    Whole {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what is expected.
        message: String,
    },
    /// A row is wrong.
    #[error("{}:{row}: {message}", .path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line of a table, the number of an entry of JSON; counted from 1.
        row: usize,
        /// What is wrong.
        message: String,
    },
}

impl FileError {
    /// A fault of the file as a whole.
    pub fn whole(path: &Path, message: impl Into<String>) -> Self {
        Self::Whole { path: path.to_owned(), message: message.into() }
    }

    /// A fault of one row, counted from 1.
    pub fn row(path: &Path, row: usize, message: impl Into<String>) -> Self {
        Self::Row { path: path.to_owned(), row, message: message.into() }
    }
}

/// The bytes of a file.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(|source| FileError::Read { path: path.to_owned(), source })
}

/// The lines of a text file that are not empty, with their numbers, counted from 1.
///
/// # Errors
/// When it cannot be read or is not UTF-8.
pub fn read_lines(path: &Path) -> Result<Vec<(usize, String)>, FileError> {
    let text = std::fs::read_to_string(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    Ok((1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()).map(|(n, l)| (n, l.to_owned())).collect())
}
