//! `pipeline`: negation-aware CLIP fine-tuning as a streaming dataflow pipeline.

mod cli;
mod report;
mod show;
mod stages;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use pipeline_engine::{Config, Diagnostic, Handle, Pipeline, Plan, Registry, RunDir, RunError, check};

use cli::{Cli, Command, ConfigArgs, RunArgs};

/// Exit codes; the README documents them.
mod exit {
    pub const FAILED: u8 = 1;
    pub const CONFIG: u8 = 2;
    pub const INTERRUPTED: u8 = 130;
}

fn main() -> ExitCode {
    hush_vulkan();
    let cli = Cli::parse();
    show::start_log(cli.quiet);
    let registry = Arc::new(stages::registry());
    let result = match cli.command {
        Command::Run(args) => run(&args, &registry, cli.quiet),
        Command::Check(args) => plan(&args, &registry).map(|(plan, _)| {
            show::say(&format!("{} is right: {}\n", args.config.display(), show::chain(&plan)));
        }),
        Command::Graph(args) => plan(&args, &registry).map(|(plan, _)| show::say(&show::graph(&plan))),
        Command::Stages => {
            show::say(&show::kinds(&registry));
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config(faults)) => {
            eprintln!("{}", show::faults(&faults));
            ExitCode::from(exit::CONFIG)
        }
        Err(Failure::Run(RunError::Interrupted { checkpoint })) => {
            eprintln!("{}", RunError::Interrupted { checkpoint });
            ExitCode::from(exit::INTERRUPTED)
        }
        Err(Failure::Run(error)) => {
            eprintln!("error: {error}");
            ExitCode::from(exit::FAILED)
        }
        Err(Failure::Other(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::from(exit::FAILED)
        }
    }
}

/// In containers nobody sets XDG_RUNTIME_DIR, and Mesa's Vulkan drivers then write
/// an error about it to standard error whenever they are looked for, though
/// nothing here opens a window.
fn hush_vulkan() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: the first statement of `main`; no other thread reads the environment yet.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
    }
}

/// Why a command did not do what was asked.
enum Failure {
    Config(Vec<Diagnostic>),
    Run(RunError),
    Other(anyhow::Error),
}

impl From<Vec<Diagnostic>> for Failure {
    fn from(faults: Vec<Diagnostic>) -> Self {
        Self::Config(faults)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

/// Reads and checks a config; also says which presets hold.
fn plan(args: &ConfigArgs, registry: &Registry) -> Result<(Plan, String), Failure> {
    let config = Config::load(&args.config, &args.preset, &args.set, registry)?;
    let plan = check(&config, registry)?;
    let presets = if args.preset.is_empty() { plan.run().preset.clone() } else { args.preset.join("-") };
    Ok((plan, presets))
}

fn run(args: &RunArgs, registry: &Arc<Registry>, quiet: bool) -> Result<(), Failure> {
    let (plan, presets) = plan(&args.config, registry)?;
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
    if !quiet {
        show::say(&format!("{}\ndevice: {device}\n", show::chain(&plan)));
    }
    let pipeline = Pipeline::build(plan, registry, dir, &header, args.resume)?;
    on_interrupt(pipeline.handle())?;
    let mut shown = show::Progress::new(quiet);
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
