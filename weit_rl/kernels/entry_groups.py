"""Groups of entries that have one role and one shape, so that one batched product composes them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from weit_rl.kernels.tiling import Tiling, tiling


class Group(NamedTuple):
    """The entries of a call that have one role and one shape.

    Attributes:
        role: index of their templates in the call.
        entries: their indices in the call.
        batch: number of weights in each entry.
        n: number of templates, ``N``.
        grid: number of tiles along each axis of a weight.
        tile: shape of a tile.
        form: layout of the tiles in a weight, or None if a weight is no matrix of tiles.
        dtype: of the scalers.
        shared_dtype: of the templates.
        sums: dtype in which products are summed, float32 or float64.
        shape: of an entry's weights.
        places: of an entry's weights seen as tiles, ``(batch, rows, height, columns, width)``; None without a form.
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
    """Return the shape of an entry's weights, ``(batch * grid[0] * tile[0], grid[1] * tile[1], ...)``.

    Args:
        scalers: shape of the scalers, ``(batch, N, *grid)``.
        templates: shape of the templates, ``(N, *tile)``.
    """
    first, *others = (g * t for g, t in zip(scalers[2:], templates[1:], strict=True))
    return scalers[0] * first, *others


def dtype_of_sums(own: torch.dtype, shared: torch.dtype) -> torch.dtype:
    """Return the dtype in which products of these factors are summed: float64 if one is float64, else float32."""
    return torch.promote_types(torch.promote_types(own, shared), torch.float32)


def group_entries(scalers: Sequence[Tensor], templates: Sequence[Tensor], roles: Sequence[int]) -> tuple[Group, ...]:
    """Group the entries of a call, in order of their first entries; cached by shapes and dtypes."""
    own, shared = tuple((s.shape, s.dtype) for s in scalers), tuple((t.shape, t.dtype) for t in templates)
    return _group_entries(own, shared, tuple(roles))


@cache
def _group_entries(own: tuple[Any, ...], shared: tuple[Any, ...], roles: tuple[int, ...]) -> tuple[Group, ...]:
    alike: dict[Any, list[int]] = {}
    for k, key in enumerate(zip(roles, own, strict=True)):
        alike.setdefault(key, []).append(k)
    return tuple(_make_group(role, tuple(entries), *s, *shared[role]) for (role, s), entries in alike.items())


def _make_group(role: int, entries: tuple[int, ...], own: Any, dtype: Any, shared: Any, shared_dtype: Any) -> Group:
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
