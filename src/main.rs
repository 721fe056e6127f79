//! `pipeline`: negation-aware CLIP fine-tuning as a streaming dataflow pipeline.

mod cli;
mod commands;
mod look;
mod report;
mod show;
mod stages;

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
    show::start_log(cli.quiet || matches!(cli.command, commands::Command::Profile(_)));
    let context = Context { registry: Arc::new(stages::registry()), quiet: cli.quiet };
    match cli.command.run(&context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Config(faults)) => {
            eprintln!("{}", show::faults(&faults));
            ExitCode::from(exit::CONFIG)
        }
        Err(Failure::Usage(message)) => {
            eprintln!("error: {message}");
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
