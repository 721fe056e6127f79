"""The repaired text encoder in other libraries computes what the program computes."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clip_negation as cn

torch = pytest.importorskip("torch", reason="torch is not installed")

TEXTS = [
    "a dog with no ball",
    "A red boat. No lamp is included.",
    "",
    "Ein Hund, kein Ball. 狗",
    "a long text " * 40,
]
BOUND = 1e-4


@pytest.fixture(scope="module")
def open_clip_start(folder: Path) -> Path:
    """The checkpoint that training began with, in open_clip's layout."""
    return converted(folder / "assets/clip-world", folder / "start", "open-clip")


def converted(source: Path, target: Path, layout: str) -> Path:
    command = [str(cn.binary()), "convert", str(source), str(target), "--to", layout]
    subprocess.run(command, check=True, capture_output=True)
    return target


def wanted(weights: Any) -> np.ndarray:
    return cn.embed(TEXTS, weights=weights, raw=True, device="cpu")


def in_transformers(weights: Any) -> np.ndarray:
    model, tokenizer = cn.text_encoder(weights)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32} and not model.training
    with torch.no_grad():
        tokens = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
        return np.asarray(model(**tokens).text_embeds)


def in_open_clip(loaded: cn.OpenClip) -> np.ndarray:
    with torch.no_grad():
        return np.asarray(loaded.model.encode_text(loaded.tokenizer(TEXTS)))


def test_transformers(run: cn.Run, folder: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    assert np.abs(in_transformers(run) - wanted(run)).max() < BOUND
    assert np.abs(in_transformers("assets/clip-world") - wanted(run)).max() > 100 * BOUND
    # An export in open_clip's layout is converted on the way.
    other = converted(run.export, folder / "export-open_clip", "open-clip")
    assert np.abs(in_transformers(other) - wanted(run)).max() < BOUND


def test_transformers_refuses_weights_without_a_projection(run: cn.Run, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    from safetensors.torch import load_file, save_file

    shutil.copytree(run.export, tmp_path / "cut")
    tensors = load_file(run.export / "model.safetensors")
    del tensors["text_projection.weight"]
    save_file(tensors, tmp_path / "cut/model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"text_projection\.weight"):
        cn.text_encoder(tmp_path / "cut")


def test_open_clip(run: cn.Run, open_clip_start: Path, folder: Path) -> None:
    open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed")
    name = f"local-dir:{open_clip_start}"
    loaded = cn.open_clip_model(run, name)
    assert np.abs(in_open_clip(loaded) - wanted(run)).max() < BOUND
    # From an export in open_clip's own layout, too.
    other = converted(run.export, folder / "export-own", "open-clip")
    assert np.abs(in_open_clip(cn.open_clip_model(other, name)) - wanted(run)).max() < BOUND
    # The image tower stays.
    start = open_clip.create_model(name)
    assert np.abs(in_open_clip(cn.OpenClip(start, None, loaded.tokenizer)) - wanted(run)).max() > 100 * BOUND
    for theirs, ours in zip(start.visual.state_dict().values(), loaded.model.visual.state_dict().values()):
        assert torch.equal(theirs, ours)


def test_open_clip_with_a_text_tower_of_its_own(run: cn.Run, open_clip_start: Path) -> None:
    open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed")
    config = json.loads((open_clip_start / "open_clip_config.json").read_text())["model_cfg"]
    model = open_clip.CustomTextCLIP(**config).eval()
    assert cn.load_into_open_clip(model, run) is model
    tokenizer = open_clip.get_tokenizer(f"local-dir:{open_clip_start}")
    assert np.abs(in_open_clip(cn.OpenClip(model, None, tokenizer)) - wanted(run)).max() < BOUND


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quick_gelu": False}, "ends with -quickgelu"),
        ({"heads": 8}, "4 attention heads, the model has 8"),
        ({"layers": 3}, r"transformer\.resblocks\.3\.\S+ is not in the model"),
        ({"width": 128}, r"positional_embedding is \[77, 64\], the model's is \[77, 128\]"),
    ],
)
def test_open_clip_refuses_what_does_not_fit(
    run: cn.Run, open_clip_start: Path, change: dict[str, Any], message: str
) -> None:
    open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed")
    config = json.loads((open_clip_start / "open_clip_config.json").read_text())["model_cfg"]
    for key, value in change.items():
        (config if key in config else config["text_cfg"])[key] = value
    model = open_clip.CLIP(**config)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        cn.load_into_open_clip(model, run)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_run_that_is_not_done_says_so(run: cn.Run, tmp_path: Path) -> None:
    for name in ("pipeline.toml", "results.jsonl"):
        shutil.copy(run.path / name, tmp_path)
    with pytest.raises(FileNotFoundError, match="has no export"):
        cn.load_into_open_clip(torch.nn.Linear(1, 1), tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        cn.load_into_open_clip(torch.nn.Linear(1, 1), tmp_path / "nothing")
