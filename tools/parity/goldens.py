"""Makes every golden of the repository again: python3 tools/parity/goldens.py [--large]

Texts, pictures and weights are made here from formulas; the numbers come from the public packages
in requirements.txt. `--large` makes only those of ViT-B/16, L/14 and L/14@336, because 428 M weights
in f64 take 3.4 GB.
"""

import argparse
import gc
import io
import json
import pickle
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.numpy import save_file
from torchvision import transforms
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel

import formula

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "crates/clip/tests/data"
LOSS = ROOT / "stages/train/tests/data"

TEXTS = [
    "a dog with no ball",
    "There isn't a single boat on the lake, only ducks & a heron.",
    "a",
    "two red kites over a field without any trees, a fence, a barn or a person anywhere in sight",
]

STRINGS = TEXTS + [
    "",
    " ",
    "  spaces \t and\nlines  ",
    "UPPER lower MiXeD",
    "it's, they're, we'll, I'd, can't, you've",
    "IT'S LOUD",
    "3 cats, 12 dogs, 2024 birds",
    "no-one; nobody... nothing?!",
    "a caf\u00e9 and a na\u00efve fianc\u00e9e",
    "\u732b\u3068\u72ac",
    "\u043a\u043e\u0448\u043a\u0430 \u0431\u0435\u0437 \u0445\u0432\u043e\u0441\u0442\u0430",
    "\U0001f436 without a \U0001f3be",
    "fish &amp; chips &lt;no salt&gt;",
    "&amp;amp; twice",
    "a_b-c/d\\e",
    "\u201cquoted\u201d \u2018text\u2019 \u2013 dash",
    "tail\u200bzero width",
    "<|endoftext|> in a text",
    "<end_of_text> in a text",
    "word " * 90,
    "neverendingwordwithoutspace" * 20,
    "\u00bd cup, 5\u00b2, \u2160",
    "x" * 300,
    "the man isn\u2019t smiling",
]


def say(path: Path) -> None:
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")


def save(path: Path, tensors: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)
    say(path)


def numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().to(torch.float32).numpy()


def tokens() -> None:
    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    rows = []
    for text in STRINGS:
        ids = tokenizer([text])[0].tolist()
        while ids[-1] == 0:
            ids.pop()
        rows.append({"text": text, "ids": ids})
    path = MODELS / "tokens.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=0) + "\n")
    say(path)


def ids() -> torch.Tensor:
    return open_clip.get_tokenizer("ViT-B-32")(TEXTS)


def pixels(images: int, side: int) -> torch.Tensor:
    return torch.from_numpy(formula.unit("pixel_values", (images, 3, side, side)) * np.float32(2))


def towers(name: str, config: CLIPConfig, images: int) -> None:
    """Embeddings of both towers, computed in f64."""
    model = CLIPModel(config).eval()
    formula.fill(model)
    side = config.vision_config.image_size
    model = model.double()
    with torch.no_grad():
        out = model(input_ids=ids(), pixel_values=pixels(images, side).double())
        hidden = out.text_model_output.last_hidden_state
    ends = [row.index(49407) for row in ids().tolist()]
    unscaled = {
        "input_ids": ids().to(torch.int32).numpy(),
        "text_embeds": numpy(model.get_text_features(input_ids=ids()).pooler_output),
        "image_embeds": numpy(model.get_image_features(pixel_values=pixels(images, side).double()).pooler_output),
        "logits_per_image": numpy(out.logits_per_image),
        # The hidden states at which texts are read, before the projection.
        "text_read": numpy(hidden[torch.arange(len(ends)), ends]),
    }
    save(MODELS / f"{name}.safetensors", unscaled)


def openai_config(patch: int, side: int, width: int, layers: int, text: int) -> CLIPConfig:
    """Shapes of OpenAI's models: patch and side in pixels, width and layers of the image tower, width of the text tower."""
    texts = CLIPTextConfig(
        hidden_size=text, intermediate_size=4 * text, num_attention_heads=text // 64, projection_dim=text
    )
    images = CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        image_size=side,
        patch_size=patch,
        projection_dim=text,
    )
    return CLIPConfig(text_config=texts.to_dict(), vision_config=images.to_dict(), projection_dim=text)


def large() -> None:
    for name, config in [
        ("vit_b_16", openai_config(patch=16, side=224, width=768, layers=12, text=512)),
        ("vit_l_14", openai_config(patch=14, side=224, width=1024, layers=24, text=768)),
        ("vit_l_14_336", openai_config(patch=14, side=336, width=1024, layers=24, text=768)),
    ]:
        towers(name, config, images=1)
        gc.collect()


