//! `pipeline completions` and `pipeline man`

use anyhow::Context as _;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Failure;
use crate::cli::Cli;
use crate::print;

/// Print completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline completions bash > ~/.local/share/bash-completion/completions/pipeline
  pipeline completions zsh > ~/.zfunc/_pipeline
  pipeline completions fish > ~/.config/fish/completions/pipeline.fish")]
pub struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub fn run(&self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "pipeline", &mut script);
        print::stdout(&String::from_utf8_lossy(&script));
        Ok(())
    }
}

/// Print the manual page of all commands.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  pipeline man > pipeline.1; man ./pipeline.1")]
pub struct Man {}

impl Man {
    pub fn run(&self) -> Result<(), Failure> {
        let mut command = Cli::command();
        command.build();
        let mut page = Vec::new();
        let main = clap_mangen::Man::new(command.clone());
        main.render(&mut page).context("cannot write the manual page")?;
        // One page for everything: the help of each command follows.
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            let help = sub.clone().render_long_help().to_string();
            let lines = help.lines().map(|line| match line.replace('\\', "\\e").replace('-', "\\-") {
                line if line.starts_with(['.', '\'']) => format!("\\&{line}\n"),
                line => format!("{line}\n"),
            });
            page.extend(format!(".SH \"PIPELINE {}\"\n.nf\n", sub.get_name().to_uppercase()).bytes());
            page.extend(lines.flat_map(String::into_bytes));
            page.extend(b".fi\n");
        }
        print::stdout(&String::from_utf8_lossy(&page));
        Ok(())
    }
}
