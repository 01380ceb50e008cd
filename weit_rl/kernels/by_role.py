"""The two operators on plain tensors, role by role: on a CPU in cache-sized pieces, elsewhere by the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from weit_rl.kernels import chunked, reference
from weit_rl.kernels.tiling import tiling

CHUNKED = (chunked.compose, chunked.gradients)
REFERENCE = (reference.compose_entries, reference.gradients)


def compose(
    scalers: Sequence[Tensor], templates: Sequence[Tensor], roles: Sequence[int], dtype: torch.dtype | None = None
) -> list[Tensor]:
    """``weit_rl::compose`` without gradients; see :func:`weit_rl.kernels.compose.compose`."""
    made: dict[int, Tensor] = {}
    for role, t in enumerate(templates):
        entries = of_role(roles, role)
        own = [scalers[k] for k in entries]
        if own:
            made |= zip(entries, _kernel(own, t)[0](own, t, dtype or own[0].dtype), strict=True)
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
    totals: list[Tensor] = []
    for role, t in enumerate(templates):
        entries = of_role(roles, role)
        own, upstream = [scalers[k] for k in entries], [grads[k].contiguous() for k in entries]
        parts: list[Tensor] = []
        total: Tensor | None = None
        if own:
            parts, total = _kernel(own, t)[1](upstream, own, t, of_scalers, of_templates)
        made |= zip(entries, parts, strict=False)  # there are none unless they are wanted
        totals.append(torch.zeros_like(t) if total is None else total)
    return [*(made[k] for k in range(len(made))), *(totals if of_templates else ())]


def of_role(roles: Sequence[int], role: int) -> list[int]:
    """The entries of a role."""
    return [k for k, one in enumerate(roles) if one == role]


def _kernel(scalers: Sequence[Tensor], templates: Tensor) -> tuple[Callable[..., list[Tensor]], Callable[..., tuple[list[Tensor], Tensor | None]]]:
    tile = tuple(templates.shape[1:])
    pieces = scalers[0].is_cpu and all(tiling(tuple(s.shape[2:]), tile) is not None for s in scalers)
    return CHUNKED if pieces else REFERENCE
