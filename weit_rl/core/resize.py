"""Resizing of stacked tensors; masks, new sizes and the rival methods all use it.

A narrower network takes the first entries of each axis. Depth goes by relative position. A wider network repeats
entries cyclically. If a repeated axis is summed over, the copies of each entry get unequal shares that sum to 1. So the
function stays the same at integer ratios. Equal copies would get equal gradients and stay equal; unequal ones diverge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from weit_rl.common.errors import NotDefined, UserError
from weit_rl.core.plan import FIXED, Layout, Slot

ShareDraw = Callable[[int, int, int, torch.Generator], Tensor]


def resize(
    tensors: Mapping[str, Tensor],
    source: Layout,
    target: Layout,
    factored: bool = False,
    generator: torch.Generator | None = None,
    share: ShareDraw | None = None,
) -> dict[str, Tensor]:
    """Resize every slot; differentiable, so that a masked step can train through it.

    Args:
        tensors: stacked tensors of the source, ``(layers, split, *part)``, or scalers ``(layers, split, N, *grid)``.
        source: layout of the source network.
        target: layout of the wanted network; its slots must be among the source's.
        factored: True if the tensors of composed slots are scalers, whose axes count tiles (default False).
        generator: draws which copy gets which share (default: one with a fixed seed).
        share: returns the factors of the copies along a summed axis (default: :func:`shares`, unequal).

    Returns:
        The target's slots, stacked.

    Raises:
        UserError: if a fixed axis differs (another observation or action size, another context), the source lacks a
            slot, or a weight is composed in only one of the two networks.
        NotDefined: if a width that its tile does not divide would have to grow.
    """
    generator = generator or torch.Generator().manual_seed(0)
    share = share or draw_shares
    counterparts = {key: _counterpart(key, source) for key in target}
    return {
        key: _resize_slot(tensors[old], source[old], target[key], factored, generator, share)
        for key, old in counterparts.items()
    }


def layer_map(source_depth: int, target_depth: int) -> list[int]:
    """Return for each target block the index of the source block at the same relative depth."""
    step = (source_depth - 1) / max(target_depth - 1, 1)
    return [int(j * step + 0.5) for j in range(target_depth)]


def _counterpart(key: str, source: Layout) -> str:
    """Return the source's slot of the same name; the name of a single block in a list of other layers has no star."""
    if key in source:
        return key
    name = key.replace(".*", "")
    found = next((old for old in source if old.replace(".*", "") == name), None)
    if found is None:
        raise UserError(
            f"{key}: the source has no such parameter; it has no blocks of this kind, or is of another family"
        )
    return found


def _resize_slot(
    x: Tensor, source: Slot, target: Slot, factored: bool, generator: torch.Generator, share: ShareDraw
) -> Tensor:
    """Resize one slot: depth first, then each axis of width."""
    if factored and source.rule.tile != target.rule.tile:
        raise UserError(
            f"{target.name}: its tile is {source.rule.tile} in the source and {target.rule.tile} here (None: not "
            "composed); use a tile that both sizes hold, or a rule for it"
        )
    if len(source.names) != len(target.names):
        x = x[layer_map(len(source.names), len(target.names))]
    tile = target.rule.tile
    scalers = factored and tile is not None
    old, new = (source.grid, target.grid) if scalers else (source.part, target.part)
    for axis, (n_old, n_new) in enumerate(zip(old, new, strict=True)):
        dim = x.ndim - len(new) + axis
        if n_old != n_new and target.rule.axes[axis] == FIXED:
            raise UserError(f"{target.name}: axis {axis} is fixed, but has {n_old} entries in the source, {n_new} here")
        if n_new < n_old:
            x = x.narrow(dim, 0, n_new)
        elif n_new > n_old:
            _check_whole_tiles(target, axis, source)
            x = x.index_select(dim, torch.arange(n_new, device=x.device) % n_old)
            if axis == target.rule.fan_in:
                block = 1 if scalers or tile is None else tile[axis]
                x = x * _along(share(n_old, n_new, block, generator), dim, x)
    return x


def _check_whole_tiles(target: Slot, axis: int, source: Slot) -> None:
    """Check that a widened axis has whole tiles.

    Repeating a cropped tile would shift every copy against the free parameters of the same axis. Cropping copies along
    a summed axis would leave entries with fewer copies than the shares of their tile assume.

    Raises:
        NotDefined: naming the slot and its axis.
    """
    tile = target.rule.tile
    for slot, way in ((source, "widened"), (target, "reached by widening")):
        summed = slot is source or axis == target.rule.fan_in
        if tile is not None and summed and slot.part[axis] % tile[axis]:
            raise NotDefined(
                f"{target.name}: {slot.part[axis]} entries along axis {axis} do not divide into tiles of {tile[axis]}, "
                f"so they cannot be {way}; use a tile that divides the width"
            )


def draw_shares(n_old: int, n_new: int, block: int, generator: torch.Generator) -> Tensor:
    """Return unequal shares for the copies of a cyclically repeated axis; those of one entry sum to 1.

    The ``c`` copies of an entry get 1, 2, ... c parts of c (c + 1) / 2 in a drawn order, one draw for each whole block.

    Args:
        n_old: length of the axis before.
        n_new: length of the axis after.
        block: number of consecutive entries that get the same share (a tile's edge).
        generator: draws the order.
    """
    blocks_old, blocks_new = math.ceil(n_old / block), math.ceil(n_new / block)
    values = torch.empty(blocks_new)
    for first in range(blocks_old):
        copies = torch.arange(first, blocks_new, blocks_old)
        ranks = torch.randperm(len(copies), generator=generator) + 1
        values[copies] = ranks / ranks.sum()
    return values.repeat_interleave(block)[:n_new]


def _along(values: Tensor, dim: int, like: Tensor) -> Tensor:
    """Reshape values so that they multiply a tensor along one axis."""
    shape = [1] * like.ndim
    shape[dim] = -1
    return values.to(like).view(shape)
