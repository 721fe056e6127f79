"""Runs: starting one, and reading what it left behind."""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from . import _program
from ._program import ConfigError, PipelineError, StrPath

if TYPE_CHECKING:
    import pandas as pd

Setting = Union[bool, int, float, str, "os.PathLike[str]", Sequence["Setting"]]

FOLDER = "run folder: "

# The columns of results.jsonl, in their order.
COLUMNS = ["phase", "epoch", "step", "eval", "metric", "part", "value", "low", "high", "n"]


class Run:
    """A run folder: what a run left behind, or has written so far.

    Args:
        path: the folder, ``runs/NAME``.

    Raises:
        FileNotFoundError: the folder is missing or is not a run folder.
    """

    def __init__(self, path: StrPath) -> None:
        self.path = Path(path)
        if not (self.path / "pipeline.toml").is_file():
            raise FileNotFoundError(f"{self.path} is not a run folder: it has no pipeline.toml")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def export(self) -> Path:
        """The folder of the trained checkpoint, in the starting checkpoint's layout; exists once the run is done."""
        return self.path / "export"

    @property
    def config(self) -> dict[str, Any]:
        """The config with every default written out: ``config["run"]["seed"]``, ``config["stage"][0]["kind"]``."""
        config: dict[str, Any] = _toml_module().loads((self.path / "pipeline.toml").read_text(encoding="utf-8"))
        return config

    def results(self) -> pd.DataFrame:
        """Returns every measurement, a row each, in the order they were made.

        The columns are ``phase`` ("before", "epoch", "after"), ``epoch``, ``step``, ``eval`` (its name; "train" for the
        loss and the learning rate of an epoch), ``metric``, ``part`` ("all", or a part of the questions), ``value`` (a
        share from 0 to 1 for scores), ``low`` and ``high`` (95 % interval; NaN if there is none) and ``n`` (how many
        questions or texts).

        Raises:
            ImportError: pandas is missing.
            FileNotFoundError: the run has not measured anything.
            ValueError: a line is not JSON.
        """
        pandas = _pandas()
        path = self.path / "results.jsonl"
        text = path.read_text(encoding="utf-8")
        # A run that was killed may have left half a line.
        lines = text.splitlines() if text.endswith("\n") else text.splitlines()[:-1]
        rows = []
        for number, line in enumerate(lines, 1):
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as fault:
                raise ValueError(f"{path}:{number}: not JSON: {fault}") from None
        table = pandas.DataFrame.from_records(rows, columns=COLUMNS)
        return table.astype({"value": float, "low": float, "high": float})

    def metrics(self) -> pd.DataFrame:
        """Returns the log of the training steps: ``step`` and a column for each of loss, lr, gradient_norm.

        Read from the event files in ``tensorboard/``: a row per step for the first 1000 steps, then means of 2, 4, …
        steps. Steps that were repeated after ``resume`` are there once.

        Raises:
            ImportError: pandas is missing.
        """
        pandas = _pandas()
        steps: dict[int, dict[str, float]] = {}
        # Their names begin with the time, so a resumed run's file comes later.
        for path in sorted((self.path / "tensorboard").glob("events.out.tfevents.*")):
            for step, tag, value in _scalars(path.read_bytes()):
                words = tag.split("/")
                # `train/loss`; longer tags are measurements, which `results` has.
                if len(words) == 2 and words[0] == "train":
                    steps.setdefault(step, {})[words[1]] = value
        rows = [{"step": step, **steps[step]} for step in sorted(steps)]
        return pandas.DataFrame.from_records(rows, columns=None if rows else ["step"])


