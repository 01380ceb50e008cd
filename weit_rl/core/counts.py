"""Numbers that docs/theory.md states formulas for: what a network's factors count, cost, and bound."""

from __future__ import annotations

import math

from weit_rl.core.plan import Layout


def numbers(layout: Layout, rank: int) -> dict[str, int]:
    """How many numbers a network has in each of its forms.

    Args:
        layout: of the network.
        rank: templates per role.

    Returns:
        ``dense`` (all parameters), ``composed`` (those of them that are made of templates), ``free`` (the others),
        ``scalers``, ``templates``.
    """
    composed = [slot for slot in layout.values() if slot.rule.tile is not None]
    weights = sum(math.prod(slot.full_shape) for slot in composed)
    dense = sum(math.prod(slot.full_shape) for slot in layout.values())
    tiles = {slot.rule.role: math.prod(slot.rule.tile or ()) for slot in composed}
    scalers = sum(math.prod(slot.full_shape[:2]) * rank * math.prod(slot.grid) for slot in composed)
    templates = rank * sum(tiles.values())
    return {
        "dense": dense,
        "composed": weights,
        "free": dense - weights,
        "scalers": scalers,
        "templates": templates,
    }


def compose_flops(layout: Layout, rank: int) -> int:
    """Multiplications and additions that make all composed weights once: ``2 N`` for every entry of every tile."""
    composed = [slot for slot in layout.values() if slot.rule.tile is not None]
    tiles = (
        math.prod(slot.full_shape[:2]) * math.prod(slot.grid) * math.prod(slot.rule.tile or ()) for slot in composed
    )
    return 2 * rank * sum(tiles)


def occam_bound(count: int, samples: int, bits: int = 32, delta: float = 0.05, largest: float = 1.0) -> float:
    """How far the mean loss on independent samples can lie above the expected loss of any network of a class.

    With probability ``1 - delta`` over the samples, for all settings of ``count`` numbers of ``bits`` bits at once:
    Hoeffding's inequality and a union over the ``2^(bits count)`` members of the class (Blumer et al. 1987).

    Args:
        count: numbers that are fitted to the samples.
        samples: independent ones.
        bits: of a number as it is stored.
        delta: probability with which the bound may fail.
        largest: loss lies between 0 and this.
    """
    return largest * math.sqrt((bits * count * math.log(2) + math.log(1 / delta)) / (2 * samples))
