"""Checks of a policy's inputs: without them, inputs that do not match would be broadcast without an error.

They look at shapes only, and do nothing while a network is traced, so that an exported network does not contain them.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from weit_rl.common.errors import UserError


def check_shape(name: str, given: Tensor, shape: tuple[int, ...]) -> None:
    """Raise UserError for a tensor of another shape."""
    if torch.jit.is_tracing() or given.shape == shape:
        return
    need = f"this call needs {tuple(shape)}"
    raise UserError(f"{name}: of shape {tuple(given.shape)}, {need}; give one row for each observation")


def check_observations(observations: Tensor, mean: Tensor) -> None:
    """Raise UserError for observations whose length, or pictures whose channels, differ from the normaliser's."""
    if torch.jit.is_tracing():
        return
    axes = mean.ndim
    if observations.ndim < axes or observations.shape[-axes] != mean.shape[0]:
        what = "numbers" if axes == 1 else "channels"
        have = observations.shape[-axes] if observations.ndim >= axes else "no"
        raise UserError(f"observation: has {have} {what}, the policy sees {mean.shape[0]}; use its environment")


def check_steps(observations: Tensor, beside: Mapping[str, Tensor]) -> None:
    """Raise UserError if actions, returns or times do not have the rows and steps ``(B, T)`` of the observations.

    A single step is also accepted: callers give it for inputs that the policy does not read.
    """
    if torch.jit.is_tracing():
        return
    rows, steps = observations.shape[:2]
    for name, given in beside.items():
        if given.ndim < 2 or given.shape[0] != rows or given.shape[1] not in (steps, 1):
            need = f"{rows} rows of {steps} steps, as the observations"
            raise UserError(f"{name}: of shape {tuple(given.shape)}; give {need}")
