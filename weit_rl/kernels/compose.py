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

from weit_rl.kernels import by_role, on_gpu, reference
from weit_rl.kernels.tiling import shape

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
torch.library.impl("weit_rl::compose", "default", by_role.compose)
torch.library.impl("weit_rl::compose_backward", "default", by_role.gradients)
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
            float64.

    Returns:
        For each entry ``(batch, grid[0] * tile[0], grid[1] * tile[1], ...)``, contiguous.

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
    if not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active():
        # torch.func's transforms (grad, jvp, vmap) do not take operators that are differentiated in Python.
        return [reference.compose(s, templates[role]).to(dtype or s.dtype) for s, role in zip(scalers, roles, strict=True)]
    return torch.ops.weit_rl.compose(list(scalers), list(templates), roles, dtype)


@torch.library.register_fake("weit_rl::compose")
def _(
    scalers: Sequence[Tensor], templates: Sequence[Tensor], roles: Sequence[int], dtype: torch.dtype | None = None
) -> list[Tensor]:
    shapes = (shape(s, templates[role]) for s, role in zip(scalers, roles, strict=True))
    return [s.new_empty(lengths, dtype=dtype or s.dtype) for s, lengths in zip(scalers, shapes, strict=True)]


@torch.library.register_fake("weit_rl::compose_backward")
def _(
    grads: Sequence[Tensor],
    scalers: Sequence[Tensor],
    templates: Sequence[Tensor],
    roles: Sequence[int],
    of_scalers: bool,
    of_templates: bool,
) -> list[Tensor]:
    return [x.new_empty(x.shape) for x in _wanted(scalers, templates, of_scalers, of_templates)]


def _wanted(
    scalers: Sequence[Tensor], templates: Sequence[Tensor], of_scalers: bool, of_templates: bool
) -> list[Tensor]:
    return [*(scalers if of_scalers else ()), *(templates if of_templates else ())]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    scalers, templates, ctx.roles, _ = inputs
    ctx.number = len(scalers)
    ctx.save_for_backward(*scalers, *templates)


def _compose_grad(ctx: Any, grads: list[Tensor]) -> tuple[Any, ...]:
    scalers, templates = ctx.saved_tensors[: ctx.number], ctx.saved_tensors[ctx.number :]
    of_scalers, of_templates = (any(part) for part in ctx.needs_input_grad[:2])
    made = torch.ops.weit_rl.compose_backward(grads, scalers, templates, ctx.roles, of_scalers, of_templates)
    of = _apart(made, of_scalers, of_templates, ctx.number, len(templates))
    return *of, None, None


def _apart(
    made: Sequence[Tensor], of_scalers: bool, of_templates: bool, entries: int, roles: int
) -> tuple[list[Any], list[Any]]:
    """What :func:`_wanted` put together, with None for what was not wanted."""
    first = entries if of_scalers else 0
    return (
        list(made[:first]) if of_scalers else [None] * entries,
        list(made[first:]) if of_templates else [None] * roles,
    )


def _keep_backward(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    grads, scalers, templates, ctx.roles, ctx.of_scalers, ctx.of_templates = inputs
    ctx.number = len(scalers)
    ctx.save_for_backward(*grads, *scalers, *templates)


def _backward_grad(ctx: Any, upstream: list[Tensor]) -> tuple[Any, ...]:
    """The gradient is linear in ``grads`` and in either factor: with S' and T' upstream of those of S and T,

    grads receive ``compose(S', T) + compose(S, T')``, S what ``compose_backward`` gives it of templates T', and T what
    it gives it of scalers S'.
    """
    k, saved = ctx.number, ctx.saved_tensors
    grads, scalers, templates = saved[:k], saved[k : 2 * k], saved[2 * k :]
    of_s, of_t = _apart(upstream, ctx.of_scalers, ctx.of_templates, k, len(templates))
    ops, dtype = torch.ops.weit_rl, grads[0].dtype
    into_grads: list[Any] = [None] * k
    if ctx.of_scalers:
        into_grads = ops.compose(of_s, templates, ctx.roles, dtype)
    if ctx.of_templates:
        second = ops.compose(scalers, of_t, ctx.roles, dtype)
        into_grads = [b if a is None else a + b for a, b in zip(into_grads, second, strict=True)]
    made = ops.compose_backward(
        grads,
        of_s if ctx.of_scalers else scalers,
        of_t if ctx.of_templates else templates,
        ctx.roles,
        ctx.of_templates,
        ctx.of_scalers,
    )
    return into_grads, *_apart(made, ctx.of_templates, ctx.of_scalers, k, len(templates)), None, None, None


torch.library.register_autograd("weit_rl::compose", _compose_grad, setup_context=_keep)
torch.library.register_autograd("weit_rl::compose_backward", _backward_grad, setup_context=_keep_backward)
