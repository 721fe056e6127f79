//! `--trace`: every span of every worker, for <https://ui.perfetto.dev>.
//!
//! The file is a list of trace events ("Trace Event Format", which Perfetto and
//! chrome://tracing read): a complete event for each span, a flow event at both
//! ends of an edge for each item, counters for queues. Threads collect events
//! and hand them over by the thousand to one thread that writes, through a
//! bounded channel: a trace takes a few MB of memory however long the run is.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender};

use super::clock::now;

/// Events that a thread collects.
const CHUNK: usize = 1024;
/// Chunks that may wait for the disk.
const WAITING: usize = 64;
/// Where a trace ends, for Perfetto has to hold it in memory: 256 MB.
const MOST_BYTES: u64 = 256 << 20;
/// A wait for room that is shorter is not worth a span: 10 µs.
const SHORT: u64 = 10_000;

#[derive(Debug)]
enum Entry {
    Track { track: u32, name: String },
    Span { track: u32, start: u64, end: u64, name: String },
    Leaves { track: u32, at: u64, flow: u64 },
    Arrives { track: u32, at: u64, flow: u64 },
    Count { at: u64, name: String, value: f64 },
}

/// On which thread and when an item was made: the start of its arrow in a trace.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    track: u32,
    at: u64,
}

/// Writes the trace of a run.
#[derive(Debug)]
pub struct Tracer {
    sender: Option<Sender<Vec<Entry>>>,
    writer: Option<JoinHandle<io::Result<u64>>>,
    path: PathBuf,
}

impl Tracer {
    /// Begins a trace in `path`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::create(path)?;
        let (sender, receiver) = crossbeam_channel::bounded(WAITING);
        let writer = std::thread::Builder::new().name("trace".into()).spawn(move || write(file, &receiver))?;
        Ok(Self { sender: Some(sender), writer: Some(writer), path: path.to_owned() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Ends the file. Returns how many events did not fit into it.
    ///
    /// # Errors
    /// When it could not be written.
    pub fn finish(mut self) -> io::Result<u64> {
        drop(self.sender.take());
        match self.writer.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the thread that writes the trace panicked")),
            None => Ok(0),
        }
    }

    /// The track of worker `number` of a stage. The same one in every epoch.
    pub(crate) fn track(self: &Arc<Self>, stage: usize, number: usize, kind: &str) -> Track {
        let track = (stage as u32 + 1) * 1000 + number as u32;
        let name = if number == 0 { kind.to_owned() } else { format!("{kind} {number}") };
        let entries = vec![Entry::Track { track, name }];
        Track { tracer: self.clone(), track, kind: kind.to_owned(), entries, open: None, sent: None }
    }

    /// The track of what concerns the run as a whole.
    pub(crate) fn run_track(self: &Arc<Self>) -> Track {
        let entries = vec![Entry::Track { track: 1, name: "run".into() }];
        Track { tracer: self.clone(), track: 1, kind: "run".into(), entries, open: None, sent: None }
    }

    /// A step in each of these curves.
    pub(crate) fn count(&self, at: u64, values: Vec<(String, f64)>) {
        self.send(values.into_iter().map(|(name, value)| Entry::Count { at, name, value }).collect());
    }

    fn send(&self, entries: Vec<Entry>) {
        if let Some(sender) = &self.sender {
            // Fails when the disk is full; `finish` says so.
            let _ = sender.send(entries);
        }
    }
}

/// The spans of one thread.
#[derive(Debug)]
pub(crate) struct Track {
    tracer: Arc<Tracer>,
    track: u32,
    /// What a span is called that has no name of its own.
    kind: String,
    entries: Vec<Entry>,
    /// Begin and name of the span that lasts.
    open: Option<(u64, String)>,
    /// When something was last sent in it: a source has a span for each item it sends.
    sent: Option<u64>,
}

impl Track {
    /// A span begins.
    pub fn open(&mut self, at: u64, name: String) {
        self.open = Some((at, name));
        self.sent = None;
    }

    /// The span ends.
    pub fn close(&mut self, at: u64) -> Option<Made> {
        let (start, name) = self.open.take()?;
        let end = at.max(start + 1);
        self.sent = None;
        let name = if name.is_empty() { self.kind.clone() } else { name };
        self.push(Entry::Span { track: self.track, start, end, name });
        Some(Made { track: self.track, at: end - 1 })
    }

    /// An item came: a span begins, and an arrow ends here.
    pub fn receive(&mut self, at: u64, name: String, flow: u64) {
        self.close(at);
        self.push(Entry::Arrives { track: self.track, at, flow });
        self.open(at, name);
    }

