//! Files of benchmarks: tables with named columns, lists in a field, JSON; every
//! fault with the file and the row.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;

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
    /// It is a file of another kind.
    #[error("{}: {message}", .path.display())]
    Whole {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what is wanted.
        message: String,
    },
    /// A row is wrong.
    #[error("{}:{row}: {message}", .path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line of a table, counted from 1; the place of an entry of JSON.
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
}

/// A row of a table.
#[derive(Debug, Clone)]
pub struct CsvRow {
    path: Arc<Path>,
    /// Its line in the file, counted from 1.
    pub line: usize,
    fields: Vec<String>,
    columns: Arc<HashMap<String, usize>>,
}

impl CsvRow {
    /// A fault of this row.
    pub fn fault(&self, message: impl Into<String>) -> FileError {
        FileError::Row { path: self.path.to_path_buf(), row: self.line, message: message.into() }
    }

    /// A field, "" if the table has no such column.
    pub fn raw(&self, column: &str) -> &str {
        self.optional(column).unwrap_or_default()
    }

    /// A field, if the table has the column.
    pub fn optional(&self, column: &str) -> Option<&str> {
        self.columns.get(column).and_then(|&index| self.fields.get(index)).map(|field| field.trim())
    }

    /// A field that must not be empty.
    ///
    /// # Errors
    /// When it is.
    pub fn text(&self, column: &str) -> Result<&str, FileError> {
        match self.raw(column) {
            "" => Err(self.fault(format!("`{column}` is empty"))),
            text => Ok(text),
        }
    }

    /// A whole number below `end`.
    ///
    /// # Errors
    /// When it is none.
    pub fn below(&self, column: &str, end: usize) -> Result<usize, FileError> {
        let text = self.text(column)?;
        // pandas writes a column with a gap as floats.
        let number = text.strip_suffix(".0").unwrap_or(text).parse::<usize>().ok();
        number.filter(|number| *number < end).ok_or_else(|| {
            self.fault(format!("`{column}` is {text}, but must be a whole number from 0 to {}", end.saturating_sub(1)))
        })
    }
}

