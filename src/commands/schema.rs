//! `pipeline schema`

use anyhow::Context as _;
use clap::Args;
use pipeline_engine::{Kind, OptionSpec, PartSpec, Registry};
use serde_json::{Map, Value, json};

use super::{Context, Failure};
use crate::print;

/// Print the JSON Schema of pipeline.toml, for editors.
#[derive(Debug, Args)]
#[command(after_help = "An editor with Taplo (Even Better TOML) completes and checks a config that begins with
  #:schema ./pipeline.schema.json

Example:
  pipeline schema > pipeline.schema.json")]
pub struct Arguments {}

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(&schema(&context.registry)).context("cannot write the schema")?;
        print::stdout(&format!("{text}\n"));
        Ok(())
    }
}

/// The schema, from the definitions that read the config. Draft 7, which editors support best.
fn schema(registry: &Registry) -> Value {
    let mut properties = Map::new();
    let mut required = vec!["stage"];
    for table in registry.tables() {
        let mut schema = object(table, None);
        if table.name == "run" {
            let presets: Vec<&str> = registry.presets().map(|preset| preset.name.as_str()).chain([""]).collect();
            // A name, or a file of the user's own.
            schema["properties"]["preset"]["anyOf"] = json!([{ "enum": presets }, { "pattern": "\\.toml$" }]);
        }
        if schema["required"].as_array().is_some_and(|keys| !keys.is_empty()) {
            required.push(table.name);
        }
        properties.insert(table.name.to_owned(), schema);
    }
    properties.insert("stage".into(), list("The stages, in the order in which data flows.", registry.stages(), 1));
    properties.insert("eval".into(), list("What is measured before, during and after training.", registry.probes(), 0));
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "pipeline.toml",
        "description": "A pipeline: its stages, what it trains, what it measures.",
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

/// A list of tables, each of one of the kinds.
fn list<'a>(about: &str, kinds: impl Iterator<Item = &'a Kind>, least: u64) -> Value {
    let kinds: Vec<Value> = kinds.map(|kind| object(kind, Some(kind.name))).collect();
    json!({ "description": about, "type": "array", "minItems": least, "items": { "oneOf": kinds } })
}

/// The table of a kind, with the sub-tables of the parts that it can use.
fn object(kind: &Kind, word: Option<&str>) -> Value {
    let mut properties = Map::new();
    if let Some(word) = word {
        properties.insert("kind".into(), json!({ "const": word, "description": kind.about }));
    }
    let mut required: Vec<&str> = word.map(|_| "kind").into_iter().collect();
    for spec in &kind.options {
        if spec.default.is_none() {
            required.push(spec.name);
        }
        properties.insert(spec.name.to_owned(), option(spec));
        for part in &spec.parts {
            properties.insert(part.name.to_owned(), sub_table(part));
        }
    }
    table(kind.name, kind.about, &required, properties)
}

/// The options of a part. All of them have a default.
fn sub_table(part: &PartSpec) -> Value {
    let properties = part.options.iter().map(|spec| (spec.name.to_owned(), option(spec))).collect();
    table(part.name, part.about, &[], properties)
}

fn table(title: &str, about: &str, required: &[&str], properties: Map<String, Value>) -> Value {
    json!({
        "title": title,
        "description": about,
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

/// An option with its help and its default.
fn option(spec: &OptionSpec) -> Value {
    let mut schema = spec.schema.clone();
    schema["description"] = json!(spec.line());
    if let Some(default) = &spec.default {
        // Defaults are TOML. Most are JSON too; the others are shown as text.
        schema["default"] = serde_json::from_str(default).unwrap_or_else(|_| json!(default));
    }
    schema
}
