//! Parts, contracts and presets: what a config may choose, and what `check` says of it.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Brush, config, registry, run, seen};
use pipeline_engine::{Alternatives, Config, Plan, Value, check};

const HEAD: &str = "[run]\nepochs = 1\n[[stage]]\nkind = \"count\"\nn = 3\n[[stage]]\nkind = \"paint\"\n";

fn text(paint: &str, sink: &str) -> String {
    format!("{HEAD}{paint}\n[[stage]]\nkind = \"sink\"\ntag = \"parts\"\n{sink}\n")
}

fn checked(text: &str) -> Result<Plan, Vec<String>> {
    check(&config(text).unwrap(), &registry()).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

fn faults(text: &str) -> Vec<String> {
    checked(text).map(|_| ()).unwrap_err()
}

#[test]
fn a_part_reads_its_own_table() {
    let config =
        text("brush = \"wide\"\n[stage.wide]\ntimes = 4", "").replace("tag = \"parts\"", "tag = \"own table\"");
    assert!(run("own-table", &config).result.is_ok());
    assert_eq!(seen("own table", 1).unwrap(), [0, 4, 8]);
    let plan = checked(&config).unwrap();
    let resolved = plan.resolved();
    let expected = "brush = \"wide\"\ncleaners = \"thin\"\nfile = \"\"\n\n[stage.wide]\ntimes = 4\nbristles = 7\n\n[stage.thin]\nby = 1\n";
    assert!(resolved.contains(expected), "{resolved}");
    assert!(plan.notes().is_empty(), "{:?}", plan.notes());
    let again = checked(resolved).unwrap();
    assert_eq!(again.resolved(), resolved);
}

#[test]
fn a_table_of_another_part_has_no_effect_and_is_noted_but_its_mistakes_are_faults() {
    let plan = checked(&text("cleaners = []\n[stage.wide]\ntimes = 4", "")).unwrap();
    let notes: Vec<String> = plan.notes().iter().map(ToString::to_string).collect();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].starts_with("test.toml:9:8: [stage.wide] has no effect: the brush is `thin`"), "{notes:?}");
    assert!(!plan.resolved().contains("[stage.wide]"));
    let found = faults(&text("[stage.wide]\ntines = 4", ""));
    assert!(
        found[0].contains("brush `wide` has no option `tines`") && found[0].contains("did you mean `times`?"),
        "{found:?}"
    );
}

#[test]
fn unknown_parts_and_tables_are_named() {
    let found = faults(&text("brush = \"wode\"\n[stage.thick]\nby = 1", ""));
    assert!(
        found[0].contains("must be \"thin\" or \"wide\", not \"wode\"") && found[0].contains("did you mean `wide`?"),
        "{found:?}"
    );
    assert!(
        found[1].contains("stage `paint` has no table `[stage.thick]`") && found[1].contains("did you mean `thin`?"),
        "{found:?}"
    );
    let found = faults(&text("[stage.brush]\nby = 1", ""));
    assert!(found[0].contains("`brush` of stage `paint` must be \"thin\" or \"wide\", not a table"), "{found:?}");
    let found = faults(&text("", "[stage.tag]\nx = 1").replace("tag = \"parts\"\n", ""));
    assert!(found[0].contains("must be a string, not a table"), "{found:?}");
}

#[test]
fn keys_that_moved_are_refused_with_the_line_to_write() {
    let found = faults(&text("factor = 4\npencil = \"wide\"\nglue = true", ""));
    assert!(
        found[0].contains("`factor` of stage `paint` has another place now (write `times = 4` under [stage.wide])"),
        "{found:?}"
    );
    assert!(found.iter().any(|fault| fault.contains("(write `brush = \"wide\"`)")), "{found:?}");
    assert!(found.iter().any(|fault| fault.contains("(nothing is glued any more)")), "{found:?}");
}

#[test]
fn needs_that_no_stage_meets_and_files_that_do_not_exist_are_faults_at_once() {
    let wide = "brush = \"wide\"\nfile = \"nowhere.txt\"";
    assert!(checked(&text("brush = \"wide\"", "")).is_ok());
    let found = faults(&text(wide, "paper = false"));
    assert_eq!(
        found,
        [
            "test.toml:6:1: the brush `wide` needs big paper, which no stage of this pipeline gives (add a stage `sink`)",
            "test.toml:9:8: nowhere.txt does not exist (give one that does)",
        ]
    );
}

