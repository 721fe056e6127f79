"""Measures what meters and traces cost a run: processor time of whole runs, and instructions.

    cargo build --release --workspace
    python3 tools/overhead/overhead.py                 # runs in turn, without meters, with them, with a trace too
    python3 tools/overhead/overhead.py --callgrind     # instructions of one short run each; needs valgrind, and minutes

The runs train the embedded world's CLIP on one of its shards, with cached features and without evals:
nearly all of their time is the pipeline's. Processor time is the user and system time of all threads. A
ratio compares two neighbouring runs, so that other load on the machine affects both alike.
"""

import argparse
import os
import pathlib
import random
import re
import statistics
import subprocess
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MODES = {"without meters": ["--unmetered"], "meters": [], "meters and trace": ["--trace", "trace.json"]}


def prepare(pipeline, work, images):
    """Writes a config without evals to `work`, with a shard of `images` images and a cache of their features."""
    (work / "assets").symlink_to(ROOT / "assets")
    with tarfile.open(work / "assets/world/train-000.tar") as whole, tarfile.open(work / "some.tar", "w") as some:
        keys = set()
        for member in whole:
            keys.add(member.name.split(".")[0])
            if len(keys) > images:
                break
            some.addfile(member, whole.extractfile(member))
    init = [pipeline, "init", "--weights", "assets/clip-world", "--shards", "some.tar"]
    subprocess.run(init, cwd=work, check=True, stdout=subprocess.DEVNULL)
    run(command(pipeline, "meters", 1), work)


# Settings that make steps small, so that valgrind gets through some. Meters and traces then weigh more, not less.
SMALL = [
    "stage.batch.size=16",
    "stage.captions.twins.pairs=1",
    "stage.captions.twins.things=false",
    "stage.train.contrast.turn=0",
    "stage.train.contrast.keep=0",
]


def command(pipeline, mode, epochs, sets=()):
    # No checkpoints by the clock: their number must not depend on how fast a run is.
    sets = [f"run.epochs={epochs}", "run.name=r", "run.device=cpu", "stage.train.checkpoint_minutes=0", *sets]
    return [pipeline, "run", "--quiet", "--force", *[f"--set={s}" for s in sets], *MODES[mode]]


def run(arguments, work, environment=None):
    """Returns the processor seconds of a program and its messages."""
    process = subprocess.Popen(
        list(map(str, arguments)),
        cwd=work,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(said)
    return used.ru_utime + used.ru_stime, said


def interval(values):
    """Returns the median, and the bounds of 95 % of the medians of resampled values."""
    dice = random.Random(1)
    medians = sorted(statistics.median(dice.choices(values, k=len(values))) for _ in range(2000))
    return statistics.median(values), medians[50], medians[1949]


def processor_time(pipeline, work, rounds, epochs):
    taken = {mode: [] for mode in MODES}
    modes = list(MODES)
    for number in range(rounds):
        # Each mode comes first, in the middle and last equally often.
        for mode in modes[number % 3 :] + modes[: number % 3]:
            taken[mode].append(run(command(pipeline, mode, epochs), work)[0])
    base = taken["without meters"]
    print(f"{rounds} runs of {epochs} epochs each, in turn: processor time")
    for mode, times in taken.items():
        print(f"  {mode:<18} {statistics.median(times):7.3f} s (median; {min(times):.3f} to {max(times):.3f})")
    for mode in modes[1:]:
        middle, low, high = interval([100 * (time / other - 1) for time, other in zip(taken[mode], base)])
        print(f"  {mode} cost {middle:+.2f} % [{low:+.2f}, {high:+.2f}]")


def instructions(pipeline, work, epochs):
    # Only one thread computes: threads that wait for others spin, for a random time.
    counts = {}
    for mode in [*MODES, "without meters"]:
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={work}/callgrind.out"]
        _, said = run(valgrind + command(pipeline, mode, epochs, SMALL), work, {"RAYON_NUM_THREADS": "1"})
        count = int(re.search(r"Collected : (\d+)", said)[1])
        counts.setdefault(mode, []).append(count)
        print(f"  {mode:<18} {count / 1e6:12.1f} M instructions", flush=True)
    first, again = counts.pop("without meters")
    print(f"  the same run twice differs by {100 * abs(again - first) / first:.4f} %")
    for mode, (count,) in counts.items():
        print(f"  {mode} cost {100 * (count / ((first + again) / 2) - 1):+.4f} %")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pipeline", type=pathlib.Path, default=ROOT / "target/release/pipeline")
    parser.add_argument("--callgrind", action="store_true")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--epochs", type=int, help="epochs per run; default: 6, or 1 with --callgrind")
    arguments = parser.parse_args()
    pipeline = arguments.pipeline.resolve()
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        prepare(pipeline, work, 64 if arguments.callgrind else 220)
        if arguments.callgrind:
            instructions(pipeline, work, arguments.epochs or 1)
        else:
            processor_time(pipeline, work, arguments.rounds, arguments.epochs or 6)


if __name__ == "__main__":
    main()
