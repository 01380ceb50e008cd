"""Measure the latency of exported policies at every named size: torch, ONNX Runtime, ONNX Runtime in int8.

    OMP_NUM_THREADS=1 python -m benchmarks.latency.run > benchmarks/latency/README.md

One environment of HalfCheetah's shape, one thread, full memory. The three run in turn in blocks of calls. The clock is
the CPU time of the thread, which other work hardly disturbs. The medians and their ratios count.
"""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks._shared.result_page import with_command
from benchmarks._shared.script import make_parser, run_script
from benchmarks._shared.timing import interleaved
from benchmarks._shared.training_steps import recorded
from weit_rl.common.sizes import LADDER, Size
from weit_rl.comparison.tables import Table
from weit_rl.deploy.registry import FORMATS, GRAPHS, Graph, Step
from weit_rl.envs.registry import env_entry
from weit_rl.tasks.control import Control, ControlConfig

BLOCK = 20  # calls that are timed together
HEADER = [
    "model",
    "size",
    "parameters",
    "MB",
    "MB, int8",
    "ms, torch",
    "ms, ONNX",
    "ms, int8",
    "torch / ONNX",
    "ONNX / int8",
]


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--models", nargs="+", default=["dt", "tcn", "mlp"])
    arguments = parser.parse_args()
    lines = []
    for model in arguments.models:
        task = Control(env_entry("HalfCheetah"), recorded(2), ControlConfig(model=model))
        lines += [line(task, size, arguments.rounds) for size in LADDER.values()]
    note = f"Medians of {arguments.rounds} blocks of {BLOCK} calls; {platform.machine()}, "
    note += (
        f"{torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}, {torch.get_num_threads()} thread(s)."
    )
    table = Table("Calls of exported policies", HEADER, lines, note).markdown()
    print(with_command(table, f"OMP_NUM_THREADS=1 python -m benchmarks.latency.run --rounds {arguments.rounds}"))


def line(task: Control, size: Size, rounds: int) -> list[str]:
    """Time a size and format its row."""
    net: Any = task.build(size)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.02)
    graph, onnx = GRAPHS.get("control")(net, task.card(size), 1), FORMATS.get("onnx")
    exact = onnx.write(graph)
    small = onnx.quantize(exact) if onnx.quantize else exact
    jobs = {
        "torch": in_torch(graph),
        "ONNX": calls(onnx.step(exact, 1), graph),
        "int8": calls(onnx.step(small, 1), graph),
    }
    timed = interleaved(jobs, rounds, clock="thread")
    torch_, plain, quantized = (1000 / BLOCK * statistics.median(timed[name]) for name in jobs)
    count = sum(p.numel() for p in net.parameters())
    sizes = [f"{len(data) / 1e6:.3g}" for data in (exact, small)]
    times = [f"{ms:.3g}" for ms in (torch_, plain, quantized)]
    ratios = [f"{torch_ / plain:.2f}", f"{plain / quantized:.2f}"]
    return [task.config.model, str(size), f"{count:,}", *sizes, *times, *ratios]


def in_torch(graph: Graph) -> Callable[[], None]:
    """Return a block of calls of the plain network."""
    inputs = full(graph)

    @torch.no_grad()
    def block() -> None:
        for _ in range(BLOCK):
            graph.module(**inputs)

    return block


def calls(step: Step, graph: Graph) -> Callable[[], None]:
    """Return a block of calls of an exported file."""
    inputs = {name: tensor.numpy() for name, tensor in full(graph).items()}

    def block() -> None:
        for _ in range(BLOCK):
            step(inputs)

    return block


def full(graph: Graph) -> dict[str, torch.Tensor]:
    """Return inputs in the middle of an episode, with full memory."""
    inputs = {**graph.inputs, **graph.draw(0)}
    return {name: torch.full_like(t, 500) if name == "time" else t for name, t in inputs.items()}


if __name__ == "__main__":
    run_script(main)
