"""What a step of pre-training and one of the scaler stage take beside dense networks: time, and the peak of memory.

OMP_NUM_THREADS=1 python benchmarks/pretraining_cost.py > benchmarks/results/pretraining_cost.md

A step of pre-training trains the full width and half of it; beside it stand steps of two dense networks of these sizes,
one after the other. Memory is the most that a process of its own ever held, less what it held before it made a network.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import torch
from scaling import update
from step_cost import STREAMS, recorded
from turns import heading, interleaved, ratio

from weit_rl import Size, TemplateBank, WeiT
from weit_rl.core.size_sampler import Masks
from weit_rl.envs.registry import env_entry
from weit_rl.tasks.control import Control, ControlConfig
from weit_rl.training.pretraining import MaskedLoss

N, STEPS = 64, 3
TIMED = [("128x3", 32), ("128x3", 64), ("128x6", 32), ("256x8", 32)]
HELD = ["128x6", "256x8", "384x12"]
Job = Callable[[], object]


def half(size: Size) -> Size:
    """Of the width."""
    return Size(size.width // 2, size.depth)


def dense(task: Control, size: Size) -> Job:
    """A step of a plain network."""
    net = task.build(size)
    return update(net, lambda: task.loss(net, task.batch(0)))


def both(task: Control, size: Size) -> Job:
    """Steps of two plain networks."""
    first, second = dense(task, size), dense(task, half(size))
    return lambda: (first(), second())


def pretraining(task: Control, size: Size) -> Job:
    """A step of pre-training."""
    net = WeiT(task.build(size), TemplateBank.from_plan(task.plan, N), task.plan)
    loss = MaskedLoss(net, task, Masks([size.width // 2, size.width], [size.depth], size))
    return update(net, lambda: loss(0))


def scalers(task: Control, size: Size) -> Job:
    """A step of the scaler stage, in which templates stay as they are."""
    net = WeiT(task.build(size), TemplateBank.from_plan(task.plan, N), task.plan)
    net.bank.requires_grad_(False)
    return update(net, lambda: task.loss(net, task.batch(0)))


MAKE = {"dense": dense, "both": both, "pretraining": pretraining, "scalers": scalers}


def task_of(batch: int, stream: dict[str, object]) -> Control:
    """Behaviour cloning of HalfCheetah's shape."""
    return Control(env_entry("HalfCheetah"), recorded(), ControlConfig(batch_size=batch, **stream))  # type: ignore[arg-type]


def held(name: str, size: Size) -> float:
    """The peak of memory in this process, MB, over some steps."""
    task = task_of(32, {})
    before = psutil.Process().memory_info().rss
    job = MAKE[name](task, size)
    for _ in range(STEPS):
        job()
    return (peak() - before) / 1e6


def peak() -> int:
    """The most bytes that this program held, on Linux; ``ru_maxrss`` would count what started it as well."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def in_child(name: str, size: str) -> float:
    """The same of a process that does nothing else."""
    words = [sys.executable, __file__, "--held", name, size]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def times(rounds: int) -> None:
    """Print how long steps take."""
    print(
        "| stream | size | batch | two dense steps, ms | pre-training | scaler stage, times the dense step |\n"
        + "|---" * 6
        + "|"
    )
    for title, stream in STREAMS.items():
        for text, batch in TIMED:
            task, size = task_of(batch, stream), Size.parse(text)
            taken = interleaved({name: make(task, size) for name, make in MAKE.items()}, rounds, clock="processor")
            pair, one = ratio(taken["pretraining"], taken["both"]), ratio(taken["scalers"], taken["dense"])
            base = 1000 * statistics.median(taken["both"])
            print(f"| {title.split(':')[0]} | {text} | {batch} | {base:.1f} | {pair:.3f} | {one:.3f} |", flush=True)


def memory() -> None:
    """Print the peaks."""
    print(
        "\n| size | dense network, MB | pre-training | times dense | scaler stage | times dense |\n" + "|---" * 6 + "|"
    )
    for size in HELD:
        base, first, second = (in_child(name, size) for name in ("dense", "pretraining", "scalers"))
        print(
            f"| {size} | {base:.0f} | {first:.0f} | {first / base:.2f} | {second:.0f} | {second / base:.2f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--held", nargs=2, metavar=("JOB", "SIZE"), help="measure the memory of this process alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.held:
        print(held(arguments.held[0], Size.parse(arguments.held[1])))
        return
    shown = f"python benchmarks/pretraining_cost.py --rounds {arguments.rounds}"
    print(heading("Cost of pre-training and of the scaler stage", shown, 1))
    print(f"N = {N}, tile 16. Forward, backward and AdamW.\n")
    times(arguments.rounds)
    memory()


if __name__ == "__main__":
    main()
