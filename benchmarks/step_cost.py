"""What composing and sampling cost in a training step of the 128 x 3 decision transformer at batch 64.

python benchmarks/step_cost.py > benchmarks/results/step_cost.md

Everything is timed in turn within one run; the medians and their ratios count, not the absolute times.
"""

from __future__ import annotations

import argparse
import platform
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from turns import interleaved

from weit_rl import Size, TemplateBank, WeiT
from weit_rl.data import Trajectories
from weit_rl.envs.registry import env_entry
from weit_rl.tasks.control import Control, ControlConfig


def recorded(episodes: int = 20, steps: int = 1000) -> Trajectories:
    """Data of HalfCheetah's shape (their values do not change the time)."""
    rng = np.random.default_rng(0)
    n = episodes * steps
    arrays = (rng.normal(size=(n, 17)), rng.uniform(-1, 1, size=(n, 6)), rng.normal(size=n))
    return Trajectories(*(a.astype(np.float32) for a in arrays), np.arange(0, n + 1, steps), {})


SIZE = Size(128, 3)
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


def jobs(task: Any, rank: int, size: Size = SIZE) -> dict[str, Callable[[], None]]:
    """What is timed; the first is what the others are shares of."""
    plain = task.build(size)
    net = WeiT(plain, TemplateBank.from_plan(task.plan, rank), task.plan).to(task.config.device)
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


def report(name: str, seconds: dict[str, float]) -> None:
    base = next(iter(seconds.values()))
    print(f"| {name} | ms, median | of the dense step |\n|---|---|---|")
    for job, value in seconds.items():
        print(f"| {job} | {1000 * value:.2f} | {100 * value / base:.1f} % |")
    print()


if __name__ == "__main__":
    main()
