//! CSV (RFC 4180) and TSV: records with the lines that they begin in, so that messages can name
//! them. The one reader of tables in this program.

use std::str::Utf8Error;

/// How fields are separated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// What stands between two fields.
    pub delimiter: u8,
    /// Whether a field may be in double quotes; if not, a quote is a character like any other.
    pub quoting: bool,
}

impl Dialect {
    /// Commas, and fields in quotes.
    pub const CSV: Self = Self { delimiter: b',', quoting: true };
    /// Tabs, and fields in quotes, as pandas, Excel and Python's `csv` write and read them.
    pub const TSV: Self = Self { delimiter: b'\t', quoting: true };

    /// The dialect of a table by its first line, whatever its file is called: open_clip's default is tabs in a `.csv`.
    /// Where the line has neither tabs nor commas, or both, `usual` decides.
    pub fn of(bytes: &[u8], usual: Self) -> Self {
        let header = without_mark(bytes).split(|byte| matches!(byte, b'\n' | b'\r')).find(|line| !line.is_empty());
        let mut quoted = false;
        let (mut commas, mut tabs) = (false, false);
        for byte in header.unwrap_or_default() {
            match byte {
                b'"' if usual.quoting => quoted = !quoted,
                b',' => commas |= !quoted,
                b'\t' => tabs |= !quoted,
                _ => {}
            }
        }
        let delimiter = match (commas, tabs) {
            (true, false) => b',',
            (false, true) => b'\t',
            _ => usual.delimiter,
        };
        Self { delimiter, ..usual }
    }
}

/// The bytes after a byte order mark of UTF-8, if there is one.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// One record of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The line that it begins in, counted from 1.
    pub line: usize,
    text: Box<[u8]>,
    /// Where each field ends in `text`.
    ends: Box<[usize]>,
}

impl Record {
    /// How many fields it has; at least one.
    pub fn width(&self) -> usize {
        self.ends.len()
    }

    /// A field as it is in the file, without its quotes; none past the last one.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub fn field(&self, index: usize) -> Option<Result<&str, Utf8Error>> {
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        Some(std::str::from_utf8(&self.text[start..end]))
    }

    /// All fields.
    ///
    /// # Errors
    /// When one is not UTF-8.
    pub fn fields(&self) -> Result<Vec<&str>, Utf8Error> {
        (0..self.width()).filter_map(|index| self.field(index)).collect()
    }
}

/// The records of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// All of them, the header too; empty lines are skipped.
    pub records: Vec<Record>,
    /// The line of a quote that is opened and never closed. The last record then holds everything
    /// that follows it.
    pub open_quote: Option<usize>,
    /// The line of a quote that begins a field and is closed on a later line, in the middle of a field. Most likely these
    /// are two quotes that should have been doubled, and the rows between them became part of a field.
    pub stray_quote: Option<usize>,
}

impl Records {
    /// What is wrong with the quotes, and the line.
    pub fn quote_fault(&self) -> Option<(usize, &'static str)> {
        let open = self.open_quote.map(|line| (line, "a quote that is opened here is never closed"));
        open.or_else(|| {
            let fault = "a quote that is opened here is closed lines below, in the middle of a field; the rows between \
                         them would be lost";
            self.stray_quote.map(|line| (line, fault))
        })
    }
}

/// Reads the records of a table. A byte order mark in front is skipped.
pub fn records(bytes: &[u8], dialect: Dialect) -> Records {
    let mut reader = Reader::new(without_mark(bytes), dialect);
    let mut records = Vec::new();
    while let Some(record) = reader.next_record() {
        records.push(record);
    }
    Records { records, open_quote: reader.open_quote, stray_quote: reader.stray_quote }
}

