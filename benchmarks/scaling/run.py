"""Measure how time, memory and FLOPs of a pre-training step grow with width, depth and number of templates.

    OMP_NUM_THREADS=1 python -m benchmarks.scaling.run > benchmarks/scaling/README.md

The clock is the processor time of one thread, which other work on the machine disturbs least. Ratios and exponents
count. Memory is the most that a step holds at once beyond factors and optimiser, counted allocation by allocation.
"""

from __future__ import annotations

import itertools
import platform
import statistics
import time

import numpy as np
import torch

from benchmarks._shared.script import make_parser, run_script
from benchmarks._shared.training_steps import Job, recorded, update
from weit_rl import Size, TemplateBank, WeiT
from weit_rl.core.size_sampler import SizeSampler
from weit_rl.envs.registry import env_entry
from weit_rl.tasks.control import Control, ControlConfig
from weit_rl.training.flops import Flops
from weit_rl.training.pretraining import MaskedLoss

BASE = {"width": 128, "depth": 4, "N": 64}
SWEEPS = {"width": [64, 128, 256, 384], "depth": [2, 4, 8], "N": [16, 32, 64, 128]}
JOBS = ("dense step", "pre-training step", "composing")


def jobs(task: Control, width: int, depth: int, N: int) -> dict[str, Job]:
    """Return the jobs: a dense step, a pre-training step (full and half width), composing with its gradients."""
    full = Size(width, depth)
    plain, batch = task.build(full), task.batch(0)
    net = WeiT(plain, TemplateBank.from_plan(task.plan, N), task.plan)
    loss = MaskedLoss(net, task, SizeSampler([width // 2, width], [depth], full))
    steps = {"dense step": lambda: task.loss(plain, batch), "pre-training step": lambda: loss(0)}
    factors = [*net.scalers.values(), *net.bank.templates.values()]

    def compose() -> None:
        made = [weight for key, weight in net.weights().items() if key in net.scalers]
        torch.autograd.grad(made, factors, [torch.ones_like(weight) for weight in made])

    modules = {"dense step": plain, "pre-training step": net}
    return {name: update(modules[name], one) for name, one in steps.items()} | {"composing": compose}


def seconds(work: dict[str, Job], rounds: int) -> dict[str, float]:
    """Time the jobs in turn; return the median processor time of each."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for number, (name, job) in itertools.product(range(rounds + 1), work.items()):
        begin = time.thread_time()
        job()
        if number:  # the first round fills caches and the optimiser
            times[name].append(time.thread_time() - begin)
    return {name: statistics.median(taken) for name, taken in times.items()}


def peak(job: Job) -> int:
    """Return the most bytes that a job's own allocations hold at once."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        job()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(itertools.accumulate(event.nbytes() for event in events))


def flops(job: Job) -> float:
    """Count the FLOPs of the matrix products of a job."""
    counter = Flops()
    with counter.counted():
        job()
    return counter.total


def exponent(x: list[int], y: list[float]) -> float:
    """Fit the slope of log y over log x by least squares."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def sweep(task: Control, axis: str, values: list[int], rounds: int) -> None:
    """Print the table of one axis: rows as ratios to the first row, then the exponents."""
    rows: list[list[float]] = []
    for value in values:
        work = jobs(task, **{**BASE, axis: value})
        taken = seconds(work, rounds)
        held = [peak(work[job]) for job in JOBS[:2]]
        rows.append([taken[job] for job in JOBS] + held + [flops(work[job]) for job in JOBS])
    others = ", ".join(f"{name} {value}" for name, value in BASE.items() if name != axis)
    print(f"## {axis} ({others})\n")
    columns = [f"time of {job}" for job in JOBS] + [f"memory of {job}" for job in JOBS[:2]]
    columns += [f"FLOPs of {job}" for job in JOBS]
    print(f"| {axis} | {' | '.join(columns)} | composing, of the time |\n|{'---|' * (len(columns) + 2)}")
    for value, row in zip(values, rows, strict=True):
        ratios = " | ".join(f"{cell / first:.2f}" for cell, first in zip(row, rows[0], strict=True))
        print(f"| {value} | {ratios} | {100 * row[2] / row[1]:.1f} % |")
    slopes = " | ".join(f"{exponent(values, list(column)):.2f}" for column in zip(*rows, strict=True))
    print(f"| exponent | {slopes} | |\n")
    first = rows[0]
    print(f"The first row: {1e-9 * first[6]:.2f} GFLOPs and {first[4] / 2**20:.0f} MiB a pre-training step.\n")


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    task = Control(env_entry("HalfCheetah"), recorded(), ControlConfig(batch_size=32))
    command = f"OMP_NUM_THREADS=1 python -m benchmarks.scaling.run --rounds {rounds}"
    print(f"# How a pre-training step grows\n\n    {command}\n")
    print(
        "Decision transformer, 32 windows of 20 tokens, tile 16; the full width and half of it are trained in a step;"
    )
    print(f"{platform.machine()}, torch {torch.__version__}, one thread. Cells are times the first row's.\n")
    for axis, values in SWEEPS.items():
        sweep(task, axis, values, rounds)


if __name__ == "__main__":
    run_script(main)
