"""The program ``pipeline``: where it is, how it is called, and how its errors become exceptions."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sysconfig
import warnings
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Union

StrPath = Union[str, "os.PathLike[str]"]

VARIABLE = "PIPELINE_BINARY"
NAME = "pipeline.exe" if os.name == "nt" else "pipeline"

# Lines that are kept for an error's message. Faults of a config are a few lines each.
KEPT = 400
# Lines of a message if none of them begins with "error".
LAST = 20

CONFIG_IS_WRONG = 2

# What the program's warnings begin with.
WARNING = " WARN "


class PipelineError(RuntimeError):
    """The program ended with an error; ``str(error)`` is the program's own message.

    Attributes:
        message: what the program printed last: its error, else its last lines.
        returncode: 1 failed, 2 the config is wrong, 130 interrupted; negative: ended by this signal.
    """

    def __init__(self, message: str, returncode: int) -> None:
        super().__init__(message, returncode)
        self.message = message
        self.returncode = returncode

    def __str__(self) -> str:
        return self.message


class ConfigError(PipelineError):
    """The config or a setting is wrong (exit code 2); nothing was run.

    Attributes:
        faults: all faults that were found, as the program prints them.
    """

    @property
    def faults(self) -> list[str]:
        return split_faults(self.message)


def binary() -> Path:
    """Returns the program: ``$PIPELINE_BINARY``, else that of the wheel, else the one on ``PATH``.

    Raises:
        FileNotFoundError: there is none, or ``$PIPELINE_BINARY`` does not exist.
    """
    given = os.environ.get(VARIABLE)
    if given:
        if not Path(given).is_file():
            raise FileNotFoundError(f"${VARIABLE} is {given}, which is not a file")
        return Path(given)
    for scheme in (None, f"{os.name}_user"):
        folder = sysconfig.get_path("scripts", scheme) if scheme else sysconfig.get_path("scripts")
        if folder and (Path(folder) / NAME).is_file():
            return Path(folder) / NAME
    found = shutil.which(NAME)
    if found is None:
        raise FileNotFoundError(f"cannot find `{NAME}`; install the wheel that holds it, or set {VARIABLE} to its path")
    return Path(found)


def version() -> str:
    """Returns the version of the program, such as ``"0.1.0"``.

    Raises:
        FileNotFoundError: the program is missing.
        PipelineError: it cannot be started.
    """
    return call(["--version"]).split()[-1]


def call(arguments: Sequence[str], stdin: str | None = None) -> str:
    """Runs the program without showing its output, and returns what it wrote to standard output.

    Warnings of the program become Python's.

    Raises:
        FileNotFoundError: the program is missing.
        PipelineError: its exit code is not 0.
    """
    done = subprocess.run(
        [str(binary()), *arguments],
        input=(stdin or "").encode(),
        capture_output=True,
        check=False,
    )
    lines = done.stderr.decode(errors="replace").splitlines()
    if done.returncode != 0:
        raise error(lines, done.returncode)
    for line in lines:
        if line.startswith(WARNING):
            # Of the function of this module that the user called.
            warnings.warn(line[len(WARNING) :], RuntimeWarning, stacklevel=3)
    return done.stdout.decode(errors="replace")


def stream(arguments: Sequence[str], *, quiet: bool) -> list[str]:
    """Runs the program, prints its output while it comes (unless ``quiet``), and returns its first lines.

    An interrupt (Ctrl-C, a notebook's stop button) is passed on: the program finishes its step and saves, then
    ``KeyboardInterrupt`` is raised. A second one ends the program at once.

    Raises:
        FileNotFoundError: the program is missing.
        PipelineError: its exit code is not 0.
    """
    head: list[str] = []
    tail: deque[str] = deque(maxlen=KEPT)
    process = subprocess.Popen(
        [str(binary()), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        # Away from the terminal, so that an interrupt reaches it once, from here: two mean "end at once".
        start_new_session=os.name == "posix",
    )

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if not quiet:
                print(line, end="", flush=True)
            tail.append(line.rstrip("\n"))
            if len(head) < KEPT:
                head.append(tail[-1])

    with process:
        try:
            read()
        except KeyboardInterrupt:
            try:
                if os.name == "posix":
                    process.send_signal(signal.SIGINT)
                read()
                process.wait()
            except BaseException:
                process.kill()
                raise
            raise
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise error(list(tail), process.returncode)
    return head


def error(lines: Sequence[str], returncode: int) -> PipelineError:
    """Returns the exception for what the program printed before it ended with this exit code."""
    first = next((at for at, line in enumerate(lines) if line.startswith("error")), max(0, len(lines) - LAST))
    message = "\n".join(lines[first:]).strip()
    if returncode < 0:
        message = f"{message}\nthe program was ended by signal {-returncode}".strip()
    kind = ConfigError if returncode == CONFIG_IS_WRONG else PipelineError
    return kind(message or f"the program ended with exit code {returncode}", returncode)


def split_faults(message: str) -> list[str]:
    """Splits the message for a wrong config into its faults."""
    without_count = re.sub(r"\n*\d+ faults?, nothing was run\s*$", "", message)
    return [fault.strip() for fault in re.split(r"\n\n(?=error\b)", without_count) if fault.strip()]
