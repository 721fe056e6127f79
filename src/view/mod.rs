//! The live view: the state of the run on the whole terminal.
//!
//! It draws on the terminal's alternate screen, which no terminal reflows when it is resized, and which leaves the
//! scrollback untouched. The last table is printed when the view ends; log lines are shown inside and printed then too.

mod draw;
mod screen;

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute};
use pipeline_engine::Handle;

use crate::log;
use crate::rates::Rates;
use crate::status::SharedStatus;
use screen::Screen;

/// Time between two frames.
const FRAME: Duration = Duration::from_millis(120);

/// True while the view has the terminal.
static ACTIVE: AtomicBool = AtomicBool::new(false);

/// True if a live view can be shown: on a terminal that can place its cursor, with this program in the foreground.
pub fn possible() -> bool {
    let dumb = std::env::var("TERM").map_or(cfg!(unix), |term| term.is_empty() || term == "dumb");
    io::stdout().is_terminal() && io::stdin().is_terminal() && !dumb && in_foreground()
}

/// A background program that changes the terminal's mode is stopped by the kernel.
#[cfg(unix)]
fn in_foreground() -> bool {
    rustix::termios::tcgetpgrp(io::stdout()).is_ok_and(|group| group == rustix::process::getpgrp())
}

#[cfg(not(unix))]
fn in_foreground() -> bool {
    true
}

/// A live view. It ends when this is dropped.
pub struct View {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl View {
    /// Takes the terminal. `stop_asked` is called for each Ctrl-C.
    ///
    /// # Errors
    /// When the terminal cannot be taken.
    pub fn start(handle: Handle, status: SharedStatus, stop_asked: impl Fn() + Send + 'static) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        take()?;
        let spawned = std::thread::Builder::new().name("view".into()).spawn(move || {
            // A terminal that went away must not end the run.
            let _ = show(&handle, &status, &stopped, &stop_asked);
        });
        match spawned {
            Ok(thread) => Ok(Self { stop, thread: Some(thread) }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        give_back();
    }
}

fn take() -> io::Result<()> {
    static HOOK: std::sync::Once = std::sync::Once::new();
    HOOK.call_once(|| {
        // The engine reports panics itself; the default message would be written into the view.
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| match ACTIVE.load(SeqCst) {
            true => log::notice(&info.to_string()),
            false => usual(info),
        }));
    });
    enable_raw_mode()?;
    ACTIVE.store(true, SeqCst);
    log::hold_back();
    execute!(io::stdout(), EnterAlternateScreen, cursor::Hide).inspect_err(|_| give_back())
}

/// Gives the terminal back in the state in which the view found it, if the view has it.
pub fn give_back() {
    if ACTIVE.swap(false, SeqCst) {
        // Nothing can be done about a terminal that went away.
        let _ = execute!(io::stdout(), LeaveAlternateScreen, cursor::Show);
        let _ = disable_raw_mode();
        log::release();
    }
}

fn show(handle: &Handle, status: &SharedStatus, stop: &AtomicBool, stop_asked: &dyn Fn()) -> io::Result<()> {
    let mut terminal = ratatui::Terminal::new(Screen::new())?;
    let mut rates = Rates::default();
    let colour = std::env::var_os("NO_COLOR").is_none();
    while !stop.load(SeqCst) {
        let live = handle.look();
        let rates = rates.update(&live);
        let log = log::newest(20);
        {
            let status = status.lock();
            let picture = draw::Picture {
                live: &live,
                rates: &rates,
                status: &status,
                log: &log,
                stopping: handle.interrupted(),
                colour,
            };
            terminal.draw(|frame| draw::draw(frame, &picture))?;
        }
        if event::poll(FRAME)? {
            match event::read()? {
                Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) => match code {
                    KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => stop_asked(),
                    KeyCode::Char('l') if modifiers.contains(KeyModifiers::CONTROL) => terminal.clear()?,
                    KeyCode::Char('z') if modifiers.contains(KeyModifiers::CONTROL) => {
                        pause()?;
                        terminal.clear()?;
                    }
                    _ => {}
                },
                _ => continue,
            }
        }
    }
    Ok(())
}

/// Ctrl-Z: gives the terminal back, stops, and takes it again when continued.
#[cfg(unix)]
fn pause() -> io::Result<()> {
    give_back();
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP)?;
    // Stopped here until `fg`. After `bg` the run continues without a view.
    while !in_foreground() {
        std::thread::sleep(Duration::from_millis(500));
    }
    take()
}

#[cfg(not(unix))]
fn pause() -> io::Result<()> {
    Ok(())
}
