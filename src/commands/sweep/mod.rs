//! `pipeline sweep`

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, anyhow};
use clap::Args;
use pipeline_engine::{Config, Measurement, RunError, check, write_atomically};

use super::{Context, Failure};
use crate::progress::Mode;
use crate::sweep::{Outcome, Planned, Row, Sweep, csv, markdown, plot, rows};
use crate::{exit, log, show};

/// Run a grid of settings with several seeds; one table and plots at the end.
///
/// Every run has its own folder in the sweep's `dir`. What is whole there is kept,
/// what was interrupted goes on from its checkpoint: repeat the command to go on.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline sweep sweep.toml --list      # what is done and what is to do
  pipeline sweep sweep.toml             # the same again goes on")]
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
        let child = signals::Child::default();
        for (index, run) in runs.iter().enumerate().filter(|_| !self.table) {
            if whole(&sweep.dir, run) {
                continue;
            }
            if child.stopped() {
                return self.interrupted();
            }
            if !context.quiet {
                show::say(&format!("run {} of {}: {}\n", index + 1, runs.len(), run.name));
            }
            self.start(&sweep, run, context, &child)?;
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
    fn start(&self, sweep: &Sweep, run: &Planned, context: &Context, child: &signals::Child) -> Result<(), Failure> {
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
        // While a run lasts one sees how it does, as of a run alone; of its end a sweep shows one
        // line, and each run has its report.
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
                        rows(&outcome, &sweep.show).iter().filter(|row| row.name.2 == "all").map(line).collect();
                    show::say(&format!("{}\n", all.join(",")));
                }
                Ok(())
            }
            Some(code) if code == i32::from(exit::INTERRUPTED) => self.interrupted(),
            _ => Err(anyhow!("run {} failed ({status}); repeat the command to go on from there", run.name).into()),
        }
    }

    fn interrupted(&self) -> Result<(), Failure> {
        log::notice(&format!("to go on: pipeline sweep {}", self.file.display()));
        Err(RunError::Interrupted { checkpoint: None }.into())
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

/// Whether a run is over: the report is the last thing it writes. One that was interrupted may have
/// a report too, but no export.
fn whole(dir: &Path, run: &Planned) -> bool {
    let has = |name: &str| dir.join(&run.name).join(name).exists();
    has("report.html") && (has("export") || !has("checkpoints"))
}

fn results(dir: &Path, run: &Planned) -> anyhow::Result<Vec<Measurement>> {
    let path = dir.join(&run.name).join("results.jsonl");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let read = |(index, line): (usize, &str)| {
        serde_json::from_str(line).with_context(|| format!("{}:{} is no measurement", path.display(), index + 1))
    };
    text.lines().enumerate().filter(|(_, line)| !line.is_empty()).map(read).collect()
}

/// Signals while a run is a process of its own.
#[cfg(unix)]
mod signals {
    use std::io;
    use std::process::{Command, ExitStatus};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};

    use rustix::process::{Pid, Signal, kill_process};
    use tokio::signal::unix::{SignalKind, signal};

    /// The run that goes on. A Ctrl-C reaches it from the terminal, and it finishes its step and saves;
    /// this program waits for that. A SIGTERM is sent to this program alone, which hands it on.
    #[derive(Default)]
    pub struct Child {
        state: Arc<State>,
        listening: std::cell::Cell<bool>,
    }

    #[derive(Default)]
    struct State {
        /// 0: none.
        pid: AtomicI32,
        stopped: AtomicBool,
    }

    impl Child {
        /// Whether somebody wants the sweep to end.
        pub fn stopped(&self) -> bool {
            self.state.stopped.load(SeqCst)
        }

        /// Starts a run and waits for its end.
        pub fn run(&self, command: &mut Command) -> io::Result<ExitStatus> {
            if !self.listening.replace(true) {
                listen(self.state.clone())?;
            }
            let mut child = command.spawn()?;
            self.state.pid.store(child.id().cast_signed(), SeqCst);
            let status = child.wait();
            self.state.pid.store(0, SeqCst);
            status
        }
    }

    fn listen(state: Arc<State>) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        std::thread::Builder::new().name("signals".into()).spawn(move || {
            runtime.block_on(async {
                let (Ok(mut interrupt), Ok(mut terminate)) =
                    (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
                else {
                    return;
                };
                loop {
                    let hand_on = tokio::select! {
                        _ = interrupt.recv() => false,
                        _ = terminate.recv() => true,
                    };
                    state.stopped.store(true, SeqCst);
                    if let (true, Some(pid)) = (hand_on, Pid::from_raw(state.pid.load(SeqCst))) {
                        // It may have ended just now.
                        let _ = kill_process(pid, Signal::TERM);
                    }
                }
            });
        })?;
        Ok(())
    }
}

#[cfg(not(unix))]
mod signals {
    use std::io;
    use std::process::{Command, ExitStatus};

    /// The run that goes on.
    #[derive(Default)]
    pub struct Child;

    impl Child {
        pub fn stopped(&self) -> bool {
            false
        }

        pub fn run(&self, command: &mut Command) -> io::Result<ExitStatus> {
            command.status()
        }
    }
}
