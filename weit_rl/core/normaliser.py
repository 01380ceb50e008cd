"""The normaliser of states that a policy carries: mean, deviation and limit of every entry, as buffers.

A normalised entry is ``(x - mean) / std``, and no further from 0 than its limit. Networks and banks from before there
was a limit have none and get an infinite one where they are read, so they act as they did.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

MEAN, STD, CLIP = "observation_mean", "observation_std", "observation_clip"
LIMIT = 30.0  # deviations; the data that ship go to 16 by their own statistics, to 25 by those of another level
CONSTANT = 1.0  # the deviation of an entry that never moved; no other one has it
FLOOR = 1e-3  # what the deviation was at least in banks without limits


def unlimited(mean: Tensor) -> Tensor | None:
    """The limits of a network that has none; None for a normaliser of pictures, which is not limited."""
    return torch.full(mean.shape, math.inf, device=mean.device) if mean.ndim == 1 else None


def with_limits(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a bank or checkpoint, with infinite limits for every normaliser of states that has none."""
    means = {name.removesuffix(MEAN): tensor for name, tensor in tensors.items() if name.endswith(MEAN)}
    limits = {prefix + CLIP: unlimited(mean) for prefix, mean in means.items()}
    return {name: limit for name, limit in limits.items() if limit is not None} | dict(tensors)


def keep_unlimited(net: Any, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Hook of ``load_state_dict``: a state from before there were limits is one without limits."""
    limit = unlimited(net.get_buffer(MEAN))
    if limit is not None:
        state.setdefault(prefix + CLIP, limit)


def renewed(trained: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[int]]:
    """A trained normaliser for new data: entries it has no deviation of get the data's own.

    What never moved before has no deviation, and in older banks one at the floor, unless it moves no more than that.

    Args:
        trained: its buffers by name, among others.
        data: likewise, of a network with the data's own normaliser.

    Returns:
        The three buffers, and the entries whose normaliser is another one now. Nothing for pictures or other sizes.
    """
    names = (MEAN, STD, CLIP)
    if not all(name in part and part[name].ndim == 1 for part in (trained, data) for name in names):
        return {}, []
    if trained[MEAN].shape != data[MEAN].shape:
        return {}, []
    old, new = ([part[name].detach().cpu() for name in names] for part in (trained, data))
    limited = ~old[2].isinf()  # where there are none, a deviation of 1 is one, or no data were normalised
    floored = ~limited & (old[1] == torch.tensor(FLOOR))
    unknown = (limited & (old[1] == CONSTANT)) | (floored & _moves_more(old, new))
    changed = unknown & ((old[0] != new[0]) | (old[1] != new[1]))
    mixed = {name: torch.where(unknown, b, a) for name, a, b in zip(names, old, new, strict=True)}
    return mixed, changed.nonzero().flatten().tolist()


def _moves_more(old: list[Tensor], new: list[Tensor]) -> Tensor:
    """Where new data go further from the old mean than data with a deviation at the floor could."""
    spread = torch.where(new[1] == CONSTANT, 0.0, new[1])
    return torch.hypot(spread, new[0] - old[0]) > 2 * FLOOR
