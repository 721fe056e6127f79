"""Features of texts and pictures as NumPy arrays."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from . import _program
from ._program import StrPath
from ._run import Run
from ._towers import checkpoint

# Bytes of arguments per call. Systems have limits: 32 kB on Windows, 1 MB on macOS, 2 MB on Linux.
LIMIT = 20_000 if os.name == "nt" else 500_000


def embed(
    texts: str | Sequence[str] | None = None,
    *,
    images: StrPath | Sequence[StrPath] | None = None,
    weights: StrPath | Run,
    raw: bool = False,
    compose: str | None = None,
    device: str = "auto",
    batch: int = 32,
) -> npt.NDArray[np.float32]:
    """Computes the features of texts or of pictures.

    Args:
        texts: a text, or several.
        images: a picture's path, or several. A folder gives all its pictures, sorted; WebDataset shards give theirs, in
            their order.
        weights: a run, its folder, or a checkpoint: a folder, a file of weights with its config beside it, or
            ``"hf:owner/name"``.
        raw: features as the projection gives them, not scaled to length 1.
        compose: compose texts with a denial of their parts: "policy", "lambda", "space", "ignore" or "deo".
        device: "auto", "cpu", "wgpu" or "cuda".
        batch: texts or pictures per forward pass.

    Returns:
        float32, ``[N, D]``: a row for each text or picture, in the order given. Rows are unit vectors unless ``raw``.

    Raises:
        ValueError: neither texts nor images, both, or an empty list.
        TypeError: a text is not a string.
        PipelineError: the program's error, such as a picture that cannot be read.
        FileNotFoundError: the program is missing, or the run has no export.
    """
    if (texts is None) == (images is None):
        raise ValueError("give texts or images, one of the two")
    options = [f"--model={checkpoint(weights)}", f"--device={device}", f"--batch={batch}"]
    options += ["--raw"] if raw else []
    options += [f"--compose={compose}"] if compose is not None else []
    calls: list[tuple[list[str], str | None]] = []
    if texts is not None:
        items = [texts] if isinstance(texts, str) else list(texts)
        wrong = next((text for text in items if not isinstance(text, str)), None)
        if wrong is not None:
            raise TypeError(f"a text must be a str, not {type(wrong).__name__}")
        # Standard input has a text per line, so one of several lines goes to the command line, and all with it: the
        # order of the rows is that of the list.
        if any(end in text for text in items for end in "\r\n"):
            calls = [(part, None) for part in _parts([f"--text={text}" for text in items])]
        else:
            calls = [(["--texts=-"], "".join(f"{text}\n" for text in items))] if items else []
    else:
        paths = [images] if isinstance(images, (str, os.PathLike)) else list(images or [])
        calls = [(part, None) for part in _parts([f"--image={os.fspath(path)}" for path in paths])]
    if not calls:
        raise ValueError("nothing to embed: the list is empty")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "features.npy"
        rows = []
        for arguments, stdin in calls:
            _program.call(["embed", *options, f"--out={out}", *arguments], stdin)
            rows.append(np.load(out))
    return np.concatenate(rows)


def _parts(arguments: Sequence[str]) -> Iterator[list[str]]:
    """Splits arguments into command lines that the system accepts."""
    part: list[str] = []
    size = 0
    for argument in arguments:
        length = len(argument.encode()) + 1
        if part and size + length > LIMIT:
            yield part
            part, size = [], 0
        part.append(argument)
        size += length
    if part:
        yield part