/// The rows of a CSV (or, if its header holds tabs and no comma, of a TSV) with at least the
/// columns `needed`.
///
/// # Errors
/// A file that cannot be read, lacks a column or has no row, or a row with more or fewer fields
/// than the header.
pub fn csv_rows(path: &Path, needed: &[&str], also: &[&str]) -> Result<Vec<CsvRow>, FileError> {
    let bytes = std::fs::read(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    let text = String::from_utf8(bytes).map_err(|e| FileError::whole(path, format!("not UTF-8: {e}")))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let header = text.lines().next().unwrap_or_default();
    let separator = if header.contains('\t') && !header.contains(',') { '\t' } else { ',' };
    let mut records = records(text, separator)
        .map_err(|line| FileError::whole(path, format!("line {line}: a quote that is opened here is never closed")))?
        .into_iter();
    let (_, headers) = records.next().unwrap_or_default();
    let columns: HashMap<String, usize> =
        headers.iter().enumerate().map(|(index, name)| (name.trim().to_owned(), index)).collect();
    let missing: Vec<String> =
        needed.iter().filter(|name| !columns.contains_key(**name)).map(|name| format!("`{name}`")).collect();
    if !missing.is_empty() {
        let has = headers.iter().map(|name| format!("`{}`", name.trim())).collect::<Vec<_>>().join(", ");
        let also = if also.is_empty() { String::new() } else { format!(" (and may have {})", also.join(", ")) };
        return Err(FileError::whole(
            path,
            format!(
                "no column {}; such a file has {}{also}, this one has {has}; is it a file of another benchmark?",
                missing.join(", "),
                needed.join(", ")
            ),
        ));
    }
    let (path, columns, width): (Arc<Path>, _, _) = (path.into(), Arc::new(columns), headers.len());
    let rows: Vec<CsvRow> = records
        .map(|(line, fields)| {
            let row = CsvRow { path: path.clone(), line, fields, columns: columns.clone() };
            match row.fields.len() {
                found if found == width => Ok(row),
                found => Err(row.fault(format!("{found} fields, but the header has {width}"))),
            }
        })
        .collect::<Result<_, FileError>>()?;
    if rows.is_empty() {
        return Err(FileError::whole(&path, "the file has a header but no row"));
    }
    Ok(rows)
}

/// The records of a CSV (RFC 4180) with the lines they begin at; empty lines are none. An error is
/// the line of a quote that is never closed.
fn records(text: &str, separator: char) -> Result<Vec<(usize, Vec<String>)>, usize> {
    let (mut records, mut fields, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut begin) = (1, 1);
    // Where a quoted field began; whether the field was quoted, so that "" is a field.
    let (mut quoted, mut was_quoted) = (None, false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        line += usize::from(letter == '\n');
        match letter {
            '"' if quoted.is_some() && letters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted.is_some() => quoted = None,
            _ if quoted.is_some() => field.push(letter),
            '"' if field.is_empty() => (quoted, was_quoted) = (Some(line), true),
            '\r' if letters.peek() == Some(&'\n') => {}
            '\n' => {
                if !(fields.is_empty() && field.is_empty() && !was_quoted) {
                    fields.push(std::mem::take(&mut field));
                    records.push((begin, std::mem::take(&mut fields)));
                }
                (begin, was_quoted) = (line, false);
            }
            _ if letter == separator => {
                fields.push(std::mem::take(&mut field));
                was_quoted = false;
            }
            _ => field.push(letter),
        }
    }
    if let Some(opened) = quoted {
        return Err(opened);
    }
    if !(fields.is_empty() && field.is_empty()) {
        fields.push(field);
        records.push((begin, fields));
    }
    Ok(records)
}

/// A field as it is written in a CSV.
pub(crate) fn quoted(field: &str) -> String {
    if field.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

/// A list in a field: a JSON or Python list of strings, else parts between semicolons.
pub fn list_field(field: &str) -> Vec<String> {
    let field = field.trim();
    literal_list(field)
        .unwrap_or_else(|| field.split(';').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect())
}

/// A JSON or Python list of strings, as in `['a dog', "a dog's ball"]`; none if it is no such list.
pub fn literal_list(text: &str) -> Option<Vec<String>> {
    let mut letters = text.trim().strip_prefix('[')?.strip_suffix(']')?.chars().peekable();
    let mut list = Vec::new();
    loop {
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        let Some(quote) = letters.next() else { return Some(list) };
        if quote != '\'' && quote != '"' {
            return None;
        }
        let mut item = String::new();
        loop {
            match letters.next()? {
                letter if letter == quote => break,
                '\\' => match letters.next()? {
                    'n' => item.push('\n'),
                    't' => item.push('\t'),
                    'r' => item.push('\r'),
                    escape @ ('x' | 'u') => {
                        let digits: String = letters.by_ref().take(if escape == 'x' { 2 } else { 4 }).collect();
                        item.push(u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)?);
                    }
                    other => item.push(other),
                },
                letter => item.push(letter),
            }
        }
        list.push(item);
        while letters.next_if(|letter| letter.is_whitespace()).is_some() {}
        match letters.next() {
            Some(',') => {}
            None => return Some(list),
            Some(_) => return None,
        }
    }
}

/// A JSON file as a value; `what` says what it should be.
///
/// # Errors
/// A file that cannot be read or is no JSON.
pub fn json_value(path: &Path, what: &str) -> Result<serde_json::Value, FileError> {
    let bytes = std::fs::read(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    serde_json::from_slice(&bytes).map_err(|e| FileError::whole(path, format!("not {what}: {e}")))
}

/// The entries of a JSON file: those of a list, or of an object in the order of its keys (numbers
/// by size). `what` says what an entry holds.
///
/// # Errors
/// A file that is no JSON, has no entry, or has one that is of another shape.
pub fn json_entries<T: DeserializeOwned>(path: &Path, what: &str) -> Result<Vec<(String, T)>, FileError> {
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
    let read = |(row, (key, value)): (usize, (String, serde_json::Value))| {
        let fault = |e: serde_json::Error| FileError::Row {
            path: path.to_owned(),
            row: row + 1,
            message: format!("entry `{key}` is not {what}: {e}; is it JSON of another benchmark?"),
        };
        let entry = serde_json::from_value(value).map_err(fault)?;
        Ok((key, entry))
    };
    entries.into_iter().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lists_of_json_python_and_semicolons() {
        assert_eq!(list_field(r#"['a dog', "a dog's ball"]"#), ["a dog", "a dog's ball"]);
        assert_eq!(list_field(r#"["a \"b\"", 'it\'s \u00e9']"#), ["a \"b\"", "it's é"]);
        assert_eq!(list_field("dog; hot dog ;"), ["dog", "hot dog"]);
        assert!(list_field("[]").is_empty() && list_field("").is_empty());
        assert_eq!(literal_list("['a' 'b']"), None);
        assert_eq!(literal_list("['a"), None);
    }

    #[test]
    fn a_table_names_its_line_and_what_it_lacks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            csv_rows(&path, &["a", "b"], &["c"])
        };
        let rows = read("\u{feff}a,b\n1,\"x\ny\"\n,z\n").unwrap();
        assert_eq!((rows[0].line, rows[0].raw("b")), (2, "x\ny"));
        assert!(rows[1].text("a").unwrap_err().to_string().contains("t.csv:4: `a` is empty"));
        assert_eq!(rows[0].below("a", 2).unwrap(), 1);
        assert!(
            rows[0].below("a", 1).unwrap_err().to_string().contains("`a` is 1, but must be a whole number from 0 to 0")
        );
        assert_eq!(read("a\tb\n1\t2\n").unwrap()[0].raw("b"), "2");
        let said = read("a,x\n1,2\n").unwrap_err().to_string();
        assert!(said.contains("no column `b`") && said.contains("this one has `a`, `x`"), "{said}");
        assert!(read("a,b\n").unwrap_err().to_string().contains("no row"));
        assert!(read("a,b\n1\n").unwrap_err().to_string().contains("t.csv:2: 1 fields, but the header has 2"));
        assert!(read("a,b\n1,2\n1,\"x\n").unwrap_err().to_string().contains("line 3: a quote"));
        let rows = read("a,b\r\n\r\n\"1\"\"\",\"\"").unwrap();
        assert_eq!((rows.len(), rows[0].raw("a"), rows[0].raw("b")), (1, "1\"", ""));
        assert_eq!(quoted("a \"b\", c"), "\"a \"\"b\"\", c\"");
    }
}
