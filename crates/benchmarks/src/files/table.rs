//! Benchmarks in CSV and TSV, with named columns.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use tables::Dialect;

use super::{FileError, read};

/// A row of a table.
#[derive(Debug, Clone)]
pub struct TableRow {
    path: Arc<Path>,
    /// The line that it begins in, counted from 1.
    pub line: usize,
    fields: Vec<String>,
    columns: Arc<HashMap<String, usize>>,
}

impl TableRow {
    /// A fault of this row.
    pub fn fault(&self, message: impl Into<String>) -> FileError {
        FileError::row(&self.path, self.line, message)
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
    /// When it is anything else.
    pub fn below(&self, column: &str, end: usize) -> Result<usize, FileError> {
        let text = self.text(column)?;
        // pandas writes a column with a gap as floats.
        let number = text.strip_suffix(".0").unwrap_or(text).parse::<usize>().ok();
        number.filter(|number| *number < end).ok_or_else(|| {
            self.fault(format!("`{column}` is {text}, but must be a whole number from 0 to {}", end.saturating_sub(1)))
        })
    }
}

/// The rows of a CSV or TSV (its header shows which) with at least the columns
/// `needed`; `also` are columns that a message may mention.
///
/// # Errors
/// A file that cannot be read, lacks a column or has no row; a row with more or fewer fields than
/// the header.
pub fn table_rows(path: &Path, needed: &[&str], also: &[&str]) -> Result<Vec<TableRow>, FileError> {
    let bytes = read(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|e| FileError::whole(path, format!("not UTF-8: {e}")))?;
    let found = tables::records(text.as_bytes(), Dialect::of(&bytes, Dialect::CSV));
    if let Some((line, fault)) = found.quote_fault() {
        return Err(FileError::whole(path, format!("line {line}: {fault}; a quote within a field is written twice")));
    }
    let path: Arc<Path> = path.into();
    let mut records = found.records.iter().map(|record| match record.fields() {
        Ok(fields) => Ok((record.line, fields)),
        Err(e) => Err(FileError::row(&path, record.line, format!("not UTF-8: {e}"))),
    });
    let (_, header) = records.next().transpose()?.unwrap_or_default();
    let columns = Arc::new(columns(&path, &header, needed, also)?);
    let mut rows = Vec::with_capacity(found.records.len());
    for record in records {
        let (line, fields) = record?;
        let fields = fields.into_iter().map(str::to_owned).collect();
        let row = TableRow { path: path.clone(), line, fields, columns: columns.clone() };
        if row.fields.len() != header.len() {
            return Err(row.fault(format!("{} fields, but the header has {}", row.fields.len(), header.len())));
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return Err(FileError::whole(&path, "the file has a header but no row"));
    }
    Ok(rows)
}

/// The places of the columns, by name.
fn columns(path: &Path, header: &[&str], needed: &[&str], also: &[&str]) -> Result<HashMap<String, usize>, FileError> {
    let columns: HashMap<String, usize> =
        header.iter().enumerate().map(|(index, name)| (name.trim().to_owned(), index)).collect();
    let missing: Vec<String> =
        needed.iter().filter(|name| !columns.contains_key(**name)).map(|name| format!("`{name}`")).collect();
    if missing.is_empty() {
        return Ok(columns);
    }
    let has = header.iter().map(|name| format!("`{}`", name.trim())).collect::<Vec<_>>().join(", ");
    let also = if also.is_empty() { String::new() } else { format!(" (and may have {})", also.join(", ")) };
    Err(FileError::whole(
        path,
        format!(
            "no column {}; such a file has {}{also}, this one has {has}; is it a file of another benchmark?",
            missing.join(", "),
            needed.join(", ")
        ),
    ))
}

/// Writes a CSV: the file is whole or, after an error, as it was.
///
/// # Errors
/// When it cannot be written.
pub fn write_table(path: &Path, header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Result<(), FileError> {
    let mut text = header.join(",") + "\n";
    for row in rows {
        text += &row.iter().map(|field| tables::quoted(field)).collect::<Vec<_>>().join(",");
        text.push('\n');
    }
    pipeline_engine::write_atomically(path, text.as_bytes())
        .map_err(|source| FileError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_table_names_its_line_and_what_it_lacks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.csv");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            table_rows(&path, &["a", "b"], &["c"])
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
        assert!(said.contains("and may have c"), "{said}");
        assert!(read("a,b\n").unwrap_err().to_string().contains("no row"));
        assert!(read("").unwrap_err().to_string().contains("no column `a`, `b`"));
        assert!(read("a,b\n1\n").unwrap_err().to_string().contains("t.csv:2: 1 fields, but the header has 2"));
        assert!(read("a,b\n1,2\n1,\"x\n").unwrap_err().to_string().contains("line 3: a quote"));
        let rows = read("a,b\r\n\r\n\"1\"\"\",\"\"").unwrap();
        assert_eq!((rows.len(), rows[0].line, rows[0].raw("a"), rows[0].raw("b")), (1, 3, "1\"", ""));
        std::fs::write(&path, b"a,b\n1,\xff\n").unwrap();
        assert!(table_rows(&path, &["a"], &[]).unwrap_err().to_string().contains("t.csv: not UTF-8"));
    }
}
