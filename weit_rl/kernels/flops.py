"""What composing costs, for PyTorch's FlopCounterMode, which knows only its own operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.flop_counter import register_flop_formula

Shapes = Sequence[Sequence[int]]


def product_flops(scalers: Shapes, templates: Shapes, roles: Sequence[int]) -> int:
    """FLOPs of the products: two for each template, number of a tile, and tile."""
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