struct Reader<'a> {
    csv: csv_core::Reader,
    dialect: Dialect,
    rest: &'a [u8],
    /// The line that `rest` begins in.
    line: usize,
    open_quote: Option<usize>,
    stray_quote: Option<usize>,
    /// The text and the ends of the fields of a record, as large as the largest one so far.
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl<'a> Reader<'a> {
    fn new(rest: &'a [u8], dialect: Dialect) -> Self {
        let csv = csv_core::ReaderBuilder::new().delimiter(dialect.delimiter).quoting(dialect.quoting).build();
        Self {
            csv,
            dialect,
            rest,
            line: 1,
            open_quote: None,
            stray_quote: None,
            text: vec![0; 1024],
            ends: vec![0; 16],
        }
    }

    fn next_record(&mut self) -> Option<Record> {
        // csv-core skips empty lines too, but does not say where the record begins.
        let empty = self.rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
        self.advance(empty);
        if self.rest.is_empty() {
            return None;
        }
        let (line, rest) = (self.line, self.rest);
        let (text, ends) = self.read();
        if self.dialect.quoting && self.stray_quote.is_none() {
            let raw = &rest[..rest.len() - self.rest.len()];
            self.stray_quote = stray_quote(raw, self.dialect.delimiter).map(|breaks| line + breaks);
        }
        Some(Record { line, text: self.text[..text].into(), ends: self.ends[..ends].into() })
    }

    /// Reads one record into `text` and `ends`; how much of them it takes.
    fn read(&mut self) -> (usize, usize) {
        let (mut text, mut ends) = (0, 0);
        let mut ended = false;
        loop {
            // A line break after the last byte ends the last record, unless it is within quotes.
            let input = if ended { b"\n" } else { self.rest };
            let (result, read, written, fields) =
                self.csv.read_record(input, &mut self.text[text..], &mut self.ends[ends..]);
            (text, ends) = (text + written, ends + fields);
            if !ended {
                self.advance(read);
            }
            match result {
                csv_core::ReadRecordResult::OutputFull => self.text.resize(self.text.len() * 2, 0),
                csv_core::ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                csv_core::ReadRecordResult::InputEmpty if ended => return self.close_quote(text, ends),
                csv_core::ReadRecordResult::InputEmpty => ended = self.rest.is_empty(),
                csv_core::ReadRecordResult::Record | csv_core::ReadRecordResult::End => return (text, ends),
            }
        }
    }

    /// The file ended within quotes, in the last field: notes where they were opened, and ends
    /// the field in front of the line break that was added.
    fn close_quote(&mut self, text: usize, ends: usize) -> (usize, usize) {
        let (text, begin) = (text - 1, ends.checked_sub(1).map_or(0, |last| self.ends[last]));
        self.open_quote = Some(self.line - line_breaks(&self.text[begin..text]));
        if ends == self.ends.len() {
            self.ends.push(0);
        }
        self.ends[ends] = text;
        (text, ends + 1)
    }

    fn advance(&mut self, bytes: usize) {
        self.line += line_breaks(&self.rest[..bytes]);
        self.rest = &self.rest[bytes..];
    }
}

/// Finds a quoted field with a line break whose closing quote does not end the field; returns the number of line breaks
/// before its opening quote.
fn stray_quote(record: &[u8], delimiter: u8) -> Option<usize> {
    let mut at = 0;
    while at < record.len() {
        if record[at] == b'"' {
            let opened = at;
            let close = closing_quote(record, opened)?;
            at = close + 1;
            let ends = record.get(at).is_none_or(|byte| *byte == delimiter || matches!(byte, b'\n' | b'\r'));
            if !ends && line_breaks(&record[opened..close]) > 0 {
                return Some(line_breaks(&record[..opened]));
            }
        }
        // The next field.
        at += record[at..].iter().position(|byte| *byte == delimiter).map_or(record.len(), |place| place + 1);
    }
    None
}

