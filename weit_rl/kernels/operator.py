"""The composition as one operator of PyTorch, ``weit_rl::compose``: all weights of a network in one call.

Its gradient is an operator too, ``weit_rl::compose_backward``, and the gradient of that is made of both, so derivatives
of any order are there. Which implementation runs is a matter of the device: ``chunked`` on a CPU, ``triton`` on an
NVIDIA GPU, ``reference`` elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from weit_rl.kernels import by_group
from weit_rl.kernels import gpu as on_gpu
from weit_rl.kernels import torch_operators as plain
from weit_rl.kernels.grouping import weight_shape

OPERATORS = torch.ops.weit_rl
TAGS = (torch.Tag.pt2_compliant_tag,)
torch.library.define(
    "weit_rl::compose",
    "(Tensor[] scalers, Tensor[] templates, int[] roles, ScalarType? dtype=None) -> Tensor[]",
    tags=TAGS,
)
torch.library.define(
    "weit_rl::compose_backward",
    "(Tensor[] grads, Tensor[] scalers, Tensor[] templates, int[] roles, bool of_scalers, bool of_templates)"
    " -> Tensor[]",
    tags=TAGS,
)
torch.library.impl("weit_rl::compose", "default", by_group.compose)
torch.library.impl("weit_rl::compose_backward", "default", by_group.gradients)
torch.library.impl("weit_rl::compose", "cuda", on_gpu.compose)
torch.library.impl("weit_rl::compose_backward", "cuda", on_gpu.gradients)


def compose(
    scalers: Sequence[Tensor],
    templates: Sequence[Tensor],
    roles: Sequence[int] | None = None,
    dtype: torch.dtype | None = None,
) -> list[Tensor]:
    """Weights from scalers and templates: ``W[k][b] = sum_n kron(scalers[k][b, n], templates[roles[k]][n])``.

    Args:
        scalers: of each entry ``(batch, N, *grid)``. An entry is what comes back as one tensor: a layer, a few fused
            parts of one, or all layers of a role.
        templates: of each role ``(N, *tile)``, with as many axes of tiles as its entries have of the grid.
        roles: for each entry the number of its role (default: entry ``k`` has the templates ``k``).
        dtype: of the weights (default: that of an entry's scalers). Products are summed in float32, or in float64 for
            float64; those of float32 are as precise as torch's own.

    Returns:
        For each entry its ``batch`` weights one under another: ``(batch * grid[0] * tile[0], grid[1] * tile[1], ...)``,
        contiguous.

    Raises:
        ValueError: naming the entry whose scalers do not fit the templates of its role.
    """
    roles = list(range(len(scalers))) if roles is None else list(roles)
    if len(roles) != len(scalers):
        raise ValueError(f"{len(scalers)} entries of scalers, but {len(roles)} roles")
    for k, (s, role) in enumerate(zip(scalers, roles, strict=True)):
        if not 0 <= role < len(templates):
            raise ValueError(f"entry {k}: role {role}, but there are {len(templates)} templates")
        t = templates[role]
        if s.ndim != t.ndim + 1 or s.shape[1] != t.shape[0]:
            raise ValueError(f"entry {k}: scalers {tuple(s.shape)} do not fit templates {tuple(t.shape)}")
    if not scalers:
        return []
    if plain.is_exported():
        return plain.weights(scalers, templates, roles, dtype)
    return OPERATORS.compose(list(scalers), list(templates), roles, dtype)


@torch.library.register_fake("weit_rl::compose")
def _(
    scalers: Sequence[Tensor], templates: Sequence[Tensor], roles: Sequence[int], dtype: torch.dtype | None = None
) -> list[Tensor]:
    shapes = (weight_shape(s.shape, templates[role].shape) for s, role in zip(scalers, roles, strict=True))
    return [s.new_empty(lengths, dtype=dtype or s.dtype) for s, lengths in zip(scalers, shapes, strict=True)]


@torch.library.register_fake("weit_rl::compose_backward")
def _(
    grads: list[Tensor],
    scalers: list[Tensor],
    templates: list[Tensor],
    roles: list[int],
    of_scalers: bool,
    of_templates: bool,
) -> list[Tensor]:
    return [x.new_empty(x.shape) for x in (*scalers * of_scalers, *templates * of_templates)]


class _Compose(torch.autograd.Function):
    @staticmethod
    def of(
        scalers: list[Tensor], templates: list[Tensor], roles: list[int], dtype: torch.dtype | None = None
    ) -> list[Tensor]:
        if plain.is_transformed():
            return plain.weights(scalers, templates, roles, dtype)
        if torch.is_grad_enabled():
            return list(_Compose.apply(len(scalers), roles, dtype, *scalers, *templates))
        with torch._C._AutoDispatchBelowAutograd():
            return OPERATORS.compose(scalers, templates, roles, dtype)

    @staticmethod
    def forward(ctx: Any, number: int, roles: list[int], dtype: torch.dtype | None, *factors: Tensor) -> Any:
        ctx.number, ctx.roles = number, roles
        ctx.save_for_backward(*factors)
        with torch._C._AutoDispatchBelowAutograd():
            return tuple(OPERATORS.compose(factors[:number], factors[number:], roles, dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        factors = ctx.saved_tensors  # read once: of a checkpoint each reading would be a run of its own
        scalers, templates = factors[: ctx.number], factors[ctx.number :]
        needed = ctx.needs_input_grad[3:]
        wanted = any(needed[: ctx.number]), any(needed[ctx.number :])
        made = OPERATORS.compose_backward(grads, scalers, templates, ctx.roles, *wanted)
        return None, None, None, *_filled(made, wanted, ctx.number, len(templates))


class _ComposeBackward(torch.autograd.Function):
    @staticmethod
    def of(
        grads: list[Tensor],
        scalers: list[Tensor],
        templates: list[Tensor],
        roles: list[int],
        of_scalers: bool,
        of_templates: bool,
    ) -> list[Tensor]:
        if plain.is_transformed():
            return plain.gradients(grads, scalers, templates, roles, of_scalers, of_templates)
        if torch.is_grad_enabled():
            factors = (*grads, *scalers, *templates)
            return list(_ComposeBackward.apply(len(scalers), roles, of_scalers, of_templates, *factors))
        with torch._C._AutoDispatchBelowAutograd():
            return OPERATORS.compose_backward(grads, scalers, templates, roles, of_scalers, of_templates)

    @staticmethod
    def forward(ctx: Any, number: int, roles: list[int], of_scalers: bool, of_templates: bool, *factors: Tensor) -> Any:
        ctx.number, ctx.roles, ctx.wanted = number, roles, (of_scalers, of_templates)
        ctx.save_for_backward(*factors)
        parts = factors[:number], factors[number : 2 * number], factors[2 * number :]
        with torch._C._AutoDispatchBelowAutograd():
            return tuple(OPERATORS.compose_backward(*parts, roles, of_scalers, of_templates))

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        """The gradient is linear in ``grads`` and in either factor: with S' and T' upstream of those of S and T,

        grads receive ``compose(S', T) + compose(S, T')``, S what ``compose_backward`` gives for templates T', and T
        what it gives for scalers S'.
        """
        k, roles, (of_scalers, of_templates) = ctx.number, ctx.roles, ctx.wanted
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
        return None, None, None, None, *into, *_filled(made, (of_templates, of_scalers), k, len(templates))


def _filled(made: Sequence[Tensor], wanted: tuple[bool, bool], entries: int, roles: int) -> list[Tensor | None]:
    """Gradients of scalers and templates, with None for those that were not computed."""
    before, after = [None] * entries * (not wanted[0]), [None] * roles * (not wanted[1])
    return [*before, *made, *after]


# torch.library.register_autograd does the same through trees of lists, which for a small network takes a good part of
# the time that composing does.
torch.library.impl("weit_rl::compose", "Autograd", _Compose.of)
torch.library.impl("weit_rl::compose_backward", "Autograd", _ComposeBackward.of)
for _key in ("FuncTorchBatched", "Batched"):  # of vmap, and of torch.autograd.grad(is_grads_batched=True)
    torch.library.impl("weit_rl::compose", _key, plain.weights)
    torch.library.impl("weit_rl::compose_backward", _key, plain.gradients)

from weit_rl.kernels import flops  # noqa: E402,F401  (tells what the operators cost)
