//! `pipeline`: negation-aware CLIP fine-tuning as a streaming dataflow pipeline.

mod answers;
mod cli;
mod commands;
mod inspect;
mod log;
mod metrics;
mod print;
mod progress;
mod rates;
mod report;
mod stages;
mod status;
mod sweep;
mod tensorboard;
mod text;
mod view;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use pipeline_engine::RunError;

use commands::{Context, Failure};

/// Exit codes; the README documents them.
mod exit {
    pub const FAILED: u8 = 1;
    pub const CONFIG: u8 = 2;
    pub const INTERRUPTED: u8 = 130;
}

fn main() -> ExitCode {
    silence_vulkan();
    let cli = cli::Cli::parse();
    // A profile trains too, but its log lines would only hide the result.
    let quiet = cli.quiet || matches!(cli.command, commands::Command::Profile(_));
    log::start(cli.log, quiet, cli.plain || !view::possible());
    let context = Context { registry: Arc::new(stages::registry()), quiet: cli.quiet, log: cli.log, plain: cli.plain };
    // What these do is in files; what they print is news of it.
    let prints_news = matches!(cli.command, commands::Command::Run(_) | commands::Command::Sweep(_));
    match cli.command.run(&context) {
        Ok(()) => match print::lost_output() {
            Some(error) => {
                log::notice(&format!("error: cannot write to standard output: {error}"));
                if prints_news { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) }
            }
            None => ExitCode::SUCCESS,
        },
        Err(Failure::Config(faults)) => {
            log::notice(&print::faults(&faults));
            ExitCode::from(exit::CONFIG)
        }
        Err(Failure::Usage(message)) => {
            log::notice(&format!("error: {message}"));
            ExitCode::from(exit::CONFIG)
        }
        Err(Failure::Run(RunError::Interrupted { checkpoint })) => {
            log::notice(&RunError::Interrupted { checkpoint }.to_string());
            ExitCode::from(exit::INTERRUPTED)
        }
        Err(Failure::Run(error)) => {
            log::notice(&format!("error: {error}"));
            ExitCode::from(exit::FAILED)
        }
        Err(Failure::Other(error)) => {
            log::notice(&format!("error: {error:#}"));
            ExitCode::from(exit::FAILED)
        }
    }
}

/// Sets XDG_RUNTIME_DIR where it is missing, as in most containers: without it, Mesa's Vulkan drivers write an error to
/// standard error whenever adapters are listed, though nothing here opens a window.
fn silence_vulkan() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: this is the first call of `main`, so no other thread exists that could read the environment.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
    }
}