/// The place of the quote that closes the one at `opened`; two in a row are one of the text.
fn closing_quote(record: &[u8], opened: usize) -> Option<usize> {
    let mut at = opened + 1;
    loop {
        at += record[at..].iter().position(|byte| *byte == b'"')?;
        if record.get(at + 1) != Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

fn line_breaks(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// A field as it is written in a CSV.
pub fn quoted(field: &str) -> String {
    if field.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str, dialect: Dialect) -> (Vec<(usize, Vec<String>)>, Option<usize>) {
        let Records { records, open_quote, .. } = records(text.as_bytes(), dialect);
        let own = |record: &Record| record.fields().unwrap().into_iter().map(str::to_owned).collect();
        (records.iter().map(|record| (record.line, own(record))).collect(), open_quote)
    }

    fn csv(text: &str) -> Vec<(usize, Vec<String>)> {
        let (records, open) = read(text, Dialect::CSV);
        assert_eq!(open, None);
        records
    }

    fn row(line: usize, fields: &[&str]) -> (usize, Vec<String>) {
        (line, fields.iter().map(|field| (*field).to_owned()).collect())
    }

    #[test]
    fn quotes_line_breaks_and_long_fields() {
        let long = "x".repeat(5000);
        let text = format!("image,caption\na.jpg,\"two\nlines, \"\"quoted\"\"\"\n\nb.jpg,{long}");
        let expected =
            [row(1, &["image", "caption"]), row(2, &["a.jpg", "two\nlines, \"quoted\""]), row(5, &["b.jpg", &long])];
        assert_eq!(csv(&text), expected);
        let wide = vec!["1"; 100].join(",");
        assert_eq!(csv(&wide)[0].1.len(), 100);
    }

    #[test]
    fn lines_count_from_one_whatever_ends_them() {
        assert_eq!(csv("\u{feff}a,b\r\n\r\n\"1\"\"\",\"\""), [row(1, &["a", "b"]), row(3, &["1\"", ""])]);
        assert_eq!(csv("\n\na\nb\n"), [row(3, &["a"]), row(4, &["b"])]);
        assert_eq!(csv(""), []);
        assert_eq!(csv("a,\n"), [row(1, &["a", ""])]);
        assert_eq!(csv("a,"), [row(1, &["a", ""])]);
    }

    #[test]
    fn a_quote_within_a_field_is_a_quote() {
        assert_eq!(csv("a \"b\",c\n"), [row(1, &["a \"b\"", "c"])]);
        assert_eq!(read("a\t\"b\nc\"\n", Dialect::TSV).0, [row(1, &["a", "b\nc"])]);
        let plain = Dialect { quoting: false, ..Dialect::TSV };
        assert_eq!(read("a\t\"b\nc\td\n", plain), (vec![row(1, &["a", "\"b"]), row(2, &["c", "d"])], None));
    }

    /// As `DataFrame.to_csv(sep="\t")` writes it and `read_csv(sep="\t")` reads it.
    #[test]
    fn quotes_and_tabs_in_a_tsv_are_those_of_pandas() {
        let text = "path\ttitle\n1\t\"the \"\"red\"\" ball\"\n2\t\"a\tb\"\n3\tit\"s\n";
        let rows = [
            row(1, &["path", "title"]),
            row(2, &["1", "the \"red\" ball"]),
            row(3, &["2", "a\tb"]),
            row(4, &["3", "it\"s"]),
        ];
        assert_eq!(read(text, Dialect::TSV), (rows.to_vec(), None));
    }

    #[test]
    fn the_first_line_says_what_separates_fields() {
        let of = |text: &str, usual| Dialect::of(text.as_bytes(), usual).delimiter as char;
        assert_eq!(of("path\ttitle\na,b\tc\n", Dialect::CSV), '\t');
        assert_eq!(of("\u{feff}\r\npath,title\n", Dialect::TSV), ',');
        assert_eq!(of("\"path\tof it\",title\n", Dialect::TSV), ',');
        assert_eq!((of("path", Dialect::CSV), of("path", Dialect::TSV)), (',', '\t'));
        assert_eq!((of("a,\tb", Dialect::CSV), of("a,\tb", Dialect::TSV)), (',', '\t'));
        assert_eq!(of("", Dialect::TSV), '\t');
    }

    #[test]
    fn quotes_that_swallow_rows_are_located() {
        let stray = |text: &str| records(text.as_bytes(), Dialect::TSV).stray_quote;
        assert_eq!(stray("h\ti\na\t\"b\nc\td\ne\t\"f\n"), Some(2));
        assert_eq!(stray("h\ti\n\"x\ny\"\t\"b\nc\td\ne\t\"f\n"), Some(3));
        assert_eq!(stray("h\ti\na\t\"b\nc \"\"d\"\"\"\ne\t\"f\"\n"), None);
        // Within a line it is read as pandas reads it.
        assert_eq!(stray("h\ti\na\t\"b\" c\n"), None);
        assert_eq!(read("a\t\"b\" c\n", Dialect::TSV).0, [row(1, &["a", "b c"])]);
    }

    #[test]
    fn a_quote_that_is_never_closed_is_located() {
        assert_eq!(read("a,b\n1,2\n1,\"x\n", Dialect::CSV), {
            (vec![row(1, &["a", "b"]), row(2, &["1", "2"]), row(3, &["1", "x\n"])], Some(3))
        });
        // The record begins a line above.
        assert_eq!(read("\"x\ny\",\"z\n\nw", Dialect::CSV), (vec![row(1, &["x\ny", "z\n\nw"])], Some(2)));
        assert_eq!(read("\"", Dialect::CSV), (vec![row(1, &[""])], Some(1)));
        let wide = "1,".repeat(16) + "\"";
        assert_eq!(read(&wide, Dialect::CSV).0[0].1.len(), 17);
    }

    #[test]
    fn other_encodings_are_faults_of_their_field() {
        let found = records(b"a,\xff\n", Dialect::CSV).records;
        assert_eq!(found[0].field(0), Some(Ok("a")));
        assert!(found[0].field(1).unwrap().is_err() && found[0].fields().is_err());
        assert_eq!(found[0].field(2), None);
    }

    #[test]
    fn what_is_quoted_is_read_back() {
        for field in ["plain", "a \"b\", c", "two\nlines", ""] {
            assert_eq!(csv(&format!("x,{}", quoted(field))), [row(1, &["x", field])]);
        }
        assert_eq!(quoted("a \"b\", c"), "\"a \"\"b\"\", c\"");
    }
}
