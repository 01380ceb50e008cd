"""Whether what a policy is given goes together: what is not would be broadcast, and acted on in silence.

Shapes alone are looked at, so an exported network has none of it inside; while one is traced nothing is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from weit_rl.common.errors import UserError


def check_shape(name: str, given: Tensor, shape: tuple[int, ...]) -> None:
    """UserError for a tensor of another shape."""
    if torch.jit.is_tracing() or given.shape == shape:
        return
    need = f"this call needs {tuple(shape)}"
    raise UserError(f"{name}: of shape {tuple(given.shape)}, {need}; give one row for each observation")


def check_observations(observations: Tensor, mean: Tensor) -> None:
    """UserError for observations of another size than the normaliser's, of pictures of other channels."""
    if torch.jit.is_tracing():
        return
    axes = mean.ndim
    if observations.ndim < axes or observations.shape[-axes] != mean.shape[0]:
        what = "numbers" if axes == 1 else "channels"
        have = observations.shape[-axes] if observations.ndim >= axes else "no"
        raise UserError(f"observation: has {have} {what}, the policy sees {mean.shape[0]}; use its environment")


def check_steps(observations: Tensor, beside: Mapping[str, Tensor]) -> None:
    """UserError where actions, returns or times are not of the rows and steps ``(B, T)`` of the observations.

    One step stands for all, where a policy looks at none of them.
    """
    if torch.jit.is_tracing():
        return
    rows, steps = observations.shape[:2]
    for name, given in beside.items():
        if given.ndim < 2 or given.shape[0] != rows or given.shape[1] not in (steps, 1):
            need = f"{rows} rows of {steps} steps, as the observations"
            raise UserError(f"{name}: of shape {tuple(given.shape)}; give {need}")
