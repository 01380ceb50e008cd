"""Counts, FLOPs and bounds of a composed network; docs/theory.md states the formulas."""

from __future__ import annotations

import math

from weit_rl.core.plan import Layout


def count_numbers(layout: Layout, rank: int) -> dict[str, int]:
    """Count the numbers of a network in each of its forms.

    Args:
        layout: of the network.
        rank: templates per role.

    Returns:
        ``dense`` (all parameters), ``composed`` (parameters made of templates), ``free`` (the other parameters),
        ``scalers`` and ``templates``.
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
    """Count the FLOPs of composing all weights once: ``2 N`` for every number of every tile."""
    composed = [slot for slot in layout.values() if slot.rule.tile is not None]
    tiles = (
        math.prod(slot.full_shape[:2]) * math.prod(slot.grid) * math.prod(slot.rule.tile or ()) for slot in composed
    )
    return 2 * rank * sum(tiles)


def occam_bound(count: int, samples: int, bits: int = 32, delta: float = 0.05, largest: float = 1.0) -> float:
    """Bound the gap between mean loss on independent samples and expected loss, for every network of a class.

    With probability ``1 - delta`` over the samples, the bound holds at once for all settings of ``count`` numbers of
    ``bits`` bits. It is Hoeffding's inequality and a union over the ``2^(bits count)`` members of the class (Blumer et
    al. 1987).

    Args:
        count: numbers that are fitted to the samples.
        samples: number of independent samples.
        bits: bits of a stored number (default 32).
        delta: probability that the bound fails (default 0.05).
        largest: the loss lies between 0 and this (default 1).
    """
    return largest * math.sqrt((bits * count * math.log(2) + math.log(1 / delta)) / (2 * samples))
