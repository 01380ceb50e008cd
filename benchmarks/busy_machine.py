"""Steps a second of the default training, alone and beside busy processes, by how long OpenMP's threads spin.

    python benchmarks/busy_machine.py > benchmarks/results/busy_machine.md

Every number is of a process of its own, since libgomp reads its environment once: as many threads as there are usable
cores, the default network and batch, as many steps as fit into ``--seconds``. As many busy processes run beside it. All
are measured in turn within each round; medians over rounds, and ratios to GNU's own spin within a round, count.
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

from turns import heading

from weit_rl.common.cpu_cores import SHORT_SPIN, WAITING, usable_cores

WAYS = {  # how threads wait
    "GNU's own spin (300000)": {"GOMP_SPINCOUNT": "300000"},
    f"GOMP_SPINCOUNT={SHORT_SPIN} (weit_rl)": {"GOMP_SPINCOUNT": SHORT_SPIN},
    "OMP_WAIT_POLICY=PASSIVE": {"OMP_WAIT_POLICY": "PASSIVE"},
}
WARM = 3  # steps


def steps_a_second(seconds: float) -> float:
    """Of this process's threads."""
    import torch
    from step_cost import SIZE, recorded

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
    """The same, of another process."""
    clean = {name: value for name, value in os.environ.items() if name not in (*WAITING, "OMP_NUM_THREADS")}
    words = [sys.executable, __file__, "--child", "--seconds", str(seconds)]
    return float(subprocess.run(words, env=clean | way, capture_output=True, text=True, check=True).stdout)


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes that compute beside what is inside."""
    beside = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in beside:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
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
    command = f"python benchmarks/busy_machine.py --rounds {arguments.rounds} --seconds {arguments.seconds:g}"
    print(heading("Training on a busy machine", command, usable_cores()))
    print(f"Load before it began: {load:.1f}. Steps a second, median of {arguments.rounds} rounds.\n")
    print("| threads wait by | busy processes beside it | steps a second | times GNU's own |")
    print("|---|---|---|---|")
    for (name, count), rates in found.items():
        first = found[next(iter(WAYS)), count]
        times = statistics.median(rate / usual for rate, usual in zip(rates, first, strict=True))
        print(f"| {name} | {count} | {statistics.median(rates):.1f} | {times:.2f} |")


if __name__ == "__main__":
    main()
