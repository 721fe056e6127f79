"""The session of docs/python.md: every block runs, and prints what the page shows."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import re
import subprocess
from typing import Any

import pytest
from conftest import REPOSITORY

import clip_negation as cn

# Blocks that need a library.
NEEDS = {
    "text_encoder": ("torch", "transformers"),
    "open_clip": ("torch", "open_clip"),
    "results()": ("pandas",),
    "metrics()": ("pandas",),
}


def blocks(page: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def shown(code: str, names: dict[str, Any]) -> str:
    """Runs a block as a notebook does: prints, and the value of a last expression."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "docs/python.md", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "docs/python.md", "eval"), names)
            if value is not None:
                print(repr(value))
    return printed.getvalue()


def shape(text: str) -> list[str]:
    """The words, any number for a number: processors differ in the last digits, and training makes more of them."""
    return re.sub(r"-?\d+(\.\d+)?(e-?\d+)?", "#", text.replace("[", "[ ").replace("(", "( ")).split()


def test_the_page_is_true(folder: Any) -> None:
    names: dict[str, Any] = {}
    found = blocks((REPOSITORY / "docs/python.md").read_text(encoding="utf-8"))
    assert sum(language == "python" for language, _ in found) >= 7
    left_out = []
    printed: str | None = ""
    for language, text in found:
        if language == "python":
            needed = [name for word, modules in NEEDS.items() if word in text for name in modules]
            missing = [name for name in needed if importlib.util.find_spec(name) is None]
            left_out += missing
            printed = None if missing else shown(text, names)
        elif language == "sh":
            command = text.strip().split()
            assert command[0] == "pipeline"
            subprocess.run([str(cn.binary()), *command[1:]], check=True, capture_output=True)
        elif language == "text" and printed is not None:
            assert shape(printed) == shape(text), f"the page shows\n{text}\nand its block prints\n{printed}"
    if left_out:
        pytest.skip(f"the rest of the page ran; these are not installed: {', '.join(sorted(set(left_out)))}")
