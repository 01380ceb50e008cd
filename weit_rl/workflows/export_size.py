"""A network made to be exported: of a size, or of the largest size whose file keeps a limit on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from weit_rl.common.errors import UserError
from weit_rl.common.sizes import Size
from weit_rl.deploy.export_limits import Limit
from weit_rl.deploy.measure import Measured, busy
from weit_rl.options.choices import check_numbers
from weit_rl.options.command import compose
from weit_rl.options.export_options import ExportOptions
from weit_rl.options.option_table import plain_config
from weit_rl.tasks import kind_of
from weit_rl.training.device import set_up_torch
from weit_rl.training.progress import Progress, table
from weit_rl.workflows.run_setup import check_model
from weit_rl.workflows.training import run_of, train

OF_TRAIN = ("env", "model", "bank", "data", "scaler_steps", "train_steps", "target_return", "run_dir", "seed")
WEIGHT_BYTES = {None: 4, "int8": 1}  # the least that a weight takes in a file

Measure = Callable[[nn.Module, dict[str, Any]], Measured]


@dataclass(frozen=True)
class Rung:
    """A size of the ladder.

    Attributes:
        size: by name.
        parameters: numbers of its network.
        bytes: of its file, or what its weights alone take, where these exceed a limit already.
        latency_ms: median of a call; None where its weights alone exceed a limit.
        keeps: whether it keeps all limits.
    """

    size: str
    parameters: int
    bytes: int
    latency_ms: float | None
    keeps: bool

    def row(self) -> dict[str, Any]:
        """Of a table."""
        known = self.latency_ms is not None
        return {
            "size": self.size,
            "parameters": f"{self.parameters:,}",
            "MB": f"{'' if known else '> '}{self.bytes / 1e6:.3g}",
            "ms a call": f"{self.latency_ms:.3g}" if known else "-",
            "keeps it": "yes" if self.keeps else "no",
        }


def made(cfg: ExportOptions, size: Size) -> str:
    """Train a network of a size as the config says; returns its run folder."""
    return str(train(compose("train", words(cfg, size)))["run_dir"])


def words(cfg: ExportOptions, size: Size) -> list[str]:
    """The options of ``weit_rl.train`` for a size."""
    plain = plain_config(cfg)
    given = {name: plain[name] for name in OF_TRAIN if plain[name] is not None}
    given |= {"episodes": cfg.episodes, **plain["options"], "size": str(size)}
    return [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in given.items()]


def largest(cfg: ExportOptions, measure: Measure) -> tuple[Size, list[dict[str, Any]]]:
    """The size with the most parameters that keeps ``cfg.limit``, and facts of all sizes, small ones first.

    The values of weights matter neither to latency nor to size: fresh networks are measured, and nothing is trained.

    Raises:
        UserError: where even the smallest exceeds a limit, saying what it has; or for bad options of the training.
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
    table(f"{task.name}, {cfg.model}: what keeps {asked} on this machine{busy()}", [rung.row() for rung in rungs])
    kept = [size for (_, size), rung in zip(ladder, rungs, strict=True) if rung.keeps]
    if not kept:
        size, _, megabytes, latency, _ = rungs[0].row().values()
        raise UserError(f"limit={asked}: no size keeps it; {size}, the smallest, has {megabytes} MB and {latency} ms")
    return kept[-1], [asdict(rung) for rung in rungs]


def limits_of(cfg: ExportOptions) -> list[Limit]:
    """The limits that a config asks for."""
    return [Limit.parse(text) for text in ([cfg.limit] if isinstance(cfg.limit, str) else cfg.limit or [])]


def task_of(cfg: ExportOptions, size: Size) -> Any:
    """What the network is trained for; finds everything that is bad in the options of the training."""
    of_train = compose("train", words(cfg, size))
    kind_of(of_train).prepare(of_train)
    check_numbers(of_train)
    check_model(of_train)
    set_up_torch(of_train)
    return run_of(of_train).task


def _rung(
    task: Any, size: Size, parameters: int, limits: Sequence[Limit], quantize: str | None, measure: Measure
) -> Rung:
    weights = parameters * WEIGHT_BYTES[quantize]
    if not all(limit.keeps(0.0, weights) for limit in limits):
        return Rung(str(size), parameters, weights, None, False)
    net = task.build(size).cpu()
    for parameter in net.parameters():  # as if trained: what is equal in a fresh network is kept once in a file
        nn.init.normal_(parameter, std=0.02)
    found = measure(net, task.card(size))
    keeps = all(limit.keeps(found.seconds, len(found.data)) for limit in limits)
    return Rung(str(size), parameters, len(found.data), 1000 * found.seconds, keeps)
