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
from weit_rl.kernels.tables import PROGRAMS, Launch, launches, rows_on, shares_on
from weit_rl.kernels.triton import scalers_kernel, sums_kernel, templates_kernel, weights_kernel

TYPES = {torch.float16: tl.float16, torch.bfloat16: tl.bfloat16, torch.float32: tl.float32, torch.float64: tl.float64}
INTERPRETED = not isinstance(weights_kernel, triton.runtime.JITFunction)


class Blocks(NamedTuple):
    """A program's share of templates and of a tile's entries, and its warps: at most 128 registers, no spills."""

    templates: int
    size: int
    warps: int = 4


# By the bytes of a product's operands; the fastest of those tried on an H100.
WEIGHTS = {2: Blocks(64, 64), 4: Blocks(32, 64, 8), 8: Blocks(16, 64)}
SCALERS = {2: Blocks(64, 128), 4: Blocks(32, 64), 8: Blocks(16, 64)}
TEMPLATES = {2: Blocks(64, 128), 4: Blocks(32, 128, 8), 8: Blocks(16, 64)}
TILES = 32  # of a program of any of them
ADDING = {"BLOCK_S": 32, "BLOCK_X": 64, "num_warps": 4}


def compose(
    scalers: Sequence[Tensor], templates: Sequence[Tensor], roles: Sequence[int], dtype: torch.dtype | None = None
) -> list[Tensor]:
    """``weit_rl::compose``: a launch for each shape of templates, of up to 64 entries."""
    whole = groups(scalers, templates, roles)
    plan = launches(whole, TILES)
    if plan is None:
        return by_group.compose(scalers, templates, roles, dtype)
    made = {k: scalers[k].new_empty(g.shape, dtype=dtype or g.dtype) for g in whole for k in g.entries}
    for launch in plan:
        weights = _of(made, launch.entries)
        options = constants(launch, weights[0].dtype, WEIGHTS)
        rows = rows_on(launch, weights[0].device)
        splits = _splits(len(rows), triton.cdiv(launch.form.size, options["BLOCK_X"]))
        programs = len(rows) * splits
        with _on(rows):
            own, shared = _of(scalers, launch.entries), _of(templates, launch.roles)
            weights_kernel[(programs,)](rows, own, shared, weights, ROLES=len(launch.roles), SPLITS=splits, **options)
    return [made[k] for k in range(len(scalers))]


def gradients(
    grads: Sequence[Tensor],
    scalers: Sequence[Tensor],
    templates: Sequence[Tensor],
    roles: Sequence[int],
    of_scalers: bool,
    of_templates: bool,
) -> list[Tensor]:
    """``weit_rl::compose_backward``: likewise two launches at most, and one that adds up parts."""
    plan = launches(groups(scalers, templates, roles), TILES)
    if plan is None:
        return by_group.gradients(grads, scalers, templates, roles, of_scalers, of_templates)
    into = [s.new_empty(s.shape) for s in scalers] if of_scalers else []
    parts: dict[int, list[Tensor]] = {k: [] for k in range(len(templates))}
    whole = len({role for launch in plan for role in launch.roles}) == sum(len(launch.roles) for launch in plan)
    for launch in plan:
        upstream = _of(grads, launch.entries)
        if of_scalers:
            _scalers(launch, upstream, _of(templates, launch.roles), _of(into, launch.entries))
        if of_templates:
            made = _templates(launch, upstream, _of(scalers, launch.entries), whole)
            for role, part in zip(launch.roles, made, strict=True):
                parts[role].append(part)
    if not of_templates:
        return into
    return [*into, *(_together(parts[k], t) for k, t in enumerate(templates))]


def _splits(rows: int, blocks: int) -> int:
    """Programs among which the blocks of a row are divided: no more than keep a GPU busy."""
    return min(blocks, triton.next_power_of_2(triton.cdiv(PROGRAMS, rows)))


