"""What composing and sampling cost in a training step of the 128 x 3 decision transformer at batch 64.

python benchmarks/step_cost.py > benchmarks/step_cost.md

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
from weit_rl.weit import run_as


def recorded(episodes: int = 20, steps: int = 1000) -> Trajectories:
    """Data of HalfCheetah's shape (their values do not change the time)."""
    rng = np.random.default_rng(0)
    n = episodes * steps
    arrays = (rng.normal(size=(n, 17)), rng.uniform(-1, 1, size=(n, 6)), rng.normal(size=n))
    return Trajectories(*(a.astype(np.float32) for a in arrays), np.arange(0, n + 1, steps), {})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rank", type=int, default=32)
    arguments = parser.parse_args()
    task = Control(env_entry("HalfCheetah"), recorded(), ControlConfig(batch_size=64))
    plain = task.build(Size(128, 3))
    net = WeiT(plain, TemplateBank.from_plan(task.plan, arguments.rank), task.plan)
    batch = task.batch(0)
    fixed = {key: w.detach().requires_grad_() for key, w in net.weights().items()}

    def compose_only() -> None:
        weights = net.weights()
        torch.autograd.backward(list(weights.values()), [torch.ones_like(w) for w in weights.values()])

    def dense_step() -> None:
        task.loss(plain, batch).backward()

    def composed_step() -> None:
        task.loss(net, batch).backward()

    def sliced_step() -> None:
        # the same call path as a composed step, without the composition
        task.loss(run_as(net.net, net.layout, fixed), batch).backward()

    jobs = {
        "dense step (forward, backward)": dense_step,
        "the same through functional_call": sliced_step,
        "composed step (Kronecker)": composed_step,
        "composing alone (forward, backward)": compose_only,
        "sampling a batch": lambda: task.batch(1),
    }
    seconds = {name: statistics.median(times) for name, times in interleaved(jobs, arguments.rounds).items()}
    report(seconds, arguments.rank)


def interleaved(jobs: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Time the jobs in turn, so that a change of the machine's speed meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(rounds + 2):
        for name, job in jobs.items():
            begin = time.perf_counter()
            job()
            if number >= 2:  # two rounds of warm-up
                times[name].append(time.perf_counter() - begin)
    return times


def report(seconds: dict[str, float], rank: int) -> None:
    base = seconds["dense step (forward, backward)"]
    print(f"# Cost of composing and sampling\n\n    python benchmarks/step_cost.py --rank {rank}\n")
    print(
        f"{platform.processor() or platform.machine()}, torch {torch.__version__}, {torch.get_num_threads()} threads\n"
    )
    print("| what | ms, median | of the dense step |\n|---|---|---|")
    for name, value in seconds.items():
        print(f"| {name} | {1000 * value:.2f} | {100 * value / base:.1f} % |")


if __name__ == "__main__":
    main()
