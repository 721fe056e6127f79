//! `pipeline presets`

use std::fmt::Write;

use clap::Args;
use pipeline_engine::did_you_mean;

use super::{Context, Failure};
use crate::print;

/// List the presets, or print the settings of one.
#[derive(Debug, Args)]
#[command(
    after_help = "A preset sets options of the stages that a config has. [run] preset = \"NAME\" applies where the file sets
nothing itself; --preset NAME replaces what the file sets. NAME may be the path of a .toml file of your own.

Examples:
  pipeline presets
  pipeline presets paper > my.toml; pipeline run --preset my.toml"
)]
pub struct Arguments {
    /// Print the settings of this preset, as TOML.
    preset: Option<String>,
}

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        let names: Vec<&str> = context.registry.presets().map(|preset| preset.name.as_str()).collect();
        if let Some(wanted) = &self.preset {
            let Some(preset) = context.registry.preset(wanted) else {
                return Err(Failure::Usage(format!("unknown preset `{wanted}`; {}", did_you_mean(wanted, &names))));
            };
            print::stdout(&preset.text);
            return Ok(());
        }
        let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for preset in context.registry.presets() {
            let _ = writeln!(text, "{:<width$}  {}", preset.name, preset.about);
        }
        text.push_str("\n`pipeline presets NAME` prints the settings of one.\n");
        print::stdout(&text);
        Ok(())
    }
}
