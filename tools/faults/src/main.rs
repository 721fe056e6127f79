//! `faults`: kills runs, feeds them rubbish, and writes down what came of it.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use faults::{kill, rubbish, soak};

/// Faults on purpose. Run it from the folder of a release build, beside `pipeline`.
#[derive(Debug, Parser)]
struct Cli {
    /// Where the result goes, as JSON; nothing: standard output.
    #[arg(long, global = true)]
    out: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Kill runs at random moments and resume them.
    Kill {
        /// Kills that must hit.
        #[arg(long, default_value_t = 100)]
        kills: usize,
        /// Which moments.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Images in the shards.
        #[arg(long, default_value_t = 60)]
        samples: usize,
        /// A result to add to, of a campaign with another seed: a long one can be run in parts.
        #[arg(long)]
        onto: Option<PathBuf>,
    },
    /// Feed broken tars, pictures, captions, checkpoints and caches.
    Rubbish {
        /// How many cases.
        #[arg(long, default_value_t = 10_000)]
        cases: usize,
        /// Which cases.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Push tiny samples through a run and watch its memory.
    Soak {
        /// Samples in all.
        #[arg(long, default_value_t = 1_000_000)]
        samples: usize,
        /// Shards that they lie in.
        #[arg(long, default_value_t = 100)]
        shards: usize,
    },
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let pipeline = std::env::current_exe()?.with_file_name(format!("pipeline{}", std::env::consts::EXE_SUFFIX));
    let folder = tempfile::tempdir()?;
    let mut said = |text: &str| eprintln!("{text}");
    let (json, faults) = match cli.command {
        Command::Kill { kills, seed, samples, onto } => {
            let onto = match onto {
                Some(path) => {
                    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
                    serde_json::from_str(&text).with_context(|| format!("{} is no result of kills", path.display()))?
                }
                None => kill::Report::default(),
            };
            let settings = kill::Settings { pipeline, folder: folder.path().to_owned(), kills, seed, samples, onto };
            let report = kill::campaign(&settings, &mut said)?;
            (serde_json::to_string_pretty(&report)?, report.differences)
        }
        Command::Rubbish { cases, seed } => {
            // The number of the case that killed this program, if one does, is the last line.
            let mut before = |case: usize| {
                let _ = writeln!(std::io::stderr(), "{case}");
            };
            let report = rubbish::corpus(cases, seed, &mut before)?;
            (serde_json::to_string_pretty(&report)?, report.faults)
        }
        Command::Soak { samples, shards } => {
            let settings = soak::Settings { pipeline, folder: folder.path().to_owned(), samples, shards };
            (serde_json::to_string_pretty(&soak::soak(&settings, &mut said)?)?, Vec::new())
        }
    };
    match &cli.out {
        Some(path) => std::fs::write(path, json + "\n").with_context(|| path.display().to_string())?,
        None => println!("{json}"),
    }
    ensure!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    Ok(())
}
