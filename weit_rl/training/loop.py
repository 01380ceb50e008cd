"""The one optimisation loop: every stage of every method and every task runs through :func:`fit`."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from weit_rl.common.errors import Interrupted, UserError
from weit_rl.training.process_group import ALONE, Devices


@dataclass(frozen=True)
class Recipe:
    """How a stage is optimised (AdamW, linear warm-up, cosine that is zero behind the last step).

    Attributes:
        steps: optimiser steps; 0 does nothing.
        lr: peak learning rate of a group without its own; None leaves it to the initialiser.
        weight_decay: of groups without their own.
        warmup: fraction of the steps for the linear warm-up.
        clip: largest gradient norm.
        save_every: steps between two checkpoints a stopped stage can go on from.
    """

    steps: int
    lr: float | None = 1e-3
    weight_decay: float = 1e-4
    warmup: float = 0.1
    clip: float = 0.25
    save_every: int = 100


class NotFinite(UserError):
    """A loss, or its gradient, that is no number.

    Args:
        message: one line for the user.
        step: of the recipe, from 0 on.
    """

    def __init__(self, message: str, step: int):
        super().__init__(message)
        self.step = step


def learning_rate(recipe: Recipe, step: int) -> float:
    """The factor on every group's peak rate at a step (0-based)."""
    warm = max(1, round(recipe.warmup * recipe.steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, recipe.steps - warm)))


def fit(
    module: nn.Module,
    loss: Callable[[int], Tensor],
    recipe: Recipe,
    groups: list[dict[str, Any]] | None = None,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    checkpoint: Path | None = None,
    span: tuple[int, int] | None = None,
    warm: Callable[[torch.optim.Optimizer], None] | None = None,
    devices: Devices = ALONE,
) -> nn.Module:
    """Minimise ``loss`` over the trainable parameters of ``module``.

    Args:
        module: what is trained; its state dict is what a checkpoint holds.
        loss: the loss of a step. It must draw everything random from the step's number, or from torch's global
            generator, which is set to that number: a stage stopped and resumed is the same as one never stopped.
        groups: AdamW parameter groups; an ``lr`` or ``weight_decay`` of their own overrides the recipe's.
        on_step: called with the number of finished steps and the loss.
        checkpoint: file to resume from if it exists, and to save to.
        span: the steps of the recipe that are done now, first and last + 1 (default: all).
        warm: fills the optimiser before the first step of a stage that is not resumed.
        devices: the processes that train it together (default: this one alone).

    Returns:
        ``module``, trained.

    Raises:
        NotFinite: if the loss or its gradient is not finite (the last checkpoint stays as it was).
        Interrupted: on SIGINT or SIGTERM, after saving the checkpoint.
    """
    if recipe.steps == 0:
        return module
    groups = groups or [{"params": [p for p in module.parameters() if p.requires_grad]}]
    assert recipe.lr is not None
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, weight_decay=recipe.weight_decay, betas=(0.9, 0.99), fused=True)
    peaks = [group["lr"] for group in optimizer.param_groups]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    first, end = span or (0, recipe.steps)
    begin = devices.restore(checkpoint, module, optimizer) if checkpoint else None
    if begin is None:
        begin = first
        if warm:
            warm(optimizer)
    loss = devices.step(module, loss)
    with stop_signal() as stopped, torch.random.fork_rng(list(range(torch.cuda.device_count()))), devices.sharding():
        for step in range(begin, end):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * learning_rate(recipe, step)
            value = _update(loss, step, optimizer, parameters, recipe.clip, devices)
            done = step + 1
            on_step(done, value)  # before saving: what was not reported yet is done again by a resumed stage
            number = devices.stopped(stopped())
            if checkpoint and (number or done % recipe.save_every == 0 or done == end):
                devices.save(checkpoint, module, optimizer, done)
            if number:
                raise Interrupted(f"stopped by {signal.Signals(number).name} after step {done} of {end}", 128 + number)
    devices.wait()  # what one writes at the end is read by all
    return module


def _update(
    loss: Callable[[int], Tensor],
    step: int,
    optimizer: torch.optim.Optimizer,
    parameters: list[Tensor],
    clip: float,
    devices: Devices,
) -> float:
    optimizer.zero_grad(set_to_none=True)
    torch.manual_seed(devices.seed(step))  # dropout, too, is drawn from the step's number
    value = loss(step)
    value.backward()
    value = devices.mean(value.detach())
    norm = devices.norm(parameters, clip)
    if not torch.isfinite(value + norm):
        raise NotFinite(
            f"the loss is {value.item()}, its gradient's norm {norm.item()} at step {step}: lower the learning rate "
            "or check the data; the checkpoint before this step is kept",
            step,
        )
    optimizer.step()
    return float(value)


@contextmanager
def stop_signal() -> Iterator[Callable[[], int]]:
    """Hold SIGINT and SIGTERM back: yields a function that tells the signal's number, or 0 while there was none."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _: caught.append(number)) for number in numbers]
    try:
        yield lambda: caught[0] if caught else 0
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
