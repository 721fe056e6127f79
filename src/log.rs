//! Log lines: to standard error as they come, or, while the live view has the
//! terminal, held back until it gives it up.

use std::collections::VecDeque;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs: an object a line, with the run's progress as events.
    Json,
}

/// Lines that are held back at most; of more, the oldest are only counted.
const HELD: usize = 1000;

/// Where lines go while the view has the terminal.
static HOLD: Mutex<Option<Hold>> = Mutex::new(None);

#[derive(Default)]
struct Hold {
    lines: VecDeque<String>,
    lost: usize,
}

fn hold() -> MutexGuard<'static, Option<Hold>> {
    HOLD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts logging to standard error. `lines` says whether training steps and other
/// news of the run are logged too, and not only what went wrong.
pub fn start(format: Format, quiet: bool, lines: bool) {
    let level = match (quiet, format, lines) {
        (true, ..) => "error",
        (_, Format::Json, _) => "warn,pipeline=info,stage_train=info,stage_batch=info,clip_hub=info",
        (_, _, true) => "warn,stage_train=info,stage_batch=info,clip_hub=info,pipeline::progress=info",
        (_, _, false) => "warn",
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

/// Whether lines are for programs.
static JSON: AtomicBool = AtomicBool::new(false);

/// Says something on standard error that no level of the log hushes.
pub fn notice(text: &str) {
    if JSON.load(Relaxed) {
        tracing::error!(target: "pipeline::notice", "{text}");
        return;
    }
    // Nobody may read it; the run goes on all the same.
    let _ = Lines.write_all(format!("{text}\n").as_bytes());
}

/// Holds lines back from now on.
pub fn hold_back() {
    hold().get_or_insert_default();
}

/// The newest lines that are held back, without colours.
pub fn newest(count: usize) -> Vec<String> {
    let held = hold();
    let Some(held) = &*held else { return Vec::new() };
    held.lines.iter().rev().take(count).rev().map(|line| plain(line)).collect()
}

/// Writes what was held back, and lines as they come from now on.
pub fn release() {
    let Some(held) = hold().take() else { return };
    let mut out = io::stderr().lock();
    if held.lost > 0 {
        let _ = writeln!(out, "({} older lines are left out)", held.lost);
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

/// Text without escape sequences and control characters: what a shard or a server
/// says must not steer the terminal.
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
    fn colours_and_bells_are_not_shown() {
        assert_eq!(super::plain("\u{1b}[33mwarn\u{1b}[0m: a\u{7} shard\r"), "warn: a shard");
        assert_eq!(super::plain("no escape"), "no escape");
    }
}
