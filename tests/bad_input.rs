//! Bad input: a sentence that says what is wrong, where, and what to do; what can
//! be skipped is skipped, named and counted.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Bench, samples, write_tar};

#[test]
fn a_missing_shard_is_reported_before_the_run() {
    let bench = Bench::new(32);
    std::fs::remove_file(bench.path("a-001.tar")).unwrap();
    let said = bench.run("r", &[]).failed(2);
    assert!(said.contains("shard `a-001.tar` is missing"), "{said}");
    assert!(!bench.path("runs/r").exists(), "a run that never began leaves no folder");
}

#[test]
fn a_cut_tar_a_text_for_a_picture_and_captions_that_are_none() {
    let bench = Bench::new(60);
    // The second shard is cut in the middle of a member.
    let cut = bench.path("a-001.tar");
    let bytes = std::fs::read(&cut).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() / 2 + 700]).unwrap();
    // In the first, three samples are broken in three ways.
    let first = bench.path("a-000.tar");
    let mut members = samples(&first, 1000);
    let broken: Vec<String> = ["jpg", "txt", "txt"]
        .iter()
        .enumerate()
        .map(|(i, ext)| {
            let at = members.iter().enumerate().filter(|(_, (name, _))| name.ends_with(ext)).nth(i * 5 + 2).unwrap().0;
            match i {
                0 => members[at].1 = b"this is no picture".to_vec(),
                1 => members[at].1 = vec![0xff, 0xfe, b'a', 0xc3, 0x28],
                _ => members[at].1 = b"\n \n".to_vec(),
            }
            members[at].0.split('.').next().unwrap().to_owned()
        })
        .collect();
    write_tar(&first, &members);

    let run = bench.run("r", &["stage.batch.size=8"]).whole();
    let skipped = run.skipped();
    for (key, word) in broken.iter().zip(["decode", "shards", "shards"]) {
        let line = skipped.iter().find(|s| s["key"] == *key).unwrap_or_else(|| panic!("{key} is not in {skipped:?}"));
        assert_eq!(line["stage"], word);
        let text = |name: &str| line[name].as_str().unwrap();
        assert!(text("shard").ends_with("a-000.tar") && !text("reason").is_empty());
    }
    assert!(
        skipped.iter().any(|s| s["shard"].as_str().unwrap().ends_with("a-001.tar")),
        "the cut shard is named: {skipped:?}"
    );
    assert!(run.stdout().contains("skipped"), "{}", run.stdout());
    assert_eq!(run.kinds(2)[0], "encode", "what is skipped is remembered too");

    let said = bench.run("limit", &["stage.batch.size=8", "run.max_skipped=1"]).failed(1);
    assert!(said.contains("run.max_skipped = 1"), "{said}");
}

