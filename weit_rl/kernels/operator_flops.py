"""FLOPs of the operators, registered for ``torch.utils.flop_counter.FlopCounterMode``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

Shapes = Sequence[Sequence[int]]


def product_flops(scalers: Shapes, templates: Shapes, roles: Sequence[int]) -> int:
    """Count the FLOPs of the matrix products: 2 for each template and each number of a weight.

    Args:
        scalers: shape of each entry's scalers, ``(batch, N, *grid)``.
        templates: shape of each role's templates, ``(N, *tile)``.
        roles: role of each entry.
    """
    tiles = (math.prod(templates[role][1:]) for role in roles)
    return sum(2 * math.prod(own) * tile for own, tile in zip(scalers, tiles, strict=True))


@register_flop_formula(torch.ops.weit_rl.compose)
def _(scalers: Shapes, templates: Shapes, roles: Sequence[int], *_: Any, **__: Any) -> int:
    return product_flops(scalers, templates, roles)


@register_flop_formula(torch.ops.weit_rl.compose_backward)
def _(
    grads: Shapes,
    scalers: Shapes,
    templates: Shapes,
    roles: Sequence[int],
    of_scalers: bool,
    of_templates: bool,
    *_: Any,
    **__: Any,
) -> int:
    return (of_scalers + of_templates) * product_flops(scalers, templates, roles)
