//! `pipeline check`

use clap::Args;

use super::{ConfigArguments, Context, Failure};
use crate::show;

/// Find every fault of a config without running it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline check
  pipeline check my.toml --preset paper --set stage.train.lr=1e-5")]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
}

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        let plan = self.config.plan(&context.registry)?;
        show::say(&format!("{} is right: {}\n", self.config.config.display(), show::chain(&plan)));
        Ok(())
    }
}
