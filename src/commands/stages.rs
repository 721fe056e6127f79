//! `pipeline stages`

use std::fmt::Write;

use clap::Args;
use pipeline_engine::{OptionSpec, Registry};

use super::{Context, Failure};
use crate::show;

/// List every kind of stage with its options and defaults.
#[derive(Debug, Args)]
pub struct Arguments {}

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        show::say(&kinds(&context.registry));
        Ok(())
    }
}

/// Every kind with its options.
fn kinds(registry: &Registry) -> String {
    let mut text = String::from("[[stage]] kind = …\n");
    for kind in registry.stages() {
        let port = |port: Option<pipeline_engine::Port>| port.map_or("nothing", |p| p.name);
        let _ = writeln!(text, "\n{}: {}", kind.name(), kind.about());
        let _ = writeln!(text, "    takes {}, gives {}", port(kind.input()), port(kind.output()));
        options(&mut text, &kind.options());
    }
    text.push_str("\n[[eval]] kind = …\n");
    for (name, about, specs) in registry.probes() {
        let _ = writeln!(text, "\n{name}: {about}");
        options(&mut text, &specs);
    }
    for (name, specs) in registry.sections() {
        let _ = writeln!(text, "\n[{name}]");
        options(&mut text, &specs);
    }
    let _ = writeln!(text, "\n[run]");
    options(&mut text, &<pipeline_engine::RunOptions as pipeline_engine::Options>::specs());
    text.push_str("\npresets\n");
    for preset in registry.presets() {
        let _ = writeln!(text, "    {:<14} {}", preset.name, preset.about);
    }
    text
}

fn options(text: &mut String, specs: &[OptionSpec]) {
    for spec in specs {
        let default = spec.default.as_deref().map_or("required".to_owned(), |d| format!("default {d}"));
        let help = spec.help.split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = writeln!(text, "    {:<14} {help}\n    {:<14} {}; {default}", spec.name, "", spec.expects);
    }
}
