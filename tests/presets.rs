//! Every preset, by the list that `pipeline presets` prints: it trains, resumes and exports.
#![allow(clippy::unwrap_used)]

mod common;

use common::Bench;

fn presets() -> Vec<String> {
    let out = common::pipeline().arg("presets").output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let names = text.lines().take_while(|line| !line.is_empty());
    names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn every_preset_trains_resumes_and_exports() {
    let names = presets();
    assert!(names.len() >= 12 && names.contains(&"conclip".to_owned()), "{names:?}");
    for name in names {
        let bench = Bench::new(48);
        // What the preset says of writer, loss and guards counts; steps are few, and large enough to be seen.
        let text = bench.config_text().replace("writer = \"tng\"\n", "").replace("loss = \"tng\"\nlr = 1e-3\n", "");
        std::fs::write(bench.path("pipeline.toml"), text).unwrap();
        let sets = ["stage.batch.size=8", "stage.train.lr=1e-3", "stage.train.warmup_steps=0"];
        let run = |run: &str, epochs: &str, arguments: &[&str]| {
            let epochs = format!("run.epochs={epochs}");
            let sets: Vec<&str> = sets.iter().copied().chain([epochs.as_str()]).collect();
            let arguments: Vec<&str> = arguments.iter().copied().chain(["--preset", &name]).collect();
            bench.run_with(run, &sets, &arguments).whole()
        };
        let whole = run("whole", "2", &[]);
        run("cut", "1", &[]);
        let resumed = run("cut", "2", &["--resume"]);
        assert!(whole.weights() == resumed.weights(), "{name}: the resumed run ended with other weights");
        let start = std::fs::read(common::root().join("assets/clip-world/model.safetensors")).unwrap();
        assert!(whole.weights() != start, "{name} trained nothing");
    }
}
