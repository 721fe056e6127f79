//! How a run tells what it does: on a live view, in lines, as events, or not at all.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pipeline_engine::{Event, Handle, Measurement, StageReport};

use crate::log::Format;
use crate::show;
use crate::view::{Rates, Shared, View, time};

/// How it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only the result.
    Quiet,
    /// On the whole terminal.
    View,
    /// Lines on standard output.
    Lines,
    /// Events of the log.
    Json,
}

impl Mode {
    /// What fits the options and the terminal.
    pub fn pick(quiet: bool, format: Format, plain: bool) -> Self {
        match (quiet, format) {
            (true, _) => Self::Quiet,
            (_, Format::Json) => Self::Json,
            _ if plain || !crate::view::possible() => Self::Lines,
            _ => Self::View,
        }
    }
}

/// How long a run may be silent without a live view.
const SILENCE: Duration = Duration::from_secs(30);

/// Tells a run.
pub struct Progress {
    mode: Mode,
    story: Shared,
    epochs: u32,
    /// The table of the newest epoch: printed when the view is gone.
    newest: Vec<StageReport>,
    /// The stage that limited the epoch before.
    limiting: Option<String>,
    view: Option<View>,
    beat: Option<Beat>,
}

impl Progress {
    /// Starts telling. `stop_asked` is called when the user asks the run to end.
    pub fn start(
        mode: Mode,
        handle: &Handle,
        story: Shared,
        epochs: u32,
        stop_asked: impl Fn() + Send + 'static,
    ) -> Self {
        let mut mode = mode;
        let mut view = None;
        if mode == Mode::View {
            match View::start(handle.clone(), story.clone(), stop_asked) {
                Ok(started) => view = Some(started),
                Err(error) => {
                    tracing::debug!("no live view: {error}");
                    mode = Mode::Lines;
                }
            }
        }
        let beat = matches!(mode, Mode::Lines | Mode::Json).then(|| Beat::start(handle.clone()));
        Self { mode, story, epochs, newest: Vec::new(), limiting: None, view, beat }
    }

    /// Tells an event.
    pub fn event(&mut self, event: &Event<'_>) {
        if let Event::Measured(all) = event {
            self.story.lock().unwrap_or_else(PoisonError::into_inner).measured(all);
        }
        match (self.mode, event) {
            (Mode::Lines, Event::Started { dir }) => show::say(&format!("run folder: {}\n\n", dir.display())),
            (Mode::Lines, Event::Measured(all)) => show::say(&show::scores(all)),
            (Mode::Lines, Event::EpochStarted { epoch, from }) if *epoch <= 2 => {
                show::say(&format!("epoch {epoch}, from `{from}`\n"));
            }
            (Mode::Lines, Event::EpochDone { stages, skipped }) => self.epoch_lines(stages, *skipped),
            (Mode::View, Event::EpochDone { stages, .. }) => self.newest = stages.to_vec(),
            (Mode::Json, event) => log_event(event),
            _ => {}
        }
    }

    /// The table of the first epochs, of the last, and where something changed; else one line.
    fn epoch_lines(&mut self, stages: &[StageReport], skipped: u64) {
        let limiting = stages.iter().find(|stage| stage.limiting).map(|stage| stage.kind.clone());
        let Some(last) = stages.last() else { return };
        if last.epoch <= 2 || last.epoch == self.epochs || limiting != self.limiting {
            let head = if last.epoch <= 2 { String::new() } else { format!("epoch {}\n", last.epoch) };
            show::say(&format!("{head}{}", show::stage_table(stages)));
            if skipped > 0 {
                show::say(&format!("  {skipped} samples skipped so far, see skipped.jsonl\n"));
            }
            show::say("\n");
        } else {
            show::say(&format!("epoch {}  {:.1} s  {:.1} steps/s\n", last.epoch, last.wall_s, last.items_per_s));
        }
        self.limiting = limiting;
    }

    /// The run is over: gives the terminal back and prints, if `table`, what is worth keeping.
    pub fn end(self, table: bool) {
        drop(self.beat);
        drop(self.view);
        if let (true, Mode::View, Some(last)) = (table, self.mode, self.newest.last()) {
            show::say(&format!("epoch {}\n{}\n", last.epoch, show::stage_table(&self.newest)));
        }
    }
}

/// The run for programs that read the log.
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

/// Says now and then where a long epoch stands.
struct Beat {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Beat {
    fn start(handle: Handle) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let work = move || {
            let mut rates = Rates::default();
            let mut spoken = (Instant::now(), 0);
            while !told.load(SeqCst) {
                std::thread::park_timeout(Duration::from_secs(1));
                let live = handle.look();
                let rates = rates.look(&live);
                // An epoch that ends soon speaks for itself.
                if live.epoch != spoken.1 {
                    spoken = (Instant::now(), live.epoch);
                }
                if spoken.0.elapsed() < SILENCE || live.measuring.is_some() {
                    continue;
                }
                spoken.0 = Instant::now();
                let limiting = Rates::limiting(&rates).map(|place| &live.stages[place].kind);
                tracing::info!(
                    target: "pipeline::progress",
                    epoch = live.epoch,
                    epochs = live.epochs,
                    step = live.steps.0,
                    part = live.progress.map(|part| tracing::field::display(format!("{:.0}%", part * 100.0))),
                    loss = live.gauges.get("loss"),
                    left = live.left.map(|left| tracing::field::display(time(left))),
                    limiting,
                    "running"
                );
            }
        };
        let thread = std::thread::Builder::new().name("progress".into()).spawn(work).ok();
        Self { stop, thread }
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
