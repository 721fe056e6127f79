"""Measures what the image features allow: a judge reads every question correctly, but sees only what the encoder sees.

    just flickr8k-questions
    python3 tools/sweeps/ceiling.py --model ../shared/models/flickr8k-lite0 \\
        --questions runs/questions/flickr8k-dev/mcq.csv --images '../shared/data/flickr8k/dev-{000..001}.tar'
    python3 tools/sweeps/ceiling.py --model assets/clip-world \\
        --questions assets/world/questions.jsonl --images 'assets/world/test-{000..001}.tar'

Needs numpy. Each statement of a question is split into the things that it affirms and the things that it denies:
a JSON line lists them; in a CSV the templates of `pipeline questions` find them. How much an image looks like a thing
is its similarity to the mean feature of four plain phrases. There are three judges. `similarities` takes the mean
similarity to what is affirmed minus the mean similarity to what is denied, as a text encoder could that makes one
vector of a statement. `set off` does the same after each similarity is standardised over all images (mean 0,
deviation 1). `log odds` adds log probabilities of a logistic curve, which no single vector can. The curve's two
numbers are chosen on the questions themselves, so its answer is a ceiling, not a method.
"""

import argparse
import csv
import json
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
PHRASES = ["a photo of a {}", "a {}", "there is a {}", "a picture with a {}"]
KINDS = ["positive", "negative", "hybrid"]


def patterns():
    """A regular expression for each template; those with the most things first."""
    found = []
    for line in (ROOT / "crates/questions/templates/questions.txt").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = re.escape(line.split(": ", 1)[1])
        for name in "ABN":
            for place in (name, name.lower()):
                pattern = pattern.replace(re.escape(f"{{is {place}}}"), "(?:is|are)")
                pattern = pattern.replace(re.escape(f"{{{place}}}"), f"(?:an? |some |the )?(?P<{name}>[a-z -]+?)", 1)
        found.append(re.compile(f"^{pattern}$", re.IGNORECASE))
    return sorted(found, key=lambda pattern: -pattern.groups)


def parted(statement, known):
    """The things that a statement affirms, and those that it denies."""
    for pattern in known:
        if match := pattern.match(statement):
            things = {name: thing.lower() for name, thing in match.groupdict().items()}
            return [things[n] for n in "AB" if n in things], [things[n] for n in "N" if n in things]
    raise SystemExit(f"no template matches: {statement}")


def asked(path):
    """Yields the image's key, the parts of the statements, the right answer and the kind of each question."""
    with path.open() as file:
        if path.suffix == ".jsonl":
            for line in map(json.loads, file):
                parts = [(claim["shown"], claim["missing"]) for claim in line["claims"]]
                yield line["image_key"], parts, line["correct"], line["kind"]
            return
        known = patterns()
        for row in csv.DictReader(file):
            parts = [parted(row[f"caption_{n}"], known) for n in range(4)]
            yield Path(row["image_path"]).stem, parts, int(row["correct_answer"]), row["correct_answer_template"]


def embedded(pipeline, model, what, folder):
    """Features as a matrix, and the names of their rows."""
    out = Path(folder) / "features.npy"
    subprocess.run([pipeline, "embed", "--model", model, *what, "--out", out], check=True, stderr=subprocess.DEVNULL)
    rows = [json.loads(line) for line in out.with_suffix(".rows.jsonl").read_text().splitlines()]
    return np.load(out), rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--questions", required=True, type=Path)
    parser.add_argument("--images", required=True)
    parser.add_argument("--pipeline", type=Path, default=ROOT / "target/release/pipeline")
    options = parser.parse_args()

    questions = list(asked(options.questions))
    things = sorted({thing for _, statements, _, _ in questions for parts in statements for thing in sum(parts, [])})

    with tempfile.TemporaryDirectory() as folder:
        images, rows = embedded(options.pipeline, options.model, ["--image", options.images], folder)
        texts = Path(folder) / "texts"
        texts.write_text("".join(f"{phrase.format(thing)}\n" for thing in things for phrase in PHRASES))
        features, _ = embedded(options.pipeline, options.model, ["--texts", texts], folder)
    means = features.reshape(len(things), len(PHRASES), -1).mean(1)
    raw = images @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    looks = (raw - raw.mean(0)) / raw.std(0)
    image = {Path(row["image"]).name: number for number, row in enumerate(rows)}
    column = {thing: number for number, thing in enumerate(things)}

    def seen(looks, key, part):
        return [looks[image[key], column[thing]] for thing in part]

    def score(judge, looks):
        answers = {kind: [] for kind in KINDS}
        for key, statements, right, kind in questions:
            scores = [judge(*(seen(looks, key, part) for part in parts)) for parts in statements]
            answers[kind].append(int(np.argmax(scores)) == right)
        return [float(np.mean(sum(answers.values(), [])))] + [float(np.mean(answers[kind])) for kind in KINDS]

    def linear(there, absent):
        return np.mean(there or [0]) - np.mean(absent or [0])

    def odds(steep, middle):
        def likely(looks, sign):
            return -sum(np.log1p(np.exp(-sign * steep * (look - middle))) for look in looks)

        return lambda there, absent: likely(there, 1) + likely(absent, -1)

    def line(name, scores):
        print(f"| {name} | " + " | ".join(f"{100 * score:.1f}" for score in scores) + " |")

    there, absent = (
        np.array([look for key, parts, right, _ in questions for look in seen(looks, key, parts[right][which])])
        for which in (0, 1)
    )
    print(f"{len(questions)} questions; an image looks more like a thing that it shows than like one that it does not: "
          f"{100 * np.mean(there[:, None] > absent[None]):.1f} % of pairs\n")
    print("| judge | all | " + " | ".join(KINDS) + " |\n|---|---|---|---|---|")
    line("similarities", score(linear, raw))
    line("set off", score(linear, looks))
    curves = [(steep, middle) for steep in (1, 2, 3) for middle in (0, 0.25, 0.5, 0.75, 1)]
    best, steep, middle = max((score(odds(*curve), looks), *curve) for curve in curves)
    line(f"log odds, slope {steep}, middle {middle}", best)


if __name__ == "__main__":
    main()
