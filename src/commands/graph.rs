//! `pipeline graph`

use std::fmt::Write;

use clap::Args;
use pipeline_engine::Plan;

use super::{ConfigArguments, Context, Failure};
use crate::show;

/// Show the stages of a config and what travels between them.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
}

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        show::say(&text(&self.config.plan(&context.registry)?));
        Ok(())
    }
}

/// The stages with the type and the room of each edge.
fn text(plan: &Plan) -> String {
    let mut text = String::new();
    for (kind, output, room) in plan.stages() {
        let _ = writeln!(text, "{kind}");
        if let Some(output) = output {
            let _ = writeln!(text, "  │ {output}, at most {room} waiting");
        }
    }
    text
}
