//! `pipeline profile`

mod advice;
mod forecast;
mod measure;
mod table;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{ConfigArguments, Context, Failure};
use crate::print;
use advice::{Advice, advise};
use measure::{Measured, Measurer};

/// Find the slow stage: run each alone, then all together.
#[derive(Debug, Args)]
#[command(after_help = "Trains for a moment on a copy in memory; leaves no run folder and no cache behind.

Examples:
  pipeline profile pipeline.toml
  pipeline profile pipeline.toml --set stage.decode.workers=1 --seconds 10
  pipeline profile pipeline.toml --json")]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Seconds for each stage; all together may take up to four times as long.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> anyhow::Result<f64> {
    let seconds = text.parse::<f64>().ok().filter(|s| (0.1..=3600.0).contains(s));
    seconds.context("a number of seconds from 0.1 to 3600")
}

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        // Other programs' load counts before ours begins.
        let load = load().filter(|load| *load > 0.5);
        let measurer = Measurer::new(self, context)?;
        let measured = measurer.measure()?;
        let advice = advise(&measurer, &measured)?;
        if self.json {
            let text = serde_json::to_string_pretty(&as_json(&measured, &advice, load)).context("cannot write JSON")?;
            print::stdout(&format!("{text}\n"));
        } else {
            print::stdout(&table::all(&measured, &advice, load));
        }
        Ok(())
    }
}

fn as_json(measured: &Measured, advice: &[Advice], load: Option<f64>) -> serde_json::Value {
    json!({
        "cores": measured.cores,
        "load_before": load,
        "alone": measured.alone.iter().map(|stage| json!({
            "stage": stage,
            "ceiling": stage.ceiling(),
            "cpu_per_sample": stage.cpu_per_sample(),
        })).collect::<Vec<_>>(),
        "first_epoch": measured.first,
        "later_epochs": measured.later,
        "advice": advice,
    })
}

/// Mean number of programs that wanted a core during the last minute (Linux only).
fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}
