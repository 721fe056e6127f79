//! `pipeline sweep`

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, anyhow};
use clap::Args;
use pipeline_engine::{Config, Measurement, RunError, check, write_atomically};

use super::{Context, Failure};
use crate::sweep::{Outcome, Planned, Row, Sweep, csv, markdown, plot, rows};
use crate::{exit, show};

/// Run a grid of settings with several seeds; one table and plots at the end.
///
/// Every run has its own folder in the sweep's `dir`. What is whole there is kept,
/// what was interrupted goes on from its checkpoint: repeat the command to go on.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The sweep: base, dir, seeds, [grid], [[case]]; see docs/benchmarks.md.
    file: PathBuf,
    /// Only list the runs and what is left to do.
    #[arg(long)]
    list: bool,
    /// Only make the table and the plots of the runs that are whole.
    #[arg(long, conflicts_with = "list")]
    table: bool,
}

/// The settings a run was made with, beside its folder.
const SETTINGS: &str = "toml";

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        let sweep = Sweep::read(&self.file)?;
        let runs = sweep.runs();
        // Every fault before the first run.
        for run in &runs {
            self.check(&sweep, run, context)?;
        }
        if self.list {
            for run in &runs {
                let state = if whole(&sweep.dir, run) { "done" } else { "to do" };
                show::say(&format!("{state:<6} {}\n", run.name));
            }
            return Ok(());
        }
        std::fs::create_dir_all(&sweep.dir).with_context(|| format!("cannot make {}", sweep.dir.display()))?;
        for (index, run) in runs.iter().enumerate().filter(|_| !self.table) {
            if whole(&sweep.dir, run) {
                continue;
            }
            if !context.quiet {
                show::say(&format!("run {} of {}: {}\n", index + 1, runs.len(), run.name));
            }
            self.start(&sweep, run, context)?;
        }
        self.report(&sweep, &runs)
    }

    /// Checks the config of a run, and that what lies in its folder was made with the same settings.
    fn check(&self, sweep: &Sweep, run: &Planned, context: &Context) -> Result<(), Failure> {
        let config = Config::load(&sweep.base, &run.presets, &run.sets, &context.registry)?;
        let resolved = check(&config, &context.registry)?.resolved().to_owned();
        let path = settings(&sweep.dir, run);
        match std::fs::read_to_string(&path) {
            Ok(before) if before != resolved => Err(anyhow!(
                "{} holds a run that was made with other settings than {} gives now (compare {}); \
                 remove it, or give the sweep another `dir`",
                sweep.dir.join(&run.name).display(),
                self.file.display(),
                path.display()
            )
            .into()),
            Ok(_) => Ok(()),
            Err(_) if self.list || self.table => Ok(()),
            Err(_) => {
                std::fs::create_dir_all(&sweep.dir).with_context(|| format!("cannot make {}", sweep.dir.display()))?;
                Ok(write_atomically(&path, resolved.as_bytes())
                    .with_context(|| format!("cannot write {}", path.display()))?)
            }
        }
    }

    /// A run is a process of its own: its memory is its own, and a failure leaves the sweep whole.
    fn start(&self, sweep: &Sweep, run: &Planned, context: &Context) -> Result<(), Failure> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(program);
        command.arg("run").arg(&sweep.base).stdin(Stdio::null());
        let dir = std::path::absolute(&sweep.dir).unwrap_or_else(|_| sweep.dir.clone());
        command.args(run.presets.iter().map(|preset| format!("--preset={preset}")));
        command.args(run.sets.iter().map(|set| format!("--set={set}")));
        command.arg(format!("--set=run.dir={}", toml::Value::String(dir.display().to_string())));
        command.arg(format!("--set=run.name={}", toml::Value::String(run.name.clone())));
        if sweep.dir.join(&run.name).join("pipeline.toml").exists() {
            command.arg("--resume");
        }
        // A sweep shows one line a run; each run has its report.
        command.arg("--quiet").stdout(Stdio::null());
        let status = command.status().context("cannot start a run")?;
        match status.code() {
            Some(0) => {
                if let (false, Ok(results)) = (context.quiet, results(&sweep.dir, run)) {
                    let outcome = [Outcome { run: run.clone(), results }];
                    let line = |row: &Row| format!("  {} {:.1} %", row.name.1, 100.0 * row.mean());
                    let all: Vec<String> =
                        rows(&outcome, &sweep.show).iter().filter(|row| row.name.2 == "all").map(line).collect();
                    show::say(&format!("{}\n", all.join(",")));
                }
                Ok(())
            }
            Some(code) if code == i32::from(exit::INTERRUPTED) => {
                eprintln!("to go on: pipeline sweep {}", self.file.display());
                Err(RunError::Interrupted { checkpoint: None }.into())
            }
            _ => Err(anyhow!("run {} failed ({status}); repeat the command to go on from there", run.name).into()),
        }
    }

    /// The table and the plots of what is whole.
    fn report(&self, sweep: &Sweep, runs: &[Planned]) -> Result<(), Failure> {
        let mut outcomes = Vec::new();
        for run in runs.iter().filter(|run| whole(&sweep.dir, run)) {
            outcomes.push(Outcome { run: run.clone(), results: results(&sweep.dir, run)? });
        }
        let rows = rows(&outcomes, &sweep.show);
        let command = format!("pipeline sweep {}", self.file.display());
        let mut text = format!(
            "{} of {} runs, made with `{command}`. Scores in percent, mean ± standard deviation over seeds.\n\n{}",
            outcomes.len(),
            runs.len(),
            markdown(&rows)
        );
        let folder = sweep.results();
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let write = |name: &str, text: &str| -> anyhow::Result<()> {
            let path = folder.join(name);
            write_atomically(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
        };
        let mut names: Vec<_> = rows.iter().map(|row| row.name.clone()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let of: Vec<&Row> = rows.iter().filter(|row| row.name == name).collect();
            let parts = [name.0.as_str(), name.1.as_str(), name.2.as_str()].join("-");
            let file: String = parts.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { '_' }).collect();
            write(&format!("{file}.svg"), &plot(&of))?;
            text += &format!("\n![{parts}]({file}.svg)\n");
        }
        write("sweep.md", &text)?;
        write("sweep.csv", &csv(&outcomes))?;
        show::say(&format!(
            "\n{}\nin {}: sweep.md, sweep.csv, a plot a measurement\n",
            markdown(&rows),
            folder.display()
        ));
        Ok(())
    }
}

fn settings(dir: &Path, run: &Planned) -> PathBuf {
    dir.join(format!("{}.{SETTINGS}", run.name))
}

/// Whether a run is over: one that was interrupted has a report too, but nothing to export.
fn whole(dir: &Path, run: &Planned) -> bool {
    let folder = dir.join(&run.name);
    folder.join("export").exists() && folder.join("report.html").exists()
}

fn results(dir: &Path, run: &Planned) -> anyhow::Result<Vec<Measurement>> {
    let path = dir.join(&run.name).join("results.jsonl");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let read = |(index, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("{}:{} is no measurement", path.display(), index + 1))
    };
    text.lines().enumerate().filter(|(_, line)| !line.is_empty()).map(read).collect()
}
