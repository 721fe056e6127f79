//! `pipeline schema`

use anyhow::Context as _;
use clap::Args;
use pipeline_engine::{Kind, Registry};
use serde_json::{Map, Value, json};

use super::{Context, Failure};
use crate::show;

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
        show::say(&format!("{text}\n"));
        Ok(())
    }
}

/// The schema, from the definitions that read the config. Draft 7, which editors know best.
fn schema(registry: &Registry) -> Value {
    let mut properties = Map::new();
    let mut required = vec!["stage"];
    for table in registry.tables() {
        let mut schema = object(table, None);
        if table.name == "run" {
            let presets: Vec<&str> = registry.presets().map(|preset| preset.name).chain([""]).collect();
            schema["properties"]["preset"]["enum"] = json!(presets);
        }
        if schema["required"].as_array().is_some_and(|keys| !keys.is_empty()) {
            required.push(table.name);
        }
        properties.insert(table.name.to_owned(), schema);
    }
    properties.insert("stage".into(), list("The stages, in the order in which data flows.", registry.stages(), 1));
    properties.insert("eval".into(), list("What is measured before, between and after.", registry.probes(), 0));
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

/// One table.
fn object(kind: &Kind, word: Option<&str>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    if let Some(word) = word {
        properties.insert("kind".into(), json!({ "const": word, "description": kind.about }));
        required.push("kind");
    }
    for spec in &kind.options {
        let mut schema = spec.schema.clone();
        schema["description"] = json!(spec.line());
        match &spec.default {
            None => required.push(spec.name),
            Some(default) => {
                // A default is TOML; those that are JSON too need no word of their own.
                schema["default"] = serde_json::from_str(default).unwrap_or_else(|_| json!(default));
            }
        }
        properties.insert(spec.name.to_owned(), schema);
    }
    json!({
        "title": kind.name,
        "description": kind.about,
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}
