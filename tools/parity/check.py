"""Checks a checkpoint folder against transformers and open_clip.

    python3 tools/parity/check.py FOLDER [--pipeline target/release/pipeline] [--image FILE ...]

Loads FOLDER with every class that should be able to read it, reports each tensor that is missing or
unused, and compares the features with those of `pipeline embed --raw` on the CPU. Exits with 1 if a
difference exceeds the bound.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from transformers import (
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
)

import goldens

BOUND = 1e-4
# transformers' image processor resizes with torch, not with Pillow as open_clip and we do.
TORCH_RESIZE_BOUND = 5e-3


def embed(pipeline: str, folder: Path, texts: list[str], images: list[str]) -> dict[str, np.ndarray]:
    """Features as `pipeline embed` writes them."""
    command = [pipeline, "embed", "--model", str(folder), "--raw", "--device", "cpu"]
    for text in texts:
        command += ["--text", text]
    for image in images:
        command += ["--image", image]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = [json.loads(line) for line in out.splitlines()]
    features = {}
    for kind in ["image", "text"]:
        found = [row["feature"] for row in rows if kind in row]
        if found:
            features[kind] = np.array(found, dtype=np.float32)
    return features


def report(what: str, theirs: torch.Tensor, ours: np.ndarray, bound: float = BOUND) -> bool:
    theirs = theirs.detach().float().numpy()
    largest = float(np.abs(theirs - ours).max())
    scale = float(np.abs(theirs).max())
    good = largest <= bound * max(1.0, scale)
    print(f"  {what}: largest difference {largest:.1e} of values up to {scale:.2f}{'' if good else '  TOO LARGE'}")
    return good


def load(cls, folder: Path):
    """Returns the model in f32, and True if all tensors match."""
    model, info = cls.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    left = {key: sorted(value) for key, value in info.items() if value}
    # A single tower does not use the tensors of the other tower or the logit scale.
    left.pop("unexpected_keys", None) if cls is not CLIPModel else None
    print(f"  {cls.__name__}: {'all tensors match' if not left else left}")
    return model.eval(), not left


def hugging_face(folder: Path, features: dict[str, np.ndarray], images: list[str]) -> bool:
    print("transformers")
    config = json.loads((folder / "config.json").read_text())
    ids = open_clip.get_tokenizer("ViT-B-32")(TEXTS)
    attention = (torch.arange(77)[None] <= ids.argmax(1)[:, None]).long()
    good = True
    classes = {
        "clip": [CLIPModel, CLIPTextModelWithProjection, CLIPVisionModelWithProjection],
        "clip_text_model": [CLIPTextModelWithProjection],
        "clip_vision_model": [CLIPVisionModelWithProjection],
    }[config["model_type"]]
    if config.get("architectures") == ["CLIPTextModel"]:
        classes = [CLIPTextModel]
    if config.get("architectures") == ["CLIPVisionModel"]:
        classes = [CLIPVisionModel]
    pixels = None
    if images:
        processor = CLIPImageProcessor.from_pretrained(folder)
        pixels = processor([Image.open(image).convert("RGB") for image in images], return_tensors="pt").pixel_values
    with torch.no_grad():
        for cls in classes:
            model, whole = load(cls, folder)
            good &= whole
            if "text" in features and cls in (CLIPModel, CLIPTextModelWithProjection, CLIPTextModel):
                if cls is CLIPModel:
                    out = model.get_text_features(input_ids=ids, attention_mask=attention)
                    out = getattr(out, "pooler_output", out)
                else:
                    out = model(input_ids=ids, attention_mask=attention)
                    out = out.pooler_output if cls is CLIPTextModel else out.text_embeds
                good &= report("texts", out, features["text"])
            if pixels is not None and "image" in features and "Text" not in cls.__name__:
                if cls is CLIPModel:
                    out = model.get_image_features(pixel_values=pixels)
                    out = getattr(out, "pooler_output", out)
                else:
                    out = model(pixel_values=pixels)
                    out = out.pooler_output if cls is CLIPVisionModel else out.image_embeds
                good &= report("images", out, features["image"], TORCH_RESIZE_BOUND)
    return good


def of_open_clip(folder: Path, features: dict[str, np.ndarray], images: list[str]) -> bool:
    print("open_clip")
    # open_clip loads strictly: a tensor that is missing or unused is an error.
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}", precision="fp32")
    model.eval()
    print("  local-dir: all tensors match")
    good = True
    with torch.no_grad():
        good &= report("texts", model.encode_text(open_clip.get_tokenizer("ViT-B-32")(TEXTS)), features["text"])
        if images:
            pixels = torch.stack([transform(Image.open(image)) for image in images])
            good &= report("images", model.encode_image(pixels), features["image"])
    return good


TEXTS = [text for text in goldens.STRINGS if "end_of_text" not in text and "endoftext" not in text]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pipeline", default="target/release/pipeline")
    parser.add_argument("--image", action="append", default=[])
    arguments = parser.parse_args()
    folder = arguments.folder
    is_hf = (folder / "config.json").is_file()
    config = json.loads((folder / ("config.json" if is_hf else "open_clip_config.json")).read_text())
    kind = config.get("model_type", "clip")
    texts = TEXTS if kind != "clip_vision_model" else []
    images = arguments.image if kind != "clip_text_model" else []
    features = embed(arguments.pipeline, folder, texts, images)
    good = hugging_face(folder, features, images) if is_hf else of_open_clip(folder, features, images)
    print("agrees" if good else "DIFFERS")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
