//! Trains the small CLIP of the drawn world from random weights, and scores it.
//!
//! Its captions only affirm. So it learns what things are called and, like CLIP,
//! nothing about "no".

mod batches;
mod folder;
mod optimizer;
mod score;
mod train;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Trains and scores a small CLIP on drawn scenes.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train a CLIP from random weights, each step on new scenes.
    Train(train::Args),
    /// Print retrieval, presence of objects and four-way accuracy on held-out scenes.
    Score {
        /// A CLIP checkpoint folder.
        #[arg(long)]
        checkpoint: PathBuf,
        /// Questions, as `scenes questions` writes them.
        #[arg(long)]
        questions: Option<PathBuf>,
        /// Number of scenes of the test split.
        #[arg(long, default_value_t = 400)]
        count: u64,
        /// Seed of the scenes; must be that of the questions, if there are any.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Train(args) => train::train(&args),
        Command::Score { checkpoint, questions, count, seed } => {
            let held_out = score::HeldOut::draw(seed, count)?;
            let model = score::Scorer::open(&checkpoint)?;
            println!("{}", model.score(&held_out)?);
            if let Some(path) = questions {
                for (part, (right, all)) in model.ask(&held_out, &path)? {
                    println!("four-way accuracy, {part}: {:.3} of {all}", f64::from(right) / f64::from(all));
                }
            }
            Ok(())
        }
    }
}
