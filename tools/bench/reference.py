"""The PyTorch side of the benchmark: TNG-CLIP's step as its authors describe it (arXiv 2505.18434).

Images are decoded and encoded in every step, every text takes up the tower's 77 positions, and pairs
are found in a full matrix of cosines. Each call makes one measurement and prints it as a line of JSON: see `main.rs`.
"""

import argparse
import io
import json
import random
import resource
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image
from torchvision import transforms
from transformers import CLIPModel, CLIPTokenizer

# Number of images among which neighbours are searched, and number of repetitions.
PAIRS = [(128, 200), (1024, 50), (4096, 10)]
CHUNK = 32
PICTURES = 64
CONTEXT = 77

PREPROCESS = transforms.Compose(
    [
        transforms.Resize(224, interpolation=transforms.InterpolationMode.BICUBIC),
        transforms.CenterCrop(224),
        lambda image: image.convert("RGB"),
        transforms.ToTensor(),
        transforms.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    ]
)
COMPOSITIONAL = ["{A}, with no {B}", "{A} and there is no {B}", "{A}, without any {B} in sight", "There is no {B}, but {A}"]
FULL = ["There is no {A}", "This is not a photo of {A}", "The picture does not show {A}", "Not {A}"]


class Bench:
    def __init__(self):
        self.seconds, self.counts, self.warm = {}, {}, False

    def time(self, name, f):
        start = time.perf_counter()
        result = f()
        self.add(name, time.perf_counter() - start)
        return result

    def add(self, name, seconds):
        if self.warm:
            self.seconds.setdefault(name, []).append(seconds)

    def repeat(self, steps, f):
        for step in range(steps + 1):
            self.warm = step > 0
            f(step)


def read(shards):
    """The picture's bytes and the captions of each sample, in order."""
    samples = {}
    for shard in shards:
        with tarfile.open(shard) as tar:
            for member in tar:
                key, _, extension = member.name.rpartition(".")
                data = tar.extractfile(member).read()
                if extension in ("jpg", "png", "webp"):
                    samples.setdefault(key, {})["file"] = data
                elif extension == "txt":
                    samples.setdefault(key, {})["captions"] = data.decode().splitlines()
    return [s for s in samples.values() if "file" in s and s.get("captions")]


def batch(samples, count, step):
    """(picture, caption) from where the last batch ended, starting over after the last sample."""
    chosen = ((i, samples[i % len(samples)]) for i in range(step * count, (step + 1) * count))
    return [(s["file"], s["captions"][i % len(s["captions"])]) for i, s in chosen]


def decode_one(data):
    return PREPROCESS(Image.open(io.BytesIO(data)))


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def neighbours(features):
    scores = features @ features.T
    scores.fill_diagonal_(-2)
    return scores.topk(1, dim=1).indices[:, 0]


class Captions:
    """The simplest possible generator: nouns are the words of a list, and relations are ignored."""

    def __init__(self, folder):
        self.nouns = set(json.loads((Path(folder) / "nouns.json").read_text()))
        self.random = random.Random(1)

    def make(self, captions, nearest):
        words = [[w for w in c.lower().strip(" .").split() if w in self.nouns] for c in captions]
        texts = []
        for i, caption in enumerate(captions):
            caption = caption.strip(" .")
            absent = [w for w in words[nearest[i]] if w not in words[i]]
            object_ = self.random.choice(absent) if absent else "umbrella"
            other = captions[len(captions) - 1 - i].strip(" .")
            texts += [
                caption,
                self.random.choice(COMPOSITIONAL).format(A=caption, B=object_),
                self.random.choice(FULL).format(A=other),
            ]
        return texts


class Model:
    def __init__(self, folder):
        self.clip = CLIPModel.from_pretrained(folder, torch_dtype=torch.float32).train()
        self.tokenizer = CLIPTokenizer.from_pretrained(folder)
        self.captions = Captions(folder)
        self.clip.vision_model.requires_grad_(False)
        self.clip.visual_projection.requires_grad_(False)

    def images(self, pixels):
        with torch.no_grad():
            pooled = self.clip.vision_model(pixel_values=pixels).pooler_output
            return unit(self.clip.visual_projection(pooled))

    def tokens(self, texts):
        return self.tokenizer(texts, padding="max_length", max_length=CONTEXT, truncation=True, return_tensors="pt")

    def texts(self, ids):
        return self.clip.text_projection(self.clip.text_model(input_ids=ids).pooler_output)


