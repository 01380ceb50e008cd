"""Which entries of a call are alike and can be composed together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from weit_rl.kernels.tiling import Tiling, tiling


class Group(NamedTuple):
    """Entries of one role and one shape.

    Attributes:
        role: whose templates they have.
        entries: their places in the call.
        batch: weights in each entry.
        n: templates.
        grid, tile: of one weight.
        form: how tiles lie in a weight, or None where it is no matrix of tiles.
        dtype, shared_dtype: of the scalers and of the templates.
        sums: in which products are summed: float32, or float64 where a factor is.
        shape: of an entry's weights.
        places: of the same seen as tiles, ``(batch, rows, height, columns, width)``; None without a form.
    """

    role: int
    entries: tuple[int, ...]
    batch: int
    n: int
    grid: tuple[int, ...]
    tile: tuple[int, ...]
    form: Tiling | None
    dtype: torch.dtype
    shared_dtype: torch.dtype
    sums: torch.dtype
    shape: tuple[int, ...]
    places: tuple[int, ...] | None


def weight_shape(scalers: Sequence[int], templates: Sequence[int]) -> tuple[int, ...]:
    """Of the weights: ``(batch * grid[0] * tile[0], ...)`` from ``(batch, N, *grid)`` and ``(N, *tile)``."""
    first, *others = (g * t for g, t in zip(scalers[2:], templates[1:], strict=True))
    return scalers[0] * first, *others


def dtype_of_sums(own: torch.dtype, shared: torch.dtype) -> torch.dtype:
    """In which products of factors of these dtypes are summed."""
    return torch.promote_types(torch.promote_types(own, shared), torch.float32)


def groups(scalers: Sequence[Tensor], templates: Sequence[Tensor], roles: Sequence[int]) -> tuple[Group, ...]:
    """The groups of a call, in order of their first entries; remembered by shapes and dtypes."""
    own, shared = tuple((s.shape, s.dtype) for s in scalers), tuple((t.shape, t.dtype) for t in templates)
    return _groups(own, shared, tuple(roles))


@cache
def _groups(own: tuple[Any, ...], shared: tuple[Any, ...], roles: tuple[int, ...]) -> tuple[Group, ...]:
    alike: dict[Any, list[int]] = {}
    for k, key in enumerate(zip(roles, own, strict=True)):
        alike.setdefault(key, []).append(k)
    return tuple(_group(role, tuple(entries), *s, *shared[role]) for (role, s), entries in alike.items())


def _group(role: int, entries: tuple[int, ...], own: Any, dtype: Any, shared: Any, shared_dtype: Any) -> Group:
    (batch, n, *grid), (_, *tile) = own, shared
    form, shape = tiling(tuple(grid), tuple(tile)), weight_shape(own, shared)
    return Group(
        role=role,
        entries=entries,
        batch=batch,
        n=n,
        grid=tuple(grid),
        tile=tuple(tile),
        form=form,
        dtype=dtype,
        shared_dtype=shared_dtype,
        sums=dtype_of_sums(dtype, shared_dtype),
        shape=shape,
        places=form and (batch, *form),
    )
