//! `faults`: kills runs, feeds them broken data, and writes the results.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use faults::{kill, rubbish, soak};

/// Tests `pipeline` with deliberate faults. Run it in the folder of a release build, beside `pipeline`.
#[derive(Debug, Parser)]
struct Cli {
    /// The file of the result, as JSON; default: standard output.
    #[arg(long, global = true)]
    out: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Kill runs at random moments and resume them.
    Kill {
        /// Number of kills that must hit a living run.
        #[arg(long, default_value_t = 100)]
        kills: usize,
        /// Seed of the moments.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Images in the shards.
        #[arg(long, default_value_t = 60)]
        samples: usize,
        /// The result of a campaign with another seed, to add to: a long campaign can run in parts.
        #[arg(long)]
        onto: Option<PathBuf>,
    },
    /// Feed broken tars, pictures, captions, checkpoints and caches.
    Rubbish {
        /// Number of cases.
        #[arg(long, default_value_t = 10_000)]
        cases: usize,
        /// Seed of the cases.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Push tiny samples through a run and watch its memory.
    Soak {
        /// Samples in all.
        #[arg(long, default_value_t = 1_000_000)]
        samples: usize,
        /// Number of shards that hold them.
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
                    serde_json::from_str(&text)
                        .with_context(|| format!("{} is not a result of `faults kill`", path.display()))?
                }
                None => kill::Report::default(),
            };
            let settings = kill::Settings { pipeline, folder: folder.path().to_owned(), kills, seed, samples, onto };
            let report = kill::campaign(&settings, &mut said)?;
            (serde_json::to_string_pretty(&report)?, report.differences)
        }
        Command::Rubbish { cases, seed } => {
            // If a case kills this program, its number is the last line.
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
