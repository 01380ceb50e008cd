"""What ``precision=medium`` saves on a CPU: a training step of several sizes, and one of pre-training.

    OMP_NUM_THREADS=1 python benchmarks/precision.py > benchmarks/results/precision.md

Both precisions are timed in turn within one run; the medians' ratio counts.
"""

from __future__ import annotations

import argparse
import platform
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from step_cost import recorded
from turns import interleaved

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
    """A forward and backward pass with a config's precision."""
    set_up_torch(config)
    loss().backward()
    module.zero_grad(set_to_none=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
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
    note += f"{torch.get_num_threads()} thread(s). Without bfloat16 products in the processor there is nothing to save."
    print(Table("precision=medium", ["step", "ms, highest", "ms, medium", "ratio"], lines, note).markdown())


if __name__ == "__main__":
    main()
