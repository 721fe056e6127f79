//! `pipeline run`

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use clap::Args;
use pipeline_engine::{Event, Handle, Pipeline, Plan, RunDir, RunError, Tracer};

use super::{ConfigArguments, Context, Failure};
use crate::progress::{Mode, Progress};
use crate::tensorboard::EventFile;
use crate::view::Shared;
use crate::{exit, log, metrics, report, show, view};

/// Run a pipeline: measure, train, measure, export.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline run pipeline.toml
  pipeline run pipeline.toml --preset paper --set run.epochs=5 --set run.name=paper
  pipeline run pipeline.toml --set run.name=paper --resume
  pipeline run pipeline.toml --trace trace.json")]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Go on from the last whole checkpoint of the run folder.
    #[arg(long, conflicts_with = "force")]
    resume: bool,
    /// Replace the run of this name; the old one goes when the new one has begun.
    #[arg(long)]
    force: bool,
    /// Write every span of every worker to FILE, for https://ui.perfetto.dev.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// One of a sweep's runs: the live view or the lines alone, no tables and no advice.
    #[arg(long, hide = true)]
    of_sweep: bool,
    /// No meters, no timeline, no event files: what tools/overhead compares with.
    #[arg(long, hide = true, conflicts_with = "trace")]
    unmetered: bool,
}

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        run(self, context)
    }
}

fn run(args: &Arguments, context: &Context) -> Result<(), Failure> {
    let plan = args.config.plan(&context.registry)?;
    let presets = match args.config.preset.is_empty() {
        true => plan.run().preset.clone(),
        false => args.config.preset.join("-"),
    };
    let (_, device) = clip::device::pick(plan.run().device.word()).context("run.device")?;
    let dir = run_folder(&plan, &presets);
    let name = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let metrics = match plan.run().metrics.as_str() {
        "" => None,
        text => Some(metrics::address(text).map_err(anyhow::Error::msg)?),
    };
    let tracer = match &args.trace {
        Some(path) => Some(Arc::new(Tracer::create(path).with_context(|| format!("cannot write {}", path.display()))?)),
        None => None,
    };
    let dir = RunDir::open(&dir, args.resume, args.force)?;
    let header = format!(
        "{} {}, {}; every default is written out.\nTo repeat it: pipeline run THIS-FILE --set run.name=ANOTHER\nconfig: {}\ndevice: {device}\nseed: {}\nversions: {}",
        pipeline_engine::MARK.trim_start_matches(['#', ' ']),
        env!("CARGO_PKG_VERSION"),
        chrono::Utc::now().format("%Y-%m-%d %H:%M UTC"),
        args.config.config.display(),
        plan.run().seed,
        env!("PIPELINE_VERSIONS"),
    );
    let mode = Mode::pick(context.quiet, context.log, context.plain);
    if matches!(mode, Mode::View | Mode::Lines) && !args.of_sweep {
        show::say(&format!("{}\ndevice: {device}\n", show::chain(&plan)));
    }
    let epochs = plan.run().epochs;
    let mut pipeline = Pipeline::build(plan, &context.registry, dir.clone(), &header, args.resume)?;
    let handle = pipeline.handle();
    let story = Shared::default();
    {
        let mut story = story.lock().unwrap_or_else(PoisonError::into_inner);
        (story.name, story.device) = (name.clone(), device);
    }

    if let Some(tracer) = &tracer {
        pipeline.trace(tracer.clone());
    }
    if args.unmetered {
        pipeline.unmetered();
    }
    let board = dir.join("tensorboard");
    let events = EventFile::create(&board).with_context(|| format!("cannot write {}", board.display()))?;
    let events = Arc::new(Mutex::new(Recording { events, over: args.unmetered }));
    let (told, shared) = (events.clone(), story.clone());
    pipeline.on_step(Arc::new(move |step| {
        if let Some((_, loss)) = step.values.iter().find(|(name, _)| *name == "loss") {
            shared.lock().unwrap_or_else(PoisonError::into_inner).loss(step.step, *loss);
        }
        told.lock().unwrap_or_else(PoisonError::into_inner).put(|events| events.step(step));
    }));
    if let Some(address) = metrics {
        let bound = metrics::serve(address, handle.clone(), story.clone())
            .with_context(|| format!("run.metrics: cannot listen on {address}"))?;
        tracing::info!(target: "pipeline::progress", "metrics are at http://{bound}/metrics");
    }

    on_interrupt(handle.clone())?;
    let asked = handle.clone();
    let mut progress = Progress::start(mode, &handle, story, epochs, move || stop_asked(&asked));
    let result = pipeline.run(&mut |event| {
        if let Event::Measured(all) = &event {
            events.lock().unwrap_or_else(PoisonError::into_inner).put(|events| events.measured(all));
        }
        progress.event(&event);
    });
    progress.end(!args.of_sweep);
    if let Some(tracer) = tracer {
        end_trace(tracer)?;
    }
    let summary = result.inspect_err(|error| {
        if matches!(error, RunError::Interrupted { .. }) {
            let config = args.config.config.display();
            // A sweep has its own advice, and takes a run with a report for whole.
            if args.of_sweep {
                return;
            }
            log::notice(&format!(
                "to go on: pipeline run {config} --resume --set run.name={name}, with the same other settings"
            ));
            // What was done until now can be looked at.
            if let Err(error) = report::write(dir.path()) {
                tracing::warn!("cannot write the report: {error:#}");
            }
        }
    })?;
    report::write(&summary.dir).context("cannot write the report")?;
    if !args.of_sweep {
        show::say(&show::summary(&summary));
    } else if handle.interrupted() {
        // Asked to stop when all steps were done: the run is whole, and the sweep is to stop.
        std::process::exit(exit::INTERRUPTED.into());
    }
    Ok(())
}

