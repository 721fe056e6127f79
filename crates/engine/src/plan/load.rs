//! A config from its file, with presets and overrides laid over it.

use std::path::Path;

use super::preset::Preset;
use super::registry::Registry;
use crate::config::options::suggest;
use crate::config::{Config, Diagnostic, Laid, Origin};

impl Config {
    /// Reads `path`, then lays over it, in this order: the preset named in `[run]`
    /// (only where the file says nothing), the presets in `presets`, and each
    /// `table.key=value` of `sets`. A preset is a name or the path of a `.toml` file.
    ///
    /// # Errors
    /// When the file cannot be read or is not TOML. What is wrong with presets and overrides
    /// [`check`](crate::check()) reports, together with everything else.
    pub fn load(
        path: &Path,
        presets: &[String],
        sets: &[String],
        registry: &Registry,
    ) -> Result<Self, Vec<Diagnostic>> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| {
            vec![
                Diagnostic::new(format!("cannot read the config: {e}"), Origin::Given(name.clone()))
                    .help("give the path of a pipeline.toml"),
            ]
        })?;
        let base = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        let mut config = Self::parse(&name, text, base)?;
        let mut faults = Vec::new();

        // `--set run.preset=X` means what that line in the file means. `--preset X` takes its
        // place, and beats what the file says itself.
        for set in sets {
            if let Some(("run.preset", value)) = set.split_once('=').map(|(key, value)| (key.trim(), value.trim())) {
                config.set("run.preset", value, &format!("--set {set}"), Laid::Over, &mut faults);
            }
        }
        if !presets.is_empty() {
            config.set("run.preset", "", "--preset", Laid::Over, &mut faults);
        }
        let named =
            config.tables.get("run").and_then(|run| run.text("preset")).map(|(name, at)| (name.to_owned(), at.clone()));
        if let Some((name, at)) = named.filter(|(name, _)| !name.is_empty()) {
            // A path in the file is relative to the file, as all others are.
            match find(&name, &config.base, at, registry) {
                Ok(preset) => config.apply(&preset, Laid::Under, registry, &mut faults),
                Err(fault) => faults.push(fault),
            }
        }
        for name in presets {
            match find(name, Path::new(""), Origin::Given(format!("--preset {name}")), registry) {
                Ok(preset) => {
                    config.apply(&preset, Laid::Over, registry, &mut faults);
                    // Its settings are in force; naming it again would only fill what is full.
                    config.set(
                        "run.preset",
                        &format!("{name:?}"),
                        &format!("--preset {name}"),
                        Laid::Over,
                        &mut faults,
                    );
                }
                Err(fault) => faults.push(fault),
            }
        }
        for set in sets {
            match set.split_once('=') {
                Some((key, value)) => {
                    config.set(key.trim(), value.trim(), &format!("--set {set}"), Laid::Over, &mut faults);
                }
                None => faults.push(
                    Diagnostic::new("an override needs a `=`", Origin::Given(format!("--set {set}")))
                        .help("write --set run.epochs=3 or --set stage.train.lr=1e-5"),
                ),
            }
        }
        config.faults.extend(faults);
        Ok(config)
    }

    /// Sets what a preset says. A stage that the config does not have is reported once, and not at
    /// all if some kind is misspelt: that is a fault by itself, and the cause of this one.
    fn apply(&mut self, preset: &Preset, laid: Laid, registry: &Registry, faults: &mut Vec<Diagnostic>) {
        let layer = match &preset.config {
            Ok(layer) => layer,
            Err(found) => return faults.extend(found.iter().cloned()),
        };
        let mut missing = Vec::new();
        self.lay(layer, laid, &mut missing);
        let is_known = |kind: &str| registry.stages().any(|known| known.name == kind);
        if self.stages.iter().all(|stage| stage.text("kind").is_none_or(|(kind, _)| is_known(kind))) {
            faults.extend(missing);
        }
    }
}

/// The preset of this name, or in this file.
fn find(name: &str, base: &Path, at: Origin, registry: &Registry) -> Result<Preset, Diagnostic> {
    if let Some(preset) = registry.preset(name) {
        return Ok(preset.clone());
    }
    if name.ends_with(".toml") {
        return Preset::read(&base.join(name)).map_err(|fault| Diagnostic { at, ..fault });
    }
    let names: Vec<&str> = registry.presets().map(|preset| preset.name.as_str()).collect();
    let help = format!("{}, or the path of a .toml file", suggest(name, &names));
    Err(Diagnostic::new(format!("there is no preset `{name}`"), at).help(help))
}
