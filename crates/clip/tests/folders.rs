//! Folders as people have them: such that may not be read.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use clip::{Checkpoint, Precision, Preprocess, Tensors, Tokenizer, init};
use common::messages;
use common::models::small;
use serde_json::Value;
use tempfile::TempDir;

/// A checkpoint of transformers in 16 bits, whose config names the type.
fn in_half() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let start = dir.path().join("start");
    Checkpoint::create(&start, &small(), &init::random(&small(), 5), Precision::F16).unwrap();
    let path = start.join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    config["dtype"] = "float16".into();
    config["text_config"]["dtype"] = "float16".into();
    fs::write(&path, config.to_string()).unwrap();
    (dir, start)
}

#[cfg(unix)]
mod unreadable {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::process::CommandExt;

    use super::*;

    const REFUSED: &str = "PIPELINE_TEST_REFUSED_FOLDER";

    /// What every reader of a folder says of one that may not be entered.
    fn reasons(start: &Path) -> Vec<String> {
        vec![
            Checkpoint::open(start).unwrap_err().to_string(),
            Checkpoint::open(start.join("model.safetensors")).unwrap_err().to_string(),
            Preprocess::open(start, Some(16)).unwrap_err().to_string(),
            Tokenizer::open(start).unwrap_err().to_string(),
        ]
    }

    #[test]
    fn a_folder_that_may_not_be_read_is_not_an_empty_one() {
        if let Some(start) = std::env::var_os(REFUSED) {
            for reason in reasons(Path::new(&start)) {
                assert!(reason.contains("Permission denied") && !reason.contains("missing"), "{reason}");
            }
            return;
        }
        let (dir, start) = in_half();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&start, fs::Permissions::from_mode(0o000)).unwrap();
        let name = "unreadable::a_folder_that_may_not_be_read_is_not_an_empty_one";
        if fs::read_dir(&start).is_err() {
            reasons(&start).iter().for_each(|reason| assert!(reason.contains("Permission denied"), "{reason}"));
        } else {
            // Root reads everything; a user that is nobody does not.
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", name, "--nocapture"]).env(REFUSED, &start).uid(65534).gid(65534);
            match child.output() {
                Ok(output) => {
                    let said = String::from_utf8_lossy(&output.stdout);
                    assert!(output.status.success() && said.contains("1 passed"), "{said}");
                }
                Err(error) => println!("skipped: this test cannot be run as another user: {error}"),
            }
        }
        fs::set_permissions(&start, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_link_that_leads_nowhere_is_named() {
        for (file, open) in [
            ("config.json", (|dir| Checkpoint::open(dir).map(drop)) as fn(&Path) -> Result<(), clip::Error>),
            ("model.safetensors", |dir| Checkpoint::open(dir).map(drop)),
            ("preprocessor_config.json", |dir| Preprocess::open(dir, Some(16)).map(drop)),
            ("processor_config.json", |dir| Preprocess::open(dir, Some(16)).map(drop)),
            ("tokenizer.json", |dir| Tokenizer::open(dir).map(drop)),
        ] {
            let (_dir, start) = in_half();
            let _ = fs::remove_file(start.join(file));
            symlink("../blobs/nowhere", start.join(file)).unwrap();
            let message = open(&start).unwrap_err().to_string();
            assert!(message.contains(file) && message.contains("link to a file that does not exist"), "{message}");
            fs::remove_file(start.join(file)).unwrap();
            symlink(file, start.join(file)).unwrap();
            let message = open(&start).unwrap_err().to_string();
            assert!(message.contains(file) && message.contains("symbolic links"), "{message}");
        }
    }

    #[test]
    fn a_file_beside_the_weights_does_not_stop_an_export() {
        let (dir, start) = in_half();
        symlink("nowhere", start.join("README.md")).unwrap();
        let checkpoint = Checkpoint::open(&start).unwrap();
        let out = dir.path().join("export");
        let warned = messages(|| drop(checkpoint.export(&out, &Tensors::new()).unwrap()));
        assert!(warned.contains("README.md"), "{warned}");
        assert!(out.join("config.json").is_file() && !out.join("README.md").exists());
    }
}
