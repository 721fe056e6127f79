//! `pipeline run`

mod recording;
mod stop;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use parking_lot::Mutex;
use pipeline_engine::{Event, Handle, Pipeline, Plan, RunDir, RunError, Summary, Tracer};

use super::{ConfigArguments, Context, Failure};
use crate::answers::Changes;
use crate::progress::{Mode, Progress};
use crate::status::SharedStatus;
use crate::{exit, log, metrics, print, report};
use recording::Recording;

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
    /// Continue from the last complete checkpoint of the run folder.
    #[arg(long, conflicts_with = "force")]
    resume: bool,
    /// Replace the run of this name; the old one is deleted once the new one has started.
    #[arg(long)]
    force: bool,
    /// Show report.html in the browser when the run is done.
    #[arg(long)]
    open: bool,
    /// Write every span of every worker to FILE, for https://ui.perfetto.dev.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// One run of a sweep: only the live view or log lines, no tables and no advice.
    #[arg(long, hide = true)]
    of_sweep: bool,
    /// No meters, no timeline, no event files: the baseline of tools/overhead.
    #[arg(long, hide = true, conflicts_with = "trace")]
    unmetered: bool,
}

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        let plan = self.config.plan(&context.registry)?;
        let device = clip::device::pick(plan.run().device.word()).context("run.device")?.description;
        let address = match plan.run().metrics.as_str() {
            "" => None,
            text => Some(metrics::address(text)?),
        };
        let tracer = self.tracer()?;
        let dir = RunDir::open(&self.folder(&plan), self.resume, self.force)?;
        let name = dir.path().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mode = Mode::pick(context.quiet, context.log, context.plain);
        if matches!(mode, Mode::View | Mode::Lines) && !self.of_sweep {
            print::stdout(&format!("{}\ndevice: {device}\n", print::chain(&plan)));
            print::stdout(&print::notes(&plan));
        }
        let (epochs, header) = (plan.run().epochs, self.header(&plan, &device));
        let mut pipeline = Pipeline::build(plan, &context.registry, dir.clone(), &header, self.resume)?;
        let handle = pipeline.handle();
        let status = SharedStatus::default();
        {
            let mut status = status.lock();
            (status.name, status.device) = (name.clone(), device);
        }
        let recording = self.watch(&mut pipeline, tracer.clone(), &dir, &status)?;
        if let Some(address) = address {
            let bound = metrics::serve(address, handle.clone(), status.clone())
                .with_context(|| format!("run.metrics: cannot listen on {address}"))?;
            tracing::info!(target: "pipeline::progress", "metrics are at http://{bound}/metrics");
        }
        stop::on_signals(handle.clone())?;
        let asked = handle.clone();
        let mut progress = Progress::start(mode, &handle, status, epochs, move || stop::asked(&asked));
        let result = pipeline.run(&mut |event| {
            if let Event::Measured(all) = &event {
                recording.lock().measured(all);
            }
            progress.event(&event);
        });
        progress.end(!self.of_sweep);
        if let Some(tracer) = tracer {
            end_trace(tracer)?;
        }
        self.conclude(result, &handle, &dir, &name)
    }

    /// Opens the trace file, if one is asked for.
    fn tracer(&self) -> anyhow::Result<Option<Arc<Tracer>>> {
        let Some(path) = &self.trace else { return Ok(None) };
        let tracer = Tracer::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Some(Arc::new(tracer)))
    }

    /// `run.dir/run.name`. Without a name, the folder is named by time and presets, and made here, so that runs that
    /// begin in the same second get folders of their own.
    fn folder(&self, plan: &Plan) -> PathBuf {
        let run = plan.run();
        let presets = match self.config.preset.is_empty() {
            true => preset_name(&run.preset),
            false => self.config.preset.iter().map(|preset| preset_name(preset)).collect::<Vec<_>>().join("-"),
        };
        let now = || chrono::Utc::now().format("%Y-%m-%dT%H-%M-%S");
        let name = match (run.name.as_str(), presets.as_str()) {
            ("", "") => now().to_string(),
            ("", presets) => format!("{}-{presets}", now()),
            (name, _) => return run.dir.join(name),
        };
        if self.resume { run.dir.join(name) } else { fresh(&run.dir, &name) }
    }

    /// The comment above the resolved config in the run folder.
    fn header(&self, plan: &Plan, device: &str) -> String {
        format!(
            "{} {}, {}; every default is written out.\nTo repeat it: pipeline run THIS-FILE --set run.name=ANOTHER\nconfig: {}\ndevice: {device}\nseed: {}\nversions: {}",
            pipeline_engine::MARK.trim_start_matches(['#', ' ']),
            env!("CARGO_PKG_VERSION"),
            chrono::Utc::now().format("%Y-%m-%d %H:%M UTC"),
            self.config.config.display(),
            plan.run().seed,
            env!("PIPELINE_VERSIONS"),
        )
    }

    /// Connects trace, event file and status to the steps of the pipeline.
    fn watch(
        &self,
        pipeline: &mut Pipeline,
        tracer: Option<Arc<Tracer>>,
        dir: &RunDir,
        status: &SharedStatus,
    ) -> anyhow::Result<Arc<Mutex<Recording>>> {
        if let Some(tracer) = tracer {
            pipeline.trace(tracer);
        }
        if self.unmetered {
            pipeline.unmetered();
        }
        let recording = Arc::new(Mutex::new(Recording::create(&dir.join("tensorboard"), !self.unmetered)?));
        let (recorded, status) = (recording.clone(), status.clone());
        pipeline.on_step(Arc::new(move |step| {
            status.lock().step(step);
            recorded.lock().step(step);
        }));
        Ok(recording)
    }

    /// Writes the report and prints the result, or how to continue an interrupted run.
    fn conclude(
        &self,
        result: Result<Summary, RunError>,
        handle: &Handle,
        dir: &RunDir,
        name: &str,
    ) -> Result<(), Failure> {
        let summary = result.inspect_err(|error| {
            // A sweep prints its own advice, and takes a run with a report for a finished one.
            if self.of_sweep || !matches!(error, RunError::Interrupted { .. }) {
                return;
            }
            let config = self.config.config.display();
            log::notice(&format!(
                "to continue: pipeline run {config} --resume --set run.name={name}, with the same other settings"
            ));
            if let Err(error) = report::write(dir.path()) {
                tracing::warn!("cannot write the report: {error:#}");
            }
        })?;
        report::write(&summary.dir).context("cannot write the report")?;
        let page = summary.dir.join(report::FILE);
        if self.open
            && let Err(error) = open::that_detached(&page)
        {
            tracing::warn!("cannot show {}: {error}", page.display());
        }
        if !self.of_sweep {
            print::stdout(&print::summary(&summary));
            if let Some(changes) = Changes::read(&summary.dir) {
                print::stdout(&format!("\n{}", changes.describe()));
            }
            print::stdout(&format!("\nreport: {}\n", page.display()));
        } else if handle.interrupted() {
            // Interrupted after the last step: this run is complete, but the sweep must stop.
            std::process::exit(exit::INTERRUPTED.into());
        }
        Ok(())
    }
}

