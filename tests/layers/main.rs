//! Who may depend on whom: between crates, and between the folders of the engine. ARCHITECTURE.md draws the picture.
#![allow(clippy::unwrap_used)]

mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use imports::Imports;
use serde_json::Value;

/// The crates of `crates/`, each with those of ours that it may depend on. A new crate needs a line here.
const CRATES: [(&str, &[&str]); 10] = [
    // Knows nothing of images, captions or models.
    ("pipeline-engine", &[]),
    // Know nothing of pipelines.
    ("linalg", &[]),
    ("tables", &[]),
    ("clip-hub", &[]),
    ("clip", &["linalg"]),
    // What the stages of a CLIP pipeline share.
    ("items", &["pipeline-engine"]),
    ("features", &["pipeline-engine", "items"]),
    ("model", &["pipeline-engine", "items", "clip", "clip-hub"]),
    ("benchmarks", &["pipeline-engine", "items", "linalg", "tables"]),
    // Writes questions with the nouns that the stage `captions` finds in the captions that `shards` reads.
    ("questions", &["pipeline-engine", "items", "benchmarks", "tables", "stage-captions", "stage-shards"]),
];
/// Stages use the crates that they share, but not each other, and nothing that measures them.
const NOT_FOR_STAGES: [&str; 2] = ["benchmarks", "questions"];

/// The folders of the engine, from the lowest layer to the highest. Files at the top are below all of them.
const ENGINE: [&str; 6] = ["config", "watch", "edge", "stage", "plan", "run"];
/// Files that import each other in a circle can only be read together.
const LARGEST_CIRCLE: usize = 3;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A crate of this workspace.
struct Package {
    /// Its folder, relative to the repository: `crates/clip`; empty for the program.
    folder: String,
    /// Those of ours that it is built with. What only its tests use does not count.
    uses: BTreeSet<String>,
}

impl Package {
    fn is_in(&self, folder: &str) -> bool {
        Path::new(&self.folder).starts_with(folder)
    }
}

/// The crates of the workspace by name.
fn packages() -> BTreeMap<String, Package> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1"];
    let output = Command::new(cargo).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let package = |package: &Value| {
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        let folder = manifest.parent().unwrap().strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
        let uses = package["dependencies"].as_array().unwrap().iter();
        // Ours are those with a path.
        let uses =
            uses.filter(|used| used["kind"] != "dev" && used["path"].is_string()).map(|used| text(&used["name"]));
        (text(&package["name"]), Package { folder, uses: uses.collect() })
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

#[test]
fn crates_depend_on_lower_ones_only() {
    let packages = packages();
    let rules = BTreeMap::from(CRATES);
    let mut wrong = Vec::new();
    for (name, package) in &packages {
        let used = package.uses.iter().map(|used| (used, &packages[used]));
        for (used, other) in used.filter(|(_, other)| !package.is_in("tools") && other.is_in("tools")) {
            wrong.push(format!("{name} ships, and must not depend on {used} of {}", other.folder));
        }
        if package.is_in("crates") {
            let Some(rule) = rules.get(name.as_str()) else {
                wrong.push(format!("{name} of {} has no line in the table of this test", package.folder));
                continue;
            };
            let used = package.uses.iter().filter(|used| !rule.contains(&used.as_str()));
            wrong.extend(used.map(|used| format!("{name} must not depend on {used}, only on {rule:?}")));
        }
        if package.is_in("stages") {
            let not_allowed =
                |used: &&String| !packages[*used].is_in("crates") || NOT_FOR_STAGES.contains(&used.as_str());
            let used = package.uses.iter().filter(not_allowed);
            wrong.extend(used.map(|used| format!("{name} is a stage, and must not depend on {used}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The test sees the crates at all.
    assert!(packages.values().filter(|package| package.is_in("stages")).count() >= 9, "{:?}", packages.keys());
    assert!(packages["pipeline"].uses.contains("pipeline-engine"));
}

#[test]
fn folders_of_the_engine_import_lower_ones_only() {
    let imports = Imports::of(&root().join("crates/engine/src"));
    // Files at the top come before the first folder.
    let layer = |file: &str| match file.split_once('/') {
        Some((folder, _)) => ENGINE.iter().position(|known| *known == folder).map(|place| place + 1),
        None => Some(0),
    };
    let mut wrong = Vec::new();
    for (file, imported) in imports.edges() {
        match (layer(file), layer(imported)) {
            (Some(from), Some(to)) if to <= from => {}
            (None, _) => wrong.push(format!("the folder of {file} has no place among the layers {ENGINE:?}")),
            _ => wrong.push(format!("{file} must not import {imported}: the layers are {ENGINE:?}")),
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(imports.edges().count() > 80, "the test finds only {} imports", imports.edges().count());
}

#[test]
fn circles_of_imports_in_the_engine_are_small() {
    let imports = Imports::of(&root().join("crates/engine/src"));
    let large: Vec<_> = imports.circles().into_iter().filter(|circle| circle.len() > LARGEST_CIRCLE).collect();
    assert!(large.is_empty(), "files that import each other: {large:#?}");
}
