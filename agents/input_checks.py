"""Checks that observations, memory, rewards and episode starts given to an agent belong to the same environments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from weit_rl.common.errors import UserError
from weit_rl.models.multimodal import Multimodal


def observed(observation: Any, net: Any) -> tuple[np.ndarray, bool]:
    """Return observations as rows ``(n, ...)`` float32, and whether there was a single observation.

    Raises:
        UserError: if they are no array of finite numbers, or their shape is not the policy's.
    """
    rows = numbers("observation", observation)
    mean = net.observation_mean
    single = rows.ndim == mean.ndim
    rows = rows[None] if single else rows
    if rows.ndim != mean.ndim + 1 or not len(rows):
        raise UserError(f"observation: of shape {np.shape(observation)}, not one observation nor rows of them")
    wanted = len(mean) + math.prod(net.picture) if isinstance(net, Multimodal) else len(mean)
    if rows.shape[1] != wanted:
        what = "numbers" if mean.ndim == 1 else "channels"
        raise UserError(f"observation: has {rows.shape[1]} {what}, the policy sees {wanted}; use its environment")
    return rows, single


def check_memory(state: Any, like: Any) -> None:
    """Raise UserError unless a state is the memory of as many environments, for the same policy.

    Args:
        state: the state that the caller passed on.
        like: the memory of the current rows at the beginning of an episode.
    """
    if not isinstance(state, tuple) or len(state) not in (len(like) - 1, len(like)):
        raise UserError("state: not a memory; pass on what the last predict returned, or None")
    for name, given, wanted in zip(like._fields, state, like[:4], strict=False):
        if np.shape(given) != np.shape(wanted):
            have, need = np.shape(given), np.shape(wanted)
            raise UserError(
                f"state: its {name} are of shape {have}, these observations need {need}; pass on what the last predict "
                "of the same rows returned, or None"
            )


def one_each(what: str, given: Any, rows: int) -> np.ndarray:
    """Return ``(rows,)`` from an array of that shape or ``(rows, 1)``; raise UserError for others."""
    found = np.asarray(given)
    if found.size != rows or found.ndim > 2 or found.shape[:1] not in ((rows,), ()):
        raise UserError(f"{what}: of shape {found.shape}, there are {rows} observations; give one for each")
    return found.reshape(rows)


def numbers(what: str, given: Any) -> np.ndarray:
    """Convert to an array of finite float32; raise UserError for anything else."""
    try:
        with np.errstate(over="ignore"):
            found = np.asarray(given, np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(f"{what}: not an array of numbers ({error})") from error
    if not np.isfinite(found).all():
        place = tuple(np.argwhere(~np.isfinite(found))[0].tolist())
        raise UserError(f"{what}: {found[place]} at {place} is not finite; mend the environment, or what wraps it")
    return found
