//! `pipeline stages`

use std::fmt::Write;

use anyhow::Context as _;
use clap::Args;
use pipeline_engine::{Kind, OptionSpec, PartSpec, Port, Registry, did_you_mean};
use serde_json::{Value, json};

use super::{Context, Failure};
use crate::print;

/// List every kind of stage and eval with its options and defaults.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline stages            all kinds, one per line
  pipeline stages train      one kind with all its options
  pipeline stages --all      all kinds with all their options")]
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

/// The groups of a listing, in order: single tables, stages, evals.
const GROUPS: [&str; 3] = ["table", "stage", "eval"];

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        let mut known = list(&context.registry);
        if let Some(wanted) = &self.kind {
            let names: Vec<&str> = known.iter().map(|(_, kind)| kind.name).collect();
            if !names.contains(&wanted.as_str()) {
                return Err(Failure::Usage(format!("unknown kind `{wanted}`; {}", did_you_mean(wanted, &names))));
            }
            known.retain(|(_, kind)| kind.name == wanted);
        }
        let text = if self.json {
            let list: Vec<Value> = known.iter().map(|(group, kind)| as_json(group, kind)).collect();
            serde_json::to_string_pretty(&list).context("cannot write the kinds as JSON")? + "\n"
        } else if self.all || self.kind.is_some() {
            known.iter().map(|(group, kind)| details(group, kind)).collect()
        } else {
            overview(&known, &context.registry)
        };
        print::stdout(&text);
        Ok(())
    }
}

fn list(registry: &Registry) -> Vec<(&'static str, &Kind)> {
    let tables = registry.tables().into_iter().map(|kind| (GROUPS[0], kind));
    let stages = registry.stages().map(|kind| (GROUPS[1], kind));
    tables.chain(stages).chain(registry.probes().map(|kind| (GROUPS[2], kind))).collect()
}

/// All kinds and presets, one per line.
fn overview(known: &[(&'static str, &Kind)], registry: &Registry) -> String {
    let mut text = String::new();
    let presets = registry.presets().map(|preset| preset.name.as_str());
    let width = known.iter().map(|(_, kind)| kind.name).chain(presets).map(str::len).max().unwrap_or(0);
    for group in GROUPS {
        let head = if group == "table" { "[TABLE]".into() } else { format!("[[{group}]] kind =") };
        let _ = writeln!(text, "{head}");
        for (_, kind) in known.iter().filter(|(of, _)| *of == group) {
            let _ = writeln!(text, "  {:<width$}  {}", kind.name, kind.about);
        }
    }
    text.push_str("presets\n");
    for preset in registry.presets() {
        let _ = writeln!(text, "  {:<width$}  {}", preset.name, preset.about);
    }
    text.push_str(
        "\n`pipeline stages KIND` shows the options of one kind, `--all` those of all, `pipeline presets NAME` a preset.\n",
    );
    text
}

fn port(port: Option<Port>) -> &'static str {
    port.map_or("nothing", |port| port.name)
}

/// A kind with its options, and with the parts that it can use and their options.
fn details(group: &str, kind: &Kind) -> String {
    let mut text = match group {
        "table" => format!("[{}]: {}\n", kind.name, kind.about),
        _ => format!("{group} {}: {}\n", kind.name, kind.about),
    };
    if group == "stage" {
        let _ = writeln!(text, "  takes {}, gives {}", port(kind.input), port(kind.output));
    }
    for spec in &kind.options {
        write_option(&mut text, spec, "  ");
    }
    let table = if group == "table" { kind.name } else { group };
    for spec in &kind.options {
        for part in &spec.parts {
            write_part(&mut text, table, spec, part);
        }
    }
    text.push('\n');
    text
}

fn write_option(text: &mut String, spec: &OptionSpec, indent: &str) {
    let default = spec.default.as_deref().map_or("required".to_owned(), |default| format!("default {default}"));
    let _ = writeln!(text, "{indent}{:<16} {}\n{indent}{:<16} {}; {default}", spec.name, spec.line(), "", spec.expects);
}

/// A part under the word that chooses it: `loss = "tng": the loss of TNG-CLIP; options in [stage.tng]`.
fn write_part(text: &mut String, table: &str, spec: &OptionSpec, part: &PartSpec) {
    // An option that takes several parts takes a list, and so does its default.
    let is_list = spec.default.as_deref().is_some_and(|default| default.starts_with('['));
    let word = if is_list {
        format!("{} = [\"{}\"]", spec.name, part.name)
    } else {
        format!("{} = \"{}\"", spec.name, part.name)
    };
    let options =
        if part.options.is_empty() { "no options".into() } else { format!("options in [{table}.{}]", part.name) };
    let _ = writeln!(text, "\n  {word}: {}; {options}", part.about);
    for option in &part.options {
        write_option(text, option, "    ");
    }
}

fn as_json(group: &str, kind: &Kind) -> Value {
    json!({
        "group": group,
        "kind": kind.name,
        "about": kind.about,
        "takes": kind.input.map(|port| port.name),
        "gives": kind.output.map(|port| port.name),
        "options": kind.options.iter().map(option_as_json).collect::<Vec<_>>(),
    })
}

fn option_as_json(spec: &OptionSpec) -> Value {
    let mut value = json!({
        "name": spec.name,
        "help": spec.line(),
        "expects": spec.expects,
        "default": spec.default,
        "schema": spec.schema,
    });
    if !spec.parts.is_empty() {
        let part = |part: &PartSpec| {
            let options: Vec<Value> = part.options.iter().map(option_as_json).collect();
            json!({ "name": part.name, "about": part.about, "options": options })
        };
        value["parts"] = spec.parts.iter().map(part).collect();
    }
    value
}
