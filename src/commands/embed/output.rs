//! Features as JSON lines, a NumPy matrix or an Arrow table.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, StringArray};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field, Schema};
use clap::ValueEnum;
use serde_json::json;

/// How features are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A JSON object a line: image (with its shard) or text, and feature.
    Jsonl,
    /// A NumPy matrix of f32, a row each; what the rows are goes to NAME.rows.jsonl.
    Npy,
    /// An Arrow IPC file: kind, name, shard, feature.
    Arrow,
}

/// What a feature is of.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// `image` or `text`.
    pub kind: &'static str,
    /// The picture's path or key, or the text itself.
    pub name: &'a str,
    /// The shard of a key.
    pub shard: Option<&'a str>,
}

impl Row<'_> {
    fn json(self) -> serde_json::Value {
        match self.shard {
            Some(shard) => json!({ self.kind: self.name, "shard": shard }),
            None => json!({ self.kind: self.name }),
        }
    }
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// Numbers a feature.
    pub dim: usize,
    /// The file that says what the rows of a matrix are.
    pub rows: Option<PathBuf>,
}

/// A file of features that is being written; it gets its name when it is whole.
pub struct Output {
    dim: usize,
    place: Option<PathBuf>,
    sink: Sink,
    parts: Parts,
}

/// Files that have no name yet; removed if they never get one.
#[derive(Default)]
struct Parts(Vec<PathBuf>);

impl Drop for Parts {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

enum Sink {
    Lines(Box<dyn Write>),
    Matrix { file: BufWriter<File>, rows: BufWriter<File>, count: usize },
    Table { writer: Option<Box<FileWriter<BufWriter<File>>>>, file: Option<BufWriter<File>>, pending: Table },
}

/// Rows of one record batch.
#[derive(Default)]
struct Table {
    kinds: Vec<&'static str>,
    names: Vec<String>,
    shards: Vec<Option<String>>,
    features: Vec<f32>,
}

/// Rows of a record batch.
const BATCH: usize = 4096;
/// Bytes of a .npy file before its numbers: room for any number of rows.
const NPY_HEADER: usize = 128;

impl Output {
    /// Opens the output. The format is that of the file's ending where none is given.
    pub fn create(path: Option<&Path>, format: Option<Format>) -> anyhow::Result<Self> {
        let ending = path.and_then(Path::extension).map(|ending| ending.to_string_lossy().to_lowercase());
        let format = match (format, ending.as_deref()) {
            (Some(format), _) => format,
            (None, None | Some("jsonl" | "json")) => Format::Jsonl,
            (None, Some("npy")) => Format::Npy,
            (None, Some("arrow" | "feather" | "ipc")) => Format::Arrow,
            (None, Some(other)) => bail!("the ending .{other} is no known format; add --format jsonl, npy or arrow"),
        };
        let Some(path) = path else {
            return match format {
                Format::Jsonl => {
                    let out = Box::new(BufWriter::new(std::io::stdout()));
                    Ok(Self { dim: 0, place: None, sink: Sink::Lines(out), parts: Parts::default() })
                }
                _ => bail!("this format needs a file to write to; add --out FILE"),
            };
        };
        let mut parts = Parts::default();
        let mut create = |path: &Path| -> anyhow::Result<BufWriter<File>> {
            let file = File::create(part(path)).with_context(|| format!("cannot write {}", path.display()))?;
            parts.0.push(part(path));
            Ok(BufWriter::new(file))
        };
        let mut file = create(path)?;
        let sink = match format {
            Format::Jsonl => Sink::Lines(Box::new(file)),
            Format::Npy => {
                file.write_all(&[0; NPY_HEADER])?;
                Sink::Matrix { file, rows: create(&rows_path(path))?, count: 0 }
            }
            Format::Arrow => Sink::Table { writer: None, file: Some(file), pending: Table::default() },
        };
        Ok(Self { dim: 0, place: Some(path.to_owned()), sink, parts })
    }