def _scalers(
    launch: Launch, grads: tuple[Tensor, ...], templates: tuple[Tensor, ...], into: tuple[Tensor, ...]
) -> None:
    options, rows = constants(launch, grads[0].dtype, SCALERS), rows_on(launch, grads[0].device)
    programs = len(rows) * triton.cdiv(launch.like.n, options["BLOCK_N"])
    with _on(rows):
        scalers_kernel[(programs,)](rows, grads, templates, into, ROLES=len(launch.roles), **options)


def _templates(
    launch: Launch, grads: tuple[Tensor, ...], scalers: tuple[Tensor, ...], whole: bool
) -> tuple[Tensor, ...]:
    """The gradients of the launch's templates ``(N, size)``, in the dtype of sums unless they are ``whole``.

    They are made in parts and summed afterwards: atomic sums come in another order each time.
    """
    options, rows = constants(launch, grads[0].dtype, TEMPLATES), rows_on(launch, grads[0].device)
    n, size = launch.like.n, launch.form.size
    blocks = triton.cdiv(size, options["BLOCK_X"]) * triton.cdiv(n, options["BLOCK_N"])
    shares = shares_on(launch, blocks, rows.device)
    parts = rows.new_empty(len(shares.rows), n, size, dtype=launch.like.sums)
    dtype = launch.like.shared_dtype if whole else launch.like.sums
    into = tuple(rows.new_empty(n, size, dtype=dtype) for _ in launch.roles)
    with _on(rows):
        templates_kernel[(len(shares.rows) * blocks,)](shares.table, shares.rows, grads, scalers, parts, **options)
        programs = len(launch.roles) * triton.cdiv(n * size, ADDING["BLOCK_X"])
        sums_kernel[(programs,)](parts, shares.bounds, into, **adding(launch))
    return into


def adding(launch: Launch) -> dict[str, Any]:
    """What the kernel that adds parts up is compiled for."""
    numbers = {"LENGTH": launch.like.n * launch.form.size, "ROLES": len(launch.roles)}
    return {**numbers, "SUM": TYPES[launch.like.sums], **ADDING}


def _together(parts: list[Tensor], templates: Tensor) -> Tensor:
    """A role's gradient from what the launches that have it gave."""
    return (
        sum(parts[1:], parts[0]).to(templates.dtype).view(templates.shape)
        if parts
        else templates.new_zeros(templates.shape)
    )


def constants(launch: Launch, dtype: torch.dtype, blocks: Mapping[int, Blocks]) -> dict[str, Any]:
    """What a kernel is compiled for.

    Products of 16-bit weights have 16-bit operands, which are what tensor cores take; sums are wider. Those of float32
    are as precise as torch's own. Triton's interpreter, which multiplies no bfloat16, has the wider operands.
    """
    narrow = dtype.itemsize == 2 and launch.like.sums == torch.float32 and not INTERPRETED
    operand = dtype if narrow else launch.like.sums
    templates, size, warps = blocks[operand.itemsize]
    return {
        "N": launch.like.n,
        "SIZE": launch.form.size,
        "WIDTH": launch.form.width,
        "ENTRIES": len(launch.entries),
        "BLOCK_M": TILES,
        "BLOCK_N": min(templates, max(16, triton.next_power_of_2(launch.like.n))),
        "BLOCK_X": min(size, max(16, triton.next_power_of_2(launch.form.size))),
        "OPERAND": TYPES[operand],
        "PRECISION": "tf32" if _rounds_products() else "ieee",
        "SUM": TYPES[launch.like.sums],
        "num_warps": warps,
        "num_stages": 3,
    }


def _rounds_products() -> bool:
    """Whether torch may round float32 products to TF32; its older way of asking fails where the newer one was used."""
    products = torch.backends.cuda.matmul
    if hasattr(products, "fp32_precision"):
        return bool(products.fp32_precision == "tf32")
    return bool(products.allow_tf32)


def _of(tensors: Any, places: Sequence[int]) -> tuple[Tensor, ...]:
    return tuple(tensors[k].contiguous() for k in places)


def _on(like: Tensor) -> AbstractContextManager[Any]:
    """Triton launches on the current GPU."""
    return torch.cuda.device(like.device) if like.is_cuda else nullcontext()