/// Makes a folder of this name in `dir`, with a number behind it if there is one.
fn fresh(dir: &Path, name: &str) -> PathBuf {
    let folder = dir.join(name);
    // What cannot be made is reported where the folder is opened.
    if std::fs::create_dir_all(dir).is_err() {
        return folder;
    }
    let others = (2..).map(|number| dir.join(format!("{name}-{number}")));
    let taken = |folder: &PathBuf| {
        std::fs::create_dir(folder).is_err_and(|error| error.kind() == std::io::ErrorKind::AlreadyExists)
    };
    std::iter::once(folder.clone()).chain(others).find(|folder| !taken(folder)).unwrap_or(folder)
}

/// The name of a preset, which may be given as a file.
fn preset_name(preset: &str) -> String {
    let path = Path::new(preset);
    path.file_stem().map_or_else(|| preset.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

fn end_trace(tracer: Arc<Tracer>) -> anyhow::Result<()> {
    let Some(tracer) = Arc::into_inner(tracer) else { return Ok(()) };
    let path = tracer.path().to_owned();
    let dropped = tracer.finish().with_context(|| format!("cannot write {}", path.display()))?;
    if dropped > 0 {
        tracing::warn!("{} is full: the last {dropped} events are missing", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn runs_of_one_second_have_folders_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let runs = dir.path().join("runs");
        let made: Vec<PathBuf> = (0..3).map(|_| fresh(&runs, "now")).collect();
        assert_eq!(made, ["now", "now-2", "now-3"].map(|name| runs.join(name)));
        assert!(made.iter().all(|folder| folder.is_dir()));
    }
}
