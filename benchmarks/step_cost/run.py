"""Measure what composing and sampling cost in a training step of the 128 x 3 decision transformer at batch 64.

    python -m benchmarks.step_cost.run > benchmarks/step_cost/README.md

All parts run in turn within one run. The medians and their ratios count, not the absolute times.
"""

from __future__ import annotations

import platform
import statistics

import torch

from benchmarks._shared.script import make_parser, run_script
from benchmarks._shared.timing import interleaved
from benchmarks._shared.training_steps import STREAMS, recorded, step_jobs
from weit_rl.envs.registry import env_entry
from weit_rl.tasks.control import Control, ControlConfig


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rank", type=int, default=32)
    arguments = parser.parse_args()
    command = f"python -m benchmarks.step_cost.run --rank {arguments.rank} --rounds {arguments.rounds}"
    print(f"# Cost of composing and sampling\n\n    {command}\n\n128 x 3, batch 64; {platform.machine()}, ", end="")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads\n")
    for name, options in STREAMS.items():
        task = Control(env_entry("HalfCheetah"), recorded(), ControlConfig(batch_size=64, model_options=options))
        times = interleaved(step_jobs(task, arguments.rank), arguments.rounds)
        report(name, {job: statistics.median(seconds) for job, seconds in times.items()})


def report(name: str, seconds: dict[str, float]) -> None:
    """Print the table of a token stream."""
    base = next(iter(seconds.values()))
    print(f"| {name} | ms, median | of the dense step |\n|---|---|---|")
    for job, value in seconds.items():
        print(f"| {job} | {1000 * value:.2f} | {100 * value / base:.1f} % |")
    print()


if __name__ == "__main__":
    run_script(main)
