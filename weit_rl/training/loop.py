"""Run the optimisation loop: every stage of every method and task is trained by :func:`fit`."""

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
from weit_rl.training.process_group import SINGLE_PROCESS, ProcessGroup


@dataclass(frozen=True)
class OptimizerRecipe:
    """The optimisation of a stage: AdamW, linear warm-up, cosine decay to zero after the last step.

    Attributes:
        steps: optimiser steps; 0 trains nothing.
        lr: peak learning rate of parameter groups without their own; None leaves it to the initialiser.
        weight_decay: weight decay of parameter groups without their own.
        warmup: share of the steps that are warm-up.
        clip: largest gradient norm.
        save_every: steps between two checkpoints to resume from.
    """

    steps: int
    lr: float | None = 1e-3
    weight_decay: float = 1e-4
    warmup: float = 0.1
    clip: float = 0.25
    save_every: int = 100


class NotFinite(UserError):
    """The error of a loss, or its gradient, that is not finite.

    Args:
        message: one line for the user.
        step: step of the recipe, from 0 on.
    """

    def __init__(self, message: str, step: int):
        super().__init__(message)
        self.step = step


def learning_rate(recipe: OptimizerRecipe, step: int) -> float:
    """Return the factor on every peak learning rate at a step (0-based)."""
    warm = max(1, round(recipe.warmup * recipe.steps))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, recipe.steps - warm)))


def fit(
    module: nn.Module,
    loss: Callable[[int], Tensor],
    recipe: OptimizerRecipe,
    groups: list[dict[str, Any]] | None = None,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
    checkpoint: Path | None = None,
    span: tuple[int, int] | None = None,
    fill: Callable[[torch.optim.Optimizer], None] | None = None,
    devices: ProcessGroup = SINGLE_PROCESS,
) -> nn.Module:
    """Minimise ``loss`` over the trainable parameters of ``module``.

    Args:
        module: the module; a checkpoint holds its state dict.
        loss: computes the loss of a step. All its random numbers must depend on the step's number alone, or come from
            torch's global generator, which is seeded by that number. A resumed stage then repeats the same steps.
        recipe: steps, learning rates and the rest.
        groups: AdamW parameter groups; their own ``lr`` or ``weight_decay`` overrides the recipe's (default: one group
            of all trainable parameters).
        on_step: called with the number of finished steps and the loss (default: does nothing).
        checkpoint: file to resume from if it exists, and to save to (default None: no file).
        span: first step and last step + 1 of the recipe to do now (default: all).
        fill: fills the optimiser before the first step of a stage that is not resumed (default None).
        devices: the processes that train the module together (default: this one alone).

    Returns:
        The same module, trained.

    Raises:
        NotFinite: if the loss or its gradient is not finite; the last checkpoint stays as it was.
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
        if fill:
            fill(optimizer)
    loss = devices.wrap_loss(module, loss)
    with stop_signal() as stopped, torch.random.fork_rng(list(range(torch.cuda.device_count()))), devices.sharding():
        for step in range(begin, end):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * learning_rate(recipe, step)
            value = _update(loss, step, optimizer, parameters, recipe.clip, devices)
            done = step + 1
            on_step(done, value)  # before saving: a resumed stage repeats the steps that were not reported
            number = devices.any_signal(stopped())
            if checkpoint and (number or done % recipe.save_every == 0 or done == end):
                devices.save(checkpoint, module, optimizer, done)
            if number:
                raise Interrupted(f"stopped by {signal.Signals(number).name} after step {done} of {end}", 128 + number)
    devices.wait()  # until the last checkpoint is written, which all processes read
    return module


def _update(
    loss: Callable[[int], Tensor],
    step: int,
    optimizer: torch.optim.Optimizer,
    parameters: list[Tensor],
    clip: float,
    devices: ProcessGroup,
) -> float:
    optimizer.zero_grad(set_to_none=True)
    torch.manual_seed(devices.step_seed(step))  # so that dropout depends on the step's number alone
    value = loss(step)
    value.backward()
    value = devices.mean(value.detach())
    norm = devices.clip_gradients(parameters, clip)
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
    """Hold SIGINT and SIGTERM back; yields a function that returns the signal's number, 0 until there is one."""
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
