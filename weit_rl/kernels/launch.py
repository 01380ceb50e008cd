"""The two operators by the kernels of ``weit_rl.kernels.triton``; imported only where they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from weit_rl.kernels import by_group
from weit_rl.kernels.grouping import groups
from weit_rl.kernels.tables import Launch, launches, rows_on, shares_on
from weit_rl.kernels.triton import scalers_kernel, templates_kernel, weights_kernel

TYPES = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32, torch.float64: tl.float64}
INTERPRETED = not isinstance(weights_kernel, triton.runtime.JITFunction)


class Blocks(NamedTuple):
    """A program's share of tiles, templates and entries of a tile: at most 128 registers a thread and no spills."""

    tiles: int
    templates: int
    size: int


# By the bytes of a product's operands: those of float32 and float64 have no tensor cores here, or slow ones.
FORWARD = {2: Blocks(64, 64, 128), 4: Blocks(64, 16, 128), 8: Blocks(64, 16, 64)}
BACKWARD = {2: Blocks(32, 64, 64), 4: Blocks(32, 64, 64), 8: Blocks(32, 64, 64)}
OPTIONS = {"num_warps": 8, "num_stages": 3}


def compose(
    scalers: Sequence[Tensor], templates: Sequence[Tensor], roles: Sequence[int], dtype: torch.dtype | None = None
) -> list[Tensor]:
    """``weit_rl::compose``: one launch for each shape of templates."""
    whole = groups(scalers, templates, roles)
    plan = launches(whole, FORWARD[2].tiles)
    if plan is None:
        return by_group.compose(scalers, templates, roles, dtype)
    made = {k: scalers[k].new_empty(g.shape, dtype=dtype or g.dtype) for g in whole for k in g.entries}
    for launch in plan:
        weights = _of(made, launch.entries)
        options = constants(launch, weights[0].dtype, FORWARD)
        rows = rows_on(launch, weights[0].device)
        programs = len(rows) * triton.cdiv(launch.form.size, options["BLOCK_X"])
        with _on(rows):
            own, shared = _of(scalers, launch.entries), _of(templates, launch.roles)
            weights_kernel[(programs,)](rows, own, shared, weights, ROLES=len(launch.roles), **options)
    return [made[k] for k in range(len(scalers))]


def gradients(
    grads: Sequence[Tensor],
    scalers: Sequence[Tensor],
    templates: Sequence[Tensor],
    roles: Sequence[int],
    of_scalers: bool,
    of_templates: bool,
) -> list[Tensor]:
    """``weit_rl::compose_backward``: at most two launches for each shape of templates, and a sum for each role."""
    plan = launches(groups(scalers, templates, roles), BACKWARD[2].tiles)
    if plan is None:
        return by_group.gradients(grads, scalers, templates, roles, of_scalers, of_templates)
    into = [s.new_empty(s.shape) for s in scalers] if of_scalers else []
    totals: dict[int, Tensor] = {}
    for launch in plan:
        upstream = _of(grads, launch.entries)
        if of_scalers:
            _scalers(launch, upstream, _of(templates, launch.roles), _of(into, launch.entries))
        if of_templates:
            for role, part in zip(
                launch.roles, _templates(launch, upstream, _of(scalers, launch.entries)), strict=True
            ):
                total = part.sum(0)
                totals[role] = totals[role] + total if role in totals else total
    if not of_templates:
        return into
    shared = (
        totals[k].to(t.dtype).view(t.shape) if k in totals else t.new_zeros(t.shape) for k, t in enumerate(templates)
    )
    return [*into, *shared]


def _scalers(
    launch: Launch, grads: tuple[Tensor, ...], templates: tuple[Tensor, ...], into: tuple[Tensor, ...]
) -> None:
    options, rows = constants(launch, grads[0].dtype, BACKWARD), rows_on(launch, grads[0].device)
    programs = len(rows) * triton.cdiv(launch.like.n, options["BLOCK_N"])
    with _on(rows):
        scalers_kernel[(programs,)](rows, grads, templates, into, ROLES=len(launch.roles), **options)


def _templates(launch: Launch, grads: tuple[Tensor, ...], scalers: tuple[Tensor, ...]) -> Tensor:
    """The gradients of the launch's templates in parts ``(roles, parts, N, size)``.

    Parts are summed afterwards: atomic sums come in another order each time.
    """
    options, rows = constants(launch, grads[0].dtype, BACKWARD), rows_on(launch, grads[0].device)
    n, size = launch.like.n, launch.form.size
    blocks = triton.cdiv(size, options["BLOCK_X"]) * triton.cdiv(n, options["BLOCK_N"])
    shares = shares_on(launch, blocks, rows.device)
    parts = rows.new_empty(len(shares), n, size, dtype=launch.like.sums)
    with _on(rows):
        templates_kernel[(len(shares) * blocks,)](rows, shares, grads, scalers, parts, **options)
    return parts.view(len(launch.roles), -1, n, size)


def constants(launch: Launch, dtype: torch.dtype, blocks: Mapping[int, Blocks]) -> dict[str, Any]:
    """What a kernel is compiled for.

    Products of 16-bit weights have 16-bit operands, which are what tensor cores take; sums are wider. Triton's
    interpreter, which multiplies no bfloat16, has the wider operands.
    """
    operand = dtype if dtype.itemsize == 2 and not INTERPRETED else launch.like.sums
    tiles, templates, size = blocks[operand.itemsize]
    return {
        "N": launch.like.n,
        "SIZE": launch.form.size,
        "WIDTH": launch.form.width,
        "ENTRIES": len(launch.entries),
        "BLOCK_M": tiles,
        "BLOCK_N": min(templates, max(16, triton.next_power_of_2(launch.like.n))),
        "BLOCK_X": min(size, max(16, triton.next_power_of_2(launch.form.size))),
        "OPERAND": TYPES[operand],
        "SUM": TYPES[launch.like.sums],
        **OPTIONS,
    }


def _of(tensors: Any, places: Sequence[int]) -> tuple[Tensor, ...]:
    return tuple(tensors[k].contiguous() for k in places)


def _on(like: Tensor) -> AbstractContextManager[Any]:
    """Triton launches on the current GPU."""
    return torch.cuda.device(like.device) if like.is_cuda else nullcontext()
