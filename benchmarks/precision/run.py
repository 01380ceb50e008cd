"""Measure what ``precision=medium`` saves on a CPU: training steps of several sizes and one of pre-training.

    OMP_NUM_THREADS=1 python -m benchmarks.precision.run > benchmarks/precision/README.md

Both precisions run in turn within one run. The ratio of the medians counts.
"""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks._shared.result_page import with_command
from benchmarks._shared.script import make_parser, run_script
from benchmarks._shared.timing import interleaved
from benchmarks._shared.training_steps import recorded
from weit_rl import Size
from weit_rl.comparison.tables import Table
from weit_rl.envs.registry import env_entry
from weit_rl.options.command import compose
from weit_rl.tasks.control import Control, ControlConfig
from weit_rl.training.device import set_up_torch
from weit_rl.training.pretraining import MaskedLoss
from weit_rl.workflows.pretrain_run import PretrainRun

SIZES = ("32x3", "64x2", "64x5", "128x3", "128x6", "160x5", "256x8")
PAIR = ("highest", "medium")


def step(module: torch.nn.Module, loss: Callable[[], torch.Tensor], config: Any) -> None:
    """Run a forward and a backward pass at a config's precision."""
    set_up_torch(config)
    loss().backward()
    module.zero_grad(set_to_none=True)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    configs = {precision: compose("train", ["device=cpu", f"precision={precision}"]) for precision in PAIR}
    task, jobs = Control(env_entry("HalfCheetah"), recorded(), ControlConfig()), {}
    batch = task.batch(0)
    for size in SIZES:
        net = task.build(Size.parse(size))
        jobs[f"training {size}"] = (net, partial(task.loss, net, batch))
    run = PretrainRun(compose("pretrain", ["device=cpu"]))
    jobs["pre-training 128x6"] = (run.net, partial(MaskedLoss(run.net, run.task, run.masks), 0))
    lines = []
    for name, (module, loss) in jobs.items():
        timed = interleaved({p: partial(step, module, loss, configs[p]) for p in PAIR}, arguments.rounds)
        slow, fast = (statistics.median(timed[precision]) for precision in PAIR)
        lines.append([name, f"{1000 * slow:.1f}", f"{1000 * fast:.1f}", f"{slow / fast:.2f}"])
    note = f"Batch 32; {platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}, "
    note += f"{torch.get_num_threads()} thread(s). A processor without bfloat16 products saves nothing."
    table = Table("precision=medium", ["step", "ms, highest", "ms, medium", "ratio"], lines, note).markdown()
    print(with_command(table, f"OMP_NUM_THREADS=1 python -m benchmarks.precision.run --rounds {arguments.rounds}"))


if __name__ == "__main__":
    run_script(main)
