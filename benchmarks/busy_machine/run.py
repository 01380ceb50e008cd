"""Measure training steps a second, alone and beside busy processes, by how long OpenMP's threads spin.

    python -m benchmarks.busy_machine.run > benchmarks/busy_machine/README.md

Every number comes from a process of its own, since libgomp reads its environment once. It uses all cores, the default
network and the default batch for ``--seconds``. As many busy processes as cores run beside it. All settings are
measured in turn within each round. The medians count, and the ratios to GNU's own spin within a round.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks._shared.result_page import heading
from benchmarks._shared.script import make_parser, run_script
from weit_rl.common.cpu_cores import SHORT_SPIN, WAITING, usable_cores

ROOT = Path(__file__).parents[2]
WAYS = {  # how threads wait
    "GNU's own spin (300000)": {"GOMP_SPINCOUNT": "300000"},
    f"GOMP_SPINCOUNT={SHORT_SPIN} (weit_rl)": {"GOMP_SPINCOUNT": SHORT_SPIN},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
}
WARM = 3  # steps that do not count
MODULE = "benchmarks.busy_machine.run"


def steps_a_second(seconds: float) -> float:
    """Return the training steps a second of this process."""
    import torch

    from benchmarks._shared.training_steps import SIZE, recorded
    from weit_rl.envs.registry import env_entry
    from weit_rl.tasks.control import Control, ControlConfig

    torch.set_num_threads(usable_cores())
    task = Control(env_entry("HalfCheetah"), recorded(), ControlConfig(batch_size=64))
    net = task.build(SIZE)
    optimizer = torch.optim.AdamW(net.parameters())
    begin = done = 0.0
    for step in itertools.count():
        if step == WARM:
            begin = time.perf_counter()
        optimizer.zero_grad()
        task.loss(net, task.batch(step)).backward()
        optimizer.step()
        done = step - WARM + 1
        if step >= WARM and time.perf_counter() - begin >= seconds:
            break
    return done / (time.perf_counter() - begin)


def measured(way: dict[str, str], seconds: float) -> float:
    """Return the training steps a second of a new process with another setting."""
    clean = {name: value for name, value in os.environ.items() if name not in (*WAITING, "OMP_NUM_THREADS")}
    words = [sys.executable, "-m", MODULE, "--child", "--seconds", str(seconds)]
    return float(subprocess.run(words, env=clean | way, capture_output=True, text=True, check=True, cwd=ROOT).stdout)


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """Run busy processes while the block runs."""
    beside = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in beside:
            process.kill()
            process.wait()


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(steps_a_second(arguments.seconds))
        return
    found: dict[tuple[str, int], list[float]] = {(name, count): [] for count in (0, usable_cores()) for name in WAYS}
    load = os.getloadavg()[0]
    for _ in range(arguments.rounds):
        for name, count in found:
            with busy(count):
                found[name, count].append(measured(WAYS[name], arguments.seconds))
    command = f"python -m benchmarks.busy_machine.run --rounds {arguments.rounds} --seconds {arguments.seconds:g}"
    print(heading("Training on a busy machine", command, usable_cores()))
    print(f"Load before it began: {load:.1f}. Steps a second, median of {arguments.rounds} rounds.\n")
    print("| threads wait by | busy processes beside it | steps a second | times GNU's own |")
    print("|---|---|---|---|")
    for (name, count), rates in found.items():
        first = found[next(iter(WAYS)), count]
        times = statistics.median(rate / usual for rate, usual in zip(rates, first, strict=True))
        print(f"| {name} | {count} | {statistics.median(rates):.1f} | {times:.2f} |")


if __name__ == "__main__":
    run_script(main)
