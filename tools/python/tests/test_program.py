"""Running configs, checking them, and errors."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SHORT

import clip_negation as cn
from clip_negation._run import _toml


def test_the_program_is_that_of_the_wheel() -> None:
    if "PIPELINE_BINARY" not in os.environ:
        assert cn.binary().parent.samefile(Path(sys.executable).parent)
    assert cn.version().count(".") == 2


def test_a_program_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_BINARY", "/nowhere/pipeline")
    with pytest.raises(FileNotFoundError, match="/nowhere/pipeline"):
        cn.check()


def test_a_run_prints_its_progress_and_gives_its_folder(capsys: pytest.CaptureFixture[str]) -> None:
    run = cn.run(set={**SHORT, "run.name": "printed"}, preset="paper", resume=False)
    assert run.path == Path("runs/printed")
    assert run.export.is_dir()
    printed = capsys.readouterr().out
    assert "run folder: runs/printed" in printed and "the run is in runs/printed" in printed
    assert "tng" in run.config["stage"][-1]["loss"]


def test_a_run_that_exists_is_an_error_and_force_replaces_it(run: cn.Run) -> None:
    settings: dict[str, cn.Setting] = {**SHORT, "run.name": "short"}
    with pytest.raises(cn.PipelineError, match="exists already") as caught:
        cn.run(set=settings, quiet=True)
    assert caught.value.returncode == 1
    assert str(caught.value).startswith("error: ")
    settings["run.name"] = "again"
    cn.run(set=settings, quiet=True)
    assert cn.run(set=settings, quiet=True, force=True).export.is_dir()


def test_check_gives_every_fault() -> None:
    assert cn.check() == []
    faults = cn.check(set={"stage.trian.lr": 1e-4, "stage.batch.size": "many"})
    assert len(faults) == 2
    assert "did you mean `train`" in faults[0]
    assert '`size` of stage `batch` must be a whole number, not "many"' in faults[1]
    assert not any("faults" in fault for fault in faults)
    assert len(cn.check("missing.toml")) == 1


def test_a_wrong_config_has_its_faults() -> None:
    with pytest.raises(cn.ConfigError) as caught:
        cn.run(set={"stage.trian.lr": 1e-4, "stage.batch.size": "many"}, quiet=True)
    assert len(caught.value.faults) == 2
    assert caught.value.returncode == 2


def test_settings_keep_their_types() -> None:
    assert _toml(True) == "true" and _toml(np.bool_(False)) == "false"
    assert _toml(3) == "3" and _toml(np.int64(3)) == "3"
    assert _toml(1e-5) == "1e-05" and _toml(np.float64(0.5)) == "0.5"
    assert _toml("9090") == '"9090"' and _toml('a "b"\n') == '"a \\"b\\"\\n"'
    assert _toml(["captions", "distance"]) == '["captions", "distance"]'
    assert _toml(Path("a") / "b").strip('"') == os.fspath(Path("a") / "b").replace("\\", "\\\\")
    with pytest.raises(TypeError, match="a setting cannot be None"):
        _toml(None)  # type: ignore[arg-type]
    # A string that looks like a number stays a string: a name, here.
    assert cn.check(set={"run.name": "7"}) == []
    assert len(cn.check(set={"run.name": 7})) == 1


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_an_interrupted_run_saves_and_resumes() -> None:
    code = (
        "import clip_negation as cn, sys\n"
        f"settings = { ({**SHORT, 'run.name': 'stopped', 'run.epochs': 50})!r}\n"
        "try: cn.run(set=settings)\n"
        "except KeyboardInterrupt: print('interrupted in Python')\n"
    )
    process = subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if line.startswith("epoch 2"):
            process.send_signal(signal.SIGINT)
            break
    seen.append(process.stdout.read())
    process.stdout.close()
    assert process.wait() == 0, "".join(seen)
    assert "go on with --resume" in seen[-1] and "interrupted in Python" in seen[-1]
    assert any(Path("runs/stopped/checkpoints").iterdir())
    # Without a change this continues for all epochs: one more setting ends it now.
    with pytest.raises(cn.PipelineError, match=r"run\.seed"):
        cn.run(set={**SHORT, "run.name": "stopped", "run.epochs": 50, "run.seed": 2}, resume=True, quiet=True)


def test_a_resumed_run_gives_its_folder(run: cn.Run) -> None:
    assert cn.run(set={**SHORT, "run.name": "short"}, resume=True, quiet=True).path == Path("runs/short")
