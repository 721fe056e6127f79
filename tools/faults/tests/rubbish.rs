//! A short corpus; the long one is `faults rubbish`.
#![allow(clippy::unwrap_used)]

use std::process::Command;

/// Runs in a process with little memory, which an unbounded allocation would end.
#[cfg(unix)]
#[test]
fn five_hundred_cases_end_as_they_should() {
    let program = env!("CARGO_BIN_EXE_faults");
    let limited = format!("ulimit -v 3000000; exec {program:?} rubbish --cases 500 --seed 7");
    let output = Command::new("sh").args(["-c", &limited]).output().unwrap();
    let (said, shown) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    let tail: Vec<&str> = said.lines().rev().take(12).collect();
    assert!(output.status.success(), "{:?}\n{tail:?}\n{shown}", output.status);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["cases"], 500);
    // Each kind of case ends in at least this many ways, so the corpus tests what it should.
    for (kind, ways) in [("tar", 3), ("picture", 2), ("weights", 2), ("checkpoint", 1), ("cache", 1), ("captions", 1)] {
        assert!(report["ended"][kind].as_object().unwrap().len() >= ways, "{kind}: {report}");
    }
}
