//! What the README promises of the default pipeline.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Ran, pipeline, root};
use items::metric;

/// Value, lower and upper end of a measurement.
fn measured(run: &Ran, phase: &str, eval: &str, metric: &str, part: &str) -> (f64, f64, f64, u64) {
    let all = run.results();
    let found = all
        .iter()
        .find(|m| m["phase"] == phase && m["eval"] == eval && m["metric"] == metric && m["part"] == part)
        .unwrap_or_else(|| panic!("no {phase} {eval} {metric} {part} in {all:#?}"));
    let number = |key: &str| found[key].as_f64().unwrap();
    (number("value"), number("low"), number("high"), found["n"].as_u64().unwrap())
}

#[test]
fn negation_is_repaired_and_retrieval_kept() {
    let folder = tempfile::tempdir().unwrap();
    let output = pipeline()
        .current_dir(root())
        .args(["run", "pipeline.toml", "--set=run.name=default"])
        .arg(format!("--set=run.dir={}", folder.path().display()))
        .arg(format!("--set=stage.encode.cache={}", folder.path().join("cache").display()))
        .output()
        .unwrap();
    let run = Ran { dir: folder.path().join("default"), output }.whole();

    let of = |phase: &str, part: &str| measured(&run, phase, "demo-mcq", metric::ACCURACY, part);
    let (before, _, _, n) = of("before", "all");
    let (after, low, high, _) = of("after", "all");
    println!("negation questions: {before:.3} -> {after:.3} [{low:.3}, {high:.3}], n = {n}");
    assert!(n >= 500, "only {n} questions");
    // The README's figure was measured on one machine. Training magnifies the last bit of a sum,
    // so another processor ends a little elsewhere: the bound leaves room for that.
    assert!(after - before >= 0.12, "the gain is only {:.3}", after - before);
    assert!(low > before && high > low, "the interval after training holds the score before");
    for (part, least) in [("positive", -0.03), ("negative", 0.10), ("hybrid", 0.25)] {
        let (before, after) = (of("before", part).0, of("after", part).0);
        println!("  {part}: {before:.3} -> {after:.3}");
        assert!(after - before >= least, "{part} questions went from {before:.3} to {after:.3}");
    }

    let recalls = [metric::TEXT_TO_IMAGE, metric::IMAGE_TO_TEXT].map(|way| metric::recall(way, 5));
    for metric in &recalls {
        let [before, after] = ["before", "after"].map(|phase| measured(&run, phase, "demo-negated", metric, "all").0);
        println!("negated {metric}: {before:.3} -> {after:.3}");
        assert!(after - before >= 0.1, "negated {metric} went from {before:.3} to {after:.3}");
    }
    // 1257 captions, but only 320 images: one image is 0.3 points.
    for (metric, room) in recalls.iter().zip([0.02, 0.03]) {
        let (before, ..) = measured(&run, "before", "demo-retrieval", metric, "all");
        let (after, ..) = measured(&run, "after", "demo-retrieval", metric, "all");
        println!("{metric}: {before:.3} -> {after:.3}");
        assert!(after >= before - room, "{metric} fell from {before:.3} to {after:.3}");
    }
}