def tiny_config() -> CLIPConfig:
    text = CLIPTextConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, projection_dim=16
    )
    vision = CLIPVisionConfig(
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=3,
        image_size=32,
        patch_size=8,
        projection_dim=16,
        hidden_act="gelu",
    )
    return CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=16)


def gradients() -> None:
    """Gradients of sum(text_embeds * cotangent) with respect to every parameter of the text tower, in f64."""
    model = CLIPModel(tiny_config()).eval()
    formula.fill(model)
    model = model.double()
    features = model.get_text_features(input_ids=ids()).pooler_output
    cotangent = torch.from_numpy(formula.unit("cotangent", tuple(features.shape))).double()
    (features * cotangent).sum().backward()
    out = {}
    for name, parameter in model.named_parameters():
        if not name.startswith("text_"):
            continue
        gradient = parameter.grad
        if name.endswith("token_embedding.weight"):
            # Rows of the ids that occur; all others are zero.
            used = sorted({i for row in ids().tolist() for i in row[: row.index(49407) + 1]})
            assert gradient.abs().sum(1).nonzero().flatten().tolist() == used
            gradient = gradient[used]
        out[name] = numpy(gradient)
    save(MODELS / "tiny_gradients.safetensors", out)


# A model small enough to be stored whole.
SMALL = {
    "embed_dim": 4,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 8, "head_width": 4, "patch_size": 8, "mlp_ratio": 2.0},
    "text_cfg": {"context_length": 12, "vocab_size": 50, "width": 8, "heads": 2, "layers": 2, "mlp_ratio": 2.0},
}
SMALL_IDS = [[48, 3, 7, 49] + [0] * 8, [48, 49] + [0] * 10]


class Evil:
    def __reduce__(self):
        return (open, ("/tmp/pipeline-parity-was-here", "w"))


def checkpoints() -> None:
    """Files as transformers, open_clip and training scripts write them, and the features of the model."""
    folder = MODELS / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    model = open_clip.CLIP(**{**SMALL, "vision_cfg": dict(SMALL["vision_cfg"]), "text_cfg": dict(SMALL["text_cfg"])})
    model = model.eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(formula.weight(name, tuple(parameter.shape))))
    state = model.state_dict()
    image = pixels(2, 16)
    with torch.no_grad():
        expected = {
            "text_embeds": numpy(model.encode_text(torch.tensor(SMALL_IDS))),
            "image_embeds": numpy(model.encode_image(image)),
        }
    save(folder / "expected.safetensors", expected)
    config = {"model_cfg": SMALL, "preprocess_cfg": {"size": 16, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=1) + "\n")

    def write(name: str, value, **options) -> None:
        torch.save(value, folder / name, **options)
        say(folder / name)

    write("plain.pt", state)
    write("legacy.pt", state, _use_new_zipfile_serialization=False)
    # What open_clip's own training writes.
    wrapped = {f"module.{name}": value for name, value in state.items()}
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    training = {"epoch": 3, "name": "run", "state_dict": wrapped, "optimizer": optimizer.state_dict()}
    write("training.pt", training)
    write("half.pt", {name: value.to(torch.bfloat16) for name, value in state.items()})
    (folder / "evil.pt").write_bytes(pickle.dumps({"visual.proj": Evil()}, protocol=2))
    say(folder / "evil.pt")


def bare() -> None:
    """Towers without projection, with the tensor names of transformers 5."""
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=50,
            hidden_size=8,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=12,
            eos_token_id=2,
        )
    ).eval()
    vision = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8
        )
    ).eval()
    for name, model in [("bare_text", text), ("bare_vision", vision)]:
        formula.fill(model)
        folder = MODELS / name
        model.save_pretrained(folder)
        with torch.no_grad():
            out = model(torch.tensor(SMALL_IDS)) if name == "bare_text" else model(pixels(2, 16))
        save(folder / "expected.safetensors", {"pooled": numpy(out.pooler_output)})


