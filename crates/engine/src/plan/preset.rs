//! Presets: named settings that a config starts from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::{Config, Diagnostic, Origin, Value};

/// A named set of settings, in the shape of a config:
///
/// ```toml
/// about = "one line of help"
/// [run]
/// epochs = 10
/// [[stage]]
/// kind = "train"
/// loss = "tng"
/// [stage.tng]
/// noise = 1.0
/// ```
///
/// A `[[stage]]` table sets options of the config's stage of that kind; it adds no stage.
#[derive(Debug, Clone)]
pub struct Preset {
    /// Its name, or the path of its file.
    pub name: String,
    /// One line of help.
    pub about: String,
    /// The text.
    pub text: String,
    /// Its tables, or what is wrong with the text.
    pub(crate) config: Result<Config, Vec<Diagnostic>>,
}

impl Preset {
    /// Reads the text of a preset. What is wrong with it is reported when it is used.
    pub fn parse(name: &str, text: &str) -> Self {
        let mut top = BTreeMap::from([("about", None)]);
        let mut config = Config::parse_with(&format!("preset {name}"), text.to_owned(), PathBuf::new(), &mut top);
        let mut about = String::new();
        if let Some(found) = top.remove("about").flatten() {
            match found.value {
                Value::String(text) => about = text,
                other => {
                    let fault = Diagnostic::new(format!("`about` must be a string, not {other}"), found.at);
                    config = Err(vec![fault]);
                }
            }
        }
        if let Ok(parsed) = &mut config {
            let mut faults = std::mem::take(&mut parsed.faults);
            for eval in &parsed.evals {
                let fault = Diagnostic::new("a preset has no [[eval]] tables", eval.at.clone());
                faults.push(fault.help("put them in the config that uses the preset"));
            }
            for stage in parsed.stages.iter().filter(|stage| stage.text("kind").is_none()) {
                faults.push(Diagnostic::new("this [[stage]] has no `kind`", stage.at.clone()));
            }
            if !faults.is_empty() {
                config = Err(faults);
            }
        }
        Self { name: name.to_owned(), about, text: text.to_owned(), config }
    }

    /// Reads a preset of one's own from a file.
    pub(crate) fn read(path: &Path) -> Result<Self, Diagnostic> {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self::parse(&name, &text)),
            Err(error) => Err(Diagnostic::new(format!("cannot read the preset: {error}"), Origin::Given(name))),
        }
    }
}