def loss(texts, images):
    count = images.shape[0]
    logits = unit(texts) @ images.T / 0.07
    own = torch.arange(count).repeat_interleave(3)
    noisy = torch.randperm(3 * count)[:count]
    cross_entropy = torch.nn.functional.cross_entropy
    return (cross_entropy(logits, own) + cross_entropy(logits.T, noisy)) / 2


def decode(bench, options):
    torch.set_num_threads(1)
    sets = {"shards": [s["file"] for s in read(options.shards)[:PICTURES]]}
    if options.picture:
        sets["picture"] = [Path(options.picture).read_bytes()] * (PICTURES // 4)
    for name, files in sets.items():
        bench.counts[name] = len(files)
        bench.repeat(options.steps, lambda _: bench.time(name, lambda: [decode_one(f) for f in files]))


def encode(bench, options):
    model, pixels = Model(options.dir), torch.rand(CHUNK, 3, 224, 224)
    bench.counts["images"] = CHUNK
    bench.repeat(options.steps, lambda _: bench.time("images", lambda: model.images(pixels)))


def pairs(bench, options):
    for count, times in PAIRS:
        features = unit(torch.randn(count, 512))
        bench.repeat(times, lambda _: bench.time(f"B = {count}", lambda: neighbours(features)))


def captions(bench, options):
    samples, maker = read(options.shards), Captions(options.dir)
    tokenizer = CLIPTokenizer.from_pretrained(options.dir)
    bench.counts["texts"] = 2 * options.batch

    def one(step):
        drawn = [caption for _, caption in batch(samples, options.batch, step)]
        nearest = neighbours(unit(torch.randn(options.batch, 512))).tolist()
        texts = bench.time("texts", lambda: maker.make(drawn, nearest))
        bench.time("tokens", lambda: tokenizer(texts, padding="max_length", max_length=CONTEXT, truncation=True))

    bench.repeat(options.steps, one)


def text(bench, options):
    model = Model(options.dir)
    drawn = [caption for _, caption in batch(read(options.shards), options.batch, 0)]
    nearest = neighbours(unit(torch.randn(options.batch, 512))).tolist()
    ids = model.tokens(model.captions.make(drawn, nearest))["input_ids"]
    bench.counts["texts"] = len(ids)

    def one(_):
        features = bench.time("forward", lambda: model.texts(ids))
        bench.time("backward", lambda: features.square().sum().backward())
        model.clip.zero_grad()

    bench.repeat(options.steps, one)


def step(bench, options):
    samples, model = read(options.shards), Model(options.dir)
    trained = [p for p in model.clip.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=5e-6, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2)
    pool = ThreadPoolExecutor(torch.get_num_threads())
    bench.counts["images"] = options.batch

    def one(number):
        began = time.perf_counter()
        drawn = batch(samples, options.batch, number)
        pixels = bench.time("decode", lambda: torch.stack(list(pool.map(decode_one, [file for file, _ in drawn]))))
        images = bench.time("encode", lambda: model.images(pixels))
        nearest = bench.time("pairs", lambda: neighbours(images)).tolist()
        texts = bench.time("captions", lambda: model.captions.make([c for _, c in drawn], nearest))
        ids = bench.time("tokens", lambda: model.tokens(texts))["input_ids"]
        value = bench.time("forward", lambda: loss(model.texts(ids), images))
        bench.time("backward", value.backward)
        bench.time("update", optimizer.step)
        optimizer.zero_grad()
        bench.add("whole", time.perf_counter() - began)

    bench.repeat(options.steps, one)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["decode", "encode", "pairs", "captions", "text", "step"])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--shards", type=lambda text: text.split(","), required=True)
    parser.add_argument("--picture")
    parser.add_argument("--dir", required=True)
    options = parser.parse_args()
    torch.manual_seed(1)
    bench = Bench()
    globals()[options.what](bench, options)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": bench.seconds, "counts": bench.counts, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