def picture(width: int, height: int, channels: int) -> np.ndarray:
    """Waves with hard edges and a little noise."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    planes = []
    for c in range(channels):
        wave = 110 + 90 * np.sin(x * (c + 1) * 0.07 + y * 0.05)
        edge = np.where((x // 37 + y // 23) % 2 == 0, 40, 0)
        planes.append(wave + edge)
    noise = formula.bits(f"{width}x{height}", width * height * channels).reshape(height, width, channels) % 9
    return np.clip(np.stack(planes, -1) + noise, 0, 255).astype(np.uint8)


def preprocess() -> None:
    """Pictures of awkward sizes and modes: resized to 32, squashed bilinearly to 24, into 16 x 24, around 20 x 12."""
    folder = MODELS / "preprocess"
    folder.mkdir(parents=True, exist_ok=True)
    rgb = picture(160, 120, 3)
    gray = rgb[..., 0]
    deep = gray.astype(np.uint16) * 257
    files = {
        "photo.jpg": (Image.fromarray(rgb), {"quality": 90}),
        "full.jpg": (Image.fromarray(rgb), {"quality": 90, "subsampling": 0}),
        "gray.jpg": (Image.fromarray(gray), {"quality": 90}),
        "cmyk.jpg": (Image.fromarray(rgb).convert("CMYK"), {"quality": 90}),
        "tall.jpg": (Image.fromarray(picture(41, 233, 3)), {"quality": 90}),
        "wide.png": (Image.fromarray(picture(301, 37, 3)), {}),
        "tiny.png": (Image.fromarray(picture(5, 7, 3)), {}),
        "rgba.png": (Image.fromarray(picture(90, 70, 4), "RGBA"), {}),
        "palette.png": (Image.fromarray(rgb).quantize(32), {}),
        "gray16.png": (Image.fromarray(deep), {}),
        "bits.png": (Image.fromarray(gray).convert("1"), {}),
        "lossless.webp": (Image.fromarray(picture(64, 48, 3)), {"lossless": True}),
    }
    cubic = transforms.InterpolationMode.BICUBIC
    linear = transforms.InterpolationMode.BILINEAR
    ways = {
        "shortest": [transforms.Resize(32, interpolation=cubic), transforms.CenterCrop(32)],
        "squash": [transforms.Resize((24, 24), interpolation=linear), transforms.CenterCrop(24)],
        # open_clip's own steps, without the conversion to a tensor.
        "longest": open_clip.image_transform((16, 24), is_train=False, resize_mode="longest").transforms[:2],
        # For a size that is not square, open_clip ignores the given filter and uses bicubic.
        "around": open_clip.image_transform((20, 12), is_train=False, interpolation="bilinear").transforms[:2],
    }
    out = {}
    for name, (image, options) in files.items():
        data = io.BytesIO()
        image.save(data, format={"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[name.split(".")[1]], **options)
        (folder / name).write_bytes(data.getvalue())
        for way, steps in ways.items():
            # As in open_clip: resized in the mode of the file, then made RGB.
            resized = transforms.Compose(steps)(Image.open(folder / name)).convert("RGB")
            out[f"{name}.{way}"] = np.asarray(resized)
    save(folder / "expected.safetensors", out)


def loss() -> None:
    """TNG-CLIP's loss and its gradient with respect to the text features, in f64."""
    out = {}
    for images, dim in [(1, 8), (4, 16), (8, 64), (128, 32)]:
        case = f"b{images}_d{dim}"
        scale = np.float32(0.25)
        texts = torch.from_numpy(formula.unit(f"{case}.text_features", (3 * images, dim))).double().requires_grad_()
        pictures = torch.from_numpy(formula.unit(f"{case}.image_features", (images, dim)) * scale).double()
        labels = torch.from_numpy(formula.bits(f"{case}.labels", images) % (3 * images))
        unit = texts / texts.norm(dim=1, keepdim=True)
        logits = unit @ pictures.T / 0.07
        own = torch.arange(3 * images) // 3
        text_to_image = torch.nn.functional.cross_entropy(logits, own)
        image_to_text = torch.nn.functional.cross_entropy(logits.T, labels)
        total = (text_to_image + image_to_text) / 2
        total.backward()
        terms = [total.item(), text_to_image.item(), image_to_text.item()]
        out[f"{case}.loss"] = np.array(terms, dtype=np.float64)
        out[f"{case}.gradient"] = numpy(texts.grad)
    save(LOSS / "tng.safetensors", out)


NEVER = -1e9


def nce(queries, counts, columns):
    """Mean over the queries that count of -log softmax(row)[own]; the own answers are the first columns."""
    logits = torch.cat(columns, dim=1)
    own = torch.arange(len(queries))
    return torch.nn.functional.cross_entropy(logits[counts], own[counts])


