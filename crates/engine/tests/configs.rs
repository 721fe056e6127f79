//! Configs: every fault at once, with its place.
#![allow(clippy::unwrap_used)]

mod common;

use common::{config, registry};
use pipeline_engine::{Config, check};

fn faults(text: &str) -> Vec<String> {
    let found = match config(text) {
        Ok(config) => check(&config, &registry()).map(|_| ()).unwrap_err(),
        Err(faults) => faults,
    };
    found.iter().map(ToString::to_string).collect()
}

const GOOD: &str = "[run]\nepochs = 1\n[[stage]]\nkind = \"count\"\n[[stage]]\nkind = \"sink\"\ntag = \"t\"\n";

#[test]
fn all_faults_at_once_with_line_and_column() {
    let found = faults(
        "[run]\nepoch = 3\n[modle]\nx = 1\n[[stage]]\nkind = \"count\"\nn = \"many\"\n[[stage]]\nkind = \"square\"\n  wokers = 2\n\
         workers = 65\n[[stage]]\nkind = \"snik\"\n",
    );
    let expected = [
        ("test.toml:2:1: [run] has no option `epoch`", "did you mean `epochs`?"),
        ("test.toml:3:2: there is no table [modle]", "there are `run`"),
        ("test.toml:7:5: `n` of stage `count` must be a whole number, not \"many\"", ""),
        ("test.toml:11:11: `workers` of stage `square` must be from 1 to 64, not 65", ""),
        ("test.toml:10:3: stage `square` has no option `wokers`", "did you mean `workers`?"),
        ("test.toml:13:8: there is no stage of kind `snik`", "did you mean `sink`?"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((start, help), fault) in expected.iter().zip(&found) {
        assert!(fault.starts_with(start) && fault.contains(help), "{fault}\n  should be {start} … {help}");
    }
}

#[test]
fn a_missing_option_says_what_to_write() {
    let found = faults("[[stage]]\nkind = \"count\"\n[[stage]]\nkind = \"sink\"\n");
    assert_eq!(found, ["test.toml:3:1: stage `sink` needs `tag` (add `tag = …`: a string)"]);
}

#[test]
fn edges_must_fit() {
    let found = faults("[[stage]]\nkind = \"count\"\n[[stage]]\nkind = \"spell\"\n");
    assert!(
        found[0].starts_with("test.toml:4:8: `spell` takes words, but `count` before it gives numbers"),
        "{found:?}"
    );
    assert!(faults("[[stage]]\nkind = \"square\"\n")[0].contains("no stage stands before it"));
    assert!(
        faults(&format!("{GOOD}[[stage]]\nkind = \"count\"\n"))[0]
            .contains("`sink` ends the pipeline, but `count` stands after it")
    );
    assert!(faults("[run]\n")[0].contains("no [[stage]]"));
}

#[test]
fn broken_toml_is_told_as_such() {
    let found = faults("[run]\nepochs = = 3\n[[stage]\n");
    assert!(found.len() >= 2 && found.iter().all(|f| f.contains("this is not TOML")), "{found:?}");
    assert!(faults("stage = 1\n")[0].contains("list of tables"));
    assert!(faults("x = 1\n")[0].contains("outside any table"));
}

#[test]
fn the_resolved_config_is_a_config_again() {
    let plan = check(&config(GOOD).unwrap(), &registry()).map_err(|f| f.len()).unwrap();
    assert!(plan.resolved().contains("n = 100\n"), "{}", plan.resolved());
    let again = check(&config(plan.resolved()).unwrap(), &registry()).map_err(|f| f[0].to_string()).unwrap();
    assert_eq!(again.resolved(), plan.resolved());
}

#[test]
fn overrides_and_presets() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.toml");
    let text = GOOD.replace(
        "[[stage]]\nkind = \"sink\"",
        "[[stage]]\nkind = \"square\"\njitter_us = 1\n[[stage]]\nkind = \"sink\"",
    );
    std::fs::write(&path, &text).unwrap();
    let resolved = |presets: &[&str], sets: &[&str]| {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let config = Config::load(&path, &owned(presets), &owned(sets), &registry());
        config
            .and_then(|c| check(&c, &registry()))
            .map(|plan| plan.resolved().to_owned())
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let set = resolved(&[], &["run.epochs=7", "stage.count.n=5", "square.workers=2", "sink.tag=bare word"]).unwrap();
    for line in ["epochs = 7", "n = 5", "workers = 2", "tag = \"bare word\""] {
        assert!(set.contains(line), "{line} is not in {set}");
    }
    let preset = resolved(&["wide"], &["stage.square.workers=5"]).unwrap();
    assert!(preset.contains("seed = 9") && preset.contains("workers = 5"), "--set beats the preset: {preset}");

    let wrong = resolved(&["wild"], &["stage.sqare.workers=2", "epochs", "a.b.c.d=1"]).unwrap_err();
    assert_eq!(wrong.len(), 4, "{wrong:?}");
    assert!(wrong[0].contains("did you mean `wide`?") && wrong[1].contains("did you mean `square`?"), "{wrong:?}");

    // A preset named in the file gives way to what the file says itself.
    std::fs::write(
        &path,
        text.replace("epochs = 1", "epochs = 1\npreset = \"wide\"").replace("jitter_us = 1", "workers = 4"),
    )
    .unwrap();
    let under = resolved(&[], &[]).unwrap();
    assert!(under.contains("seed = 9") && under.contains("workers = 4"), "{under}");

    // Of a stage that is not there a preset complains once, and not at all where a kind is misspelt.
    std::fs::write(&path, GOOD).unwrap();
    let missing = resolved(&["wide"], &[]).unwrap_err();
    assert!(missing.len() == 1 && missing[0].contains("has no stage `square`"), "{missing:?}");
    std::fs::write(&path, text.replace("\"square\"", "\"sqare\"")).unwrap();
    let misspelt = resolved(&["wide"], &[]).unwrap_err();
    assert!(misspelt.len() == 1 && misspelt[0].contains("did you mean `square`?"), "{misspelt:?}");
}

#[test]
fn a_missing_config_is_a_sentence() {
    let faults = Config::load("nowhere/p.toml".as_ref(), &[], &[], &registry()).unwrap_err();
    assert!(faults[0].to_string().starts_with("nowhere/p.toml: cannot read the config"), "{}", faults[0]);
}