    /// An item is about to leave.
    pub fn sending(&mut self, at: u64, name: String) -> Option<Made> {
        if let Some(sent) = self.sent {
            self.close(sent);
            self.open(sent, String::new());
        }
        let open = self.open.as_mut()?;
        open.1 = name;
        Some(Made { track: self.track, at: at.max(open.0) })
    }

    /// It has left, after waiting for room since `since`.
    pub fn sent(&mut self, made: Option<Made>, flow: u64, since: u64, at: u64) {
        if let Some(Made { track, at }) = made {
            self.push(Entry::Leaves { track, at, flow });
        }
        let at = at.max(since + 1);
        if at - since >= SHORT {
            self.push(Entry::Span { track: self.track, start: since, end: at, name: "no room".into() });
        }
        if self.open.is_some() {
            self.sent = Some(at);
        }
    }

    /// Part of the span that lasts.
    pub fn part(&mut self, name: &str, start: u64, end: u64) {
        self.push(Entry::Span { track: self.track, start, end: end.max(start + 1), name: name.to_owned() });
    }

    fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
        if self.entries.len() >= CHUNK {
            self.flush();
        }
    }

    /// Hands over what was collected.
    pub fn flush(&mut self) {
        if !self.entries.is_empty() {
            self.tracer.send(std::mem::take(&mut self.entries));
        }
    }
}

impl Drop for Track {
    fn drop(&mut self) {
        self.close(now());
        self.flush();
    }
}

/// Writes entries until nobody sends any; returns how many were left out.
fn write(file: File, entries: &Receiver<Vec<Entry>>) -> io::Result<u64> {
    let mut out = Counted { to: BufWriter::with_capacity(1 << 16, file), bytes: 0 };
    let mut known = std::collections::BTreeSet::new();
    let mut left_out = 0;
    out.write_all(b"[\n")?;
    serde_json::to_writer(
        &mut out,
        &serde_json::json!({"ph": "M", "pid": 1, "name": "process_name", "args": {"name": "pipeline"}}),
    )?;
    for entry in entries.iter().flatten() {
        if out.bytes > MOST_BYTES {
            left_out += 1;
            continue;
        }
        match entry {
            Entry::Track { track, name } => {
                if known.insert(track) {
                    let name = quoted(&name)?;
                    write!(
                        out,
                        ",\n{{\"ph\":\"M\",\"pid\":1,\"tid\":{track},\"name\":\"thread_name\",\"args\":{{\"name\":{name}}}}}"
                    )?;
                    write!(
                        out,
                        ",\n{{\"ph\":\"M\",\"pid\":1,\"tid\":{track},\"name\":\"thread_sort_index\",\"args\":{{\"sort_index\":{track}}}}}"
                    )?;
                }
            }
            Entry::Span { track, start, end, name } => {
                let name = quoted(&name)?;
                let (start, lasts) = (Micros(start), Micros(end - start));
                write!(
                    out,
                    ",\n{{\"ph\":\"X\",\"pid\":1,\"tid\":{track},\"ts\":{start},\"dur\":{lasts},\"name\":{name}}}"
                )?;
            }
            Entry::Leaves { track, at, flow } => flow_event(&mut out, "\"s\"", track, at, flow)?,
            Entry::Arrives { track, at, flow } => flow_event(&mut out, "\"f\",\"bp\":\"e\"", track, at, flow)?,
            Entry::Count { at, name, value } => {
                let (name, at) = (quoted(&name)?, Micros(at));
                // Written out: Perfetto does not read exponents.
                let value = if value.is_finite() { value.to_string() } else { "null".into() };
                write!(
                    out,
                    ",\n{{\"ph\":\"C\",\"pid\":1,\"ts\":{at},\"name\":{name},\"args\":{{\"value\":{value}}}}}"
                )?;
            }
        }
    }
    out.write_all(b"\n]\n")?;
    out.to.flush()?;
    Ok(left_out)
}

fn flow_event(out: &mut impl Write, phase: &str, track: u32, at: u64, flow: u64) -> io::Result<()> {
    let at = Micros(at);
    write!(
        out,
        ",\n{{\"ph\":{phase},\"pid\":1,\"tid\":{track},\"ts\":{at},\"id\":\"{flow:#x}\",\"cat\":\"item\",\"name\":\"item\"}}"
    )
}

fn quoted(text: &str) -> io::Result<String> {
    Ok(serde_json::to_string(text)?)
}

/// Nanoseconds, shown as microseconds without a loss.
struct Micros(u64);

impl std::fmt::Display for Micros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

struct Counted<W> {
    to: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