/// The TensorBoard file. A full disk costs its points, not the run.
struct Recording {
    events: EventFile,
    over: bool,
}

impl Recording {
    fn put(&mut self, write: impl FnOnce(&mut EventFile) -> io::Result<()>) {
        if !self.over
            && let Err(error) = write(&mut self.events)
        {
            self.over = true;
            tracing::warn!("the TensorBoard file ends here, it cannot be written: {error}");
        }
    }
}

fn end_trace(tracer: Arc<Tracer>) -> anyhow::Result<()> {
    let Some(tracer) = Arc::into_inner(tracer) else { return Ok(()) };
    let path = tracer.path().to_owned();
    let left_out = tracer.finish().with_context(|| format!("cannot write {}", path.display()))?;
    if left_out > 0 {
        tracing::warn!("{} is full: its last {left_out} events are left out", path.display());
    }
    Ok(())
}

/// `run.dir/run.name`, named by time and preset where the config gives no name.
fn run_folder(plan: &Plan, presets: &str) -> PathBuf {
    let run = plan.run();
    let name = match (run.name.as_str(), presets) {
        ("", "") => chrono::Utc::now().format("%Y-%m-%dT%H-%M-%S").to_string(),
        ("", presets) => format!("{}-{presets}", chrono::Utc::now().format("%Y-%m-%dT%H-%M-%S")),
        (name, _) => name.to_owned(),
    };
    Path::new(&run.dir).join(name)
}

/// The user asks the run to end; who asks twice does not want to wait.
fn stop_asked(handle: &Handle) {
    if handle.interrupt() {
        view::give_back();
        log::notice("stopped at once; a checkpoint that was written is whole");
        std::process::exit(exit::INTERRUPTED.into());
    }
    log::notice("finishing the step, then saving; once more to stop at once");
}

/// The first Ctrl-C (or SIGTERM) lets the run finish its step and save; the second ends it at once.
fn on_interrupt(handle: Handle) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().context("cannot listen for Ctrl-C")?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            while wait_for_signal().await.is_ok() {
                stop_asked(&handle);
            }
        });
    })?;
    Ok(())
}

#[cfg(unix)]
async fn wait_for_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn wait_for_signal() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
