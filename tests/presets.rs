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
        assert!(!text.contains("writer =") && !text.contains("loss ="), "{text}");
        std::fs::write(bench.path("pipeline.toml"), text).unwrap();
        // With a cosine, two epochs are another run than one and one more.
        let sets = [
            "stage.batch.size=8",
            "stage.train.lr=1e-3",
            "stage.train.warmup_steps=0",
            "stage.train.schedule=constant",
        ];
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
        // A term whose texts no image has would be 0.
        let losses = whole.results().into_iter().filter(|line| line["metric"] == "loss");
        let losses: Vec<_> = losses.map(|line| (line["part"].to_string(), line["value"].as_f64().unwrap())).collect();
        assert!(losses.len() > 1 && losses.iter().all(|(_, value)| *value > 0.0), "{name}: {losses:?}");
        let said = whole.stdout() + &whole.stderr();
        assert!(!said.contains("no image had the text"), "{name}: {said}");
    }
}
