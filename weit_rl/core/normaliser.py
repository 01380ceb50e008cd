"""The observation normaliser of a policy: mean, deviation and limit of every entry, as buffers.

A normalised entry is ``(x - mean) / std``, clipped to the limit. Networks and banks made before limits existed get
infinite limits when they are read, so they act as they did.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

MEAN, STD, CLIP = "observation_mean", "observation_std", "observation_clip"
LIMIT = 30.0  # deviations; shipped data reach 16 by their own statistics and 25 by those of another data level
CONSTANT = 1.0  # the deviation given to an entry that never moved; no other entry has exactly this value
FLOOR = 1e-3  # smallest deviation in banks that have no limits


def infinite_limits(mean: Tensor) -> Tensor | None:
    """Return infinite limits for a network that has none; None for a normaliser of pictures, which has no limits."""
    return torch.full(mean.shape, math.inf, device=mean.device) if mean.ndim == 1 else None


def add_missing_limits(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a bank or checkpoint, with infinite limits for normalisers of states that lack them."""
    means = {name.removesuffix(MEAN): tensor for name, tensor in tensors.items() if name.endswith(MEAN)}
    limits = {prefix + CLIP: infinite_limits(mean) for prefix, mean in means.items()}
    return {name: limit for name, limit in limits.items() if limit is not None} | dict(tensors)


def add_missing_limits_hook(net: Any, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """Add infinite limits to a state dict that lacks limits; a hook of ``load_state_dict``."""
    limit = infinite_limits(net.get_buffer(MEAN))
    if limit is not None:
        state.setdefault(prefix + CLIP, limit)


def renew_normaliser(trained: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[int]]:
    """Merge a trained normaliser with that of new data: entries without a trained deviation take the data's.

    An entry that never moved in training has no deviation. In older banks such an entry has the smallest deviation; it
    then counts as untrained only if it moves further in the new data.

    Args:
        trained: tensors that include the trained normaliser's buffers.
        data: tensors that include the buffers of a normaliser made from the new data.

    Returns:
        The three buffers, and the indices of the entries that changed. Both are empty for pictures or if sizes differ.
    """
    names = (MEAN, STD, CLIP)
    if not all(name in part and part[name].ndim == 1 for part in (trained, data) for name in names):
        return {}, []
    if trained[MEAN].shape != data[MEAN].shape:
        return {}, []
    old, new = ([part[name].detach().cpu() for name in names] for part in (trained, data))
    limited = ~old[2].isinf()  # without a limit, a deviation of 1 was measured, or no data were normalised
    floored = ~limited & (old[1] == torch.tensor(FLOOR))
    unknown = (limited & (old[1] == CONSTANT)) | (floored & _moves_more(old, new))
    changed = unknown & ((old[0] != new[0]) | (old[1] != new[1]))
    mixed = {name: torch.where(unknown, b, a) for name, a, b in zip(names, old, new, strict=True)}
    return mixed, changed.nonzero().flatten().tolist()


def _moves_more(old: list[Tensor], new: list[Tensor]) -> Tensor:
    """Return True for entries that move further from the old mean than data with the smallest deviation could."""
    spread = torch.where(new[1] == CONSTANT, 0.0, new[1])
    return torch.hypot(spread, new[0] - old[0]) > 2 * FLOOR
