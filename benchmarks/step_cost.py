"""What composing and sampling cost in a training step of the 128 x 3 decision transformer at batch 64.

python benchmarks/step_cost.py > benchmarks/results/step_cost.md

Everything is timed in turn within one run; the medians and their ratios count, not the absolute times.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from weit_rl import Size, TemplateBank, WeiT
from weit_rl.data import Trajectories
from weit_rl.envs.entry import env_entry
from weit_rl.tasks.control import Control, ControlConfig


def recorded(episodes: int = 20, steps: int = 1000) -> Trajectories:
    """Data of HalfCheetah's shape (their values do not change the time)."""
    rng = np.random.default_rng(0)
    n = episodes * steps
    arrays = (rng.normal(size=(n, 17)), rng.uniform(-1, 1, size=(n, 6)), rng.normal(size=n))
    return Trajectories(*(a.astype(np.float32) for a in arrays), np.arange(0, n + 1, steps), {})


STREAMS = {
    "the original token stream (return, state, action): 60 tokens a window": {"rtg": "every", "past_actions": True},
    "the default stream (states): 20 tokens a window": {},
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rank", type=int, default=32)
    arguments = parser.parse_args()
    command = f"python benchmarks/step_cost.py --rank {arguments.rank} --rounds {arguments.rounds}"
    print(f"# Cost of composing and sampling\n\n    {command}\n\n128 x 3, batch 64; {platform.machine()}, ", end="")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    for name, options in STREAMS.items():
        task = Control(env_entry("HalfCheetah"), recorded(), ControlConfig(batch_size=64, **options))
        times = interleaved(jobs(task, arguments.rank), arguments.rounds)
        report(name, {job: statistics.median(seconds) for job, seconds in times.items()})


def jobs(task: Control, rank: int) -> dict[str, Callable[[], None]]:
    """What is timed; the first is what the others are shares of."""
    plain = task.build(Size(128, 3))
    net = WeiT(plain, TemplateBank.from_plan(task.plan, rank), task.plan)
    batch = task.batch(0)
    names = [name for slot in net.layout.values() if slot.rule.tile for name in slot.names]
    factors = [*net.scalers.values(), *(net.bank.templates[role] for role in net.bank.roles())]
    upstream = [torch.ones_like(plain.get_parameter(name)) for name in names]

    def compose() -> None:
        weights = net.compose()
        torch.autograd.grad([weights[name] for name in names], factors, upstream)

    return {
        "dense step (forward, backward)": lambda: task.loss(plain, batch).backward(),
        "composed step": lambda: task.loss(net, batch).backward(),
        "composing alone (forward, backward)": compose,
        "sampling a batch": lambda: task.batch(1),
    }


def interleaved(
    jobs: dict[str, Callable[[], None]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Time the jobs in turn, so that a change of the machine's speed meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 2):
        for name, job in jobs.items():
            begin = clock()
            job()
            if number >= 2:  # two rounds of warm-up
                times[name].append(clock() - begin)
    return times


def report(name: str, seconds: dict[str, float]) -> None:
    base = next(iter(seconds.values()))
    print(f"| {name} | ms, median | of the dense step |\n|---|---|---|")
    for job, value in seconds.items():
        print(f"| {job} | {1000 * value:.2f} | {100 * value / base:.1f} % |")
    print()


if __name__ == "__main__":
    main()