    /// Adds a feature.
    pub fn write(&mut self, row: Row<'_>, feature: Vec<f32>) -> anyhow::Result<()> {
        if self.dim == 0 {
            self.dim = feature.len();
        } else if self.dim != feature.len() {
            bail!(
                "the towers give features of {} and {} numbers, which are no one table; embed pictures and texts apart",
                self.dim,
                feature.len()
            );
        }
        match &mut self.sink {
            Sink::Lines(out) => {
                let (row, feature) = (row.json().to_string(), serde_json::to_string(&feature)?);
                // The row is an object with at least one key.
                writeln!(out, "{},\"feature\":{feature}}}", row.trim_end_matches('}'))?;
            }
            Sink::Matrix { file, rows, count } => {
                for value in &feature {
                    file.write_all(&value.to_le_bytes())?;
                }
                writeln!(rows, "{}", row.json())?;
                *count += 1;
            }
            Sink::Table { pending, .. } => {
                pending.kinds.push(row.kind);
                pending.names.push(row.name.to_owned());
                pending.shards.push(row.shard.map(str::to_owned));
                pending.features.extend(feature);
                if pending.kinds.len() == BATCH {
                    self.write_batch()?;
                }
            }
        }
        Ok(())
    }

    fn write_batch(&mut self) -> anyhow::Result<()> {
        let Sink::Table { writer, file, pending } = &mut self.sink else { return Ok(()) };
        let item = Arc::new(Field::new("item", DataType::Float32, false));
        let schema = Arc::new(Schema::new(vec![
            Field::new("kind", DataType::Utf8, false),
            Field::new("name", DataType::Utf8, false),
            Field::new("shard", DataType::Utf8, true),
            Field::new("feature", DataType::FixedSizeList(item.clone(), self.dim as i32), false),
        ]));
        let Table { kinds, names, shards, features } = std::mem::take(pending);
        let features = Arc::new(Float32Array::from(features));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(kinds)),
            Arc::new(StringArray::from(names)),
            Arc::new(StringArray::from(shards)),
            Arc::new(FixedSizeListArray::try_new(item, self.dim as i32, features, None)?),
        ];
        if let Some(file) = file.take() {
            *writer = Some(Box::new(FileWriter::try_new(file, &schema)?));
        }
        if let Some(writer) = writer {
            writer.write(&RecordBatch::try_new(schema, columns)?)?;
        }
        Ok(())
    }

    /// Completes the file and gives it its name.
    pub fn finish(mut self) -> anyhow::Result<Written> {
        self.write_rest()?;
        let mut written = Written { dim: self.dim, rows: None };
        let is_matrix = matches!(self.sink, Sink::Matrix { .. });
        drop(self.sink);
        let Some(place) = self.place else { return Ok(written) };
        let named =
            |path: &Path| std::fs::rename(part(path), path).with_context(|| format!("cannot write {}", path.display()));
        named(&place)?;
        if is_matrix {
            let rows = rows_path(&place);
            named(&rows)?;
            written.rows = Some(rows);
        }
        self.parts.0.clear();
        Ok(written)
    }

    fn write_rest(&mut self) -> anyhow::Result<()> {
        if matches!(&self.sink, Sink::Table { pending, .. } if !pending.kinds.is_empty()) {
            self.write_batch()?;
        }
        match &mut self.sink {
            Sink::Lines(out) => out.flush()?,
            Sink::Matrix { file, rows, count } => {
                file.seek(SeekFrom::Start(0))?;
                file.write_all(&npy_header(*count, self.dim))?;
                file.flush()?;
                rows.flush()?;
            }
            Sink::Table { writer, .. } => {
                if let Some(writer) = writer {
                    writer.finish()?;
                }
            }
        }
        Ok(())
    }
}

/// The name of a file until it is whole.
fn part(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn rows_path(path: &Path) -> PathBuf {
    path.with_extension("rows.jsonl")
}

/// The first bytes of a .npy file, version 1.0 (NumPy Enhancement Proposal 1).
fn npy_header(rows: usize, columns: usize) -> Vec<u8> {
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend(((NPY_HEADER - 10) as u16).to_le_bytes());
    header.extend(format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}").bytes());
    header.resize(NPY_HEADER - 1, b' ');
    header.push(b'\n');
    header
}
