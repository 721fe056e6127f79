"""Tests of the installed wheel: `just python-test`, or `pytest tools/python` where it is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]

if importlib.util.find_spec("clip_negation") is None:
    pytest.exit("clip_negation is not installed; `just python-test` installs the wheel and runs these tests", 2)

import clip_negation as cn  # noqa: E402

# One shard of 220 scenes in batches of 32: six steps.
SHORT: dict[str, cn.Setting] = {
    "run.epochs": 1,
    "run.device": "cpu",
    "stage.shards.urls": "assets/world/train-000.tar",
    "stage.train.warmup_steps": 2,
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the repository's config and assets, to run in."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "assets").symlink_to(REPOSITORY / "assets")
    (folder / "pipeline.toml").write_text((REPOSITORY / "pipeline.toml").read_text())
    return folder


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


@pytest.fixture(scope="session")
def run(folder: Path) -> cn.Run:
    """A short run that all tests read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = cn.run(set={**SHORT, "run.name": "short"}, quiet=True)
    return cn.Run(folder / done.path)