fn loaded(text: &str, presets: &[&str], sets: &[&str]) -> Result<Plan, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("p.toml");
    std::fs::write(&path, text).unwrap();
    let own = "about = \"own\"\n[[stage]]\nkind = \"paint\"\n[stage.thin]\nby = 5\n";
    std::fs::write(folder.path().join("own.toml"), own).unwrap();
    std::fs::write(folder.path().join("bad.toml"), "about = 3\n").unwrap();
    let inside = |name: &&str| match name.ends_with(".toml") {
        true => folder.path().join(name).display().to_string(),
        false => (*name).to_owned(),
    };
    let sets: Vec<String> = sets.iter().map(ToString::to_string).collect();
    let presets: Vec<String> = presets.iter().map(inside).collect();
    let said = |faults: Vec<pipeline_engine::Diagnostic>| faults.iter().map(ToString::to_string).collect::<Vec<_>>();
    Config::load(&path, &presets, &sets, &registry()).and_then(|config| check(&config, &registry())).map_err(said)
}

#[test]
fn presets_and_overrides_choose_parts_and_set_their_options() {
    let plain = text("[stage.wide]\ntimes = 4", "");
    // Under the file: the preset's word, the file's option.
    let named = plain.replace("epochs = 1", "epochs = 1\npreset = \"painted\"");
    assert!(loaded(&named, &[], &[]).unwrap().resolved().contains("[stage.wide]\ntimes = 4"));
    // Over the file: the preset's option too.
    assert!(loaded(&plain, &["painted"], &[]).unwrap().resolved().contains("[stage.wide]\ntimes = 2"));
    let plan = loaded(&plain, &["painted"], &["stage.paint.wide.times=9", "paint.thin.by=3"]).unwrap();
    assert!(plan.resolved().contains("times = 9") && plan.resolved().contains("by = 3"), "{}", plan.resolved());
    // Another part by --set: the file's table has no effect.
    let plan = loaded(&named, &[], &["stage.paint.brush=thin"]).unwrap();
    assert!(plan.notes()[0].message.contains("[stage.wide] has no effect"), "{:?}", plan.notes());
    // A preset of one's own.
    assert!(loaded(&plain, &["own.toml"], &[]).unwrap().resolved().contains("[stage.thin]\nby = 5"));
    let wrong = loaded(&plain, &["none.toml"], &["paint.factor=3"]).map(|_| ()).unwrap_err();
    assert!(wrong.iter().any(|fault| fault.contains("cannot read the preset")), "{wrong:?}");
    assert!(wrong.iter().any(|fault| fault.contains("write --set stage.paint.wide.times=3")), "{wrong:?}");
    assert!(loaded(&plain, &["bad.toml"], &[]).map(|_| ()).unwrap_err()[0].contains("`about` must be a string"));
}

#[test]
fn help_and_names_come_from_the_same_definition() {
    let registry = registry();
    let paint = registry.stages().find(|kind| kind.name == "paint").unwrap();
    let brush = paint.options.iter().find(|option| option.name == "brush").unwrap();
    let parts: Vec<_> = brush.parts.iter().map(|part| (part.name, part.about, part.options.len())).collect();
    assert_eq!(parts, [("thin", "adds little", 1), ("wide", "multiplies", 2)]);
    assert_eq!(brush.default.as_deref(), Some("\"thin\""));
    assert_eq!(registry.preset("painted").unwrap().about, "a brush");
}

#[test]
fn a_command_makes_a_part_from_its_own_options() {
    let wide = <dyn Brush>::list().iter().find(|part| part.name == "wide").unwrap();
    let made = wide.from_options(&[("times", Value::Integer(3))], "the command line").unwrap();
    assert_eq!(made.paint(5), 15);
    let wrong = wide.from_options(&[("times", Value::Boolean(true)), ("by", Value::Integer(1))], "the command line");
    let wrong: Vec<String> = wrong.map(drop).unwrap_err().iter().map(ToString::to_string).collect();
    assert!(
        wrong.len() == 2
            && wrong[0].starts_with("the command line: `times` of brush `wide` must be")
            && wrong[1].contains("no option `by`"),
        "{wrong:?}"
    );
}

#[test]
fn a_probe_lets_the_first_stage_verify_what_it_will_read() {
    let text = |count: &str, probe: &str| {
        let stages = text("", "").replace("n = 3", &format!("n = 3\n{count}"));
        format!("{stages}\n[[eval]]\nkind = \"burst\"\n{probe}\n")
    };
    assert!(checked(&text("weight = 100", "numbers = 100_000")).is_ok());
    assert!(checked(&text("", "numbers = 1_000_000")).is_ok());
    // The first stage keeps its other options, and the fault is one of the probe's option.
    let found = faults(&text("weight = 100", "numbers = 1_000_000"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("test.toml:17:11: 1000000 numbers of 100 bytes are too many"), "{found:?}");
    // A first stage that is wrong by itself is reported once.
    let found = faults(&text("weight = \"much\"", "numbers = 1_000_000"));
    assert!(found.len() == 1 && found[0].contains("`weight` of stage `count`"), "{found:?}");
    // An option that the stage refuses is a fault too.
    assert!(faults(&text("", "numbers = 1_500_000"))[0].contains("`n` of stage `count` must be"));
}
