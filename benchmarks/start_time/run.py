"""Measure how long help, errors and an import take, beside Python alone and an import of torch.

    python -m benchmarks.start_time.run > benchmarks/start_time/README.md

Processor seconds of a new process count, since other work stretches wall time. Wall seconds stand beside them.
"""

from __future__ import annotations

import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._shared.script import make_parser, run_script

ROOT = Path(__file__).parents[2]
CODE = {"Python alone": "", "`import torch`": "import torch", "`import weit_rl`": "import weit_rl"}
WORDS = {
    "`weit_rl.train --help`": ("train", "--help"),
    "option misspelt": ("train", "sede=1"),
    "environment misspelt": ("train", "env=HalfCheeta"),
    "initialiser misspelt": ("train", "init=scrach"),
    "number out of range": ("train", "batch_size=0"),
    "data not there": ("train", "data=expertt"),
    "bank not there": ("train", "bank=nowhere.safetensors"),
    "run not there": ("evaluate", "run=nowhere"),
    "bank made for another model": ("train", "model=tcn", "bank={bank}"),
}


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    bank = ROOT / "weit_rl" / "assets" / "banks" / "HalfCheetah.safetensors"
    commands = {name: ["-c", code] for name, code in CODE.items()}
    for name, (verb, *words) in WORDS.items():
        commands[name] = ["-m", f"weit_rl.{verb}", *(word.format(bank=bank) for word in words)]
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            seconds = run(command)
            if number:  # the first round fills the disk cache
                times[name].append(seconds)
    print(f"# Start\n\n    python -m benchmarks.start_time.run --rounds {rounds}\n\n{platform.machine()}, one thread\n")
    print("| what | processor s, median | wall s, median | times Python alone |\n|---|---|---|---|")
    processor, wall = ({name: statistics.median(t[i] for t in ts) for name, ts in times.items()} for i in (0, 1))
    for name in times:
        ratio = processor[name] / processor["Python alone"]
        print(f"| {name} | {processor[name]:.2f} | {wall[name]:.2f} | {ratio:.1f} |")


def run(words: list[str]) -> tuple[float, float]:
    """Run a new interpreter in an empty folder; return its processor and wall seconds."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True)
    after, end = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, end - begin


if __name__ == "__main__":
    run_script(main)
