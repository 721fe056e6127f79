//! What a pipeline can read: the kinds of its first stage, and data for side runs.

use std::path::Path;

use pipeline_engine::{Source, Value};

/// The kind of the stage that reads shards.
pub const SHARDS: &str = "shards";
/// The kind of the stage that reads the pictures of a folder.
pub const FILES: &str = "files";

/// Shards (paths, globs, braces, urls), whole and in their order, in every process.
pub fn shards(urls: &[String]) -> Source {
    let urls = urls.iter().cloned().map(Value::String).collect();
    let options = vec![
        ("urls", Value::Array(urls)),
        ("shuffle", Value::Boolean(false)),
        ("split", Value::String("none".to_owned())),
    ];
    Source { kind: SHARDS, options }
}

/// Pictures of a folder, by their paths in it; `PATH#x,y,w,h` is a part of one: w x h pixels from
/// (x, y) on.
pub fn files(folder: &Path, files: impl IntoIterator<Item = String>) -> Source {
    let files = files.into_iter().map(Value::String).collect();
    let folder = Value::String(folder.display().to_string());
    Source { kind: FILES, options: vec![("folder", folder), ("files", Value::Array(files))] }
}
