//! `sweep.toml`, and the runs that it describes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Deserialize;

/// A sweep as its file describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// The config of all runs, relative to the file.
    pub base: PathBuf,
    /// Presets laid over it.
    #[serde(default)]
    pub preset: Vec<String>,
    /// The folder of the runs, relative to the current folder.
    pub dir: PathBuf,
    /// The folder of the table and the plots; default: that of the runs.
    #[serde(default)]
    pub results: Option<PathBuf>,
    /// Each setting is run once per seed.
    #[serde(default = "one")]
    pub seeds: Vec<u64>,
    /// Settings of every run, as `--set` takes them.
    #[serde(default)]
    pub set: Vec<String>,
    /// Every combination of these is run.
    #[serde(default)]
    pub grid: BTreeMap<String, Vec<toml::Value>>,
    /// Named settings; each is combined with the whole grid.
    #[serde(default)]
    pub case: Vec<Case>,
    /// What the table and the plots show, as "EVAL METRIC" or "EVAL METRIC PART"; default: all
    /// accuracies and R@5.
    #[serde(default)]
    pub show: Vec<String>,
}

/// A named set of settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Its name in the table.
    pub name: String,
    /// Presets laid over the base instead of the sweep's own.
    #[serde(default)]
    pub preset: Vec<String>,
    /// Its settings.
    #[serde(default)]
    pub set: Vec<String>,
}

fn one() -> Vec<u64> {
    vec![1]
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The name of its folder.
    pub name: String,
    /// Its name in the table, without the seed.
    pub label: String,
    /// The seed.
    pub seed: u64,
    /// Presets.
    pub presets: Vec<String>,
    /// Settings.
    pub sets: Vec<String>,
}

impl Sweep {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that is not a sweep; a base that does not exist, a key without values, two runs of the same name.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
        let mut sweep: Self = toml::from_str(&text).with_context(|| format!("{shown} is not a sweep"))?;
        sweep.base = path.parent().unwrap_or(Path::new("")).join(&sweep.base);
        if !sweep.base.is_file() {
            bail!("{shown}: `base` is {}, which does not exist", sweep.base.display());
        }
        if sweep.seeds.is_empty() {
            bail!("{shown}: `seeds` is empty");
        }
        if let Some((key, _)) = sweep.grid.iter().find(|(_, values)| values.is_empty()) {
            bail!("{shown}: `{key}` of [grid] has no values");
        }
        if let Some(wrong) = sweep.show.iter().find(|show| !(2..=3).contains(&show.split_whitespace().count())) {
            bail!("{shown}: `show` must hold \"EVAL METRIC\" or \"EVAL METRIC PART\", not {wrong:?}");
        }
        let runs = sweep.runs();
        let mut names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            bail!("{shown}: two runs are called `{}`; give every [[case]] a name of its own", twice[0]);
        }
        Ok(sweep)
    }

    /// The folder of the table and the plots.
    pub fn results(&self) -> &Path {
        self.results.as_deref().unwrap_or(&self.dir)
    }

    /// Every run: all cases, all combinations of the grid, all seeds.
    pub fn runs(&self) -> Vec<Planned> {
        let mut combinations: Vec<Vec<String>> = vec![Vec::new()];
        for (key, values) in &self.grid {
            combinations = combinations
                .iter()
                .flat_map(|before| {
                    values.iter().map(move |value| {
                        let mut sets = before.clone();
                        sets.push(format!("{key}={value}"));
                        sets
                    })
                })
                .collect();
        }
        let plain = Case { name: String::new(), preset: Vec::new(), set: Vec::new() };
        let cases = if self.case.is_empty() { vec![plain] } else { self.case.clone() };
        let mut runs = Vec::new();
        for case in &cases {
            for combination in &combinations {
                let short = combination.iter().map(|set| short(set));
                let label: Vec<String> =
                    [case.name.clone()].into_iter().filter(|n| !n.is_empty()).chain(short).collect();
                let label = if label.is_empty() { "base".to_owned() } else { label.join(", ") };
                for &seed in &self.seeds {
                    let mut sets = self.set.clone();
                    sets.extend(case.set.iter().chain(combination).cloned());
                    sets.push(format!("run.seed={seed}"));
                    runs.push(Planned {
                        name: format!("{}_seed={seed}", file_name(&label)),
                        label: label.clone(),
                        seed,
                        presets: if case.preset.is_empty() { self.preset.clone() } else { case.preset.clone() },
                        sets,
                    });
                }
            }
        }
        runs
    }
}

/// Shortens `stage.train.lr=1e-4` to `lr=1e-4`.
fn short(set: &str) -> String {
    let (key, value) = set.split_once('=').unwrap_or((set, ""));
    format!("{}={}", key.rsplit('.').next().unwrap_or(key), value.trim_matches('"'))
}

/// A label as the name of a folder.
fn file_name(label: &str) -> String {
    let keep = |c: char| if c.is_alphanumeric() || "=.-+".contains(c) { c } else { '_' };
    label.replace(", ", "_").chars().map(keep).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> anyhow::Result<Sweep> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sweep.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::write(dir.path().join("p.toml"), "").unwrap();
        Sweep::read(&path)
    }

    fn fault(text: &str) -> String {
        format!("{:#}", read(text).unwrap_err())
    }

    #[test]
    fn a_grid_gives_every_combination_with_every_seed() {
        let sweep = read("base = \"p.toml\"\ndir = \"out\"\nseeds = [1, 2]\nset = [\"run.epochs=1\"]\n[grid]\n\"stage.train.lr\" = [1e-4, 2e-4]\n\"stage.captions.mode\" = [\"dynamic\", \"fixed\"]\n").unwrap();
        let runs = sweep.runs();
        assert_eq!(runs.len(), 8);
        assert_eq!(runs[0].label, "mode=dynamic, lr=0.0001");
        assert_eq!(runs[0].name, "mode=dynamic_lr=0.0001_seed=1");
        assert_eq!(
            runs[3].sets,
            ["run.epochs=1", "stage.captions.mode=\"dynamic\"", "stage.train.lr=0.0002", "run.seed=2"]
        );
        let sweep = read("base = \"p.toml\"\ndir = \"out\"\n[[case]]\nname = \"paper\"\npreset = [\"paper\"]\n[[case]]\nname = \"no noise\"\nset = [\"stage.train.tng.noise=0\"]\n").unwrap();
        assert_eq!(
            sweep.runs().iter().map(|run| run.name.as_str()).collect::<Vec<_>>(),
            ["paper_seed=1", "no_noise_seed=1"]
        );
    }

    #[test]
    fn faults_are_named() {
        let head = "base = \"p.toml\"\ndir = \"out\"\n";
        assert!(fault(&format!("{head}grdi = 1\n")).contains("grdi"));
        assert!(
            fault(&format!("{head}[grid]\n\"stage.train.lr\" = []\n"))
                .contains("`stage.train.lr` of [grid] has no values")
        );
        let lost = fault("base = \"q.toml\"\ndir = \"out\"\n");
        assert!(lost.contains("`base` is") && lost.contains("q.toml, which does not exist"), "{lost}");
        assert!(fault(&format!("{head}seeds = []\n")).contains("`seeds` is empty"));
        assert!(
            fault(&format!("{head}[[case]]\nname = \"a\"\n[[case]]\nname = \"a\"\n"))
                .contains("two runs are called `a_seed=1`")
        );
        assert!(fault(&format!("{head}show = [\"accuracy\"]\n")).contains("`show`"));
    }
}
