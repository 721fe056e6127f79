//! The binary on a small part of the drawn world, each test in a folder of its own.
#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A folder with two shards, a config and its runs.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub config: Vec<(String, String)>,
}

/// Members of the first samples of a tar, in order.
pub fn samples(tar: &Path, count: usize) -> Vec<(String, Vec<u8>)> {
    let mut members: Vec<(String, Vec<u8>)> = Vec::new();
    let mut keys: Vec<String> = Vec::new();
    for entry in tar::Archive::new(std::fs::File::open(tar).unwrap()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_string_lossy().into_owned();
        let key = name.split('.').next().unwrap().to_owned();
        if keys.last() != Some(&key) {
            if keys.len() == count {
                break;
            }
            keys.push(key);
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        members.push((name, bytes));
    }
    members
}

pub fn write_tar(path: &Path, members: &[(String, Vec<u8>)]) {
    let mut builder = tar::Builder::new(std::fs::File::create(path).unwrap());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    builder.finish().unwrap();
}

impl Bench {
    /// Two shards of the drawn world with `count` samples together, three small steps per epoch.
    pub fn new(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = root().join("assets/world/train-000.tar");
        let members = samples(&world, count);
        let half = members.len() / 2;
        let cut = (half..members.len()).find(|&i| key(&members[i].0) != key(&members[i - 1].0)).unwrap_or(half);
        write_tar(&folder.path().join("a-000.tar"), &members[..cut]);
        write_tar(&folder.path().join("a-001.tar"), &members[cut..]);
        Self { folder, config: Vec::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `--set key=value` in every run of this bench.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.config.push((key.to_owned(), value.to_owned()));
        self
    }

    pub fn config_text(&self) -> String {
        format!(
            r#"[run]
seed = 3
epochs = 2
device = "cpu"
dir = "{dir}"

[model]
weights = "{weights}"

[[stage]]
kind = "shards"
urls = "a-{{000..001}}.tar"
shuffle = true
buffer = 16

[[stage]]
kind = "decode"

[[stage]]
kind = "encode"
cache = "cache"

[[stage]]
kind = "batch"
size = 16

[[stage]]
kind = "pairs"
on = "cpu"
k = 2

[[stage]]
kind = "captions"
writer = "tng"

[[stage]]
kind = "tokenize"

[[stage]]
kind = "train"
loss = "tng"
lr = 1e-3
"#,
            dir = self.path("runs").display(),
            weights = root().join("assets/clip-world").display(),
        )
    }

    /// Writes pipeline.toml, unless the test has written one.
    pub fn write_config(&self) {
        let config = self.path("pipeline.toml");
        if !config.exists() {
            std::fs::write(&config, self.config_text()).unwrap();
        }
    }

    /// Runs `pipeline run` with these overrides.
    pub fn run(&self, name: &str, sets: &[&str]) -> Ran {
        self.flagged(name, &[], sets)
    }

    /// The same with more arguments.
    pub fn run_with(&self, name: &str, sets: &[&str], arguments: &[&str]) -> Ran {
        self.flagged(name, arguments, sets)
    }

    /// Continues a run.
    pub fn resume(&self, name: &str, sets: &[&str]) -> Ran {
        self.flagged(name, &["--resume"], sets)
    }

    /// Replaces a run with a new one.
    pub fn force(&self, name: &str, sets: &[&str]) -> Ran {
        self.flagged(name, &["--force"], sets)
    }

    fn flagged(&self, name: &str, arguments: &[&str], sets: &[&str]) -> Ran {
        self.write_config();
        let mut command = pipeline();
        command.arg("run").arg(self.path("pipeline.toml")).args(arguments).arg(format!("--set=run.name={name}"));
        for (key, value) in &self.config {
            command.arg(format!("--set={key}={value}"));
        }
        command.args(sets.iter().map(|set| format!("--set={set}")));
        Ran { dir: self.path("runs").join(name), output: command.output().unwrap() }
    }
}

fn key(name: &str) -> &str {
    name.split('.').next().unwrap()
}

pub fn pipeline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipeline"));
    command.env_remove("RUST_LOG").env_remove("RANK").env_remove("WORLD_SIZE");
    command
}

pub struct Ran {
    pub dir: PathBuf,
    pub output: Output,
}

impl Ran {
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Fails the test with the output of the run, unless the run succeeded.
    pub fn whole(self) -> Self {
        assert!(self.output.status.success(), "{}\n{}", self.stdout(), self.stderr());
        self
    }

    /// Fails the test unless the run failed with this exit code; returns its standard error.
    pub fn failed(&self, code: i32) -> String {
        assert_eq!(self.output.status.code(), Some(code), "{}\n{}", self.stdout(), self.stderr());
        self.stderr()
    }

    pub fn weights(&self) -> Vec<u8> {
        std::fs::read(self.dir.join("export/model.safetensors")).unwrap()
    }

    pub fn stages(&self) -> Vec<serde_json::Value> {
        serde_json::from_slice(&std::fs::read(self.dir.join("stages.json")).unwrap()).unwrap()
    }

    /// Kinds of the stages that ran in an epoch.
    pub fn kinds(&self, epoch: u64) -> Vec<String> {
        self.stages().iter().filter(|s| s["epoch"] == epoch).map(|s| s["kind"].as_str().unwrap().to_owned()).collect()
    }

    pub fn skipped(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.dir.join("skipped.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn results(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.dir.join("results.jsonl")).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// True if there is a Vulkan adapter; CI requires one.
pub fn vulkan() -> bool {
    let there = std::fs::read_dir("/usr/share/vulkan/icd.d").is_ok_and(|mut d| d.next().is_some())
        || std::fs::read_dir("/etc/vulkan/icd.d").is_ok_and(|mut d| d.next().is_some());
    assert!(
        there || std::env::var_os("PIPELINE_EXPECT_VULKAN").is_none(),
        "no Vulkan adapter, but PIPELINE_EXPECT_VULKAN is set"
    );
    if !there {
        println!("skipped: no Vulkan adapter");
    }
    there
}