def methods() -> None:
    """The losses of published methods with their gradients with respect to the text features, in f64.

    Six images, of which two are one; some texts are missing.
    """
    count, width, scale = 6, 16, 1 / 0.07
    roles = ["caption", "false_1", "false_2", "absent", "true", "paraphrase"]
    there = torch.ones(count, len(roles), dtype=torch.bool)
    there[2, 1] = there[2, 2] = there[4, 2] = there[4, 5] = there[1, 3] = False
    same = [0, 1, 2, 0, 4, 5]
    v = torch.from_numpy(formula.unit("methods.images", (count, width))).double()
    v = v / v.norm(dim=1, keepdim=True)
    twice = torch.tensor([[i != j and same[i] == same[j] for j in range(count)] for i in range(count)])

    def run(name: str, loss) -> None:
        features = torch.from_numpy(formula.unit("methods.texts", (count, len(roles), width))).double().requires_grad_()
        unit = features / features.norm(dim=2, keepdim=True)
        text = {role: (unit[:, at], there[:, at]) for at, role in enumerate(roles)}
        total = loss(text)
        total.backward()
        out[f"{name}.loss"] = np.array([total.item()])
        out[f"{name}.gradient"] = numpy(features.grad)

    def choices(queries, rows, mask=None):
        features, present = rows
        logits = scale * queries @ features.T
        logits = logits.masked_fill(~present[None, :], NEVER)
        return logits if mask is None else logits.masked_fill(mask, NEVER)

    everywhere = torch.ones(count, dtype=torch.bool)

    def neg_clip(text, wrong):
        features, present = text
        to_text = nce(v, present, [choices(v, text, twice)] + [choices(v, rows) for rows in wrong])
        to_image = nce(features, present, [choices(features, (v, everywhere), twice)])
        return (to_text + to_image) / 2

    def choice(options):
        logits = torch.stack([scale * (v * features).sum(1) for features, _ in options], dim=1)
        present = torch.stack([present for _, present in options], dim=1)
        logits = logits.masked_fill(~present, NEVER)
        counts = present[:, 0] & present[:, 1:].any(dim=1)
        return torch.nn.functional.cross_entropy(logits[counts], torch.zeros(int(counts.sum()), dtype=torch.long))

    def conclip(text):
        cosines = (v @ v.T).masked_fill(torch.tensor([[a == b for b in same] for a in same]), -2.0)
        nearest = cosines.argmax(dim=1)
        w = v[nearest]
        own = torch.tensor([[same[int(n)] == other for other in same] for n in nearest])
        wrong = [text["false_1"], text["false_2"]]
        second = nce(w, wrong[0][1], [choices(w, rows) for rows in wrong] + [choices(w, text["caption"], own)])
        return (2 * neg_clip(text["caption"], wrong) + second) / 3

    def omni(text):
        caption, absent = text["caption"], text["absent"]
        wrong = [text["false_1"], text["false_2"]]
        presence = (2 * neg_clip(caption, wrong) + choice([caption, wrong[0]])) / 3
        both = caption[1] & absent[1]
        push = torch.relu((caption[0] * absent[0]).sum(1) + 0.9)[both].mean()
        return presence + neg_clip(absent, []) + neg_clip(caption, []) + push

    def cyclip(text):
        t = text["caption"][0]
        cross = ((v @ t.T - t @ v.T) ** 2).sum() / count
        within = ((v @ v.T - t @ t.T) ** 2).sum() / count
        return neg_clip(text["caption"], []) + 0.25 * within + 0.25 * cross

    out = {}
    run("clip", lambda text: neg_clip(text["caption"], []))
    run("negationclip", lambda text: neg_clip(text["absent"], []))
    run("negclip", lambda text: neg_clip(text["caption"], [text["false_1"], text["false_2"]]))
    run("conclip", conclip)
    run("omni", omni)
    run("cyclip", cyclip)
    options = ["true", "false_1", "false_2"]
    run("negbench", lambda text: 0.99 * neg_clip(text["caption"], []) + 0.5 * choice([text[role] for role in options]))
    save(LOSS / "methods.safetensors", out)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--large", action="store_true")
    torch.manual_seed(0)
    torch.set_num_threads(2)
    if parser.parse_args().large:
        return large()
    tokens()
    towers("vit_b_32", CLIPConfig(), images=2)
    towers("tiny", tiny_config(), images=3)
    gradients()
    checkpoints()
    bare()
    preprocess()
    loss()
    methods()


if __name__ == "__main__":
    main()
