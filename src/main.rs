//! `pipeline`: negation-aware CLIP fine-tuning as a streaming dataflow pipeline.

mod cli;
mod commands;
mod log;
mod look;
mod metrics;
mod progress;
mod report;
mod show;
mod stages;
mod sweep;
mod tensorboard;
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
    hush_vulkan();
    let cli = cli::Cli::parse();
    // A profile trains, but nobody wants to read how.
    let quiet = cli.quiet || matches!(cli.command, commands::Command::Profile(_));
    log::start(cli.log, quiet, cli.plain || !view::possible());
    let context = Context { registry: Arc::new(stages::registry()), quiet: cli.quiet, log: cli.log, plain: cli.plain };
    match cli.command.run(&context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config(faults)) => {
            log::notice(&show::faults(&faults));
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

/// In containers nobody sets XDG_RUNTIME_DIR, and Mesa's Vulkan drivers then write
/// an error about it to standard error whenever they are looked for, though
/// nothing here opens a window.
fn hush_vulkan() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: the first statement of `main`; no other thread reads the environment yet.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
    }
}