def run(
    config: StrPath = "pipeline.toml",
    *,
    set: Mapping[str, Setting] | None = None,
    preset: StrPath | Sequence[StrPath] | None = None,
    resume: bool = False,
    force: bool = False,
    trace: StrPath | None = None,
    quiet: bool = False,
) -> Run:
    """Runs a pipeline: measures, trains, measures again, exports. Prints the program's output while it comes.

    Args:
        config: the path of a ``pipeline.toml``.
        set: keys to change: ``{"run.epochs": 3, "stage.train.lr": 1e-5}``.
        preset: a preset's name or file, or several.
        resume: continue from the last complete checkpoint of the run folder.
        force: replace the run of this name.
        trace: a file to write spans to, for https://ui.perfetto.dev.
        quiet: print nothing.

    Returns:
        The run folder.

    Raises:
        ConfigError: the config or a setting is wrong; nothing was run.
        PipelineError: the run failed.
        KeyboardInterrupt: interrupted; the run has saved and continues with ``resume=True``.
        FileNotFoundError: the program is missing.
        TypeError: a setting is of a type that TOML does not have.
    """
    arguments = ["--plain", "run"]
    arguments += ["--resume"] if resume else []
    arguments += ["--force"] if force else []
    arguments += [f"--trace={os.fspath(trace)}"] if trace is not None else []
    arguments += _config_arguments(config, set, preset)
    lines = _program.stream(arguments, quiet=quiet)
    folder = next((line[len(FOLDER) :] for line in lines if line.startswith(FOLDER)), None)
    if folder is None:
        raise PipelineError("the program did not print its run folder; is it of another version than this module?", 0)
    return Run(folder)


def check(
    config: StrPath = "pipeline.toml",
    *,
    set: Mapping[str, Setting] | None = None,
    preset: StrPath | Sequence[StrPath] | None = None,
) -> list[str]:
    """Finds every fault of a config without running it.

    Args:
        config: the path of a ``pipeline.toml``.
        set: keys to change, as in :func:`run`.
        preset: a preset's name or file, or several.

    Returns:
        The faults as the program prints them (what, where, what to do); empty if the config is right.

    Raises:
        PipelineError: the check itself failed.
        FileNotFoundError: the program is missing.
        TypeError: a setting is of a type that TOML does not have.
    """
    try:
        _program.call(["check", *_config_arguments(config, set, preset)])
    except ConfigError as wrong:
        return wrong.faults
    return []


def _config_arguments(
    config: StrPath, settings: Mapping[str, Setting] | None, preset: StrPath | Sequence[StrPath] | None
) -> list[str]:
    presets = [] if preset is None else [preset] if isinstance(preset, (str, os.PathLike)) else list(preset)
    arguments = [f"--set={key}={_toml(value)}" for key, value in (settings or {}).items()]
    arguments += [f"--preset={os.fspath(name)}" for name in presets]
    return [*arguments, "--", os.fspath(config)]


def _toml(value: Setting) -> str:
    """Returns a setting as TOML. A string stays one, also if it looks like a number."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return repr(float(value))
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        # JSON's escapes are TOML's too; only DEL may not stand there as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (Sequence, np.ndarray)):
        return f"[{', '.join(_toml(item) for item in value)}]"
    raise TypeError(f"a setting cannot be {value!r}; give a bool, a number, a string, a path or a list of these")


def _scalars(data: bytes) -> Iterator[tuple[int, str, float]]:
    """Reads an event file of TensorBoard: (step, tag, value). Stops at a record that a killed run left half written.

    A record is its length (8 bytes), a sum (4), a ``tensorflow.Event`` and a sum (4). An Event has its step in field 2
    and a Summary in field 5, whose field 1 are values with a tag (1) and a number (2).
    """
    at = 0
    while at + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        event = data[at + 12 : at + 12 + length]
        at += 16 + length
        if at > len(data):
            return
        fields = list(_fields(event))
        step = next((value for field, value in fields if field == 2), 0)
        for summary in (value for field, value in fields if field == 5):
            for _, scalar in _fields(summary):
                parts = dict(_fields(scalar))
                if 1 in parts and 2 in parts:
                    yield step, parts[1].decode(), struct.unpack("<f", parts[2])[0]


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Reads a protobuf message: the number of each field, and an int (varint) or its bytes."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
            continue
        size = varint() if kind == 2 else {1: 8, 5: 4}[kind]
        yield key >> 3, message[at : at + size]
        at += size


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise ImportError("data frames need pandas: pip install 'clip-negation[pandas]'") from None
    return pandas


def _toml_module() -> Any:
    if sys.version_info >= (3, 11):
        import tomllib

        return tomllib
    import tomli

    return tomli
