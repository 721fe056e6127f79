#!/usr/bin/env python3
"""Runs the fuzz targets and writes the result.

    RUSTC_BOOTSTRAP=1 cargo fuzz build --fuzz-dir tools/fuzz
    tools/fuzz/campaign.py --seconds 330 --out docs/reliability/fuzz.json

The result is added to an existing one, so that an hour can be split into parts. --seconds counts the
processor time of a target; on a busy machine --patience bounds its time on the clock. A finding is an
input under tools/fuzz/artifacts and makes the exit code 1: run the target on it, fix the fault, and add
the input to the seeds under the name found-….
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAMS = HERE / "target/x86_64-unknown-linux-gnu/release"
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def fuzz(target, program, seconds, patience):
    """Runs one target until it has used `seconds` of CPU or `patience` times as many of the clock, or finds a fault."""
    corpus, artifacts = HERE / "corpus" / target, HERE / "artifacts" / target
    for folder in (corpus, artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    # AddressSanitizer's records are about ten times as large as a target's memory.
    command = [program, corpus, HERE / "seeds" / target, "-rss_limit_mb=4096", "-timeout=600", "-max_len=8192",
               f"-artifact_prefix={artifacts}/", "-print_final_stats=1"]
    began = time.monotonic()
    with open(artifacts.parent / f"{target}.log", "w+b") as log:
        child = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log)
        cpu = 0.0
        while child.poll() is None:
            cpu = cpu_seconds(child.pid)
            if cpu >= seconds or time.monotonic() - began > seconds * patience:
                # libFuzzer prints its statistics before it exits.
                child.send_signal(signal.SIGINT)
                child.wait(120)
                break
            time.sleep(0.5)
        log.seek(0)
        said = log.read().decode(errors="replace")
    executed = re.search(r"number_of_executed_units:\s+(\d+)", said)
    coverage = re.findall(r"cov: (\d+)", said)
    finding = re.findall(r"SUMMARY: (.*)", said)
    finding = [what for what in finding if "interrupted" not in what.lower()]
    return {
        "runs": int(executed.group(1)) if executed else 0,
        "cpu_s": round(cpu, 1),
        "clock_s": round(time.monotonic() - began, 1),
        "coverage": int(coverage[-1]) if coverage else 0,
        "findings": finding,
    }


def add(result, target, one):
    """Adds one run of a target to the whole result."""
    empty = {"runs": 0, "cpu_s": 0.0, "clock_s": 0.0, "coverage": 0, "findings": []}
    whole = result["targets"].setdefault(target, empty)
    for key in ("runs", "cpu_s", "clock_s"):
        whole[key] = round(whole[key] + one[key], 1)
        result[key] = round(sum(one[key] for one in result["targets"].values()), 1)
    whole["coverage"] = max(whole["coverage"], one["coverage"])
    whole["findings"] += one["findings"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=330, help="seconds of CPU per target")
    parser.add_argument("--patience", type=float, default=20, help="at most this many clock seconds per CPU second")
    parser.add_argument("--jobs", type=int, default=1, help="targets that run at the same time")
    parser.add_argument("--out", type=Path, help="JSON file of the result; an existing result is added to")
    parser.add_argument("--programs", type=Path, default=PROGRAMS, help="the folder of the built targets")
    parser.add_argument("targets", nargs="*", help="targets to run; default: all")
    arguments = parser.parse_args()
    result = {"targets": {}}
    if arguments.out and arguments.out.exists():
        result = json.loads(arguments.out.read_text())
    targets = arguments.targets or sorted(path.name for path in (HERE / "seeds").iterdir())
    lock, found = threading.Lock(), []

    def run(target):
        one = fuzz(target, arguments.programs / target, arguments.seconds, arguments.patience)
        with lock:
            print(f"{target}: {one}", flush=True)
            found.extend(one["findings"])
            add(result, target, one)
            if arguments.out:
                arguments.out.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")

    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(run, targets))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
