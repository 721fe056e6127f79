//! `pipeline check`

use clap::Args;

use super::{ConfigArguments, Context, Failure};
use crate::print;

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
        print::stdout(&format!("{} is right: {}\n", self.config.config.display(), print::chain(&plan)));
        print::stdout(&print::notes(&plan));
        Ok(())
    }
}
