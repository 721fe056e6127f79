"""The repaired text encoder in transformers and open_clip.

Letters of shapes: N texts, W width of the text tower, D features.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _program
from ._program import StrPath
from ._run import Run

if TYPE_CHECKING:
    import torch
    from transformers import CLIPTextModelWithProjection, PreTrainedTokenizerBase

HF_CONFIG = "config.json"
OPEN_CLIP_CONFIG = "open_clip_config.json"

# Tensors of an open_clip model beside its two towers.
SCALES = ("logit_scale", "logit_bias")


class TextEncoder(NamedTuple):
    """A text encoder of transformers and its tokenizer."""

    model: CLIPTextModelWithProjection
    tokenizer: PreTrainedTokenizerBase


class OpenClip(NamedTuple):
    """A model of open_clip, the transform for its pictures and its tokenizer."""

    model: torch.nn.Module
    preprocess: Any
    tokenizer: Any


def checkpoint(source: StrPath | Run) -> str:
    """Returns the checkpoint that a run, its folder, its export or any other checkpoint names.

    Raises:
        FileNotFoundError: the run has no export.
    """
    if not isinstance(source, Run):
        folder = Path(source)
        if not ((folder / "pipeline.toml").is_file() and (folder / "results.jsonl").is_file()):
            return os.fspath(source)
        source = Run(folder)
    if not source.export.is_dir():
        raise FileNotFoundError(f"{source.path} has no export: the run is not done; continue it with run(resume=True)")
    return str(source.export)


def text_encoder(run_or_export: StrPath | Run) -> TextEncoder:
    """Loads the text encoder of a run into transformers, in float32 on the CPU and in eval mode.

    ``model(**tokenizer(texts, padding=True, truncation=True, return_tensors="pt")).text_embeds`` is ``[N, D]``, not
    scaled to length 1: what ``embed(texts, raw=True)`` gives. An export in open_clip's layout is converted on the way.

    Args:
        run_or_export: a run, its folder, its ``export``, or any checkpoint with a text tower.

    Raises:
        ImportError: transformers or torch is missing.
        FileNotFoundError: the run has no export, or it is not a folder.
        ValueError: the weights lack tensors of the text tower.
        PipelineError: an open_clip checkpoint cannot be converted.
    """
    try:
        import torch
        from transformers import AutoTokenizer, CLIPTextModelWithProjection
        from transformers.utils import logging as messages
    except ImportError as missing:
        raise ImportError(f"{missing}; text_encoder needs: pip install 'clip-negation[transformers]'") from None
    folder = _folder(run_or_export)
    with tempfile.TemporaryDirectory() as temporary:
        if not (folder / HF_CONFIG).is_file():
            converted = Path(temporary) / "hf"
            _program.call(["convert", "--to=hf", "--", str(folder), str(converted)])
            folder = converted
        # transformers would list every tensor of the image tower as unexpected.
        verbosity = messages.get_verbosity()
        messages.set_verbosity(logging.ERROR)
        try:
            # Not the type of the file: an export may mix f16 and f32, and the trained tensors need f32.
            loaded: Any = CLIPTextModelWithProjection.from_pretrained(
                folder, dtype=torch.float32, output_loading_info=True, local_files_only=True
            )
        finally:
            messages.set_verbosity(verbosity)
        model, info = loaded
        if info["missing_keys"]:
            names = ", ".join(sorted(info["missing_keys"]))
            raise ValueError(f"{folder} lacks tensors of a text encoder with projection: {names}")
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return TextEncoder(model.eval(), tokenizer)


def open_clip_model(run_or_export: StrPath | Run, model_name: str, pretrained: str | None = None) -> OpenClip:
    """Makes a model of open_clip with the repaired text tower, in eval mode.

    Args:
        run_or_export: a run, its folder, its ``export``, or any checkpoint with a text tower.
        model_name: open_clip's name of the model that training began with: "ViT-B-32-quickgelu", "hf-hub:owner/name",
            "local-dir:FOLDER". The image tower comes from there.
        pretrained: open_clip's name of its weights, such as "openai", or a file.

    Returns:
        The model, the transform for its pictures, and its tokenizer.

    Raises:
        ImportError: open_clip or safetensors is missing.
        FileNotFoundError: the run has no export, or the export has no weights.
        ValueError: the text tower does not fit this model.
    """
    try:
        import open_clip
    except ImportError as missing:
        raise ImportError(f"{missing}; open_clip_model needs: pip install 'clip-negation[open_clip]'") from None
    model, _, preprocess = open_clip.create_model_and_transforms(model_name, pretrained=pretrained)
    load_into_open_clip(model, run_or_export)
    return OpenClip(model.eval(), preprocess, open_clip.get_tokenizer(model_name))


def load_into_open_clip(model: torch.nn.Module, run_or_export: StrPath | Run) -> torch.nn.Module:
    """Puts the repaired text tower into a model of open_clip, in place.

    The image tower and the logit scale stay as they are: they must be those that training began with. Weights take the
    type and device of the model.

    Args:
        model: a CLIP or CustomTextCLIP of open_clip.
        run_or_export: a run, its folder, its ``export``, or any checkpoint with a text tower.

    Returns:
        The same model.

    Raises:
        ImportError: safetensors or torch is missing.
        FileNotFoundError: the run has no export, or the export has no weights.
        ValueError: the text tower does not fit: another size, activation or number of heads. The model is unchanged.
    """
    try:
        import torch
    except ImportError as missing:
        raise ImportError(f"{missing}; open_clip needs: pip install 'clip-negation[open_clip]'") from None
    folder = _folder(run_or_export)
    tensors, quick_gelu, heads = _open_clip_text(folder)
    tower = getattr(model, "text", model)
    wanted = {
        name: tensor
        for name, tensor in tower.state_dict().items()
        if not name.startswith("visual.") and name not in SCALES
    }
    blocks = getattr(getattr(tower, "transformer", None), "resblocks", None)
    if not blocks:
        raise ValueError(f"the text tower of {type(model).__name__} is not one of CLIP's transformers")
    # Neither shows in the shapes of weights, and both change the features.
    if (type(blocks[0].mlp.gelu).__name__ == "QuickGELU") != quick_gelu:
        names = ("a name that ends with -quickgelu", "a name without -quickgelu")
        raise ValueError(f"the activation of {folder} is not that of the model; create it by {names[not quick_gelu]}")
    if blocks[0].attn.num_heads != heads:
        raise ValueError(f"{folder} has {heads} attention heads, the model has {blocks[0].attn.num_heads}")
    faults = [f"{name} is missing" for name in wanted if name not in tensors]
    faults += [f"{name} is not in the model" for name in tensors if name not in wanted]
    faults += [
        f"{name} is {list(tensors[name].shape)}, the model's is {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise ValueError(f"{folder} does not fit the model: {'; '.join(faults[:5])}{more}")
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(tensors[name])
    return model


def _folder(source: StrPath | Run) -> Path:
    """The folder of a checkpoint on this machine."""
    name = checkpoint(source)
    if not Path(name).is_dir():
        raise FileNotFoundError(f"{name}: no such folder; give a run, its folder or its export")
    return Path(name)


def _open_clip_text(folder: Path) -> tuple[dict[str, torch.Tensor], bool, int]:
    """The text tower of a checkpoint under open_clip's names, whether it has QuickGELU, and its heads."""
    try:
        from safetensors.torch import load_file
    except ImportError as missing:
        raise ImportError(f"{missing}; open_clip needs: pip install 'clip-negation[open_clip]'") from None
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"{folder} has no .safetensors file")
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        tensors.update(load_file(file))
    if (folder / HF_CONFIG).is_file():
        config = json.loads((folder / HF_CONFIG).read_text(encoding="utf-8"))
        text = config.get("text_config") or config
        # The defaults of transformers' CLIPTextConfig.
        return (
            _from_hf(tensors),
            text.get("hidden_act", "quick_gelu") == "quick_gelu",
            text.get("num_attention_heads", 8),
        )
    config = json.loads((folder / OPEN_CLIP_CONFIG).read_text(encoding="utf-8"))["model_cfg"]
    custom = any(name.startswith("text.") for name in tensors)
    towers = {
        name[5:] if custom else name: tensor
        for name, tensor in tensors.items()
        if (name.startswith("text.") if custom else not name.startswith("visual.")) and name not in SCALES
    }
    # The default of open_clip's CLIPTextCfg.
    return towers, bool(config.get("quick_gelu")), config["text_cfg"].get("heads", 8)


