"""The NVIDIA backend: ``weit_rl::compose`` and its gradient by Triton kernels; imported only if they run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
from torch import Tensor

from weit_rl.kernels.entry_groups import group_entries
from weit_rl.kernels.reference import compose_reference, gradients_reference
from weit_rl.kernels.triton_constants import (
    SCALERS,
    SUM_BLOCKS,
    TEMPLATES,
    TILES,
    WEIGHTS,
    kernel_constants,
    sum_constants,
)
from weit_rl.kernels.triton_kernels import scalers_kernel, sums_kernel, templates_kernel, weights_kernel
from weit_rl.kernels.triton_tables import PROGRAMS, Launch, plan_launches, rows_on_device, shares_on_device


def compose_triton(
    scalers: Sequence[Tensor], templates: Sequence[Tensor], roles: Sequence[int], dtype: torch.dtype | None = None
) -> list[Tensor]:
    """Compose all weights of a call, with one launch for each shape of templates and at most 64 entries.

    Arguments and result are those of :func:`weit_rl.kernels.operator.compose`.
    """
    whole = group_entries(scalers, templates, roles)
    plan = plan_launches(whole, TILES)
    if plan is None:
        return compose_reference(scalers, templates, roles, dtype)
    made = {k: scalers[k].new_empty(g.shape, dtype=dtype or g.dtype) for g in whole for k in g.entries}
    for launch in plan:
        weights = _pick(made, launch.entries)
        options = kernel_constants(launch, weights[0].dtype, WEIGHTS)
        rows = rows_on_device(launch, weights[0].device)
        splits = _splits(len(rows), triton.cdiv(launch.form.size, options["BLOCK_X"]))
        programs = len(rows) * splits
        with _device_of(rows):
            own, shared = _pick(scalers, launch.entries), _pick(templates, launch.roles)
            weights_kernel[(programs,)](rows, own, shared, weights, ROLES=len(launch.roles), SPLITS=splits, **options)
    return [made[k] for k in range(len(scalers))]


def gradients_triton(
    grads: Sequence[Tensor],
    scalers: Sequence[Tensor],
    templates: Sequence[Tensor],
    roles: Sequence[int],
    of_scalers: bool,
    of_templates: bool,
) -> list[Tensor]:
    """Compute the gradients that :func:`weit_rl.kernels.reference.gradients_reference` defines.

    Each planned launch takes at most one kernel for the scalers, one for the templates, and one that adds up parts.
    """
    plan = plan_launches(group_entries(scalers, templates, roles), TILES)
    if plan is None:
        return gradients_reference(grads, scalers, templates, roles, of_scalers, of_templates)
    into = [s.new_empty(s.shape) for s in scalers] if of_scalers else []
    parts: dict[int, list[Tensor]] = {k: [] for k in range(len(templates))}
    whole = len({role for launch in plan for role in launch.roles}) == sum(len(launch.roles) for launch in plan)
    for launch in plan:
        upstream = _pick(grads, launch.entries)
        if of_scalers:
            _launch_scalers(launch, upstream, _pick(templates, launch.roles), _pick(into, launch.entries))
        if of_templates:
            made = _launch_templates(launch, upstream, _pick(scalers, launch.entries), whole)
            for role, part in zip(launch.roles, made, strict=True):
                parts[role].append(part)
    if not of_templates:
        return into
    return [*into, *(_add_parts(parts[k], t) for k, t in enumerate(templates))]


def _splits(rows: int, blocks: int) -> int:
    """Return how many programs divide a row's blocks: no more than keep a GPU busy."""
    return min(blocks, triton.next_power_of_2(triton.cdiv(PROGRAMS, rows)))


def _launch_scalers(
    launch: Launch, grads: tuple[Tensor, ...], templates: tuple[Tensor, ...], into: tuple[Tensor, ...]
) -> None:
    """Launch the kernel for the gradients of scalers, which are written to ``into``."""
    options, rows = kernel_constants(launch, grads[0].dtype, SCALERS), rows_on_device(launch, grads[0].device)
    programs = len(rows) * triton.cdiv(launch.like.n, options["BLOCK_N"])
    with _device_of(rows):
        scalers_kernel[(programs,)](rows, grads, templates, into, ROLES=len(launch.roles), **options)


def _launch_templates(
    launch: Launch, grads: tuple[Tensor, ...], scalers: tuple[Tensor, ...], whole: bool
) -> tuple[Tensor, ...]:
    """Launch the kernels for the gradients of templates ``(N, size)``.

    Partial sums are stored and added up by a second kernel: atomic additions would vary in order from run to run.

    Args:
        launch: the launch.
        grads: gradient of each entry's weights.
        scalers: of each entry.
        whole: True if each role is in one launch only; then the result has the templates' dtype, else that of sums.
    """
    options, rows = kernel_constants(launch, grads[0].dtype, TEMPLATES), rows_on_device(launch, grads[0].device)
    n, size = launch.like.n, launch.form.size
    blocks = triton.cdiv(size, options["BLOCK_X"]) * triton.cdiv(n, options["BLOCK_N"])
    shares = shares_on_device(launch, blocks, rows.device)
    parts = rows.new_empty(len(shares.rows), n, size, dtype=launch.like.sums)
    dtype = launch.like.shared_dtype if whole else launch.like.sums
    into = tuple(rows.new_empty(n, size, dtype=dtype) for _ in launch.roles)
    with _device_of(rows):
        templates_kernel[(len(shares.rows) * blocks,)](shares.table, shares.rows, grads, scalers, parts, **options)
        programs = len(launch.roles) * triton.cdiv(n * size, SUM_BLOCKS["BLOCK_X"])
        sums_kernel[(programs,)](parts, shares.bounds, into, **sum_constants(launch))
    return into


def _add_parts(parts: list[Tensor], templates: Tensor) -> Tensor:
    """Add up a role's gradient from all launches that contain the role; zeros if there are none."""
    if not parts:
        return templates.new_zeros(templates.shape)
    return sum(parts[1:], parts[0]).to(templates.dtype).view(templates.shape)


def _pick(tensors: Any, places: Sequence[int]) -> tuple[Tensor, ...]:
    """Select tensors by index, contiguous."""
    return tuple(tensors[k].contiguous() for k in places)


def _device_of(like: Tensor) -> AbstractContextManager[Any]:
    """Make the tensor's GPU current, because Triton launches on the current one."""
    return torch.cuda.device(like.device) if like.is_cuda else nullcontext()
