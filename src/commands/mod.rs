//! The commands: each with its arguments and its work in a file or folder of its own.

mod audit;
mod blend;
mod check;
mod completions;
mod convert;
mod embed;
mod eval;
mod graph;
mod init;
mod inspect;
mod pack;
mod presets;
mod profile;
mod questions;
pub mod run;
mod schema;
mod stages;
mod sweep;

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use pipeline_engine::{Config, Diagnostic, Plan, Registry, RunError};

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    Init(init::Arguments),
    Check(check::Arguments),
    Graph(graph::Arguments),
    Profile(profile::Arguments),
    Run(run::Arguments),
    Inspect(inspect::Arguments),
    Pack(pack::Arguments),
    Questions(questions::Arguments),
    Eval(eval::Arguments),
    Audit(audit::Arguments),
    Sweep(sweep::Arguments),
    Embed(embed::Arguments),
    Convert(convert::Arguments),
    Blend(blend::Arguments),
    Stages(stages::Arguments),
    Presets(presets::Arguments),
    Schema(schema::Arguments),
    Completions(completions::Completions),
    Man(completions::Man),
}

/// What every command can use.
pub struct Context {
    /// The kinds that this program knows.
    pub registry: Arc<Registry>,
    /// Print only errors and the result.
    pub quiet: bool,
    /// Format of log lines.
    pub log: crate::log::Format,
    /// No live view.
    pub plain: bool,
}

impl Command {
    /// Runs the command.
    pub fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Run(arguments) => arguments.run(context),
            Self::Check(arguments) => arguments.run(context),
            Self::Profile(arguments) => arguments.run(context),
            Self::Graph(arguments) => arguments.run(context),
            Self::Questions(arguments) => arguments.run(context),
            Self::Eval(arguments) => arguments.run(context),
            Self::Stages(arguments) => arguments.run(context),
            Self::Presets(arguments) => arguments.run(context),
            Self::Schema(arguments) => arguments.run(context),
            Self::Init(arguments) => arguments.run(context),
            Self::Pack(arguments) => arguments.run(context),
            Self::Inspect(arguments) => arguments.run(context),
            Self::Completions(arguments) => arguments.run(),
            Self::Man(arguments) => arguments.run(),
            Self::Audit(arguments) => arguments.run(context),
            Self::Sweep(arguments) => arguments.run(context),
            Self::Embed(arguments) => arguments.run(context),
            Self::Convert(arguments) => arguments.run(context),
            Self::Blend(arguments) => arguments.run(context),
        }
    }
}

/// Why a command failed.
pub enum Failure {
    /// The command line is wrong in a way that its parser cannot see.
    Usage(String),
    /// The config has these faults.
    Config(Vec<Diagnostic>),
    /// A run ended early.
    Run(RunError),
    /// Anything else.
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

/// A config, and settings laid over it.
#[derive(Debug, Args)]
pub struct ConfigArguments {
    /// The config.
    #[arg(default_value = "pipeline.toml")]
    pub config: PathBuf,
    /// Change one key: run.epochs=3, model.weights=DIR, stage.train.lr=1e-5.
    #[arg(long, value_name = "TABLE.KEY=VALUE")]
    pub set: Vec<String>,
    /// Lay a preset over the config: a name (`pipeline presets`) or a file.
    #[arg(long, value_name = "PRESET")]
    pub preset: Vec<String>,
}

impl ConfigArguments {
    /// Reads and checks the config.
    pub fn plan(&self, registry: &Registry) -> Result<Plan, Failure> {
        let config = Config::load(&self.config, &self.preset, &self.set, registry)?;
        Ok(pipeline_engine::check(&config, registry)?)
    }
}
