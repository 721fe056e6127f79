#!/usr/bin/env python3
"""Scores checkpoints on everything that a preset is judged on, and prints one table in Markdown.

Checkpoints of one name are seeds of one setting: their row has the mean and the standard deviation. The rows of the
starting checkpoint's training-free answers come with it.

    tools/sweeps/score.py --start CHECKPOINT --images SHARDS best=runs/a/export best=runs/b/export
"""

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

MEASURES = [("mcq", "negated-mcq"), ("negated", "negated-retrieval"), ("plain", "retrieval")]
COLUMNS = [
    ("questions", "mcq", "accuracy", "all"),
    ("positive", "mcq", "accuracy", "positive"),
    ("negative", "mcq", "accuracy", "negative"),
    ("hybrid", "mcq", "accuracy", "hybrid"),
    ("negated, text to image", "negated", "text_to_image_r@5", "all"),
    ("negated, image to text", "negated", "image_to_text_r@5", "all"),
    ("second wordings: questions", "mcq second", "accuracy", "all"),
    ("text to image", "negated second", "text_to_image_r@5", "all"),
    ("image to text", "negated second", "image_to_text_r@5", "all"),
    ("plain, text to image", "plain", "text_to_image_r@5", "all"),
    ("plain, image to text", "plain", "image_to_text_r@5", "all"),
]
TRAINING_FREE = ["policy", "lambda", "space", "ignore", "deo"]

Scores = dict[tuple[str, str, str], float]


def score(binary: Path, checkpoint: str, images: list[str], cache: Path) -> Scores:
    """All measures of one checkpoint, in percent."""
    found: Scores = {}
    for name, benchmark in MEASURES:
        for wordings in ["first"] if benchmark == "retrieval" else ["first", "second"]:
            with tempfile.NamedTemporaryFile() as out:
                command = [binary, "eval", "--quiet", "--model", checkpoint, "--benchmark", benchmark, "--images", *images]
                command += ["--wordings", wordings, "--json", out.name, "--cache", cache]
                subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
                measured = [json.loads(line) for line in Path(out.name).read_text().splitlines()]
            measure = name if wordings == "first" else f"{name} second"
            found |= {(measure, m["metric"], m["part"]): 100 * m["value"] for m in measured}
    return found


def row(name: str, seeds: list[Scores], prefix: str = "") -> str:
    """A line of the table."""
    cells = [name]
    for _, measure, metric, part in COLUMNS:
        values = [seed[key] for seed in seeds if (key := (measure, prefix + metric, part)) in seed]
        if not values:
            cells.append("–")
        elif len(values) == 1:
            cells.append(f"{values[0]:.1f}")
        else:
            cells.append(f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=Path, default=Path("target/release/pipeline"))
    parser.add_argument("--start", required=True, help="the checkpoint before training")
    parser.add_argument("--images", required=True, action="append", help="shards with pictures and captions")
    parser.add_argument("--cache", type=Path, default=Path(".cache/features"))
    parser.add_argument("checkpoints", nargs="*", metavar="NAME=CHECKPOINT")
    args = parser.parse_args()

    start = score(args.binary, args.start, args.images, args.cache)
    lines = ["| | " + " | ".join(column for column, *_ in COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    lines.append(row("start", [start]))
    settings: dict[str, list[Scores]] = {}
    for given in args.checkpoints:
        name, _, checkpoint = given.partition("=")
        settings.setdefault(name, []).append(score(args.binary, checkpoint, args.images, args.cache))
    lines += [row(name, seeds) for name, seeds in settings.items()]
    # Plain captions deny nothing.
    lines += [row(f"training-free: {name}", [start], f"{name}_") for name in TRAINING_FREE]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
