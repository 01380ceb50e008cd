"""Forms of composing a transformer's weights that benchmarks/kernels compares; each composes every layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from weit_rl.kernels.operator import compose
from weit_rl.kernels.reference import kronecker_sum


class Factors(NamedTuple):
    """Factors of a transformer's weights.

    Attributes:
        scalers: by layer, each ``(split, N, *grid)``.
        templates: by role, each ``(N, tile, tile)``.
        roles: the role of each layer.
    """

    scalers: list[Tensor]
    templates: list[Tensor]
    roles: list[int]

    @property
    def leaves(self) -> list[Tensor]:
        """Return the tensors that gradients are taken of."""
        return [*self.scalers, *self.templates]


def factors(width: int, layers: int, tile: int, rank: int, device: str, dtype: torch.dtype) -> Factors:
    """Draw random factors of a transformer's qkv, output and two MLP weights."""
    shapes = ((3, width, width), (1, width, width), (1, 4 * width, width), (1, width, 4 * width))
    options: dict[str, Any] = {"device": device, "dtype": dtype}
    templates = [torch.randn(rank, tile, tile, **options).mul_(0.02).requires_grad_() for _ in shapes]
    scalers = [
        torch.randn(split, rank, out // tile, into // tile, **options).requires_grad_()
        for split, out, into in shapes
        for _ in range(layers)
    ]
    return Factors(scalers, templates, [k // layers for k in range(len(scalers))])


def by_kron(x: Factors) -> list[Tensor]:
    """Compose by one ``torch.kron`` for each template of each layer."""
    pairs = ((s, x.templates[role]) for s, role in zip(x.scalers, x.roles, strict=True))
    return [torch.cat([sum(map(torch.kron, part, t)) for part in s]) for s, t in pairs]  # type: ignore[arg-type, misc]


def by_einsum(x: Factors) -> list[Tensor]:
    """Compose by one einsum for each layer."""
    pairs = ((s, x.templates[role]) for s, role in zip(x.scalers, x.roles, strict=True))
    made = (torch.einsum("bnij,npq->bipjq", s, t) for s, t in pairs)
    return [w.reshape(w.shape[0] * w.shape[1] * w.shape[2], -1) for w in made]


def by_product(x: Factors) -> list[Tensor]:
    """Compose by one matrix product for each role and a permutation."""
    made: list[Tensor] = []
    for number, t in enumerate(x.templates):
        own = [s for s, role in zip(x.scalers, x.roles, strict=True) if role == number]
        whole = kronecker_sum(torch.cat(own), t)
        made += whole.view(len(own), -1, whole.shape[-1]).unbind()
    return made


def by_operator(x: Factors) -> list[Tensor]:
    """Compose by the operator of ``weit_rl.kernels``."""
    return compose(x.scalers, x.templates, x.roles)


def by_lokr(x: Factors) -> list[Tensor]:
    """Compose by PEFT's LoKr: one call for each template, since LoKr multiplies one pair of factors, and their sum."""
    from peft.tuners.lokr.layer import make_kron

    pairs = ((s, x.templates[role]) for s, role in zip(x.scalers, x.roles, strict=True))
    made = ([sum(make_kron(a, b, 1.0) for a, b in zip(part, t, strict=True)) for part in s] for s, t in pairs)
    return [torch.cat(parts) for parts in made]  # type: ignore[arg-type]


Form = Callable[[Factors], list[Tensor]]
FORMS: dict[str, Form] = {
    "operator": by_operator,
    "torch.kron": by_kron,
    "einsum": by_einsum,
    "product, permute": by_product,
}