def _from_hf(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Renames transformers' text tower for open_clip.

    Queries, keys and values are one tensor there, ``[3W, W]``, and the projection is transposed: ``[D, W]`` to
    ``[W, D]``.
    """
    import torch

    renamed: dict[str, torch.Tensor] = {}
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name == "text_projection.weight":
            renamed["text_projection"] = tensor.T
        if not name.startswith("text_model.") or name.endswith(".position_ids"):
            continue
        rest = name[len("text_model.") :]
        for theirs, ours in (
            ("embeddings.token_embedding", "token_embedding"),
            ("embeddings.position_embedding.weight", "positional_embedding"),
            ("final_layer_norm", "ln_final"),
            ("encoder.layers", "transformer.resblocks"),
            ("layer_norm", "ln_"),
            ("self_attn", "attn"),
            ("mlp.fc1", "mlp.c_fc"),
            ("mlp.fc2", "mlp.c_proj"),
        ):
            rest = rest.replace(theirs, ours)
        for part in "qkv":
            if f".{part}_proj." in rest:
                parts.setdefault(rest.replace(f".{part}_proj.", ".in_proj_"), {})[part] = tensor
                break
        else:
            renamed[rest] = tensor
    for name, three in parts.items():
        if len(three) == 3:
            renamed[name] = torch.cat([three[part].float() for part in "qkv"])
    return renamed
