"""Measure time and peak memory of pre-training and of the scaler stage beside dense networks.

    OMP_NUM_THREADS=1 python -m benchmarks.pretraining_cost.run > benchmarks/pretraining_cost/README.md

A step of pre-training trains the full width and half of it. It is compared with a step of each of two dense networks
of these sizes. Memory is the peak of a process of its own, less what the process held before it built a network.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

import psutil
import torch

from benchmarks._shared.result_page import heading
from benchmarks._shared.script import make_parser, run_script
from benchmarks._shared.timing import interleaved, ratio
from benchmarks._shared.training_steps import STREAMS, Job, recorded, update
from weit_rl import Size, TemplateBank, WeiT
from weit_rl.core.size_sampler import SizeSampler
from weit_rl.envs.registry import env_entry
from weit_rl.tasks.control import Control, ControlConfig
from weit_rl.training.pretraining import MaskedLoss

MODULE = "benchmarks.pretraining_cost.run"
ROOT = Path(__file__).parents[2]
N, STEPS = 64, 3
TIMED = [("128x3", 32), ("128x3", 64), ("128x6", 32), ("256x8", 32)]
HELD = ["128x6", "256x8", "384x12"]


def half(size: Size) -> Size:
    """Return a size of half the width."""
    return Size(size.width // 2, size.depth)


def dense(task: Control, size: Size) -> Job:
    """Return a step of a plain network."""
    net = task.build(size)
    return update(net, lambda: task.loss(net, task.batch(0)))


def both(task: Control, size: Size) -> Job:
    """Return a step of a plain network and of one of half its width."""
    first, second = dense(task, size), dense(task, half(size))
    return lambda: (first(), second())


def pretraining(task: Control, size: Size) -> Job:
    """Return a step of pre-training."""
    net = WeiT(task.build(size), TemplateBank.from_plan(task.plan, N), task.plan)
    loss = MaskedLoss(net, task, SizeSampler([size.width // 2, size.width], [size.depth], size))
    return update(net, lambda: loss(0))


def scalers(task: Control, size: Size) -> Job:
    """Return a step of the scaler stage, which freezes the templates."""
    net = WeiT(task.build(size), TemplateBank.from_plan(task.plan, N), task.plan)
    net.bank.requires_grad_(False)
    return update(net, lambda: task.loss(net, task.batch(0)))


MAKE = {"dense": dense, "both": both, "pretraining": pretraining, "scalers": scalers}


def task_of(batch: int, stream: dict[str, object]) -> Control:
    """Return behaviour cloning on data of HalfCheetah's shape."""
    return Control(env_entry("HalfCheetah"), recorded(), ControlConfig(batch_size=batch, model_options=stream))


def held(name: str, size: Size) -> float:
    """Run a few steps; return the peak memory of this process in MB."""
    task = task_of(32, {})
    before = psutil.Process().memory_info().rss
    job = MAKE[name](task, size)
    for _ in range(STEPS):
        job()
    return (peak() - before) / 1e6


def peak() -> int:
    """Return the peak memory of this program in bytes, on Linux; ``ru_maxrss`` would count its parent as well."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def in_child(name: str, size: str) -> float:
    """Measure the peak memory in a new process."""
    words = [sys.executable, "-m", MODULE, "--held", name, size]
    return float(subprocess.run(words, check=True, capture_output=True, text=True, cwd=ROOT).stdout)


def times(rounds: int) -> None:
    """Print the table of times."""
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
    """Print the table of peak memory."""
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
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--held", nargs=2, metavar=("JOB", "SIZE"), help="measure the memory of this process alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.held:
        print(held(arguments.held[0], Size.parse(arguments.held[1])))
        return
    shown = f"python -m benchmarks.pretraining_cost.run --rounds {arguments.rounds}"
    print(heading("Cost of pre-training and of the scaler stage", shown, 1))
    print(f"N = {N}, tile 16. Forward, backward and AdamW.\n")
    times(arguments.rounds)
    memory()


if __name__ == "__main__":
    run_script(main)
