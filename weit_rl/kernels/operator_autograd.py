"""Derivatives of the operators ``weit_rl::compose`` and ``weit_rl::compose_backward``, registered with autograd.

``torch.library.register_autograd`` would do the same through nested lists. For a small network, its overhead is a
large part of the time that composing takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from weit_rl.kernels.reference import compose_reference, gradients_reference

OPERATORS = torch.ops.weit_rl


class _Compose(torch.autograd.Function):
    """The derivative of ``weit_rl::compose``."""

    @staticmethod
    def of(
        scalers: list[Tensor], templates: list[Tensor], roles: list[int], dtype: torch.dtype | None = None
    ) -> list[Tensor]:
        if _is_transformed():
            return compose_reference(scalers, templates, roles, dtype)
        if torch.is_grad_enabled():
            return list(_Compose.apply(len(scalers), roles, dtype, *scalers, *templates))
        with torch._C._AutoDispatchBelowAutograd():
            return OPERATORS.compose(scalers, templates, roles, dtype)

    @staticmethod
    def forward(ctx: Any, entries: int, roles: list[int], dtype: torch.dtype | None, *factors: Tensor) -> Any:
        ctx.entries, ctx.roles = entries, roles
        ctx.save_for_backward(*factors)
        with torch._C._AutoDispatchBelowAutograd():
            return tuple(OPERATORS.compose(factors[:entries], factors[entries:], roles, dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        factors = ctx.saved_tensors  # read once: activation checkpointing would recompute at each reading
        scalers, templates = factors[: ctx.entries], factors[ctx.entries :]
        needed = ctx.needs_input_grad[3:]
        wanted = any(needed[: ctx.entries]), any(needed[ctx.entries :])
        made = OPERATORS.compose_backward(grads, scalers, templates, ctx.roles, *wanted)
        return None, None, None, *_with_gaps(made, wanted, ctx.entries, len(templates))


class _ComposeBackward(torch.autograd.Function):
    """The derivative of ``weit_rl::compose_backward``."""

    @staticmethod
    def of(
        grads: list[Tensor],
        scalers: list[Tensor],
        templates: list[Tensor],
        roles: list[int],
        of_scalers: bool,
        of_templates: bool,
    ) -> list[Tensor]:
        if _is_transformed():
            return gradients_reference(grads, scalers, templates, roles, of_scalers, of_templates)
        if torch.is_grad_enabled():
            factors = (*grads, *scalers, *templates)
            return list(_ComposeBackward.apply(len(scalers), roles, of_scalers, of_templates, *factors))
        with torch._C._AutoDispatchBelowAutograd():
            return OPERATORS.compose_backward(grads, scalers, templates, roles, of_scalers, of_templates)

    @staticmethod
    def forward(
        ctx: Any, entries: int, roles: list[int], of_scalers: bool, of_templates: bool, *factors: Tensor
    ) -> Any:
        ctx.entries, ctx.roles, ctx.wanted = entries, roles, (of_scalers, of_templates)
        ctx.save_for_backward(*factors)
        parts = factors[:entries], factors[entries : 2 * entries], factors[2 * entries :]
        with torch._C._AutoDispatchBelowAutograd():
            return tuple(OPERATORS.compose_backward(*parts, roles, of_scalers, of_templates))

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        """Differentiate the gradient, which is linear in ``grads``, in the scalers S and in the templates T.

        With upstream gradients S' and T' of the gradients of S and T, ``grads`` receive
        ``compose(S', T) + compose(S, T')``, S receives what ``compose_backward`` gives for templates T', and T receives
        what it gives for scalers S'.
        """
        k, roles, (of_scalers, of_templates) = ctx.entries, ctx.roles, ctx.wanted
        factors = ctx.saved_tensors
        grads, scalers, templates = factors[:k], factors[k : 2 * k], factors[2 * k :]
        s, t = upstream[: k * of_scalers], upstream[k * of_scalers :]
        into: list[Tensor] = []
        if of_scalers:
            into = OPERATORS.compose(s, templates, roles, grads[0].dtype)
        if of_templates:
            second = OPERATORS.compose(scalers, t, roles, grads[0].dtype)
            into = [a + b for a, b in zip(into, second, strict=True)] if into else second
        made = OPERATORS.compose_backward(grads, s or scalers, t or templates, roles, of_templates, of_scalers)
        return None, None, None, None, *into, *_with_gaps(made, (of_templates, of_scalers), k, len(templates))


def _is_transformed() -> bool:
    """Return True inside a transform of ``torch.func`` or forward-mode differentiation."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def _with_gaps(made: Sequence[Tensor], wanted: tuple[bool, bool], entries: int, roles: int) -> list[Tensor | None]:
    """Put None in the places of gradients (of scalers, of templates) that were not computed."""
    before, after = [None] * entries * (not wanted[0]), [None] * roles * (not wanted[1])
    return [*before, *made, *after]


torch.library.impl("weit_rl::compose", "Autograd", _Compose.of)
torch.library.impl("weit_rl::compose_backward", "Autograd", _ComposeBackward.of)
