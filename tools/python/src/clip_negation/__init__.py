"""Teach CLIP the word "no", from Python.

A thin layer over the program ``pipeline``, which comes in the same wheel. It runs a config, computes features, opens
run folders, and loads the repaired text encoder into transformers and open_clip. docs/python.md of the project shows
each.
"""

from __future__ import annotations

from ._embed import embed
from ._program import ConfigError, PipelineError, binary, version
from ._run import Run, Setting, check, run
from ._towers import OpenClip, TextEncoder, load_into_open_clip, open_clip_model, text_encoder

__all__ = [
    "ConfigError",
    "OpenClip",
    "PipelineError",
    "Run",
    "Setting",
    "TextEncoder",
    "binary",
    "check",
    "embed",
    "load_into_open_clip",
    "open_clip_model",
    "run",
    "text_encoder",
    "version",
]
