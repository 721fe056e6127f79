//! `pipeline sweep`

mod child;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, anyhow};
use clap::Args;
use items::metric;
use pipeline_engine::files::write_atomically;
use pipeline_engine::{Config, Measurement, RunError, check};

use super::{Context, Failure};
use crate::progress::Mode;
use crate::sweep::{Outcome, Planned, Row, Sweep, csv, markdown, names, plot, rows};
use crate::{exit, log, print};
use child::Child;

/// Run a grid of settings with several seeds; one table and plots at the end.
///
/// Every run has its own folder in the sweep's `dir`. Finished runs are kept, interrupted
/// ones continue from their checkpoint: repeat the command to continue a sweep.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline sweep sweep.toml --list      # which runs are done
  pipeline sweep sweep.toml             # repeat to continue")]
pub struct Arguments {
    /// The sweep: base, dir, seeds, [grid], [[case]]; see docs/benchmarks.md.
    file: PathBuf,
    /// Only list the runs, and which of them are done.
    #[arg(long)]
    list: bool,
    /// Only make the table and the plots of the finished runs.
    #[arg(long, conflicts_with = "list")]
    table: bool,
}

/// Ending of the file with a run's settings, beside its folder.
const SETTINGS: &str = "toml";

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        let sweep = Sweep::read(&self.file)?;
        let runs = sweep.runs();
        // All faults are reported before the first run starts.
        for run in &runs {
            self.check(&sweep, run, context)?;
        }
        if self.list {
            for run in &runs {
                let state = if finished(&sweep.dir, run) { "done" } else { "to do" };
                print::stdout(&format!("{state:<6} {}\n", run.name));
            }
            return Ok(());
        }
        std::fs::create_dir_all(&sweep.dir).with_context(|| format!("cannot create {}", sweep.dir.display()))?;
        let child = Child::default();
        for (index, run) in runs.iter().enumerate().filter(|_| !self.table) {
            if finished(&sweep.dir, run) {
                continue;
            }
            if child.stopped() {
                return self.interrupted();
            }
            if !context.quiet {
                print::stdout(&format!("run {} of {}: {}\n", index + 1, runs.len(), run.name));
            }
            self.start(&sweep, run, context, &child)?;
        }
        self.report(&sweep, &runs)
    }

    /// Checks the config of a run, and that an existing folder of this run was made with the same settings.
    fn check(&self, sweep: &Sweep, run: &Planned, context: &Context) -> Result<(), Failure> {
        let config = Config::load(&sweep.base, &run.presets, &run.sets, &context.registry)?;
        let resolved = check(&config, &context.registry)?.resolved().to_owned();
        let path = settings(&sweep.dir, run);
        match std::fs::read_to_string(&path) {
            Ok(before) if before != resolved => Err(anyhow!(
                "{} holds a run with other settings than {} asks for now (compare {}); delete it, or give the sweep \
                 another `dir`",
                sweep.dir.join(&run.name).display(),
                self.file.display(),
                path.display()
            )
            .into()),
            Ok(_) => Ok(()),
            Err(_) if self.list || self.table => Ok(()),
            Err(_) => {
                std::fs::create_dir_all(&sweep.dir)
                    .with_context(|| format!("cannot create {}", sweep.dir.display()))?;
                Ok(write_atomically(&path, resolved.as_bytes())
                    .with_context(|| format!("cannot write {}", path.display()))?)
            }
        }
    }

    /// Runs a process for a run: its memory is freed at the end, and its failure does not end this program.
    fn start(&self, sweep: &Sweep, run: &Planned, context: &Context, child: &Child) -> Result<(), Failure> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(program);
        command.arg("run").arg(&sweep.base).arg("--of-sweep");
        let dir = std::path::absolute(&sweep.dir).unwrap_or_else(|_| sweep.dir.clone());
        command.args(run.presets.iter().map(|preset| format!("--preset={preset}")));
        command.args(run.sets.iter().map(|set| format!("--set={set}")));
        command.arg(format!("--set=run.dir={}", toml::Value::String(dir.display().to_string())));
        command.arg(format!("--set=run.name={}", toml::Value::String(run.name.clone())));
        if sweep.dir.join(&run.name).join("pipeline.toml").exists() {
            command.arg("--resume");
        }
        // A run in progress is shown as a single run would be. Of its result the sweep prints one line; the rest is in
        // the run's report.
        match Mode::pick(context.quiet, context.log, context.plain) {
            Mode::View => {}
            mode => {
                command.stdin(Stdio::null()).stdout(Stdio::null()).arg(match mode {
                    Mode::Quiet => "--quiet",
                    Mode::Json => "--log=json",
                    Mode::Lines | Mode::View => "--plain",
                });
            }
        }
        let status = child.run(&mut command).context("cannot start a run")?;
        match status.code() {
            Some(0) => {
                if let (false, Ok(results)) = (context.quiet, results(&sweep.dir, run)) {
                    let outcome = [Outcome { run: run.clone(), results }];
                    let line = |row: &Row| format!("  {} {:.1} %", row.name.1, 100.0 * row.mean());
                    let all: Vec<String> =
                        rows(&outcome, &sweep.show).iter().filter(|row| row.name.2 == metric::ALL).map(line).collect();
                    print::stdout(&format!("{}\n", all.join(",")));
                }
                Ok(())
            }
            Some(code) if code == i32::from(exit::INTERRUPTED) => self.interrupted(),
            _ => Err(anyhow!("run {} failed ({status}); repeat the command to continue from there", run.name).into()),
        }
    }

    fn interrupted(&self) -> Result<(), Failure> {
        log::notice(&format!("to continue: pipeline sweep {}", self.file.display()));
        Err(RunError::Interrupted { checkpoint: None }.into())
    }

    /// Writes the table and the plots of the finished runs.
    fn report(&self, sweep: &Sweep, runs: &[Planned]) -> Result<(), Failure> {
        let mut outcomes = Vec::new();
        for run in runs.iter().filter(|run| finished(&sweep.dir, run)) {
            outcomes.push(Outcome { run: run.clone(), results: results(&sweep.dir, run)? });
        }
        let rows = rows(&outcomes, &sweep.show);
        let command = format!("pipeline sweep {}", self.file.display());
        let mut page = format!(
            "{} of {} runs, made with `{command}`. Scores in percent, mean ± standard deviation over seeds.\n\n{}",
            outcomes.len(),
            runs.len(),
            markdown(&rows)
        );
        let folder = sweep.results();
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let write = |name: &str, text: &str| -> anyhow::Result<()> {
            let path = folder.join(name);
            write_atomically(&path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
        };
        for name in names(&rows) {
            let of: Vec<&Row> = rows.iter().filter(|row| row.name == name).collect();
            let parts = [name.0.as_str(), name.1.as_str(), name.2.as_str()].join("-");
            let file: String = parts.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { '_' }).collect();
            write(&format!("{file}.svg"), &plot(&of))?;
            page += &format!("\n![{parts}]({file}.svg)\n");
        }
        write("sweep.md", &page)?;
        write("sweep.csv", &csv(&outcomes))?;
        print::stdout(&format!(
            "\n{}\nin {}: sweep.md, sweep.csv, a plot for each measurement\n",
            markdown(&rows),
            folder.display()
        ));
        Ok(())
    }
}

fn settings(dir: &Path, run: &Planned) -> PathBuf {
    dir.join(format!("{}.{SETTINGS}", run.name))
}

/// True if a run is finished: the report is the last file it writes. An interrupted run may have a report too, but no
/// export.
fn finished(dir: &Path, run: &Planned) -> bool {
    let has = |name: &str| dir.join(&run.name).join(name).exists();
    has("report.html") && (has("export") || !has("checkpoints"))
}

fn results(dir: &Path, run: &Planned) -> anyhow::Result<Vec<Measurement>> {
    let path = dir.join(&run.name).join("results.jsonl");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let read = |(index, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("{}:{} is not a measurement", path.display(), index + 1))
    };
    text.lines().enumerate().filter(|(_, line)| !line.is_empty()).map(read).collect()
}