#[test]
fn a_folder_that_is_not_a_model() {
    let bench = Bench::new(16);
    std::fs::create_dir(bench.path("empty")).unwrap();
    for (folder, word) in [("empty", "config.json"), ("nowhere", "nowhere")] {
        let said = bench.run(folder, &[&format!("model.weights={}", bench.path(folder).display())]).failed(2);
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn a_config_with_three_typos_gets_three_faults() {
    let bench = Bench::new(16);
    let text = bench
        .config_text()
        .replace("epochs", "epoch")
        .replace("\"decode\"", "\"decod\"")
        .replace("size = 16", "size = \"x\"");
    std::fs::write(bench.path("pipeline.toml"), text).unwrap();
    let said = bench.run("r", &[]).failed(2);
    for word in [
        "`epoch`",
        "did you mean `epochs`",
        "`decod`",
        "did you mean `decode`",
        "`size`",
        "3 faults",
        "pipeline.toml:3",
    ] {
        assert!(said.contains(word), "{word} is not in\n{said}");
    }
    assert!(!bench.path("runs").exists(), "nothing was run");
}

#[test]
fn a_run_folder_is_never_overwritten() {
    let bench = Bench::new(32).set("run.epochs", "1");
    bench.run("r", &[]).whole();
    let said = bench.run("r", &[]).failed(1);
    assert!(said.contains("--resume") && said.contains("--force"), "{said}");
}

#[test]
fn too_few_samples_for_one_batch() {
    let bench = Bench::new(16);
    let said = bench.run("r", &["stage.batch.size=64"]).failed(1);
    assert!(said.contains("batch.size = 64") && said.contains("stage `batch`"), "{said}");
}

/// A page of a proxy under the name of a shard, and two tars that `cat` put together: what is lost is more than one sample.
#[test]
fn lost_shards_are_reported_at_the_end() {
    let bench = Bench::new(60);
    std::fs::write(bench.path("page.tar"), "<html>404</html>").unwrap();
    let first = std::fs::read(bench.path("a-000.tar")).unwrap();
    let second = std::fs::read(bench.path("a-001.tar")).unwrap();
    std::fs::write(bench.path("both.tar"), [first, second].concat()).unwrap();
    let urls = "stage.shards.urls=[\"a-000.tar\", \"page.tar\", \"both.tar\"]";
    let run = bench.run("r", &["stage.batch.size=8", "run.epochs=2", urls]).whole();
    let printed = run.stdout();
    let end = &printed[printed.find("lost: 2 shards, wholly or in part").unwrap_or_else(|| panic!("{printed}"))..];
    assert!(end.contains("page.tar: the whole shard is lost: not a tar: it is a web page"), "{end}");
    assert!(end.contains("both.tar: the shard is lost in part: its end marker is at byte"), "{end}");
    assert!(!printed.contains("samples skipped so far"), "no sample was skipped: {printed}");
    let page = std::fs::read_to_string(run.dir.join("report.html")).unwrap();
    assert!(page.contains("Samples skipped: 0, and 2 shards lost"));
}

#[test]
fn a_data_set_without_a_usable_sample_ends_with_the_reasons() {
    let bench = Bench::new(60);
    for name in ["a-000.tar", "a-001.tar"] {
        let mut members = samples(&bench.path(name), 100);
        for (member, _) in &mut members {
            *member = member.replacen('.', ".v2.0 (final).", 1);
        }
        write_tar(&bench.path(name), &members);
    }
    let said = bench.run("r", &[]).failed(1);
    for part in ["no usable sample", "skipped so far: 60", ".v2.0 (final).jpg", "first dot", "`shards`"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert!(!said.contains("Lower batch.size"), "{said}");
}

#[test]
fn captions_that_name_nothing_are_a_warning() {
    let bench = Bench::new(48);
    for name in ["a-000.tar", "a-001.tar"] {
        let mut members = samples(&bench.path(name), 100);
        for (_, bytes) in members.iter_mut().filter(|(member, _)| member.ends_with(".txt")) {
            *bytes = "草地上的一只狗".as_bytes().to_vec();
        }
        write_tar(&bench.path(name), &members);
    }
    let run = bench.run("r", &[]).whole();
    let said = run.stderr() + &run.stdout();
    assert_eq!(said.matches("48 of the 48 captions of this epoch name no object").count(), 1, "{said}");
    let run = Bench::new(48).run("r", &[]).whole();
    assert!(!(run.stderr() + &run.stdout()).contains("name no object"));
}

/// Under `sbatch --ntasks=8` without srun, and under torchrun, a run must not read a part of the shards.
#[test]
fn one_of_several_processes_is_refused() {
    let bench = Bench::new(32);
    bench.write_config();
    for (rank, size) in [("SLURM_PROCID", "SLURM_NTASKS"), ("RANK", "WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE")] {
        for command in ["check", "run"] {
            let mut command_line = common::pipeline();
            command_line.arg(command).arg(bench.path("pipeline.toml")).env(rank, "0").env(size, "8");
            let output = command_line.output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains(&format!("{rank} = 0, {size} = 8")) && said.contains("exchange gradients"), "{said}");
        }
    }
    let mut all = common::pipeline();
    all.arg("check").arg(bench.path("pipeline.toml")).arg("--set=stage.shards.split=none");
    assert!(all.env("RANK", "0").env("WORLD_SIZE", "8").output().unwrap().status.success());
}
