"""Train a network to export: of a given size, or of the largest size whose file is within a limit."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import nn

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.deploy.export_limits import Limit
from weit_rl.deploy.measure import Measured, busy_remark
from weit_rl.options.choices import check_numbers
from weit_rl.options.export_options import ExportOptions
from weit_rl.options.option_values import options_with
from weit_rl.options.train_options import TrainOptions
from weit_rl.tasks import Task, task_entry_of
from weit_rl.training.device import set_up_torch
from weit_rl.training.progress import Progress, print_table
from weit_rl.workflows.run_setup import check_model
from weit_rl.workflows.training import run_of, train

TRAIN_OPTIONS = ("env", "model", "bank", "data", "scaler_steps", "train_steps", "target_return", "run_dir", "seed")
WEIGHT_BYTES = {None: 4, "int8": 1}  # smallest size of a weight in a file, by quantization

Measure = Callable[[nn.Module, dict[str, Any]], Measured]


@dataclass(frozen=True)
class Rung:
    """A size of the ladder and its measurements.

    Attributes:
        size: name of the size.
        parameters: number of parameters.
        bytes: size of the file, or of the weights alone if these exceed a limit already.
        latency_ms: median time of a call (None: not measured, since the weights exceed a limit).
        keeps: if the file is within all limits.
    """

    size: str
    parameters: int
    bytes: int
    latency_ms: float | None
    keeps: bool

    def row(self) -> dict[str, Any]:
        """Return a row of the table."""
        known = self.latency_ms is not None
        return {
            "size": self.size,
            "parameters": f"{self.parameters:,}",
            "MB": f"{'' if known else '> '}{self.bytes / 1e6:.3g}",
            "ms per call": f"{self.latency_ms:.3g}" if known else "-",
            "within limits": "yes" if self.keeps else "no",
        }


def train_size(cfg: ExportOptions, size: Size) -> str:
    """Train a network of a size by the config; returns its run folder."""
    return str(train(train_options(cfg, size))["run_dir"])


def train_options(cfg: ExportOptions, size: Size) -> TrainOptions:
    """Make the options of ``weit_rl.train`` for a size; ``cfg.options`` come over those of the export."""
    given = {name: copy.deepcopy(cfg[name]) for name in TRAIN_OPTIONS if cfg[name] is not None}
    options = options_with(replace(TrainOptions(), episodes=cfg.episodes, **given), cfg.options)
    return replace(options, size=replace(options.size, name=str(size)))


def largest_size(cfg: ExportOptions, measure: Measure) -> tuple[Size, list[dict[str, Any]]]:
    """Find the size with the most parameters whose file is within ``cfg.limit``.

    Fresh networks are measured, since the values of weights change neither latency nor file size.

    Args:
        cfg: the composed config of ``weit_rl.export``.
        measure: exports and measures a network.

    Returns:
        The size, and the measurements of all sizes, smallest first.

    Raises:
        UserError: if even the smallest size exceeds a limit, or for bad options of the training.
    """
    limits = limits_of(cfg)
    sizes = [Size.parse(name) for name in cfg.sizes]
    if not sizes:
        raise UserError("sizes=[]: give at least one, ladder names or WIDTHxDEPTH")
    task = task_of(cfg, min(sizes))
    ladder = sorted((sum(p.numel() for p in task.build(size).parameters()), size) for size in sizes)
    rungs: list[Rung] = []
    with Progress(len(ladder), "sizes", unit="sizes") as bar:
        for parameters, size in ladder:
            rungs.append(_rung(task, size, parameters, limits, cfg.quantize, measure))
            bar.update(len(rungs))
    asked = " and ".join(limit.text for limit in limits)
    title = f"{task.name}, {cfg.model}: sizes within {asked} on this machine{busy_remark()}"
    print_table(title, [rung.row() for rung in rungs])
    within = [size for (_, size), rung in zip(ladder, rungs, strict=True) if rung.keeps]
    if not within:
        size, _, megabytes, latency, _ = rungs[0].row().values()
        raise UserError(f"limit={asked}: no size is within it; the smallest, {size}, has {megabytes} MB, {latency} ms")
    return within[-1], [asdict(rung) for rung in rungs]


def limits_of(cfg: ExportOptions) -> list[Limit]:
    """Read the limits of a config."""
    return [Limit.parse(text) for text in ([cfg.limit] if isinstance(cfg.limit, str) else cfg.limit or [])]


def task_of(cfg: ExportOptions, size: Size) -> Task:
    """Make the task of the training, which checks all its options."""
    train_cfg = train_options(cfg, size)
    task_entry_of(train_cfg).prepare(train_cfg)
    check_numbers(train_cfg)
    check_model(train_cfg)
    set_up_torch(train_cfg)
    return run_of(train_cfg).task


def _rung(
    task: Task, size: Size, parameters: int, limits: Sequence[Limit], quantize: str | None, measure: Measure
) -> Rung:
    weights = parameters * WEIGHT_BYTES[quantize]
    if not all(limit.keeps(0.0, weights) for limit in limits):
        return Rung(str(size), parameters, weights, None, False)
    net = task.build(size).cpu()
    for parameter in net.parameters():  # as if trained: a file holds equal weights of a fresh network only once
        nn.init.normal_(parameter, std=0.02)
    found = measure(net, task.card(size))
    keeps = all(limit.keeps(found.seconds, len(found.data)) for limit in limits)
    return Rung(str(size), parameters, len(found.data), 1000 * found.seconds, keeps)
