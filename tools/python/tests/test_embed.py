"""Features as arrays."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

import clip_negation as cn
from clip_negation import _embed

TEXTS = ["a dog with no ball", "", "a red boat", "Ein Hund, kein Ball. 狗"]


def test_rows_are_in_the_order_of_the_texts(run: cn.Run) -> None:
    features = cn.embed(TEXTS, weights=run)
    assert features.dtype == np.float32 and features.shape == (4, 64)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1.0, atol=1e-6)
    for text, row in zip(TEXTS, features):
        np.testing.assert_allclose(cn.embed(text, weights=run.export)[0], row, atol=1e-5)


def test_a_run_its_folder_and_its_export_are_the_same(run: cn.Run) -> None:
    features = cn.embed(TEXTS, weights=run)
    np.testing.assert_array_equal(features, cn.embed(TEXTS, weights=run.path))
    np.testing.assert_array_equal(features, cn.embed(TEXTS, weights=str(run.export)))
    assert np.abs(features - cn.embed(TEXTS, weights="assets/clip-world")).max() > 1e-3


def test_raw_and_composed_features(run: cn.Run) -> None:
    raw = cn.embed(TEXTS, weights=run, raw=True)
    scaled = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(scaled, cn.embed(TEXTS, weights=run), atol=1e-5)
    composed = cn.embed(TEXTS, weights=run, compose="policy")
    assert composed.shape == scaled.shape and np.abs(composed - scaled).max() > 1e-2


def test_texts_of_several_lines_are_one_row_each(run: cn.Run) -> None:
    features = cn.embed([*TEXTS, "a dog\nwith no ball\r\n"], weights=run)
    assert features.shape == (5, 64)
    np.testing.assert_allclose(features[4], features[0], atol=1e-5)


def test_many_arguments_are_several_calls(run: cn.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"scene\n{number}" for number in range(9)]
    whole = cn.embed(texts, weights=run)
    monkeypatch.setattr(_embed, "LIMIT", 50)
    np.testing.assert_allclose(cn.embed(texts, weights=run), whole, atol=1e-5)


def test_pictures_by_file_folder_and_shard(run: cn.Run, tmp_path: Path) -> None:
    shard = "assets/world/test-000.tar"
    with tarfile.open(shard) as tar:
        members = [member for member in tar.getmembers() if member.name.endswith((".png", ".jpg", ".webp"))][:4]
        paths = []
        for member in members:
            data = tar.extractfile(member)
            assert data is not None
            paths.append(tmp_path / Path(member.name).name)
            paths[-1].write_bytes(data.read())
    features = cn.embed(images=paths, weights=run)
    assert features.dtype == np.float32 and features.shape == (4, 64)
    np.testing.assert_allclose(cn.embed(images=paths[::-1], weights=run), features[::-1], atol=1e-5)
    np.testing.assert_allclose(cn.embed(images=tmp_path, weights=run), features, atol=1e-5)
    np.testing.assert_allclose(cn.embed(images=shard, weights=run)[:4], features, atol=1e-5)


def test_a_warning_of_the_program_is_one(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "assets/clip-world", tmp_path / "clip")
    (tmp_path / "clip/preprocessor_config.json").unlink()
    with pytest.warns(RuntimeWarning, match="OpenAI's mean and standard deviation are assumed"):
        cn.embed(images="assets/world/test-000.tar", weights=tmp_path / "clip")


def test_what_cannot_be_embedded_is_an_error(run: cn.Run, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="texts or images"):
        cn.embed(weights=run)
    with pytest.raises(ValueError, match="texts or images"):
        cn.embed("a", images="b.png", weights=run)
    with pytest.raises(ValueError, match="the list is empty"):
        cn.embed([], weights=run)
    with pytest.raises(ValueError, match="the list is empty"):
        cn.embed(images=[], weights=run)
    with pytest.raises(TypeError, match="not int"):
        cn.embed(["a", 1], weights=run)  # type: ignore[list-item]
    with pytest.raises(cn.PipelineError, match=r"missing\.png"):
        cn.embed(images=tmp_path / "missing.png", weights=run)
    with pytest.raises(cn.PipelineError, match="hf:owner/name"):
        cn.embed("a", weights=tmp_path / "nothing")
