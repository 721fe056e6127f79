"""Compares the event files of a run, read by TensorBoard's own reader, with its results.jsonl.

    pip install tensorboard
    python3 tools/tensorboard/check.py runs/NAME

Every measurement of an eval must have a point with the value in results.jsonl, and the losses of the
steps must average to the losses of the epochs. Exits with 1 if something is missing or differs.
"""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

# Points are stored in 32 bits.
RELATIVE = 1e-6


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    board = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    board.Reload()
    tags = board.Tags()["scalars"]
    points = {tag: {event.step: event.value for event in board.Scalars(tag)} for tag in tags}
    print(f"{len(tags)} tags, {sum(map(len, points.values()))} points")

    faults = []
    epochs = {}
    results = [json.loads(line) for line in (run / "results.jsonl").read_text().splitlines()]
    for result in results:
        if result["eval"] == "train":
            if (result["metric"], result["part"]) == ("loss", "all"):
                epochs[result["step"]] = result["value"]
            continue
        tag = "/".join(result[key] for key in ["eval", "metric", "part"])
        found = points.get(tag, {}).get(result["step"])
        if found is None:
            faults.append(f"{tag} at step {result['step']} has no point")
        elif abs(found - result["value"]) > RELATIVE * max(1.0, abs(result["value"])):
            faults.append(f"{tag} at step {result['step']} is {found}, but {result['value']} in results.jsonl")

    # Later points are means of several steps, so only epochs with one point per step are compared.
    means = defaultdict(list)
    ends = sorted(epochs)
    for step, loss in points.get("train/loss", {}).items():
        end = next((end for end in ends if step <= end), None)
        means[end].append(loss)
    whole = 0
    for begin, end in zip([0, *ends], ends):
        if len(means[end]) == end - begin:
            whole += 1
            mean = sum(means[end]) / len(means[end])
            if abs(mean - epochs[end]) > 1e-5 * max(1.0, abs(mean)):
                faults.append(f"the losses of steps {begin + 1} to {end} give {mean}; results.jsonl has {epochs[end]}")
    print(f"{len(results)} measurements of results.jsonl, {whole} epochs compared by their steps: {len(faults)} differ")
    for fault in faults[:20]:
        print(f"  {fault}")
    sys.exit(1 if faults or not results or not whole else 0)


if __name__ == "__main__":
    main()
