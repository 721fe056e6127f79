//! Features as JSON lines, a NumPy matrix or an Arrow table.

use std::io::{BufWriter, IntoInnerError, Seek, SeekFrom, Stdout, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, StringArray};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field, Schema};
use clap::ValueEnum;
use pipeline_engine::files::{PartFile, is_stream};
use serde_json::json;

/// How features are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object per line: image (with its shard) or text, and feature.
    Jsonl,
    /// A NumPy matrix of f32, one row per feature; NAME.rows.jsonl says what each row is.
    Npy,
    /// An Arrow IPC file: kind, name, shard, feature.
    Arrow,
}

/// The picture or text of a feature.
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

/// A finished output.
#[derive(Debug)]
pub struct Written {
    /// Numbers per feature.
    pub dim: usize,
    /// The file that describes the rows of a matrix.
    pub rows: Option<PathBuf>,
}

/// A file of features, open for writing. It gets its name when it is complete; if that never happens, nothing is left.
pub struct Output {
    dim: usize,
    sink: Sink,
}

enum Sink {
    Stdout(BufWriter<Stdout>),
    Lines(BufWriter<PartFile>),
    Matrix {
        file: BufWriter<PartFile>,
        rows: BufWriter<PartFile>,
        rows_path: PathBuf,
        count: usize,
    },
    /// The writer is made when the first batch shows how wide a feature is; until then `file` holds the file.
    Table {
        writer: Option<Box<FileWriter<BufWriter<PartFile>>>>,
        file: Option<BufWriter<PartFile>>,
        pending: Table,
    },
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
/// Bytes of a .npy header: enough for any number of rows.
const NPY_HEADER: usize = 128;

impl Output {
    /// Opens the output. Without a format, the ending of the file decides.
    ///
    /// # Errors
    /// An unknown ending; a binary format without a file; a file that cannot be written.
    pub fn create(path: Option<&Path>, format: Option<Format>) -> anyhow::Result<Self> {
        let ending = path.and_then(Path::extension).map(|ending| ending.to_string_lossy().to_lowercase());
        let format = match (format, ending.as_deref()) {
            (Some(format), _) => format,
            (None, None | Some("jsonl" | "json")) => Format::Jsonl,
            (None, Some("npy")) => Format::Npy,
            (None, Some("arrow" | "feather" | "ipc")) => Format::Arrow,
            (None, Some(other)) => bail!("the ending .{other} is not known; add --format jsonl, npy or arrow"),
        };
        let create = |path: &Path| -> anyhow::Result<BufWriter<PartFile>> {
            let file = PartFile::create(path).with_context(|| format!("cannot write {}", path.display()))?;
            Ok(BufWriter::new(file))
        };
        let sink = match (path, format) {
            (None, Format::Jsonl) => Sink::Stdout(BufWriter::new(std::io::stdout())),
            (None, _) => bail!("this format needs a file to write to; add --out FILE"),
            (Some(path), Format::Jsonl) => Sink::Lines(create(path)?),
            (Some(path), Format::Npy) => {
                if is_stream(path).with_context(|| format!("cannot write {}", path.display()))? {
                    bail!(
                        "{} cannot hold a .npy, whose first bytes are written last; give a file, or --format jsonl",
                        path.display()
                    );
                }
                let mut file = create(path)?;
                file.write_all(&[0; NPY_HEADER])?;
                let rows_path = path.with_extension("rows.jsonl");
                Sink::Matrix { file, rows: create(&rows_path)?, rows_path, count: 0 }
            }
            (Some(path), Format::Arrow) => {
                Sink::Table { writer: None, file: Some(create(path)?), pending: Table::default() }
            }
        };
        Ok(Self { dim: 0, sink })
    }

    /// Adds a feature.
    ///
    /// # Errors
    /// A feature of another width than those before; what the file system reports.
    pub fn write(&mut self, row: Row<'_>, feature: Vec<f32>) -> anyhow::Result<()> {
        if self.dim == 0 {
            self.dim = feature.len();
        } else if self.dim != feature.len() {
            bail!(
                "the towers give features of {} and {} numbers, which do not fit one table; embed pictures and texts separately",
                self.dim,
                feature.len()
            );
        }
        match &mut self.sink {
            Sink::Stdout(out) => write_line(out, row, &feature)?,
            Sink::Lines(file) => write_line(file, row, &feature)?,
            Sink::Matrix { file, rows, count, .. } => {
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
    ///
    /// # Errors
    /// What the file system reports.
    pub fn finish(mut self) -> anyhow::Result<Written> {
        if matches!(&self.sink, Sink::Table { pending, .. } if !pending.kinds.is_empty()) {
            self.write_batch()?;
        }
        let mut written = Written { dim: self.dim, rows: None };
        match self.sink {
            Sink::Stdout(mut out) => out.flush()?,
            Sink::Lines(file) => commit(file)?,
            Sink::Matrix { mut file, rows, rows_path, count } => {
                file.seek(SeekFrom::Start(0))?;
                file.write_all(&npy_header(count, self.dim))?;
                commit(file)?;
                commit(rows)?;
                written.rows = Some(rows_path);
            }
            Sink::Table { writer, file, .. } => {
                if let Some(writer) = writer {
                    commit(writer.into_inner()?)?;
                }
                if let Some(file) = file {
                    commit(file)?;
                }
            }
        }
        Ok(written)
    }
}

fn commit(file: BufWriter<PartFile>) -> anyhow::Result<()> {
    file.into_inner().map_err(IntoInnerError::into_error)?.commit().context("cannot write the features")
}

fn write_line(out: &mut impl Write, row: Row<'_>, feature: &[f32]) -> anyhow::Result<()> {
    let (row, feature) = (row.json().to_string(), serde_json::to_string(feature)?);
    // The row is an object with at least one key.
    Ok(writeln!(out, "{},\"feature\":{feature}}}", row.trim_end_matches('}'))?)
}

/// The header of a .npy file, version 1.0 (NumPy Enhancement Proposal 1).
fn npy_header(rows: usize, columns: usize) -> Vec<u8> {
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend(((NPY_HEADER - 10) as u16).to_le_bytes());
    header.extend(format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}").bytes());
    header.resize(NPY_HEADER - 1, b' ');
    header.push(b'\n');
    header
}
