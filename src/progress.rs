//! Reports the progress of a run: on a live view, in lines, as log events, or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use items::metric;
use pipeline_engine::{Event, Handle, Measurement, StageReport};

use crate::log::Format;
use crate::print;
use crate::rates::Rates;
use crate::status::SharedStatus;
use crate::text;
use crate::view::{self, View};

/// How progress is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Not at all; only the result is printed.
    Quiet,
    /// On the live view.
    View,
    /// In lines on standard output.
    Lines,
    /// As JSON events of the log.
    Json,
}

impl Mode {
    /// Chooses by the options and the terminal.
    pub fn pick(quiet: bool, format: Format, plain: bool) -> Self {
        match (quiet, format) {
            (true, _) => Self::Quiet,
            (_, Format::Json) => Self::Json,
            _ if plain || !view::possible() => Self::Lines,
            _ => Self::View,
        }
    }
}

/// Without a live view, a running epoch is reported after this much silence.
const SILENCE: Duration = Duration::from_secs(30);

/// Reports a run.
pub struct Progress {
    mode: Mode,
    status: SharedStatus,
    epochs: u32,
    /// The reports of the newest epoch, printed when the view ends.
    newest: Vec<StageReport>,
    /// The stage that limited the previous epoch.
    limiting: Option<String>,
    view: Option<View>,
    heartbeat: Option<Heartbeat>,
}

impl Progress {
    /// Starts to report. `stop_asked` is called whenever the user asks the run to end (Ctrl-C on the live view).
    pub fn start(
        mode: Mode,
        handle: &Handle,
        status: SharedStatus,
        epochs: u32,
        stop_asked: impl Fn() + Send + 'static,
    ) -> Self {
        let mut mode = mode;
        let mut view = None;
        if mode == Mode::View {
            match View::start(handle.clone(), status.clone(), stop_asked) {
                Ok(started) => view = Some(started),
                Err(error) => {
                    tracing::debug!("no live view: {error}");
                    mode = Mode::Lines;
                }
            }
        }
        let heartbeat = matches!(mode, Mode::Lines | Mode::Json).then(|| Heartbeat::start(handle.clone()));
        Self { mode, status, epochs, newest: Vec::new(), limiting: None, view, heartbeat }
    }

    /// Reports an event.
    pub fn event(&mut self, event: &Event<'_>) {
        if let Event::Measured(all) = event {
            self.status.lock().measured(all);
        }
        match (self.mode, event) {
            (Mode::Lines, Event::Started { dir }) => print::stdout(&format!("run folder: {}\n\n", dir.display())),
            (Mode::Lines, Event::Measured(all)) => print::stdout(&print::scores(all)),
            (Mode::Lines, Event::EpochStarted { epoch, from }) if *epoch <= 2 => {
                print::stdout(&format!("epoch {epoch}, from `{from}`\n"));
            }
            (Mode::Lines, Event::EpochDone { stages, skipped }) => self.epoch_lines(stages, *skipped),
            (Mode::View, Event::EpochDone { stages, .. }) => self.newest = stages.to_vec(),
            (Mode::Json, event) => log_event(event),
            _ => {}
        }
    }

    /// Prints the table for the first two epochs, for the last one and where another stage became the limit; for the rest
    /// one line.
    fn epoch_lines(&mut self, stages: &[StageReport], skipped: u64) {
        let limiting = stages.iter().find(|stage| stage.limiting).map(|stage| stage.kind.clone());
        let Some(last) = stages.last() else { return };
        if last.epoch <= 2 || last.epoch == self.epochs || limiting != self.limiting {
            let head = if last.epoch <= 2 { String::new() } else { format!("epoch {}\n", last.epoch) };
            print::stdout(&format!("{head}{}", print::stage_table(stages)));
            if skipped > 0 {
                print::stdout(&format!("  {skipped} samples skipped so far, see skipped.jsonl\n"));
            }
            print::stdout("\n");
        } else {
            print::stdout(&format!("epoch {}  {:.1} s  {:.1} steps/s\n", last.epoch, last.wall_s, last.items_per_s));
        }
        self.limiting = limiting;
    }

    /// Ends the report: gives the terminal back and, with `table`, prints the table of the newest epoch.
    pub fn end(self, table: bool) {
        drop(self.heartbeat);
        drop(self.view);
        if let (true, Mode::View, Some(last)) = (table, self.mode, self.newest.last()) {
            print::stdout(&format!("epoch {}\n{}\n", last.epoch, print::stage_table(&self.newest)));
        }
    }
}

/// Logs an event for programs that read the log.
fn log_event(event: &Event<'_>) {
    match event {
        Event::Started { dir } => tracing::info!(dir = %dir.display(), "run started"),
        Event::Measured(all) => {
            for Measurement { phase, epoch, step, eval, metric, part, value, low, high, n } in *all {
                tracing::info!(?phase, epoch, step, eval, metric, part, value, low, high, n, "measured");
            }
        }
        Event::EpochStarted { epoch, from } => tracing::info!(epoch, from, "epoch started"),
        Event::EpochDone { stages, skipped } => {
            for s in *stages {
                tracing::info!(
                    epoch = s.epoch,
                    stage = s.kind,
                    workers = s.workers,
                    items = s.items,
                    items_per_s = s.items_per_s,
                    busy_s = s.busy_s,
                    wait_in_s = s.wait_in_s,
                    wait_out_s = s.wait_out_s,
                    limiting = s.limiting,
                    "stage"
                );
            }
            tracing::info!(epoch = stages.last().map_or(0, |s| s.epoch), skipped, "epoch done");
        }
    }
}

/// Logs the state of a long epoch every [`SILENCE`].
struct Heartbeat {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    fn start(handle: Handle) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let work = move || {
            let mut rates = Rates::default();
            // When the last line was written, and in which epoch.
            let mut last = (Instant::now(), 0);
            while !stopped.load(SeqCst) {
                std::thread::park_timeout(Duration::from_secs(1));
                let live = handle.look();
                let rates = rates.update(&live);
                // A short epoch is reported when it ends, so each epoch starts with a new silence.
                if live.epoch != last.1 {
                    last = (Instant::now(), live.epoch);
                }
                if last.0.elapsed() < SILENCE || live.measuring.is_some() {
                    continue;
                }
                last.0 = Instant::now();
                let limiting = Rates::limiting(&rates).map(|place| &live.stages[place].kind);
                tracing::info!(
                    target: "pipeline::progress",
                    epoch = live.epoch,
                    epochs = live.epochs,
                    step = live.steps.0,
                    part = live.progress.map(|part| tracing::field::display(format!("{:.0}%", part * 100.0))),
                    loss = live.gauges.get(metric::LOSS),
                    left = live.left.map(|left| tracing::field::display(text::duration(left))),
                    limiting,
                    "running"
                );
            }
        };
        let thread = std::thread::Builder::new().name("progress".into()).spawn(work).ok();
        Self { stop, thread }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
