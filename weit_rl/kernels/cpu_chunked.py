"""The CPU backend: ``weit_rl::compose`` and its gradient, by matrix products that fit a core's cache."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from weit_rl.kernels import cpu_chunked_products as products
from weit_rl.kernels.entry_groups import Group, group_entries
from weit_rl.kernels.reference import compose_reference, scaler_gradient, tiles_as_rows


def compose_cpu_chunked(
    scalers: Sequence[Tensor], templates: Sequence[Tensor], roles: Sequence[int], dtype: torch.dtype | None = None
) -> list[Tensor]:
    """Compose all weights of a call; arguments and result are those of :func:`weit_rl.kernels.operator.compose`."""
    weights: dict[int, Tensor] = {}
    for group in group_entries(scalers, templates, roles):
        own, t = [scalers[k] for k in group.entries], templates[group.role]
        if group.form is None:
            made = compose_reference(own, [t], [0] * len(own), dtype)
        else:
            made = products.group_weights(group, own, t, dtype or group.dtype)
        weights.update(zip(group.entries, made, strict=True))
    return [weights[k] for k in range(len(scalers))]


def gradients_cpu_chunked(
    grads: Sequence[Tensor],
    scalers: Sequence[Tensor],
    templates: Sequence[Tensor],
    roles: Sequence[int],
    of_scalers: bool,
    of_templates: bool,
) -> list[Tensor]:
    """Compute the gradients that :func:`weit_rl.kernels.reference.gradients_reference` defines."""
    into: dict[int, Tensor] = {}
    totals: list[Tensor | None] = [None] * len(templates)
    for group in group_entries(scalers, templates, roles):
        own, t = [scalers[k] for k in group.entries], templates[group.role]
        upstream = [grads[k].contiguous() for k in group.entries]
        if of_templates and totals[group.role] is None:
            totals[group.role] = t.new_zeros(t.shape[0], t[0].numel(), dtype=group.sums)
        gradients = _untiled_gradients if group.form is None else products.group_gradients
        parts = gradients(group, upstream, own, t, of_scalers, totals[group.role])
        into.update(zip(group.entries, parts, strict=False))  # parts is empty unless of_scalers
    shared = (
        t.new_zeros(t.shape) if total is None else total.to(t.dtype).view_as(t)
        for t, total in zip(templates, totals, strict=True)
    )
    return [*(into[k] for k in range(len(into))), *(shared if of_templates else ())]


def _untiled_gradients(
    group: Group,
    grads: Sequence[Tensor],
    scalers: Sequence[Tensor],
    templates: Tensor,
    of_scalers: bool,
    total: Tensor | None,
) -> list[Tensor]:
    """Do what ``group_gradients`` does for a group whose weights are no matrix of tiles."""
    into, t = [], templates.to(group.sums)
    for grad, s in zip(grads, scalers, strict=True):
        tiles = tiles_as_rows(grad.to(group.sums), group.batch, group.grid, group.tile)
        if of_scalers:
            into.append(scaler_gradient(tiles, t).to(group.dtype).view_as(s))
        if total is not None:
            total += torch.einsum("bng,bgx->nx", s.to(group.sums).flatten(2), tiles)
    return into
