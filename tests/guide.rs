//! Every command of docs/guide.md, in its order, in an empty folder with the repository's assets.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::root;

/// A command and the exit code that the guide names for it: `# exit 2` at its end, else 0.
fn commands(markdown: &str) -> Vec<(String, i32)> {
    let mut commands = Vec::new();
    let mut shell = false;
    let mut open = String::new();
    for line in markdown.lines() {
        if let Some(language) = line.strip_prefix("```") {
            shell = language == "sh";
        } else if shell && !line.trim().is_empty() {
            if let Some(more) = line.strip_suffix('\\') {
                open.push_str(more);
                continue;
            }
            let line = std::mem::take(&mut open) + line;
            let (command, comment) = line.split_once(" # ").unwrap_or((&line, ""));
            let code = comment.trim().strip_prefix("exit ").map_or(0, |code| code.parse().unwrap());
            commands.push((command.trim().to_owned(), code));
        }
    }
    commands
}

/// Tools that the guide uses beside `pipeline`.
fn there(tool: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(tool).is_file()))
}

#[test]
fn every_command_of_the_guide_runs() {
    if !cfg!(unix) || !there("tar") || !there("sh") {
        println!("skipped: no sh or no tar");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(root().join("assets"), folder.path().join("assets")).unwrap();
    let commands = commands(&std::fs::read_to_string(root().join("docs/guide.md")).unwrap());
    assert!(commands.len() > 12, "the guide has lost its commands: {commands:?}");
    for (command, code) in &commands {
        let output = shell(folder.path(), command);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(output.status.code(), Some(*code), "{command}\n{}\n{}", text(&output.stdout), text(&output.stderr));
    }
    for left in ["shards/train-000002.tar", "pipeline.schema.json", "runs/first/report.html", "runs/paper/export"] {
        assert!(folder.path().join(left).exists(), "{left} is not there at the end of the guide");
    }
}

fn shell(folder: &Path, command: &str) -> std::process::Output {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_pipeline"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path =
        std::env::join_paths(binary.parent().map(Path::to_owned).into_iter().chain(std::env::split_paths(&path)));
    Command::new("sh")
        .args(["-c", command])
        .current_dir(folder)
        .env("PATH", path.unwrap())
        .env_remove("RUST_LOG")
        .env_remove("RANK")
        .env_remove("WORLD_SIZE")
        .output()
        .unwrap()
}
