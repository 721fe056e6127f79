"""Reading run folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import clip_negation as cn

pandas = pytest.importorskip("pandas", reason="pandas is not installed")


def test_results_are_the_lines_of_the_file(run: cn.Run) -> None:
    table = run.results()
    lines = [json.loads(line) for line in (run.path / "results.jsonl").read_text().splitlines()]
    assert len(table) == len(lines)
    assert list(table.columns) == ["phase", "epoch", "step", "eval", "metric", "part", "value", "low", "high", "n"]
    assert [str(table[name].dtype) for name in ("epoch", "step", "value", "low", "n")] == [
        "int64",
        "int64",
        "float64",
        "float64",
        "int64",
    ]
    assert table["value"].tolist() == [line["value"] for line in lines]
    # The loss has no interval.
    assert table[table["eval"] == "train"]["low"].isna().all()
    assert set(table["phase"]) == {"before", "epoch", "after"}


def test_half_a_line_is_not_read_and_a_damaged_one_is_named(run: cn.Run, tmp_path: Path) -> None:
    shutil.copy(run.path / "pipeline.toml", tmp_path)
    lines = (run.path / "results.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "results.jsonl").write_text("".join(lines[:3]) + lines[3][:20])
    assert len(cn.Run(tmp_path).results()) == 3
    (tmp_path / "results.jsonl").write_text(lines[0] + "{\n" + lines[1])
    with pytest.raises(ValueError, match=r"results\.jsonl:2: not JSON"):
        cn.Run(tmp_path).results()
    (tmp_path / "results.jsonl").write_text("")
    assert len(cn.Run(tmp_path).results()) == 0


def test_metrics_are_the_training_steps(run: cn.Run) -> None:
    table = run.metrics()
    assert table["step"].tolist() == list(range(1, len(table) + 1))
    assert {"loss", "lr", "gradient_norm"} <= set(table.columns)
    results = run.results()
    epoch = results[(results["eval"] == "train") & (results["metric"] == "loss") & (results["part"] == "all")]
    assert len(table) == epoch["step"].iloc[0]
    # The mean over the epoch, from the log of the steps in 32 bits.
    assert table["loss"].mean() == pytest.approx(epoch["value"].iloc[0], rel=1e-5)


def test_a_run_without_steps_and_a_record_cut_short(run: cn.Run, tmp_path: Path) -> None:
    shutil.copy(run.path / "pipeline.toml", tmp_path)
    assert list(cn.Run(tmp_path).metrics().columns) == ["step"]
    (tmp_path / "tensorboard").mkdir()
    file = min((run.path / "tensorboard").iterdir())
    data = file.read_bytes()
    whole = len(run.metrics())
    for cut in (1, 7, len(data) // 2, len(data) - 5):
        (tmp_path / "tensorboard" / file.name).write_bytes(data[:cut])
        assert len(cn.Run(tmp_path).metrics()) <= whole


def test_config_and_export(run: cn.Run) -> None:
    assert run.config["run"]["name"] == "short"
    assert run.config["stage"][0]["urls"] == ["assets/world/train-000.tar"]
    assert (run.export / "model.safetensors").is_file()
    assert repr(run) == f"Run({str(run.path)!r})"


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a run folder"):
        cn.Run(tmp_path)
