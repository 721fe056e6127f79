//! `pipeline run`

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;
use pipeline_engine::{Handle, Pipeline, Plan, RunDir, RunError};

use super::{ConfigArguments, Context, Failure};
use crate::{exit, report, show};

/// Run a pipeline: measure, train, measure, export.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Go on from the last whole checkpoint of the run folder.
    #[arg(long, conflicts_with = "force")]
    resume: bool,
    /// Replace the run of this name; the old one goes when the new one has begun.
    #[arg(long)]
    force: bool,
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
    let dir = RunDir::open(&dir, args.resume, args.force)?;
    let header = format!(
        "{} {}, {}; every default is written out.\nTo repeat it: pipeline run THIS-FILE --set run.name=ANOTHER\nconfig: {}\ndevice: {device}\nseed: {}",
        pipeline_engine::MARK.trim_start_matches(['#', ' ']),
        env!("CARGO_PKG_VERSION"),
        chrono::Utc::now().format("%Y-%m-%d %H:%M UTC"),
        args.config.config.display(),
        plan.run().seed,
    );
    if !context.quiet {
        show::say(&format!("{}\ndevice: {device}\n", show::chain(&plan)));
    }
    let pipeline = Pipeline::build(plan, &context.registry, dir, &header, args.resume)?;
    on_interrupt(pipeline.handle())?;
    let mut shown = show::Progress::new(context.quiet);
    let summary = pipeline.run(&mut |event| shown.event(&event)).inspect_err(|error| {
        if matches!(error, RunError::Interrupted { .. }) {
            let config = args.config.config.display();
            eprintln!("to go on: pipeline run {config} --resume --set run.name={name}, with the same other settings");
        }
    })?;
    report::write(&summary.dir).context("cannot write the report")?;
    show::say(&show::summary(&summary));
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

/// The first Ctrl-C (or SIGTERM) lets the run finish its step and save; the second ends it at once.
fn on_interrupt(handle: Handle) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().context("cannot listen for Ctrl-C")?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            while wait_for_signal().await.is_ok() {
                if handle.interrupt() {
                    eprintln!("stopped at once; a checkpoint that was written is whole");
                    std::process::exit(exit::INTERRUPTED.into());
                }
                eprintln!("finishing the step, then saving; once more to stop at once");
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
