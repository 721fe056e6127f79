//! The live view: the run as it is now, on the whole terminal.
//!
//! It draws on the terminal's alternate screen, which no terminal reflows when it
//! is resized, and which leaves the scrollback as it was: what is worth keeping
//! is printed when the view ends. Log lines wait that long, and are shown inside.

mod draw;
mod rates;
mod screen;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute};
use pipeline_engine::{Handle, Measurement, Phase};

use crate::log;
pub use draw::time;
pub use rates::Rates;
use screen::Screen;

/// How often it is drawn anew.
const FRAME: Duration = Duration::from_millis(120);

/// Whether the view has the terminal.
static ACTIVE: AtomicBool = AtomicBool::new(false);

/// What of the run the meters do not know.
#[derive(Debug, Default)]
pub struct Story {
    /// The run folder's name.
    pub name: String,
    /// The device, in words.
    pub device: String,
    /// Scores, in the order they were first measured.
    pub scores: Vec<Score>,
    /// The measurements of the newest moment.
    pub newest: Vec<Measurement>,
    /// Loss by step.
    pub losses: Vec<(f64, f64)>,
}

/// A measurement before and now.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// Eval, metric and part.
    pub name: String,
    pub before: Option<f64>,
    pub now: Option<f64>,
}

/// Points of the loss curve; when there are more, neighbours are averaged.
const POINTS: usize = 2000;

impl Story {
    /// Notes measurements.
    pub fn measured(&mut self, all: &[Measurement]) {
        self.newest = all.to_vec();
        for m in all {
            let name = crate::show::name(m);
            let score = match self.scores.iter_mut().position(|score| score.name == name) {
                Some(place) => &mut self.scores[place],
                None => {
                    self.scores.push(Score { name, before: None, now: None });
                    let last = self.scores.len() - 1;
                    &mut self.scores[last]
                }
            };
            match m.phase {
                Phase::Before => score.before = Some(m.value),
                Phase::Epoch | Phase::After => score.now = Some(m.value),
            }
        }
    }

    /// Notes the loss of a step.
    pub fn loss(&mut self, step: u64, loss: f64) {
        self.losses.push((step as f64, loss));
        if self.losses.len() > POINTS {
            self.losses = self.losses.chunks(2).map(mean).collect();
        }
    }
}

fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let n = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    (x / n, y / n)
}

/// A story that the view and the run share.
pub type Shared = Arc<Mutex<Story>>;

fn lock(story: &Shared) -> MutexGuard<'_, Story> {
    story.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a live view can be shown: a terminal that can place its cursor, and
/// this program in its foreground.
pub fn possible() -> bool {
    let dumb = std::env::var("TERM").map_or(cfg!(unix), |term| term.is_empty() || term == "dumb");
    io::stdout().is_terminal() && io::stdin().is_terminal() && !dumb && in_foreground()
}

/// A program in the background that changes the terminal's mode is stopped by it.
#[cfg(unix)]
fn in_foreground() -> bool {
    rustix::termios::tcgetpgrp(io::stdout()).is_ok_and(|group| group == rustix::process::getpgrp())
}

#[cfg(not(unix))]
fn in_foreground() -> bool {
    true
}

/// The view while it is shown; it ends when this is dropped.
pub struct View {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl View {
    /// Takes the terminal. `stop_asked` is called for each Ctrl-C.
    ///
    /// # Errors
    /// When the terminal cannot be taken.
    pub fn start(handle: Handle, story: Shared, stop_asked: impl Fn() + Send + 'static) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        take()?;
        let spawned = std::thread::Builder::new().name("view".into()).spawn(move || {
            // A terminal that went away must not end the run.
            let _ = show(&handle, &story, &told, &stop_asked);
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
        // The engine reports what panics; its text must not land in the picture.
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

/// Leaves the terminal as it was, if the view has it.
pub fn give_back() {
    if ACTIVE.swap(false, SeqCst) {
        // There is nothing to do about a terminal that is gone.
        let _ = execute!(io::stdout(), LeaveAlternateScreen, cursor::Show);
        let _ = disable_raw_mode();
        log::release();
    }
}

fn show(handle: &Handle, story: &Shared, stop: &AtomicBool, stop_asked: &dyn Fn()) -> io::Result<()> {
    let mut terminal = ratatui::Terminal::new(Screen::new())?;
    let mut rates = Rates::default();
    let colour = std::env::var_os("NO_COLOR").is_none();
    while !stop.load(SeqCst) {
        let live = handle.look();
        let rates = rates.look(&live);
        let log = log::newest(20);
        {
            let story = lock(story);
            let picture = draw::Picture {
                live: &live,
                rates: &rates,
                story: &story,
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
    // Stopped here until `fg`; a `bg` leaves the run without a view, but not stopped.
    while !in_foreground() {
        std::thread::sleep(Duration::from_millis(500));
    }
    take()
}

#[cfg(not(unix))]
fn pause() -> io::Result<()> {
    Ok(())
}

/// Gauges that have a place of their own in the view.
fn gauge(gauges: &BTreeMap<&'static str, f64>, name: &str) -> Option<f64> {
    gauges.get(name).copied()
}
