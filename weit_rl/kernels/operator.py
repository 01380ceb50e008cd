"""``weit_rl::compose``: one PyTorch operator that composes all weights of a network in one call.

Its gradient is an operator too, ``weit_rl::compose_backward``. The gradient of that is made of both operators, so
derivatives of any order exist. The device selects the backend: ``cpu_chunked`` on a CPU, ``triton`` on an NVIDIA GPU,
``reference`` elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from weit_rl.kernels.cpu_chunked import compose_cpu_chunked, gradients_cpu_chunked
from weit_rl.kernels.entry_groups import weight_shape
from weit_rl.kernels.gpu_backend import compose_on_gpu, gradients_on_gpu
from weit_rl.kernels.reference import compose_reference, gradients_reference

TAGS = (torch.Tag.pt2_compliant_tag,)
BATCHED = ("FuncTorchBatched", "Batched")  # dispatch keys of vmap and of torch.autograd.grad(is_grads_batched=True)
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
for _key in ("default", *BATCHED):
    torch.library.impl("weit_rl::compose", _key, compose_reference)
    torch.library.impl("weit_rl::compose_backward", _key, gradients_reference)
torch.library.impl("weit_rl::compose", "cpu", compose_cpu_chunked)
torch.library.impl("weit_rl::compose_backward", "cpu", gradients_cpu_chunked)
torch.library.impl("weit_rl::compose", "cuda", compose_on_gpu)
torch.library.impl("weit_rl::compose_backward", "cuda", gradients_on_gpu)


def compose(
    scalers: Sequence[Tensor],
    templates: Sequence[Tensor],
    roles: Sequence[int] | None = None,
    dtype: torch.dtype | None = None,
) -> list[Tensor]:
    """Compose weights from scalers and templates: ``W[k][b] = sum_n kron(scalers[k][b, n], templates[roles[k]][n])``.

    Products are summed in float32, or in float64 if a factor is float64. Products of float32 factors are as precise as
    PyTorch's own.

    Args:
        scalers: ``(batch, N, *grid)`` for each entry. An entry becomes one returned tensor: a layer, some fused parts
            of a layer, or all layers of a role.
        templates: ``(N, *tile)`` for each role, with as many tile axes as its entries have grid axes.
        roles: index of each entry's templates (default: entry ``k`` uses ``templates[k]``).
        dtype: of the weights (default: that of the entry's scalers).

    Returns:
        For each entry its ``batch`` weights stacked along the first axis, contiguous:
        ``(batch * grid[0] * tile[0], grid[1] * tile[1], ...)``.

    Raises:
        ValueError: naming the entry whose scalers do not fit the templates of its role.
    """
    roles = list(range(len(scalers))) if roles is None else list(roles)
    _check(scalers, templates, roles)
    if not scalers:
        return []
    if torch.jit.is_tracing() or torch.compiler.is_exporting():  # the program will run without this library
        return compose_reference(scalers, templates, roles, dtype)
    return torch.ops.weit_rl.compose(list(scalers), list(templates), roles, dtype)


def _check(scalers: Sequence[Tensor], templates: Sequence[Tensor], roles: list[int]) -> None:
    """Raise ValueError unless each entry's scalers fit the templates of its role."""
    if len(roles) != len(scalers):
        raise ValueError(f"{len(scalers)} entries of scalers, but {len(roles)} roles")
    for k, (s, role) in enumerate(zip(scalers, roles, strict=True)):
        if not 0 <= role < len(templates):
            raise ValueError(f"entry {k}: role {role}, but there are {len(templates)} templates")
        t = templates[role]
        if s.ndim != t.ndim + 1 or s.shape[1] != t.shape[0]:
            raise ValueError(f"entry {k}: scalers {tuple(s.shape)} do not fit templates {tuple(t.shape)}")


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


from weit_rl.kernels import operator_autograd, operator_flops  # noqa: E402,F401  (both need the operators defined)
