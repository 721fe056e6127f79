//! `pipeline stages`

use std::fmt::Write;

use anyhow::Context as _;
use clap::Args;
use pipeline_engine::{Kind, OptionSpec, Port, Registry, did_you_mean};
use serde_json::{Value, json};

use super::{Context, Failure};
use crate::show;

/// List every kind of stage and eval with its options and defaults.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline stages            all kinds in a line each
  pipeline stages train      one of them with all its options
  pipeline stages --all      all of them with all their options")]
pub struct Arguments {
    /// A kind of stage or eval, or a table such as `run`.
    kind: Option<String>,
    /// Show the options of every kind.
    #[arg(long, conflicts_with = "kind")]
    all: bool,
    /// As JSON, with all options.
    #[arg(long)]
    json: bool,
}

/// What a listing has, in its order.
const GROUPS: [&str; 3] = ["table", "stage", "eval"];

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        let mut known = list(&context.registry);
        if let Some(wanted) = &self.kind {
            let names: Vec<&str> = known.iter().map(|(_, kind)| kind.name).collect();
            if !names.contains(&wanted.as_str()) {
                return Err(Failure::Usage(format!("there is no kind `{wanted}`; {}", did_you_mean(wanted, &names))));
            }
            known.retain(|(_, kind)| kind.name == wanted);
        }
        if self.json {
            let list: Vec<Value> = known.iter().map(|(group, kind)| as_json(group, kind)).collect();
            let text = serde_json::to_string_pretty(&list).context("cannot write the kinds as JSON")?;
            show::say(&format!("{text}\n"));
            return Ok(());
        }
        let mut text = String::new();
        let details = self.all || self.kind.is_some();
        let presets = context.registry.presets().map(|preset| preset.name);
        let width = known.iter().map(|(_, kind)| kind.name).chain(presets).map(str::len).max().unwrap_or(0);
        for group in GROUPS {
            let of_group: Vec<&Kind> = known.iter().filter(|(of, _)| *of == group).map(|(_, kind)| *kind).collect();
            if !details && !of_group.is_empty() {
                let _ = writeln!(
                    text,
                    "{}",
                    if group == "table" { "[TABLE]".into() } else { format!("[[{group}]] kind =") }
                );
            }
            for kind in of_group {
                if details {
                    write_kind(&mut text, group, kind);
                } else {
                    let _ = writeln!(text, "  {:<width$}  {}", kind.name, kind.about);
                }
            }
        }
        if self.kind.is_none() {
            text.push_str("presets\n");
            for preset in context.registry.presets() {
                let _ = writeln!(text, "  {:<width$}  {}", preset.name, preset.about);
            }
        }
        if !details {
            text.push_str("\n`pipeline stages KIND` shows the options of one, `--all` those of all.\n");
        }
        show::say(&text);
        Ok(())
    }
}

fn list(registry: &Registry) -> Vec<(&'static str, &Kind)> {
    let tables = registry.tables().into_iter().map(|kind| (GROUPS[0], kind));
    let stages = registry.stages().map(|kind| (GROUPS[1], kind));
    tables.chain(stages).chain(registry.probes().map(|kind| (GROUPS[2], kind))).collect()
}

fn port(port: Option<Port>) -> &'static str {
    port.map_or("nothing", |port| port.name)
}

fn write_kind(text: &mut String, group: &str, kind: &Kind) {
    let _ = match group {
        "table" => writeln!(text, "[{}]: {}", kind.name, kind.about),
        _ => writeln!(text, "{group} {}: {}", kind.name, kind.about),
    };
    if group == "stage" {
        let _ = writeln!(text, "  takes {}, gives {}", port(kind.input), port(kind.output));
    }
    for spec in &kind.options {
        let default = spec.default.as_deref().map_or("required".to_owned(), |default| format!("default {default}"));
        let _ = writeln!(text, "  {:<16} {}\n  {:<16} {}; {default}", spec.name, spec.line(), "", spec.expects);
    }
    text.push('\n');
}

fn as_json(group: &str, kind: &Kind) -> Value {
    let option = |spec: &OptionSpec| {
        json!({
            "name": spec.name,
            "help": spec.line(),
            "expects": spec.expects,
            "default": spec.default,
            "schema": spec.schema,
        })
    };
    json!({
        "group": group,
        "kind": kind.name,
        "about": kind.about,
        "takes": kind.input.map(|port| port.name),
        "gives": kind.output.map(|port| port.name),
        "options": kind.options.iter().map(option).collect::<Vec<_>>(),
    })
}
