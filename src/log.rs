//! Log lines go to standard error. While the live view has the terminal, they are held back until it ends.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::{Mutex, MutexGuard};
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: one object per line, with the run's progress as events.
    Json,
}

/// At most this many lines are held back; older ones are only counted.
const HELD: usize = 1000;

/// Takes the lines while the view has the terminal.
static HOLD: Mutex<Option<Hold>> = Mutex::new(None);

#[derive(Default)]
struct Hold {
    lines: VecDeque<String>,
    lost: usize,
}

fn hold() -> MutexGuard<'static, Option<Hold>> {
    HOLD.lock()
}

/// Starts logging to standard error. With `lines`, training steps and the progress of the run are logged too, not only
/// warnings and errors.
pub fn start(format: Format, quiet: bool, lines: bool) {
    let level = match (quiet, format, lines) {
        (true, ..) => "error",
        (_, Format::Json, _) => "warn,pipeline=info,stage_train=info,stage_batch=info,clip_hub=info",
        (_, _, true) => "warn,stage_train=info,stage_batch=info,clip_hub=info,pipeline::progress=info",
        // Under a view, what holds for the result of a run is logged too.
        (_, _, false) => "warn,stage_train::export=info",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Lines);
    JSON.store(format == Format::Json, Relaxed);
    match format {
        Format::Json => log.json().flatten_event(true).init(),
        Format::Text => {
            let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            log.with_ansi(colour).without_time().with_target(false).init();
        }
    }
}

/// True if lines are JSON.
static JSON: AtomicBool = AtomicBool::new(false);

/// Writes a line to standard error, whatever the level of the log.
pub fn notice(text: &str) {
    if JSON.load(Relaxed) {
        tracing::error!(target: "pipeline::notice", "{text}");
        return;
    }
    // A closed standard error must not end the run.
    let _ = Lines.write_all(format!("{text}\n").as_bytes());
}

/// Starts to hold lines back.
pub fn hold_back() {
    hold().get_or_insert_default();
}

/// The newest lines that are held back, oldest first, without colours.
pub fn newest(count: usize) -> Vec<String> {
    let held = hold();
    let Some(held) = &*held else { return Vec::new() };
    held.lines.iter().rev().take(count).rev().map(|line| plain(line)).collect()
}

/// Writes the lines that were held back and stops holding lines back.
pub fn release() {
    let Some(held) = hold().take() else { return };
    let mut out = io::stderr().lock();
    if held.lost > 0 {
        let _ = writeln!(out, "({} older lines are omitted)", held.lost);
    }
    for line in held.lines {
        let _ = writeln!(out, "{line}");
    }
}

struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = hold();
        let Some(held) = &mut *held else { return io::stderr().write(bytes) };
        for line in String::from_utf8_lossy(bytes).lines() {
            if held.lines.len() == HELD {
                held.lines.pop_front();
                held.lost += 1;
            }
            held.lines.push_back(line.to_owned());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Removes escape sequences and control characters: text from a shard or a server must not control the terminal.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\u{1b}' => {
                if chars.next() == Some('[') {
                    chars.by_ref().find(|c| c.is_ascii_alphabetic());
                }
            }
            char if char.is_control() => {}
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn colours_and_bells_are_removed() {
        assert_eq!(super::plain("\u{1b}[33mwarn\u{1b}[0m: a\u{7} shard\r"), "warn: a shard");
        assert_eq!(super::plain("no escape"), "no escape");
    }
}
