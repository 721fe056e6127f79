//! Packs, questions and pictures of the drawn world.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use scenes::{Scene, Split};

/// Draws scenes of common things, with captions and the complete ground truth of each.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, ValueEnum)]
enum SplitArg {
    Train,
    Test,
    Pretrain,
}

impl From<SplitArg> for Split {
    fn from(split: SplitArg) -> Self {
        match split {
            SplitArg::Train => Self::Train,
            SplitArg::Test => Self::Test,
            SplitArg::Pretrain => Self::Pretrain,
        }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Write WebDataset tar shards: KEY.jpg, KEY.txt (one caption per line), KEY.json (the ground truth).
    Pack {
        /// The folder of the shards.
        #[arg(long)]
        out: PathBuf,
        #[arg(long, value_enum)]
        split: SplitArg,
        /// Number of pictures.
        #[arg(long)]
        count: u64,
        /// Pictures per shard.
        #[arg(long, default_value_t = 200)]
        shard_size: u64,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Write held-out multiple-choice questions about the first COUNT pictures of a split.
    Questions {
        /// The .jsonl file to write.
        #[arg(long)]
        out: PathBuf,
        #[arg(long, value_enum, default_value = "test")]
        split: SplitArg,
        /// Number of pictures in the shards.
        #[arg(long)]
        count: u64,
        /// Pictures per shard, as given to `pack`.
        #[arg(long, default_value_t = 200)]
        shard_size: u64,
        /// Questions per picture.
        #[arg(long, default_value_t = 2)]
        each: u64,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Write a contact sheet (PNG) of a split's first pictures.
    Sheet {
        /// The .png file to write.
        #[arg(long)]
        out: PathBuf,
        #[arg(long, value_enum, default_value = "train")]
        split: SplitArg,
        #[arg(long, default_value_t = 0)]
        first: u64,
        #[arg(long, default_value_t = 40)]
        count: u64,
        #[arg(long, default_value_t = 4)]
        zoom: u32,
        #[arg(long, default_value_t = 8)]
        columns: u32,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Pack { out, split, count, shard_size, seed } => {
            for shard in scenes::pack(&out, seed, split.into(), count, shard_size)? {
                println!("{}", shard.display());
            }
        }
        Command::Questions { out, split, count, shard_size, each, seed } => {
            let questions = scenes::questions(seed, split.into(), count, shard_size, each);
            let mut lines = String::new();
            for question in &questions {
                lines += &serde_json::to_string(question)?;
                lines.push('\n');
            }
            fs::write(&out, lines).with_context(|| format!("cannot write {}", out.display()))?;
            println!("{} questions in {}", questions.len(), out.display());
        }
        Command::Sheet { out, split, first, count, zoom, columns, seed } => {
            let scenes: Vec<_> = (first..first + count).map(|index| Scene::new(seed, split.into(), index)).collect();
            scenes::sheet(&scenes, columns.max(1), zoom.max(1))
                .save(&out)
                .with_context(|| format!("cannot write {}", out.display()))?;
            println!("{}", out.display());
        }
    }
    Ok(())
}
