"""The two operators made of PyTorch's own: transforms (jvp, vmap and all made of them) and exports take them apart."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd import forward_ad

from weit_rl.kernels import reference
from weit_rl.kernels.grouping import dtype_of_sums, weight_shape


def weights(
    scalers: Sequence[Tensor], templates: Sequence[Tensor], roles: Sequence[int], dtype: torch.dtype | None = None
) -> list[Tensor]:
    """``weit_rl::compose``; see :func:`weit_rl.kernels.operator.compose`."""
    made = []
    for own, role in zip(scalers, roles, strict=True):
        s, t = _widened(own, templates[role])
        weight = reference.compose(s, t).to(dtype or own.dtype)
        made.append(weight.reshape(weight_shape(s.shape, t.shape)))
    return made


def gradients(
    grads: Sequence[Tensor],
    scalers: Sequence[Tensor],
    templates: Sequence[Tensor],
    roles: Sequence[int],
    of_scalers: bool,
    of_templates: bool,
) -> list[Tensor]:
    """``weit_rl::compose_backward``: the gradients of all scalers, then of all templates, where they are wanted."""
    own: list[Tensor] = []
    shared = [torch.zeros_like(t, dtype=dtype_of_sums(t.dtype, t.dtype)) for t in templates] if of_templates else []
    for grad, scaler, role in zip(grads, scalers, roles, strict=True):
        s, t = _widened(scaler, templates[role])
        tiles = reference.by_tile(grad.to(s.dtype), s.shape[0], s.shape[2:], t.shape[1:])
        if of_scalers:
            own.append((t.reshape(len(t), -1) @ tiles.transpose(1, 2)).to(scaler.dtype).reshape(scaler.shape))
        if of_templates:
            shared[role] = shared[role] + (s.reshape(*s.shape[:2], -1) @ tiles).sum(0).reshape(t.shape)
    return [*own, *(total.to(t.dtype) for total, t in zip(shared, templates, strict=False))]


def is_transformed() -> bool:
    """Whether a transform of ``torch.func`` or forward-mode differentiation is at work."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def is_exported() -> bool:
    """Whether the program is written down for others, who have no operators of this library."""
    return torch.jit.is_tracing() or torch.compiler.is_exporting()


def _widened(scalers: Tensor, templates: Tensor) -> tuple[Tensor, Tensor]:
    sums = dtype_of_sums(scalers.dtype, templates.dtype)
    return scalers.to(sums), templates.to(sums)
