"""The two operators on plain tensors, group by group: on a CPU in cache-sized pieces, elsewhere by the reference."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from weit_rl.kernels import cpu_chunked as chunked
from weit_rl.kernels import reference
from weit_rl.kernels.grouping import Group, groups


def compose(
    scalers: Sequence[Tensor], templates: Sequence[Tensor], roles: Sequence[int], dtype: torch.dtype | None = None
) -> list[Tensor]:
    """``weit_rl::compose`` without gradients; see :func:`weit_rl.kernels.operator.compose`."""
    made: dict[int, Tensor] = {}
    for group in groups(scalers, templates, roles):
        own, t = [scalers[k] for k in group.entries], templates[group.role]
        kernel = chunked if _in_pieces(group, t) else reference
        made.update(zip(group.entries, kernel.weights(group, own, t, dtype or group.dtype), strict=True))
    return [made[k] for k in range(len(scalers))]


def gradients(
    grads: Sequence[Tensor],
    scalers: Sequence[Tensor],
    templates: Sequence[Tensor],
    roles: Sequence[int],
    of_scalers: bool,
    of_templates: bool,
) -> list[Tensor]:
    """``weit_rl::compose_backward``: the gradients of all scalers, then of all templates, where they are wanted."""
    made: dict[int, Tensor] = {}
    totals: list[Tensor | None] = [None] * len(templates)
    for group in groups(scalers, templates, roles):
        own, t = [scalers[k] for k in group.entries], templates[group.role]
        upstream = [grads[k].contiguous() for k in group.entries]
        if of_templates and totals[group.role] is None:
            totals[group.role] = t.new_zeros(t.shape[0], t[0].numel(), dtype=group.sums)
        kernel = chunked if _in_pieces(group, t) else reference
        parts = kernel.gradients(group, upstream, own, t, of_scalers, totals[group.role])
        made.update(zip(group.entries, parts, strict=False))  # there are none unless they are wanted
    shared = (
        t.new_zeros(t.shape) if total is None else total.to(t.dtype).view_as(t)
        for t, total in zip(templates, totals, strict=True)
    )
    return [*(made[k] for k in range(len(made))), *(shared if of_templates else ())]


def _in_pieces(group: Group, templates: Tensor) -> bool:
    return group.form is not None and templates.is_cpu
